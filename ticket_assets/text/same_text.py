"""When two texts are the same: word for word, or but for what a template fills in."""

from __future__ import annotations

import hashlib
import re
from typing import NamedTuple

_WORD = re.compile(r"[^\W_]+(?:[._\-/\\:@+#]+[^\W_]+)*")
_SENTENCE_START = re.compile(r"(?:^|[.!?]\s)\W*\w", re.MULTILINE)


class Wording(NamedTuple):
    """A text as it is compared with others."""

    words: list[str]
    """In order, with their capitals but for those that begin a sentence."""
    text: str
    """Without case and punctuation: equal for texts that are the same word for word."""


def wording(text: str) -> Wording:
    words = _WORD.findall(_SENTENCE_START.sub(lambda start: start[0].lower(), text))
    # A text of signs alone has no words, and is nothing but itself.
    return Wording(words, " ".join(words).casefold() or text)


def template_hash(text: str, tokens: str) -> str:
    """The same for mails from one template, which differ in numbers, dates or word order.

    It is the hash of the different tokens without digits, in alphabetical order, and of the wording
    where there are none.
    """
    fixed = {word for word in tokens.split() if not any(sign.isdigit() for sign in word)}
    key = " ".join(sorted(fixed)) or wording(text).text
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:20]
