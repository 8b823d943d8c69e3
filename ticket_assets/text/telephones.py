"""Finds telephone numbers: international ones, and national ones of some countries."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterator
from itertools import pairwise

from ticket_assets.text.languages import all_words, languages, one_of, phrases

Span = tuple[int, int]
Finder = Callable[[str], Iterator[Span]]

# Not inside a word, a number, a path or a reference like REF-0612345678 or #0612345678.
_APART = r"(?<![\w+#\\])(?<![0-9][.,:])(?<![\w.]-)(?<![^\s\])]/)"


class _Patterns:
    """Words around numbers, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        # In the groups people write, since nine digits starting with 6 may be anything.
        self.iberian = re.compile(
            rf"{_APART}(?:[679][0-9]{{2}}(?:[ .\-][0-9]{{2}}){{3}}"
            r"|2[0-9] [0-9]{3} [0-9]{2} ?[0-9]{2}|9[0-9] [0-9]{3} [0-9]{4}"
            r"|9[0-9][ .\-][0-9]{3}(?:[ .\-][0-9]{2}){2}"
            r"|[69][0-9]{2}(?P<gap>[ .\-])[0-9]{3}(?P=gap)[0-9]{3})"
            r"(?![ .,\-]?[0-9%€$£]|\w)"
        )
        self.unit_after = re.compile(
            rf" ?(?:[€%$£]|(?:[KMG][ob]|[kmg]b|[kMGT]?Wh?|[kMG]?Hz)\b|{one_of(words.units)}\b)"
        )
        self.announcement = phrases(
            words.phone_announcements,
            r"\b",
            rf"(?:[ .:\-]{{1,3}}{one_of(words.phone_links)}){{0,3}}[ .:\-]{{0,3}}$",
        )
        zeros = tuple(w.digit_words[0] for w in languages() if w.digit_words)
        self.zeros = zeros
        # "Telefone do técnico de Coimbra: ", no "número do processo: "
        self.announcement_of = phrases(
            words.phone_announcements,
            rf"(?<![^\W_])(?!{one_of(words.number_words)}(?![^\W_]))",
            rf"(?P<whose>(?: [^\W\d_][\w'’.\-]{{0,20}}){{1,6}})"
            rf" ?(?::|,? {one_of(words.copulas)}) ?$",
        )
        self.reference = phrases(words.reference_words, r"(?<![^\W_])", r"(?![^\W_])")
        word = one_of(tuple(sorted(words.digit_words, key=len, reverse=True)))
        # "zéro six douze trente-quatre ...": what is said in pairs is six words at least.
        self.in_words = phrases(
            zeros, r"(?<![^\W_])", rf"(?:[ ,.\-]{{1,2}}{word}(?![^\W_])){{5,16}}"
        )
        numbered = rf"\s?(?:{one_of(words.number_words)}|:|\.|#|=|\s){{0,4}}$"
        # "dossier MDPH 0478 12 55 90"
        self.reference_before = phrases(
            words.reference_words, r"(?<![^\W_])", rf"(?-i:(?: [A-Z]{{2,6}})?){numbered}"
        )
        # "contrat de maintenance n° 0478-2219-33"
        self.numbered_reference = phrases(
            words.reference_words,
            r"(?<![^\W_])",
            rf"(?: [^\W\d_][\w'’\-]{{0,20}}){{1,3}} {one_of(words.number_words)}[ .:]{{0,3}}$",
        )
        # What is above a number names it; what ends with such a word is "Chargé d'affaires".
        self.line_of_reference = phrases(words.reference_words + words.number_words, r"^\W*")
        self.customer_before = phrases(words.customer_words, r"(?<![^\W_])", numbered)


_patterns = functools.cache(_Patterns)

_SEPARATED = r"(?:[ .\-/()·_\u2011\u2013]{0,3}[0-9])"
_INTERNATIONAL = re.compile(rf"(?<![\w+])(?:\(?\+\s?|\(?00\s?(?=[1-9]))[1-9]{_SEPARATED}{{6,16}}")
_NATIONAL = re.compile(rf"{_APART}\(?0[1-9]{_SEPARATED}{{6,11}}(?![\w])")
_FRENCH = re.compile(
    rf"{_APART}(?:0[1-9](?:[ .\-/·_\u2011\u2013]?[0-9]{{2}}){{4}}"
    r"|0 [1-9](?: [0-9]{2}){4}|0 8[0-9]{2}(?: [0-9]{2}){3}|0 8[0-9]{2}(?: [0-9]{3}){2})(?!\w)"
)
_DIGITS_APART = re.compile(
    rf"{_APART}0(?P<gap>[ .\-/])[1-9](?:(?P=gap)[0-9]){{8,10}}(?!(?P=gap)?[0-9]|\w)"
)
_FOUR_APART = re.compile(r"0([ .\-/])[1-9]\1[0-9]\1[0-9]\1")  # far faster to look for
_FARTHEST = 80  # characters from what announces a number to it
_FEWEST_DIGITS = 4
"""Different ones in a number written digit by digit, which no row of a table of 0 and 1 has."""
_PAIRS = re.compile(r"0[1-9](?:[ .\-][0-9]{2}){4}(?![ .\-]?[0-9]|\w)")
_FRENCH_PAIRS = re.compile(rf"{_APART}(?<![0-9] ){_PAIRS.pattern}")
_AMERICAN = re.compile(
    r"(?<![\w.,+#/\-])(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.\-])"
    r"[0-9]{3}[ .\-][0-9]{4}(?!\w)"
)
# Brazil's, as little else is written: "(11) 98427-3065", "031 99613-7048", "(41) 3222-7781".
_BRAZILIAN = re.compile(
    r"(?<![\w.,+#/\-])(?<![0-9] )"
    r"(?:\(0?[1-9][1-9]\) ?(?:9 ?)?"
    r"|(?:0(?:xx)?)?[1-9][1-9] ?9 ?)[2-9][0-9]{3}[\- ]?[0-9]{4}(?!\w|-[0-9])"
)
# A sign or a digit that stands alone: one of a set comes first, which is far faster to look for.
_DIGITS = re.compile(rf"[(+0-9](?<!\w.)(?:(?<=[0-9])|(?<=[(+])[0-9]){_SEPARATED}{{7,13}}(?!\w)")
_DATE_OR_VERSION = re.compile(
    # "06.12.34 56 78" is none, "06.12.24 10 30" has its hour.
    r"(?!(?!0[1-9][./\-](?:0[1-9]|1[0-2])[./\-][12][0-9][ .](?:[01][0-9]|2[0-3])[ .][0-5][0-9])"
    r"0[1-9][./\-][0-9]{2}[./\-][0-9]{2}[ .][0-9]{2}[ .][0-9]{2}(?!\w))"
    r"(?:[0-9]{1,2}([./\-])[0-9]{1,2}\1[0-9]{2,4}|[0-9]{4}([./\-])[0-9]{1,2}\2[0-9]{1,2})"
    r"(?!\.?[0-9/\-])"  # a full stop may end its sentence
    r"|[0-9]{1,2}\.[0-9]{1,3}\.[0-9]{3,}"
    r"|(?:0[1-9]|[12][0-9]|3[01]) (?:0[1-9]|1[0-2]) (?:19|20)[0-9]{2}(?! ?[0-9])"
    # Day, month, year, hour and minute; and what is in groups of three is a number.
    r"|0[1-5]([ .])(?:0[1-9]|1[0-2])\3[23][0-9]\3(?:[01][0-9]|2[0-3])\3[0-5][0-9](?![0-9])"
    r"|(?<=\b[0-9]{2} )0[0-9]{2} [0-9]{3} [0-9]{3}\b"
)


# "6A 1582 ⟦0394 7716⟧", "IMEI 356938 ⟦03 564380 9⟧", "1Z 999 AA1 ⟦01 2345 6784⟧"
_LONGER = re.compile(
    r"(?<![\w/@.+\-])(?:[0-9]{5,8}|[A-Z]{1,3}[0-9]{1,6}|(?:[0-9]{1,2}[A-Z]{1,2}|[A-Z]{1,2}[0-9]{1,2})"
    r"(?: [0-9]{3,4}){1,3}) $"
)


def follows_reference(text: str, start: int, *, bare: bool = True) -> bool:
    """Whether the digits at `start` are announced as a serial, order, ticket... number.

    A customer's number is one when it is bare digits: in groups it is their telephone's.
    """
    if text.startswith(("+", "(+"), start):
        return False
    before = text[max(start - 48, 0) : start]
    if _LONGER.search(before) and not _PAIRS.match(text, start):
        return True
    line = before.rpartition("\n")[2]
    if line.strip():
        return _announces_reference(line, bare)
    above = before.rstrip().rpartition("\n")[2]
    is_named = bool(_patterns().line_of_reference.search(above))
    return is_named and _announces_reference(f"{above}\n", bare)


@functools.lru_cache(maxsize=20_000)  # "Tél. : " stands before most numbers
def _announces_reference(before: str, bare: bool) -> bool:
    patterns = _patterns()
    return bool(
        patterns.reference_before.search(before)
        or patterns.numbered_reference.search(before)
        or (bare and patterns.customer_before.search(before))
    )


def is_another_number(text: str, start: int, end: int) -> bool:
    """Whether the digits are a date, a version, a reference, a quantity or a row of numbers."""
    written = text[start:end]
    pairs = [int(pair) for pair in re.findall("[0-9]{2}", re.sub("[^0-9]", "", written))]
    steps = {later - earlier for earlier, later in pairwise(pairs)}
    return bool(
        _DATE_OR_VERSION.match(text, start)
        or follows_reference(text, start, bare=written.isdigit())
        or _patterns().unit_after.match(text, end)
        or (len(steps) == 1 and 0 < max(steps) <= 12)  # "06-12-18-24"
    )


@functools.cache
def phone_finders(regions: tuple[str, ...]) -> tuple[Finder, ...]:
    """How telephone numbers are found, the surest form first.

    Candidates come from patterns and only they are checked against the numbering plans:
    phonenumbers' own PhoneNumberMatcher takes 15 ms per text for eight regions, and holds dates
    for German numbers.
    """
    finders: list[Finder] = [functools.partial(_phone_spans, _INTERNATIONAL, regions=("ZZ",))]
    if "FR" in regions:  # in pairs of digits; two numbers in a row are told apart
        finders.append(functools.partial(_phone_spans, _FRENCH, regions=("FR",)))
    finders.append(functools.partial(_phone_spans, _NATIONAL, regions=regions))
    if {"ES", "PT"} & set(regions):
        finders.append(functools.partial(_phone_spans, _patterns().iberian, regions=regions))
    if {"US", "CA"} & set(regions):  # by its form: 555 numbers are in no plan
        finders.append(_american_spans)
    if {"PT", "BR"} & set(regions):  # who serves the one gets mail from the other
        finders.append(_brazilian_spans)
    finders.append(functools.partial(_spans_of_digits_apart, regions=regions))
    return (*finders, functools.partial(_announced_spans, regions=regions))


@functools.cache
def wrapped_phone_finders(regions: tuple[str, ...]) -> tuple[Finder, ...]:
    """How telephone numbers over two lines are found, where only the surest forms count."""
    finders = [functools.partial(_phone_spans, _INTERNATIONAL, regions=("ZZ",))]
    if "FR" in regions:
        finders.append(functools.partial(_phone_spans, _FRENCH_PAIRS, regions=regions))
    return tuple(finders)


def _phone_spans(pattern: re.Pattern[str], text: str, regions: tuple[str, ...]) -> Iterator[Span]:
    """Spans of the longest telephone number at each candidate, in a candidate's own blanks."""
    position = 0
    while match := pattern.search(text, position):
        start = match.start()
        position = start + 1
        if date := _DATE_OR_VERSION.match(text, start):
            position = max(position, date.end())
            continue
        if follows_reference(text, start, bare=match.group().isdigit()):
            position = match.end()
            continue
        for end in _number_ends(text, start, match.end()):
            if _is_phone(text[start:end], regions) and not is_another_number(text, start, end):
                yield start + _is_open(text[start:end]), end
                position = end
                break


def _announced_spans(text: str, regions: tuple[str, ...]) -> Iterator[Span]:
    patterns = _patterns()
    for match in _DIGITS.finditer(text):
        start, end = match.span()
        before, written = text[max(start - _FARTHEST, 0) : start], match.group()
        if patterns.announcement.search(before):
            is_phone = _is_phone(written, regions, strict=False) or _is_phone(
                f"+{written}", regions
            )
        else:
            announced = patterns.announcement_of.search(before)
            is_phone = (
                announced is not None
                and not patterns.reference.search(announced["whose"])
                and _is_phone(written, regions)
            )
        if is_phone and not is_another_number(text, start, end):
            yield start, end


def _spans_of_digits_apart(text: str, regions: tuple[str, ...]) -> Iterator[Span]:
    for match in _DIGITS_APART.finditer(text) if _FOUR_APART.search(text) else ():
        digits = re.sub("[^0-9]", "", match.group())
        steps = {int(later) - int(earlier) for earlier, later in pairwise(digits)}
        if (
            len(set(digits)) >= _FEWEST_DIGITS
            and len(steps) > 2  # "0 1 2 3 ..."
            and in_numbering_plan(digits, regions, True)
        ):
            yield match.span()


def spans_in_words(text: str) -> Iterator[Span]:
    """Spans of telephone numbers that are written out in words, from a zero on."""
    lower = text.lower()
    if any(map(lower.__contains__, _patterns().zeros)):
        yield from (match.span() for match in _patterns().in_words.finditer(text))


def _american_spans(text: str) -> Iterator[Span]:
    return (match.span() for match in _AMERICAN.finditer(text))


def _brazilian_spans(text: str) -> Iterator[Span]:
    for match in _BRAZILIAN.finditer(text):
        digits = re.sub("[^0-9]", "", match.group()).removeprefix("0")
        if not is_another_number(text, *match.span()) and in_numbering_plan(digits, ("BR",), True):
            yield match.span()


def _number_ends(text: str, start: int, end: int) -> Iterator[int]:
    """Where the number may end: its last digit, or before one of its blanks, longest first."""
    yield end
    for index in range(end - 1, start + 7, -1):
        if not text[index].isdigit() and text[index - 1].isdigit():
            yield index


def _is_open(written: str) -> bool:
    return written[0] == "(" and ")" not in written


def _is_phone(written: str, regions: tuple[str, ...], *, strict: bool = True) -> bool:
    digits = "".join(character for character in written if character.isdigit())
    if not 8 <= len(digits) <= 15:
        return False
    international = written.lstrip("( ")[0] == "+"
    if written.lstrip("( ").startswith("00"):
        digits, international = digits[2:], True
    # Germany's plan takes almost any digits after a 0: eight in a row may be anything.
    if not international and len(digits) < 9 and written.isdigit():
        return False
    return in_numbering_plan(f"+{digits}" if international else digits, regions, strict)


@functools.lru_cache(maxsize=50_000)
def in_numbering_plan(number: str, regions: tuple[str, ...], strict: bool) -> bool:
    """Whether the number is one of a region: `strict`, of a range that is given out there."""
    import phonenumbers

    for region in ("ZZ",) if number.startswith("+") else regions:
        try:
            parsed = phonenumbers.parse(number, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(parsed) or (
            (not strict or number.startswith("+")) and phonenumbers.is_possible_number(parsed)
        ):
            return True
    return False
