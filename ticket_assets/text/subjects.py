"""Subjects without what mail programs and gateways write before them."""

from __future__ import annotations

import functools
import re

from ticket_assets.text.languages import all_words, one_of

_LEFT, _RIGHT = r"[\[{<*#_|~!«【-]{1,4} ?", r" ?[\]}>*#_|~!»】-]{1,4}"


class _Patterns:
    """Prefixes of replies and forwards, and gateways' tags, in the words of all languages."""

    def __init__(self) -> None:
        words = all_words()
        # "RE:", "Rép. :", "AW[2]:"; Asian programs write a wide colon.
        colon = r"\.?\s?(?:[\[(]\d{1,3}[\])]|\^\d{1,3})?\s?[:：]"
        prefix = rf"\s*{one_of(words.reply_prefixes + words.forward_prefixes)}{colon}"
        word = one_of(words.external_words + words.banner_tags)
        self.tag = re.compile(rf"\s*{_LEFT}{word}{_RIGHT}:?\s*", re.IGNORECASE)
        # People write a word in round brackets or before a colon too: there a prefix must follow.
        bare = rf"\s*(?:\( ?{word} ?\)|{word}\b)\s?[:|–-]?(?={prefix})"
        self.leading = re.compile(rf"{self.tag.pattern}|{bare}|{prefix}", re.IGNORECASE)
        self.forward = re.compile(rf"\s*{one_of(words.forward_prefixes)}{colon}", re.IGNORECASE)


_patterns = functools.cache(_Patterns)


def without_prefixes(subject: str) -> str:
    """`subject` without its leading "Re:", "TR :", "Antwort:", "[EXTERN]"..., however many."""
    while match := _patterns().leading.match(subject):
        subject = subject[match.end() :]
    return subject.strip()


def without_tags(subject: str) -> str:
    """`subject` without the tags of gateways, which show nothing about an earlier message."""
    return _patterns().tag.sub(" ", subject).strip()


def is_forwarded(subject: str) -> bool:
    """Whether the first prefix is that of a forwarded message."""
    return bool(_patterns().forward.match(without_tags(subject)))
