"""Masks what identifies or exposes a person, before text is embedded, stored or shown."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ticket_assets.text.languages import all_words, one_of, phrases


class Masked(NamedTuple):
    """A text with placeholders, and how many of each kind were put in."""

    text: str
    counts: dict[str, int]


# Not inside a word, a number, a path or a reference like REF-0612345678 or #0612345678.
_APART = r"(?<![\w+#\\])(?<![0-9][.,:])(?<![\w.]-)(?<![^\s\])]/)"


class _Patterns:
    """Words around secrets and numbers, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        self.secret = re.compile(
            rf"\b(?:{one_of(words.secret_names)}(?: [^\W\d]{{1,12}}){{0,4}}?"
            rf"\s{{0,3}}(?P<sign>[:=]|(?<= ){one_of(words.copulas)}\b)\s{{0,3}}"
            rf"|(?P<terse>{one_of(words.short_secret_names)}) "
            rf"|{one_of(words.login_names)} ?: ?\S{{2,60}} ?/ ?)"
            r"[\"'«“`]?\s?(?P<value>[^\s\"'«»“”`]{3,128})",
            re.IGNORECASE,
        )
        # Part of every alternative above: twenty times faster to look for than the pattern.
        self.secret_hints = words.secret_hints
        self.no_secrets = frozenset(words.no_secrets)
        self.version_before = phrases(
            words.version_words, r"(?<![^\W\d_])", r"\s{0,2}[:=]?\s{0,2}$"
        )
        # In the groups people write, since nine digits starting with 6 may be anything.
        self.iberian = re.compile(
            rf"{_APART}(?:[679][0-9]{{2}}(?:[ .\-][0-9]{{2}}){{3}}"
            r"|[69][0-9]{2}(?P<gap>[ .\-])[0-9]{3}(?P=gap)[0-9]{3})"
            rf"(?![ .,\-]?[0-9\w%€$£])(?! (?:€|[km][ob]|{one_of(words.units)})\b)"
        )
        self.announcement = phrases(
            words.phone_announcements,
            r"\b",
            rf"(?:[ .:\-]{{1,3}}{one_of(words.phone_links)}){{0,3}}[ .:\-]{{0,3}}$",
        )
        self.reference_before = phrases(
            words.reference_words,
            after=rf"\s?(?:{one_of(words.number_words)}|:|\.|#|=|\s){{0,4}}$",
        )
        self.plain_password = re.compile(
            rf"\b{one_of(words.password_words)} ?[:=] ?"
            r"(?=\S{0,40}[0-9])(?=\S{0,40}[A-Za-z])(?!0x)[A-Za-z0-9]{6,}\b"
        )


_patterns = functools.cache(_Patterns)


def mask_personal_data(
    text: str, *, phone_regions: Sequence[str], mask_ip_addresses: bool = True
) -> Masked:
    """`text` with addresses, telephone and card numbers, secrets... as `[EMAIL]`, `[PHONE]`...

    Kinds: URL_CREDENTIALS, PASSWORD (a value given in clear), EMAIL, IBAN, NIR (French social
    security number), CARD, IP (loopback and netmasks aside) and PHONE (international, or national
    in one of `phone_regions`). Check digits (ISO 13616, ISO 7064, Luhn) and numbering plans are
    verified, so that serial numbers, versions, dates and error codes stay. A number that a mail
    client wrapped over two lines is masked with its line break. Masking the result again changes
    nothing, and `find_personal_data` finds nothing in it.
    """
    counts: Counter[str] = Counter()
    # A placeholder can uncover what it touched ("a@b.fr0612345678"), hence the second look.
    for _ in range(_MAX_PASSES):
        before = counts.total()
        folded = text.casefold()
        if any(word in folded for word in _patterns().secret_hints):
            text = _replace(text, "PASSWORD", _passwords, counts)
        if "@" in text or "[at]" in folded or "(at)" in folded:
            text = _replace(text, "URL_CREDENTIALS", _url_credentials, counts)
            text = _replace(text, "EMAIL", _emails, counts)
        if _MANY_DIGITS.search(text):
            text = _replace(text, "IBAN", _ibans, counts)
            text = _replace(text, "NIR", _social_security_numbers, counts)
            text = _replace(text, "CARD", _cards, counts)
            if _BREAK.search(text):
                text = _replace(text, "IBAN", _over_two_lines(_ibans), counts)
                text = _replace(text, "NIR", _over_two_lines(_social_security_numbers), counts)
                text = _replace(text, "CARD", _over_two_lines(_cards, in_prose=True), counts)
        if mask_ip_addresses:
            text = _replace(text, "IP", _ip_addresses, counts)
        if _MANY_DIGITS.search(text):
            for find in _phone_finders(tuple(phone_regions)):
                text = _replace(text, "PHONE", find, counts)
            if _BREAK.search(text):
                for find in _wrapped_phone_finders(tuple(phone_regions)):
                    text = _replace(text, "PHONE", find, counts)
        if counts.total() == before:
            break
    return Masked(text, dict(counts))


_MAX_PASSES = 6
_MANY_DIGITS = re.compile(r"[0-9](?:[ .\-()/\n\u2011\u2013]{0,3}[0-9]){6}")


def _replace(
    text: str,
    kind: str,
    find: Callable[[str], Iterator[tuple[int, int]]],
    counts: Counter[str],
) -> str:
    pieces: list[str] = []
    done = 0
    # In order of place: a finder of several notations gives them one after the other.
    for start, end in sorted(find(text)):
        if start < done:
            continue
        pieces += [text[done:start], f"[{kind}]"]
        counts[kind] += 1
        done = end
    return "".join([*pieces, text[done:]]) if pieces else text


_BREAK = re.compile(r"\n(?:(?<=[0-9A-Z]\n)(?=[0-9])|(?<=[0-9]\n)(?=[A-Z]))")
_LONGEST_NUMBER = 60  # characters on either side of a break, with room for what announces it


def _over_two_lines(
    find: Callable[[str], Iterator[tuple[int, int]]], *, in_prose: bool = False
) -> Callable[[str], Iterator[tuple[int, int]]]:
    """Finds what `find` would find were the text not wrapped in the middle of it.

    With `in_prose` the line above the break must hold a word or a "+": for numbers without a
    strong check digit, lines of bare numbers are a list.
    """

    def spans(text: str) -> Iterator[tuple[int, int]]:
        for match in _BREAK.finditer(text):
            at = match.start()
            start = max(text.rfind("\n", 0, at) + 1, at - _LONGEST_NUMBER)
            above = text[start:at]
            if in_prose and not re.search(r"[^\W\d_]|\+", above):
                continue
            below = text[at + 1 : at + _LONGEST_NUMBER].partition("\n")[0]
            for first, last in find(f"{above} {below}"):
                if first < len(above) < last:
                    yield start + first, start + last

    return spans


_NOT_A_SECRET = re.compile(
    r"\[|<|https?:|0x[0-9a-f]+$|[*•.x_\-]+$|[0-9]{1,2}[/.:h][0-9]|(?:windows|office|win)[0-9]+$",
    re.IGNORECASE,
)


def _passwords(text: str) -> Iterator[tuple[int, int]]:
    for match in _patterns().secret.finditer(text):
        value = match["value"].rstrip(".,;)]")
        if len(value) >= 4 and not _NOT_A_SECRET.match(value) and _is_secret(match, value):
            start = match.start("value")
            yield start, start + len(value)


def _is_secret(match: re.Match[str], value: str) -> bool:
    """A value, not a remark ("mot de passe : expiré"): it mixes digits, signs or cases.

    Plain words count only when written as an assignment (`password=soleil`), bare digits when
    there are four of them.
    """
    if re.search(r"[0-9]", value):
        return bool(re.search(r"[^\W\d]", value)) or value.isdigit()
    if re.search(r"[a-zà-ÿ][A-Z]|\w[!$%&#@+]\w", value):
        return True
    return match["sign"] == "=" and value.isalpha() and value.lower() not in _patterns().no_secrets


_URL_CREDENTIALS = re.compile(r"(?<=://)[^\s/:@\[\]<>]{1,100}:[^\s/@\[\]<>]{1,100}(?=@)")


def _url_credentials(text: str) -> Iterator[tuple[int, int]]:
    return _spans(_URL_CREDENTIALS, text)


# Possessive, and anchored where a run begins: linear on a megabyte of letters.
_EMAIL = re.compile(
    r"(?<![\w.+%&'*=~-])[\w.+%&'*=~-]++(?:@| ?\[at\] ?| ?\(at\) ?)(?:[\w-]+\.)+[^\W\d_]{2,}",
    re.IGNORECASE,
)


def _emails(text: str) -> Iterator[tuple[int, int]]:
    return _spans(_EMAIL, text)


_IBAN = re.compile(r"(?<![^\W_])[A-Z]{2}[0-9]{2}(?:[ \-]?[A-Z0-9]){11,40}", re.IGNORECASE)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import iban

    # By the ISO 13616 check alone: the lists of national banks refuse real accounts.
    is_valid = functools.partial(iban.is_valid, check_country=False)
    return _checked(_IBAN, text, is_valid, range(15, 35))


_NIR = re.compile(
    r"(?<![0-9])[12][ .\-]?[0-9]{2}[ .\-]?[0-9]{2}[ .\-]?[0-9][0-9AB][ .\-]?[0-9]{3}[ .\-]?[0-9]{3}"
    r"[ .\-/]{0,3}[0-9]{2}(?![0-9])"
)


def _social_security_numbers(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.fr import nir

    return _verified(_NIR, text, nir.is_valid)


# Issuers' ranges (Visa, Mastercard, Amex, Discover, Diners): an IMEI passes Luhn too.
_CARD = re.compile(
    r"(?<![\w.])(?:"
    r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6011|65[0-9]{2})(?:[ \-]?[0-9]{4}){3}"
    r"|3[47][0-9]{2}[ \-]?[0-9]{6}[ \-]?[0-9]{5}"
    r"|3[068][0-9]{2}[ \-]?[0-9]{6}[ \-]?[0-9]{4}"
    r")(?!\w)"
)


def _cards(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import luhn

    return _verified(_CARD, text, luhn.is_valid)


_DOTTED_DIGITS = re.compile(r"[0-9]\.[0-9]")  # far faster to look for
_IP_V4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w]|\.[0-9])")
_IP_V6 = re.compile(r"(?<![\w:.])[0-9A-Fa-f]{0,4}(?::[0-9A-Fa-f]{0,4}){2,7}(?![\w:])")


def _ip_addresses(text: str) -> Iterator[tuple[int, int]]:
    if _DOTTED_DIGITS.search(text):
        for start, end in _spans(_IP_V4, text):
            if is_host_address(text, start, end):
                yield start, end
    if "::" in text or text.count(":") > 6:
        for start, end in _spans(_IP_V6, text):
            if is_host_address(text, start, end):
                yield start, end


def is_host_address(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` is the address of a machine: no version, netmask or loopback."""
    written = text[start:end]
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    if address.version == 6:
        return bool(re.search("[0-9]", written)) and len(re.sub(":", "", written)) > 4
    if address.is_loopback or written.startswith(("0.", "255.")):
        return False
    return not _patterns().version_before.search(text[max(start - 16, 0) : start])


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))


def _verified(
    pattern: re.Pattern[str], text: str, is_valid: Callable[[str], bool]
) -> Iterator[tuple[int, int]]:
    """Spans whose digits pass the check; one that fails may overlap one that passes."""
    position = 0
    while match := pattern.search(text, position):
        position = match.start() + 1
        if is_valid(re.sub(r"[ .\-/]", "", match.group())):
            yield match.span()
            position = match.end()


def _checked(
    pattern: re.Pattern[str], text: str, is_valid: Callable[[str], bool], lengths: range
) -> Iterator[tuple[int, int]]:
    """Spans of the longest valid number at each candidate: the pattern may run into words."""
    position = 0
    while match := pattern.search(text, position):
        start = match.start()
        compact = [(c, i) for i, c in enumerate(match.group(), start) if c.isalnum()]
        position = start + 1
        for length in range(min(len(compact), lengths.stop - 1), lengths.start - 1, -1):
            end = compact[length - 1][1] + 1
            if not text[end : end + 1].isalnum() and is_valid(
                "".join(c for c, _ in compact[:length])
            ):
                yield start, end
                position = end
                break


_SEPARATED = r"(?:[ .\-/()\u2011\u2013]{0,3}[0-9])"
_INTERNATIONAL = re.compile(rf"(?<![\w+])(?:\(?\+\s?|\(?00\s?(?=[1-9]))[1-9]{_SEPARATED}{{6,16}}")
_NATIONAL = re.compile(rf"{_APART}\(?0[1-9]{_SEPARATED}{{6,11}}(?![\w])")
_FRENCH = re.compile(rf"{_APART}0[1-9](?:[ .\-/\u2011\u2013]?[0-9]{{2}}){{4}}(?!\w)")
_FRENCH_PAIRS = re.compile(
    rf"{_APART}(?<![0-9] )0[1-9](?:[ .\-][0-9]{{2}}){{4}}(?![ .\-]?[0-9]|\w)"
)
_AMERICAN = re.compile(
    r"(?<![\w.,+#/\-])(?:1[ .\-])?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[.\-])"
    r"[0-9]{3}[ .\-][0-9]{4}(?!\w)"
)
_DIGITS = re.compile(rf"(?<![\w])[(+]?[0-9]{_SEPARATED}{{7,13}}(?!\w)")
_DATE_OR_VERSION = re.compile(
    r"(?:[0-9]{1,2}([./\-])[0-9]{1,2}\1[0-9]{2,4}|[0-9]{4}([./\-])[0-9]{1,2}\2[0-9]{1,2})"
    r"(?![0-9./\-])(?!\.[0-9])"
    r"|[0-9]{1,2}\.[0-9]{1,3}\.[0-9]{3,}"
)


def follows_reference(text: str, start: int) -> bool:
    """Whether the digits at `start` are announced as a serial, order, ticket... number."""
    return bool(_patterns().reference_before.search(text[max(start - 32, 0) : start]))


@functools.cache
def _phone_finders(
    regions: tuple[str, ...],
) -> tuple[Callable[[str], Iterator[tuple[int, int]]], ...]:
    """How telephone numbers are found, the surest form first.

    Candidates come from patterns and only they are checked against the numbering plans:
    phonenumbers' own PhoneNumberMatcher takes 15 ms per text for eight regions, and holds dates
    for German numbers.
    """
    finders = [functools.partial(_phone_spans, _INTERNATIONAL, regions=("ZZ",))]
    if "FR" in regions:  # in pairs of digits; two numbers in a row are told apart
        finders.append(functools.partial(_phone_spans, _FRENCH, regions=("FR",)))
    finders.append(functools.partial(_phone_spans, _NATIONAL, regions=regions))
    if {"ES", "PT"} & set(regions):
        finders.append(functools.partial(_phone_spans, _patterns().iberian, regions=regions))
    if {"US", "CA"} & set(regions):  # by its form: 555 numbers are in no plan
        finders.append(functools.partial(_spans, _AMERICAN))
    return (*finders, functools.partial(_announced_spans, regions=regions))


@functools.cache
def _wrapped_phone_finders(
    regions: tuple[str, ...],
) -> tuple[Callable[[str], Iterator[tuple[int, int]]], ...]:
    finders = [functools.partial(_phone_spans, _INTERNATIONAL, regions=("ZZ",))]
    if "FR" in regions:
        finders.append(functools.partial(_phone_spans, _FRENCH_PAIRS, regions=regions))
    return tuple(_over_two_lines(find, in_prose=True) for find in finders)


def _phone_spans(
    pattern: re.Pattern[str], text: str, regions: tuple[str, ...]
) -> Iterator[tuple[int, int]]:
    """Spans of the longest telephone number at each candidate, in a candidate's own blanks."""
    position = 0
    while match := pattern.search(text, position):
        start = match.start()
        position = start + 1
        if _DATE_OR_VERSION.match(text, start):
            continue
        if _is_bare(match.group()) and follows_reference(text, start):
            continue
        for end in _number_ends(text, start, match.end()):
            if _is_phone(text[start:end], regions):
                yield start + _is_open(text[start:end]), end
                position = end
                break


def _announced_spans(text: str, regions: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    for start, end in _spans(_DIGITS, text):
        if (
            _patterns().announcement.search(text[max(start - 48, 0) : start])
            and not _DATE_OR_VERSION.match(text, start)
            and (
                _is_phone(text[start:end], regions, strict=False)
                or _is_phone(f"+{text[start:end]}", regions)
            )
        ):
            yield start, end


def _number_ends(text: str, start: int, end: int) -> Iterator[int]:
    """Where the number may end: its last digit, or before one of its blanks, longest first."""
    yield end
    for index in range(end - 1, start + 7, -1):
        if not text[index].isdigit() and text[index - 1].isdigit():
            yield index


def _is_open(written: str) -> bool:
    return written[0] == "(" and ")" not in written


def _is_bare(number: str) -> bool:
    return number.isdigit()


def _is_phone(written: str, regions: tuple[str, ...], *, strict: bool = True) -> bool:
    digits = "".join(character for character in written if character.isdigit())
    if not 8 <= len(digits) <= 15:
        return False
    international = written.lstrip("( ")[0] == "+"
    if written.lstrip("( ").startswith("00"):
        digits, international = digits[2:], True
    # Germany's plan takes almost any digits after a 0: eight in a row may be anything.
    if not international and len(digits) < 9 and _is_bare(written):
        return False
    return _in_numbering_plan(f"+{digits}" if international else digits, regions, strict)


@functools.lru_cache(maxsize=50_000)
def _in_numbering_plan(number: str, regions: tuple[str, ...], strict: bool) -> bool:
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


# In every number below but an IBAN, and much faster to look for.
_GATE_DIGITS = re.compile(r"[0-9](?:[ .\-]?[0-9]){7}")
_GATE_EMAIL = re.compile(r"\w@(?:[\w-]+\.)+[^\W\d_]{2,}")
_GATE_URL_CREDENTIALS = re.compile(r"://[\w.\-]+:[\w.\-]+@")
_GATE_PHONES = (
    re.compile(r"(?<![\w+])\+[1-9][0-9]?(?: ?\(0\))?(?:[ .\-]?[0-9]){8,10}(?![0-9])"),
    re.compile(r"(?<![\w.,:+#/\\-])0[1-9]([ .\-]?)[0-9]{2}(?:\1[0-9]{2}){3}(?!\w)"),
)
_GATE_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b")
_GATE_NIR = re.compile(
    r"(?<![0-9])[12] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}(?![0-9])"
)
_GATE_CARD = re.compile(
    r"(?<![\w.])(?:4[0-9]|5[1-5])[0-9]{2}([ \-]?)[0-9]{4}\1[0-9]{4}\1[0-9]{4}(?!\w)"
)


def find_personal_data(
    text: str, *, phone_regions: Sequence[str], mask_ip_addresses: bool = True
) -> list[str]:
    """Kinds of personal data that remain in `text`, sorted; empty for a masked text.

    The quality gate: its own, simpler and blunter patterns, so that a flaw in the masking does
    not hide itself.
    """
    from stdnum import iban, luhn
    from stdnum.fr import nir

    kinds = set()
    if "@" in text and _GATE_EMAIL.search(text):
        kinds.add("EMAIL")
    if "@" in text and _GATE_URL_CREDENTIALS.search(text):
        kinds.add("URL_CREDENTIALS")
    if any(
        iban.is_valid(match.group(), check_country=False) for match in _GATE_IBAN.finditer(text)
    ):
        kinds.add("IBAN")
    if (":" in text or "=" in text) and _patterns().plain_password.search(text):
        kinds.add("PASSWORD")
    if mask_ip_addresses and any(
        is_host_address(text, *match.span())
        for match in (_IP_V4.finditer(text) if _DOTTED_DIGITS.search(text) else ())
    ):
        kinds.add("IP")
    if not _GATE_DIGITS.search(text):
        return sorted(kinds)
    if any(nir.is_valid(match.group()) for match in _GATE_NIR.finditer(text)):
        kinds.add("NIR")
    if any(luhn.is_valid(re.sub("[ -]", "", m.group())) for m in _GATE_CARD.finditer(text)):
        kinds.add("CARD")
    regions = tuple(phone_regions)
    for pattern in _GATE_PHONES:
        for match in pattern.finditer(text):
            if _is_bare(match.group()) and follows_reference(text, match.start()):
                continue
            digits = re.sub(r"\(0\)|[^0-9+]", "", match.group())
            if _in_numbering_plan(digits, regions, True):
                kinds.add("PHONE")
    return sorted(kinds)
