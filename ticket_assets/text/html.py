"""HTML mail bodies as readable text, with the parts that mail clients mark as quoted marked `>`."""

from __future__ import annotations

import html
import re
from typing import TYPE_CHECKING

from ticket_assets.text.characters import readable
from ticket_assets.text.quoting import is_forward_marker

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree, Node

_TAGS = re.compile(r"</(?:html|body|div|p|span|table|ul|a|b)\s*>|<br\s*/?>", re.IGNORECASE)
_ENTITY = re.compile(r"&(?:[a-z]{2,8}\d?|#\d{2,7}|#x[\da-f]{2,6});", re.IGNORECASE)
_MAX_CHARACTERS = 3_000_000
_INLINE_DATA = re.compile(r"data:[\w/+.\-]{1,80};base64,[A-Za-z0-9+/=\s%]{64,}+")
_SKIPPED = (
    "head",
    "style",
    "script",
    "title",
    "template",
    "[hidden]",
    '[style*="display:none"]',
    '[style*="display: none"]',
    '[style*="mso-hide:all"]',
)
# What Gmail, Apple Mail, Thunderbird, Yahoo, Proton, Tuta, Zoho, GMX and Notes put around the
# message one replies to. A bare <blockquote> is not one: Outlook uses it to indent what the
# requester writes.
_QUOTES = (
    'blockquote[type="cite"], blockquote.gmail_quote, blockquote.protonmail_quote,'
    " .yahoo_quoted, .moz-cite-prefix, .gmail_attr, blockquote.tutanota_quote, .zmail_extra,"
    ' div[name="quote"], .domino-section'
)
_OUTLOOK_HEADERS = "#divRplyFwdMsg, #x_divRplyFwdMsg"
# Part of every document in which these selectors find something.
_QUOTE_NAMES = (
    "cite", "gmail_", "protonmail_", "yahoo_quoted", "tutanota_quote", "zmail_extra",
    'name="quote"', "domino-section",
)  # fmt: skip
_OUTLOOK_NAME = "divrplyfwdmsg"
_MAX_QUOTES = 40
# Private-use characters: `readable` has removed any that the mail itself may hold.
_OPEN, _CLOSE = "\ue000", "\ue001"
_MARKS = re.compile(f"[{_OPEN}{_CLOSE}]")
_MANY_BLANKS = re.compile(r"[ \t]{2,}|\t")


def has_tags(text: str) -> bool:
    """Whether text that does not say what it is, like a cell of an export, is HTML."""
    return _TAGS.search(text) is not None


def without_entities(text: str) -> str:
    """Plain text with the characters that its HTML entities stand for, as in `n&#39;ai`."""
    return _ENTITY.sub(lambda entity: html.unescape(entity[0]), text) if "&" in text else text


def html_to_text(document: str) -> str:
    """Visible text of an HTML document (its first 3 million characters, embedded images aside).

    Paragraphs, list items and table rows keep their lines. What a mail client marked as the
    quoted message has `> ` before each line, and Outlook's header block an `Original Message` line
    above it, so that `quoting.split_reply` decides over HTML and plain text alike.
    """
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    document = readable(document)
    if ";base64," in document:
        document = _INLINE_DATA.sub("", document)
    document = document[:_MAX_CHARACTERS]
    tree = HTMLTree.parse(document)
    if tree.body is None:
        return ""
    # A selection visits every node, and most documents hold no reply.
    folded = document.lower()
    may_quote = any(name in folded for name in _QUOTE_NAMES)
    quotes = tree.body.query_selector_all(_QUOTES) if may_quote else []
    for quote in quotes[:_MAX_QUOTES]:
        if not is_forward_marker((quote.text or "").lstrip()[:100].split("\n")[0]):
            quote.before(_line(tree, _OPEN))
            quote.after(_line(tree, _CLOSE))
    blocks = tree.body.query_selector_all(_OUTLOOK_HEADERS) if _OUTLOOK_NAME in folded else []
    for headers in blocks[:_MAX_QUOTES]:
        headers.before(_line(tree, "-----Original Message-----"))
    text = extract_plain_text(
        tree, preserve_formatting=True, alt_texts=False, skip_elements=list(_SKIPPED)
    )
    return _prefix_quotes(text.replace("\xa0", " "))


def _line(tree: HTMLTree, text: str) -> Node:
    paragraph = tree.create_element("p")
    mark = tree.create_text_node(text)
    if paragraph is None or mark is None:  # only for a document that was freed
        raise RuntimeError("cannot add to the parsed document")
    paragraph.append_child(mark)
    return paragraph


def _prefix_quotes(text: str) -> str:
    lines = []
    depth = 0
    for line in text.split("\n"):
        opened, closed = line.count(_OPEN), line.count(_CLOSE)
        depth += opened
        content = _MARKS.sub("", line) if opened or closed else line
        content = _MANY_BLANKS.sub(" ", content).rstrip()
        if content or not (opened or closed):
            lines.append(f"> {content}" if depth else content)
        depth = max(depth - closed, 0)
    return "\n".join(lines).strip("\n")
