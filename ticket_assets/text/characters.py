"""Characters a mail may carry but a reader never sees: normalised once, before anything else."""

from __future__ import annotations

import re
import unicodedata

_BREAKING = "\x0b\x0c\x85\u2028\u2029"
_BLANK = "\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000"
# Controls (tab and newline stay), soft hyphens, zero-width and bidirectional marks, variation
# selectors, private use (mail clients' icon fonts), lone surrogates, non-characters.
_UNSEEN = (
    "\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    "\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ud800-\udfff\ue000-\uf8ff\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff9-\uffff"
)
# Full-width letters, digits and "@" read like the plain ones and hide an address from a mask.
_FULL_WIDTH = {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
_IS_FULL_WIDTH = re.compile("[\uff01-\uff5e]")

_LINE_BREAKS = re.compile(rf"\r\n?|[{_BREAKING}]")
_BLANKS = re.compile(f"[{_BLANK}]")
_UNSEEN_CHARACTERS = re.compile(f"[{_UNSEEN}]")
_UNREADABLE = re.compile(f"[\r{_BREAKING}{_BLANK}{_UNSEEN}\uff01-\uff5e]")


# What a terminal or a reader's eye would obey instead of showing it: controls, marks that turn the
# direction of writing, line separators, invisible letters and tags, lone surrogates. Joiners and
# variation selectors stay: scripts and emoji need them.
_OBEYED = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u115f\u1160\u180e\u200b\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str, keep: str = "") -> str:
    """`text` with each character that would be obeyed instead of read written out, as `\\x1b`.

    Names come from mail, files and other people's systems: shown as they are, one of them could
    clear a terminal, or read backwards.

    Args:
        keep: characters that stay, such as a line break.
    """

    def written_out(match: re.Match[str]) -> str:
        character = match[0]
        return character if character in keep else ascii(character)[1:-1]

    return _OBEYED.sub(written_out, text)


def readable(text: str) -> str:
    """`text` in NFC, with `\\n` line breaks, plain blanks, and nothing a reader cannot see."""
    if _UNREADABLE.search(text):
        text = _LINE_BREAKS.sub("\n", text)
        text = _UNSEEN_CHARACTERS.sub("", text)
        text = _BLANKS.sub(" ", text)
        if _IS_FULL_WIDTH.search(text):
            text = text.translate(_FULL_WIDTH)
    return unicodedata.normalize("NFC", text)
