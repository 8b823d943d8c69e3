"""Cuts signatures, mobile footers and disclaimers, and nothing that could be the request."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile

from ticket_assets.text.languages import all_words, one_of, phrases

_MAX_LINES = 15
_MAX_CLOSING = 160
_MAX_BLOCK = 8
_MAX_BLOCK_LINE = 110
_MAX_BANNER = 400
_DELIMITER = re.compile(r"--|__|—")
_IMAGE = re.compile(r"\[?(?:cid:\S+|image\d*\.\w{3,4})\]?", re.IGNORECASE)
_BULLET = re.compile(r"[-*•·–]\s|[0-9]{1,2}[.)]\s|[a-z]\)\s")
_LABEL = re.compile(r"[^\W\d][\w .°'’-]{1,24}\s?:(?!//)")
_REACHED = re.compile(r"\w@\w|\bwww\.|\+[0-9]|(?:[0-9][ .()/-]{0,3}){8}")

NameWords = frozenset[str]
"""The words of a person's name, as `name_words` folds them; empty when nobody knows it."""


class _Patterns:
    """What signatures, footers and banners look like in the words of all languages."""

    def __init__(self) -> None:
        words = all_words()
        self.closing = phrases(words.closings, after=r"[\s,.;:!]*")
        self.thanks = phrases(words.thanks, after=r"[\s,.;:!]*")
        self.mobile = phrases(words.mobile_footers, after=".{0,60}")
        self.environment = phrases(words.environment_footers, r"\W{0,6}")
        # In every footer there is one of them: one search instead of three for each line.
        self.footer_words = (*words.footer_words, "image", "cid:")
        self.disclaimer_start = phrases(words.disclaimer_starts, r"\W{0,6}")
        self.confidential = phrases(words.confidential_words)
        self.addressee = phrases(words.addressee_words)
        self.first_person = phrases(words.first_person, r"\b", r"\b")
        tags = words.banner_tags + words.external_words
        self.banner_tag = phrases(tags, r"[\[(<*#]{1,3} ?", r" ?[\])>*#]{1,3}:?")
        self.banner = phrases(words.banners, r"\W{0,6}(?:\w+\W{1,3})?")
        self.advice = phrases(words.banner_advice, r"\b")
        self.contact = re.compile(
            r"@|\S \| \S|\bwww\.|https?://|\+[0-9]|\b[0-9]{2}(?:[ .\-][0-9]{2}){3}"
            rf"|\b[0-9]{{4,5}} [A-ZÀ-Ü]|\b(?i:{one_of(words.phone_labels)})\b\W{{0,5}}[0-9(]"
        )
        word = r"[A-ZÀ-Þ][^\W\d_]*\.?(?:['’-][^\W\d_]+)*"
        self.name = re.compile(
            rf"(?:{one_of(words.person_titles)}\.? )?{word}"
            rf"(?: (?:{one_of(words.name_particles)} )*{word}){{1,4}}"
        )
        # Three words in a row in lower case, the little ones of titles and streets aside.
        small = one_of(words.small_words)
        self.sentence = re.compile(
            rf"(?:(?<![\w@.])(?!{small}\b)[a-zà-ÿ][\w'’]*,?(?: {small})* ){{2}}"
            rf"(?!{small}\b)[a-zà-ÿ]"
            rf"|[?!…]$|\b{one_of(words.pronouns)}\b(?![.:/])"
        )
        self.announces = re.compile(
            rf":$|\b{one_of(words.announcing_words)}\b|\b{one_of(words.announcing_ends)}$",
            re.IGNORECASE,
        )
        self.trouble = phrases(words.trouble_words, r"\b", r"\b")
        self.other_person = phrases(words.other_person_words, r"\b", r"\b")
        self.afterword = phrases(words.afterwords, after=r"\b\.?\s?[:.]")
        self.technical = re.compile(
            rf"\b0x[0-9a-f]+|[a-z]:\\|\b{one_of(words.error_words)}\b|\b[a-z]{{2,5}}-[0-9]{{4,}}",
            re.IGNORECASE,
        )
        self.proxy_marks = words.proxy_marks


_patterns = functools.cache(_Patterns)


def name_words(name: str | None) -> NameWords:
    """The words of `name` in any order, without case, accents and initials."""
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode()
    return frozenset(word for word in re.findall(r"[a-z]{2,}", plain.lower()))


def cut_signature(lines: Sequence[str], author: NameWords = frozenset()) -> tuple[str, str]:
    """`lines` as text without its signature, and the signature.

    A closing ("Cordialement", "-- ") is cut with the few short lines below it: name, role,
    telephone, company. What reads like a sentence below it is kept. After a mere "Merci" the
    lines below must also hold an address or a telephone number, or be the name of the `author`.
    Without a closing, a last paragraph of name, role and contact details is cut, and the author's
    name alone on the last line. Banners that a mail gateway put on top are cut too.
    """
    body, footers = _cut_footers(lines)
    body, banner = _cut_banners(body)
    own, signature = _cut_below_closing(body, author)
    own, block = _cut_block(own, author)
    own, name = _cut_name(own, author | name_words(block[0]) if block else author)
    return "\n".join(own).strip(), "\n".join([*banner, *name, *block, *signature, *footers]).strip()


def _cut_below_closing(body: list[str], author: NameWords) -> tuple[list[str], list[str]]:
    patterns = _patterns()
    for index, line in enumerate(body):
        closing = line.strip(" *\t")
        if not closing or len(closing) > _MAX_CLOSING:
            continue
        if _is_closing(closing):
            length = _signature_length(body[index + 1 :])
        elif patterns.thanks.fullmatch(closing):
            length = _signature_length(body[index + 1 :])
            below = body[index + 1 : index + 1 + (length or 0)]
            if not any(map(patterns.contact.search, below)) and not _is_name_only(below, author):
                continue
        else:
            continue
        if length is not None and not (length == 0 and patterns.thanks.fullmatch(closing)):
            cut = index + 1 + length
            return [*body[:index], *body[cut:]], body[index:cut]
    return body, []


def _cut_block(body: list[str], author: NameWords) -> tuple[list[str], list[str]]:
    """Cuts a last paragraph that is a person's name, role and contact details.

    Whose details? Not the author's when the text above announces them ("le compte de :"), when
    the author is known and somebody else is named, or, for an unknown author, when the paragraph
    above is not a finished sentence or speaks of accounts and colleagues.
    """
    patterns = _patterns()
    lines = _without_blank_end(body)
    start = len(lines) - len(list(takewhile(str.strip, reversed(lines))))
    block = lines[start:]
    above = "".join(_without_blank_end(lines[:start])[-1:]).strip(" *\t")
    if (
        not 2 <= len(block) <= _MAX_BLOCK
        or not re.search(r"\w", above)
        or patterns.announces.search(above[-80:])
        or not any(map(patterns.contact.search, block))
        or any(map(_is_no_detail, block))
    ):
        return body, []
    name = name_words(block[0])
    if author:
        is_named = bool(name) and (author <= name or name <= author)
    else:
        is_named = (
            bool(patterns.name.fullmatch(block[0].strip(" *\t,")))
            and above[-1] in ".!?…)"
            and any(map(_REACHED.search, block))
            and not patterns.other_person.search(above)
        )
    return (lines[:start], block) if is_named else (body, [])


def _is_no_detail(line: str) -> bool:
    patterns = _patterns()
    line = line.strip(" *\t")
    return (
        len(line) > _MAX_BLOCK_LINE
        or bool(
            patterns.afterword.match(line)
            or patterns.technical.search(line)
            or patterns.trouble.search(line)
        )
        or bool(patterns.sentence.search(line) or _BULLET.match(line))
        or bool(_LABEL.match(line) and not patterns.contact.search(line))
    )


def _cut_name(body: list[str], author: NameWords) -> tuple[list[str], list[str]]:
    """Cuts the author's name on the last line, unless it belongs to a list or a sentence."""
    lines = _without_blank_end(body)
    if not _is_name_only(lines[-1:], author):
        return body, []
    above = "".join(_without_blank_end(lines[:-1])[-1:]).strip(" *\t")
    is_apart = (
        lines[-2:-1] in ([], [""]) or above[-1:] in ".!?…" or _patterns().thanks.fullmatch(above)
    )
    return (
        (lines[:-1], lines[-1:])
        if is_apart and not _patterns().announces.search(above[-40:])
        else (body, [])
    )


def _is_name_only(lines: Sequence[str], author: NameWords) -> bool:
    names = [name_words(line) for line in lines if line.strip()]
    return (
        bool(names)
        and all(name and name <= author for name in names)
        and not re.search(r"[0-9?:/\\@]", "".join(lines))
    )


def _without_blank_end(lines: Sequence[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1].strip():
        end -= 1
    return list(lines[:end])


def _cut_banners(body: list[str]) -> tuple[list[str], list[str]]:
    """Cuts the warning about an outside sender that a gateway puts above the first words."""
    start = next((index for index, line in enumerate(body) if line.strip()), len(body))
    end = start
    # Line by line: the request may begin right below.
    while end < len(body) and _is_banner(body[end].strip(" *\t"), is_first=end == start):
        end += 1
    return (body[end:], body[start:end]) if end > start else (body, [])


def _is_banner(line: str, *, is_first: bool) -> bool:
    """Whether every sentence of the line is a gateway's warning; its first line says "outside"."""
    patterns = _patterns()
    if not line or len(line) > _MAX_BANNER or _is_personal(line):
        return False
    if is_first and patterns.banner_tag.fullmatch(line):
        return True
    sentences = [
        part for part in re.split(r"(?<=[.!:]) ", line) if len(re.findall(r"\w+", part)) > 1
    ]
    if is_first and not any(map(patterns.banner.match, sentences)):
        return False
    return bool(sentences) and all(
        (patterns.banner.match(part) and not patterns.trouble.search(part))
        or patterns.advice.search(part)
        for part in sentences
    )


def _is_closing(line: str) -> bool:
    if _DELIMITER.fullmatch(line) or _patterns().closing.fullmatch(line):
        return True
    if "/" not in line and "|" not in line:
        return False
    parts = re.split(r"\s*[/|]\s*", line)  # "Mit freundlichen Grüßen / Best regards"
    return len(parts) > 1 and all(map(_patterns().closing.fullmatch, parts))


def _signature_length(lines: Sequence[str]) -> int | None:
    """How many of the lines below a closing belong to the signature; None if it is not one."""
    length = filled = 0
    for index, line in enumerate(lines):
        stripped = line.strip()
        if not stripped:
            length = index + 1
            continue
        if _is_content(stripped):
            # Content right below the name is doubtful: keep all. Below a blank line it is apart.
            return length if length == index else None
        filled += 1
        if filled > _MAX_LINES:
            return None
    return len(lines)


def _is_content(line: str) -> bool:
    patterns = _patterns()
    if patterns.afterword.match(line) or patterns.technical.search(line) or line.endswith("?"):
        return True
    if patterns.contact.search(line):
        return False
    words = line.split()
    if len(words) > 1 and patterns.trouble.search(line):
        return True
    starts_low = line[0].islower() and not line.lower().startswith(patterns.proxy_marks)
    return (
        len(words) > 8 or (len(words) > 2 and starts_low) or (len(words) > 4 and line[-1] in ".!")
    )


def _cut_footers(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines without mobile footers and without paragraphs that are disclaimers; the latter."""
    patterns = _patterns()
    body: list[str] = []
    footers: list[str] = []
    paragraph: list[str] = []
    folded = "\n".join(lines).lower()
    may_have_footers = any(word in folded for word in patterns.footer_words)
    for line in [*lines, ""]:
        stripped = line.strip(" *\t<>")
        if may_have_footers and (
            patterns.mobile.fullmatch(stripped)
            or _IMAGE.fullmatch(stripped)
            or patterns.environment.match(stripped)
        ):
            footers.append(line)
        elif line.strip():
            paragraph.append(line)
        else:
            (footers if _is_disclaimer(paragraph) else body).extend(paragraph)
            body.append(line)
            paragraph = []
    return body[:-1], footers


def _is_disclaimer(paragraph: Sequence[str]) -> bool:
    patterns = _patterns()
    text = " ".join(paragraph[:20])
    return (
        len(text) >= 80
        and bool(patterns.disclaimer_start.match(text))
        and bool(patterns.confidential.search(text))
        and bool(patterns.addressee.search(text))
        and not _is_personal(text)
    )


def _is_personal(text: str) -> bool:
    """Whether somebody speaks of himself or asks, which a company's own text does not."""
    return "?" in text or bool(_patterns().first_person.search(text))
