"""Cuts signatures, mobile footers and disclaimers, and nothing that could be the request."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from itertools import takewhile

from ticket_assets.text.languages import all_words, one_of, phrases, small_phrases

_MAX_LINES = 15
_MAX_CLOSING = 160
_MAX_BLOCK = 8
_MAX_BLOCK_LINE = 110
_MAX_BANNER = 400
_MAX_FOOTER = 300
_MAX_SLOGAN = 14  # words
_MIN_DISCLAIMER = 80  # characters
_URL = re.compile(r"<?https?://\S+")
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
        name = (
            r"(?:[ ,]+(?P<name>(?:[iI]\. ?[AV]\. )?[A-ZÀ-Þ][\w.'’-]*(?: [A-ZÀ-Þ][\w.'’-]*){0,2}))?"
        )
        self.closing = re.compile(rf"(?i:{one_of(words.closings)}){name}")
        self.thanks = re.compile(rf"(?i:{one_of(words.thanks)}){name}")
        self.greeting = re.compile(
            rf"(?i:{one_of(words.greetings)})(?:[ ,]+[A-ZÀ-Þ][\w.'’-]*){{0,4}}[\s,.!:;]*"
        )
        self.mere_thanks = phrases(words.thanks, after=r"[\s,.;:!]*")
        # Those with `small_phrases` look at lines in small letters.
        # One test of a line's beginning is all that most lines cost.
        self.polite = small_phrases(words.closings + words.thanks, after=r"\b")
        self.link = re.compile(
            rf"\s*[,;.!]+(?:\s+|$)|\s*[/|]\s*|\s+{one_of(words.conjunctions)}\s+", re.IGNORECASE
        )
        self.mobile = small_phrases(
            words.mobile_footers, rf"(?=.*\b{one_of(words.mail_programs)}\b)", r"[^,;:?!]{0,80}"
        )
        self.excuse = phrases(words.brevity_excuses)
        self.environment = phrases(words.environment_footers, r"\W{0,6}")
        # In every footer there is one of them: one search instead of three for each line.
        self.footer_words = words.footer_words
        self.message_reference = small_phrases(words.message_references, r"\b")
        self.legal = small_phrases(words.legal_words, r"\b")
        self.confidential = small_phrases(words.confidential_words)
        self.addressee = small_phrases(words.addressee_words)
        self.misdelivery = small_phrases(words.misdelivery_words)
        self.first_person = small_phrases(words.first_person, r"\b", r"\b")
        tags = words.banner_tags + words.external_words
        self.banner_tag = phrases(tags, r"[\[(<*#]{1,3} ?", r" ?[\])>*#]{1,3}:?")
        self.banner = phrases(words.banners, r"\W{0,6}(?:\w+\W{1,3})?")
        self.advice = phrases(words.banner_advice, r"\b")
        self.contact = re.compile(
            r"@|\S \| \S|\bwww\.|https?://|\+[0-9]|\b[0-9]{2}(?:[ .\-][0-9]{2}){3}"
            rf"|\b[0-9]{{4,5}} [A-ZÀ-Ü]|\b(?i:{one_of(words.phone_labels)})\b\W{{0,5}}[0-9(]"
            rf"|\b(?i:{one_of(words.company_words)})\b"
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
        self.small_word = re.compile(small)
        self.announces = re.compile(
            rf":$|\b{one_of(words.announcing_words)}\b|\b{one_of(words.announcing_ends)}$",
            re.IGNORECASE,
        )
        self.trouble = small_phrases(words.trouble_words, r"\b", r"\b")
        self.other_person = phrases(words.other_person_words, r"\b", r"\b")
        self.afterword = phrases(words.afterwords, after=r"\b\.?\s?[:.]")
        self.technical = re.compile(
            rf"\b0x[0-9a-f]+|[a-z]:\\|\b{one_of(words.error_words)}\b|\b[a-z]{{2,5}}-[0-9]{{4,}}",
            re.IGNORECASE,
        )
        self.pronoun = re.compile(rf"\b{one_of(words.pronouns)}\b")
        self.proxy_marks = words.proxy_marks


_patterns = functools.cache(_Patterns)


def name_words(name: str | None) -> NameWords:
    """The words of `name` in any order, without case, accents and initials."""
    plain = unicodedata.normalize("NFKD", name or "").encode("ascii", "ignore").decode()
    return frozenset(word for word in re.findall(r"[a-z]{2,}", plain.lower()))


def is_greeting(line: str) -> bool:
    """Whether `line` only opens a letter ("Bonjour Jean,")."""
    return _patterns().greeting.fullmatch(line.strip()) is not None


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
    is_below = False
    for index, line in enumerate(body):
        closing = line.strip(" *\t")
        if not closing or len(closing) > _MAX_CLOSING:
            is_below = is_below or bool(closing)
            continue
        is_delimiter = _DELIMITER.fullmatch(closing)
        if not is_delimiter and not patterns.polite.match(closing.lower()):
            is_below = is_below or not is_greeting(closing)
            continue
        length = _signature_length(body[index + 1 :])
        below = next((line for line in body[index + 1 :] if line.strip()), "")
        signers = author | name_words(below)
        start = index if is_delimiter else _closing_start(closing, signers, index, bool(author))
        if start is None and patterns.mere_thanks.fullmatch(closing) and length:
            details = body[index + 1 : index + 1 + length]
            if any(map(patterns.contact.search, details)) or _is_name_only(details, author):
                start = index
        if start is None or length is None or is_greeting(closing):
            continue
        if length and not is_below and not _is_surely_signed(body[index + 1 :][:length], author):
            continue
        end = index + 1 + length
        return [*body[:start], *body[end:]], body[start:end]
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
            or patterns.trouble.search(line.lower())
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
        (patterns.banner.match(part) and not patterns.trouble.search(part.lower()))
        or patterns.advice.search(part)
        for part in sentences
    )


def _closing_start(line: str, signers: NameWords, index: int, is_known: bool) -> int | None:
    """Index of the first line to cut at a closing; None if the line at `index` holds none.

    A name may follow: one of `signers`, or any short one unless the author's `is_known`.

    A line that says more than its closing stays: "Merci de relancer le serveur, cordialement".
    """
    patterns = _patterns()
    last = ""
    is_polite = True
    whole = patterns.closing.fullmatch(line.rstrip(" ,.;:!"))
    parts = [line.rstrip(" ,.;:!")] if whole else patterns.link.split(line)
    for part in filter(None, map(str.strip, parts)):
        closing = patterns.closing.fullmatch(part)
        polite = closing or patterns.thanks.fullmatch(part)
        if polite and _is_signer(polite["name"], signers, is_known):
            last = "closing" if closing or last == "closing" else "thanks"
        elif last != "closing" or not _is_signer(part, signers, is_known):
            is_polite, last = False, ""
    if last != "closing":
        return None
    return index if is_polite else index + 1


def _is_surely_signed(lines: Sequence[str], author: NameWords) -> bool:
    """Whether the lines below a closing that has nothing above it are a signature."""
    patterns = _patterns()
    return any(map(patterns.contact.search, lines)) or all(
        line.istitle()
        or patterns.name.fullmatch(line.strip(" *\t,"))
        or _is_name_only([line], author)
        for line in lines
        if line.strip()
    )


def _is_signer(name: str | None, signers: NameWords, is_known: bool) -> bool:
    if not name or name_words(name) <= signers:
        return True
    is_short = name[0].isupper() and len(name.split()) < 3
    return is_short and not is_known and not _patterns().trouble.search(name.lower())


def _signature_length(lines: Sequence[str]) -> int | None:
    """How many of the lines below a closing belong to the signature; None if it is not one.

    What reads like a request ends it. A line that may be either, such as a role in small letters
    or a slogan, belongs to it when contact details follow.
    """
    patterns = _patterns()
    length = filled = 0
    is_doubtful = False
    for index, line in enumerate(map(str.strip, lines)):
        if not line:
            continue
        filled += 1
        if filled > _MAX_LINES:
            return None
        has_contact = patterns.contact.search(line) is not None
        if _is_request(line, has_contact=has_contact):
            break
        if has_contact:
            is_doubtful = False
        elif not is_doubtful:
            is_doubtful = _is_doubtful(line, is_first=not (index and lines[index - 1].strip()))
        if not is_doubtful:
            length = index + 1
    while length < len(lines) and not lines[length].strip():
        length += 1
    return length


def _is_request(line: str, *, has_contact: bool) -> bool:
    patterns = _patterns()
    if patterns.afterword.match(line) or patterns.technical.search(line) or line.endswith("?"):
        return True
    if has_contact or line.lower().startswith(patterns.proxy_marks):
        return False
    words, small = len(line.split()), line.lower()
    if words > 1 and (patterns.trouble.search(small) or patterns.first_person.search(small)):
        return True
    return words > (_MAX_SLOGAN if line[-1] == "!" else 8) or (words > 4 and line[-1] == ".")


def _is_doubtful(line: str, *, is_first: bool) -> bool:
    """Whether a line may be a role or a slogan, or a request, as `is_first` of a paragraph may."""
    patterns = _patterns()
    words = line.split()
    starts_low = line[0].islower() and not line.lower().startswith(patterns.proxy_marks)
    if (len(words) > 2 and starts_low) or (len(words) > 4 and line[-1] == "!"):
        return True
    low = [word for word in words if word.islower() and not patterns.small_word.fullmatch(word)]
    return is_first and len(words) > 3 and len(low) > 1


def _is_footer(line: str) -> bool:
    """Whether a phone, a mail program or a scanner of viruses added the line."""
    patterns = _patterns()
    line = line.strip(" *\t<>")
    if len(line) > _MAX_FOOTER:
        return False
    if _IMAGE.fullmatch(line) or (patterns.environment.match(line) and "?" not in line):
        return True
    first, *others = re.split(r"(?<=[.!])\s+(?=[^\W\d_])(?!www\.)", _URL.sub("", line))
    return (
        patterns.mobile.fullmatch(first.strip(" .!<>").lower()) is not None
        and not (patterns.trouble.search(first.lower()) or patterns.pronoun.search(first))
        and all(patterns.excuse.fullmatch(other.strip(" .!")) for other in others)
    )


def _cut_footers(lines: Sequence[str]) -> tuple[list[str], list[str]]:
    """Lines without footers and disclaimers, and those.

    A footer is one of the last lines or a paragraph of its own; a disclaimer has something above.
    """
    patterns = _patterns()
    folded = "\n".join(lines).lower()
    may_have_footers = any(map(folded.__contains__, patterns.footer_words))
    body: list[str] = []
    footers: list[str] = []
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line.strip():
            paragraph.append(line)
            continue
        kept = paragraph
        while may_have_footers and kept and _is_footer(kept[-1]):
            kept = kept[:-1]
        if any(map(str.strip, body)) and _is_disclaimer(kept):
            kept = []
        footers.extend(paragraph[len(kept) :])
        body.extend([*kept, line])
        paragraph = []
    return body[:-1], footers


def _is_disclaimer(paragraph: Sequence[str]) -> bool:
    """Whether a paragraph speaks of the message it stands in, and in the tone of law."""
    patterns = _patterns()
    text = " ".join(paragraph[:20]).lower()
    if len(text) < _MIN_DISCLAIMER or not patterns.message_reference.search(text):
        return False
    signals = (patterns.confidential, patterns.addressee, patterns.misdelivery)
    return (
        sum(bool(signal.search(text)) for signal in signals) > 1
        and bool(patterns.legal.search(text))
        and not _is_personal(text)
    )


def _is_personal(text: str) -> bool:
    """Whether somebody speaks of himself or asks, which a company's own text does not."""
    return "?" in text or bool(_patterns().first_person.search(text.lower()))
