"""Masks what identifies or exposes a person, before text is embedded, stored or shown."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from ticket_assets.text.languages import Words, all_words, one_of, phrases
from ticket_assets.text.said_secrets import said_secrets
from ticket_assets.text.stated_secrets import (
    login_secrets,
    marked_secrets,
    may_state_secret,
    stated_secrets,
)
from ticket_assets.text.suspicions import suspected_kinds
from ticket_assets.text.telephones import (
    follows_reference,
    in_numbering_plan,
    is_another_number,
    phone_finders,
    spans_in_words,
    wrapped_phone_finders,
)


class Masked(NamedTuple):
    """A text with placeholders, and how many of each kind were put in."""

    text: str
    counts: dict[str, int]


# Spain's DNI and NIE.
_SPANISH_ID = r"(?:[0-9]{8}|[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}|[XYZ][ \-]?[0-9]{7})[ \-]?[A-HJ-NP-TV-Z]"


class _Patterns:
    """Words around addresses and numbers, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        released = words.version_words + tuple(map(re.escape, words.product_names))
        self.version_before = phrases(
            released, r"(?<![^\W\d_])", r"(?: [^\W_]{1,3})?(?: ?n°)?\s{0,2}[:=]?\s{0,2}v?$"
        )
        self.version_near = phrases(
            released, r"(?<![^\W\d_])", r"(?:[ :]{1,2}[\w.\-]{1,16}){1,3} ?:? ?$"
        )
        self.address_word = phrases(words.address_words, r"(?<![^\W\d_])", r"(?![^\W_])")
        self.tax_id = re.compile(
            rf"(?<![^\W_]){one_of(words.tax_id_names)}(?![^\W_])[^0-9\[]{{0,40}}"
            r"(?<![+\w])(?P<number>[1-9][0-9](?:[ ./\-]?[0-9]{3}){3})(?!\w)",
            re.IGNORECASE,
        )
        self.direction = phrases(words.direction_words, r"^\W*", r"\W*$")
        self.person_id = re.compile(
            rf"(?<![^\W_]){one_of(words.person_id_names)}(?![^\W_])[^0-9\n\[]{{0,40}}?"
            rf"(?<![+\w])(?:(?P<number>(?:PT ?)?[1-9](?:[ .\-]?[0-9]){{8}})(?!\w|[ .\-][0-9])"
            rf"|(?P<spanish>{_SPANISH_ID})(?![\w\-]))",
            re.IGNORECASE,
        )
        self.emails = _email_patterns(words)
        self.plain_password = re.compile(
            rf"\b{one_of(words.password_words)} ?[:=] ?"
            r"(?=\S{0,40}[0-9])(?=\S{0,40}[A-Za-z])(?!0x)[A-Za-z0-9]{6,}\b"
        )


_SHORT = 2  # letters of "at", which stands between other words, too
# "le site (a) exemple.fr et (b) exemple.org", "le fichier (a) liste.pdf"
_ITEM_OF_A_LIST = (
    r"(?:[^\n]{0,200}[\[(] ?b ?[\])]"
    r"|[\w.\-]{1,60}\.(?:docx?|xlsx?|pptx?|pdf|zip|csv|txt|log|exe|png|jpg)(?!\w))"
)


def _email_patterns(words: Words) -> tuple[tuple[re.Pattern[str], re.Pattern[str]], ...]:
    """What no address is without, and an address; as it is written, and as it is said."""
    at, dot = one_of(words.at_words), one_of(words.dot_words)
    joint = one_of(words.dot_words + words.mark_words)
    spoken = one_of(tuple(word for word in words.at_words if len(word) > 1))
    named = one_of(tuple(word for word in words.at_words if len(word) > _SHORT))
    # Possessive, and anchored where a run begins: linear on a megabyte of letters.
    start, local = r"(?<![\w.+%&'*=~-])", r"[\w.+%&'*=~-]++"
    at_sign = (
        rf"(?: ?[@＠][ \t]?\n? ?|[\[({{<]{at}[\])}}>]"
        rf"| ?[\[({{<\"'] ?(?:{spoken}|[@＠]) ?[\])}}>\"'] ?)"
    )
    last = r"(?=[^\W\d_]{2,4}(?![^\W_]))"
    domain = (
        rf"(?:[\w-]+(?:\.| \.{last}| ?[\[({{](?:{dot}|\.)[\])}}] ?| {dot} {last}))+[^\W\d_]{{2,}}"
    )
    bracketed = rf"(?: ?[\[({{]{dot}[\])}}] ?[\w+-]{{1,40}}){{0,3}}"
    # "logo@2x.png" is an image for fine screens.
    fine = r"(?![0-9]x\.(?:png|jpe?g|gif|webp|avif|svg)(?!\w))"
    written = rf"{start}{local}{bracketed}{at_sign}{fine}{domain}"
    # "j.roux (a) exemple.fr" and "contact (a) mairie-exemple.fr", but not "réunion (a) paris.fr".
    apart = rf" \( ?a ?\) (?!{_ITEM_OF_A_LIST})"
    written += (
        rf"|{start}(?:(?=[\w+-]{{1,40}}[._]\w){local}{apart}"
        rf"|{local}{apart}(?=[\w.]{{1,60}}-)){domain}"
    )
    joined = rf"{local}(?: {joint} [\w.+-]{{1,40}}){{0,4}}"
    said = (
        rf"{start}(?:(?=[\w+-]{{1,40}}[._]\w){local} {spoken} {domain}"
        rf"|{local} {named} {domain}"
        rf"|{joined} {spoken} (?:[\w-]{{1,60}} {dot} ){{1,3}}[^\W\d_]{{2,}})"
        # "reach me at nadia dot petrov at example dot org"
        rf"(?![\w-]| {spoken} [\w-]{{1,60}}(?:\.| {dot} ))"
    )
    return (
        (
            re.compile(rf"[@＠]|[\[({{<\"'] ?{at} ?[\])}}>\"']", re.IGNORECASE),
            re.compile(written, re.IGNORECASE),
        ),
        (
            re.compile(rf" {spoken} [\w.-]+(?:\.| {dot} )", re.IGNORECASE),
            re.compile(said, re.IGNORECASE),
        ),
    )


_patterns = functools.cache(_Patterns)


def mask_personal_data(
    text: str,
    *,
    phone_regions: Sequence[str],
    mask_ip_addresses: bool = True,
    by_words: bool = True,
) -> Masked:
    """`text` with addresses, telephone and card numbers, secrets... as `[EMAIL]`, `[PHONE]`...

    Kinds: URL_CREDENTIALS, PASSWORD (a value given in clear), EMAIL, IBAN, NIR (French social
    security number), CARD, IP (loopback and netmasks aside) and PHONE (international, or national
    in one of `phone_regions`). Check digits (ISO 13616, ISO 7064, Luhn) and numbering plans are
    verified, so that serial numbers, versions, dates and error codes stay. A number that a mail
    client wrapped over two lines is masked with its line break. Masking the result again changes
    nothing, and `find_personal_data` finds nothing in it.

    Without `by_words` the secrets that `said_secrets` finds stay: `secrets_in_context` is surer of
    them.
    """
    counts: Counter[str] = Counter()
    # A placeholder can uncover what it touched ("a@b.fr0612345678"), hence the second look.
    for _ in range(_MAX_PASSES):
        before = counts.total()
        text = _replace(text, "PASSWORD", marked_secrets, counts)
        text = _replace(text, "PASSWORD", stated_secrets, counts)
        text = _replace(text, "PASSWORD", login_secrets, counts)
        if "://" in text:
            text = _replace(text, "URL_CREDENTIALS", _url_credentials, counts)
        for hint, email in _patterns().emails:
            if hint.search(text):
                text = _replace(text, "EMAIL", functools.partial(_spans, email), counts)
        if _MANY_DIGITS.search(text):
            text = _without_numbers(text, counts)
        if mask_ip_addresses:
            text = _replace(text, "IP", _ip_addresses, counts)
        if _MANY_DIGITS.search(text):
            for find in phone_finders(tuple(phone_regions)):
                text = _replace(text, "PHONE", find, counts)
            if _BREAK.search(text):
                for find in wrapped_phone_finders(tuple(phone_regions)):
                    text = _replace(text, "PHONE", _over_two_lines(find, in_prose=True), counts)
        text = _replace(text, "PHONE", spans_in_words, counts)
        if by_words:
            text = _replace(text, "PASSWORD", said_secrets, counts)
        if counts.total() == before or not (
            _UNCOVERED.search(text) or may_state_secret(text.lower())
        ):
            break
    return Masked(text, dict(counts))


def _without_numbers(text: str, counts: Counter[str]) -> str:
    """Without the numbers of persons, accounts and cards."""
    text = _replace(text, "TAX_ID", _tax_ids, counts)
    text = _replace(text, "NATIONAL_ID", _national_ids, counts)
    text = _replace(text, "IBAN", _ibans, counts)
    text = _replace(text, "NIR", _social_security_numbers, counts)
    text = _replace(text, "CARD", _cards, counts)
    if _BREAK.search(text):
        text = _replace(text, "IBAN", _over_two_lines(_ibans), counts)
        text = _replace(text, "NIR", _over_two_lines(_social_security_numbers), counts)
        text = _replace(text, "CARD", _over_two_lines(_cards, in_prose=True), counts)
    return text


_MAX_PASSES = 6
# A placeholder that touches a word, or has digits near.
_UNCOVERED = re.compile(
    r"[^\s(<\"'«:](?=\[[A-Z_]+\])|[A-Z]\](?![.,;:!?)\"'»>|]*(?:\s|$))|[A-Z]\][^\w\n]{1,3}[0-9]"
    r"|[0-9][^\w\n]{1,2}\["
)
_MANY_DIGITS = re.compile(r"[0-9](?:[ .\-()/\n·_\u2011\u2013]{0,3}[0-9]){6}")


def _replace(
    text: str,
    kind: str,
    find: Callable[[str], Iterator[tuple[int, int]]],
    counts: Counter[str],
) -> str:
    return with_placeholders(text, kind, find(text), counts)


def with_placeholders(
    text: str, kind: str, spans: Iterable[tuple[int, int]], counts: Counter[str]
) -> str:
    """`text` with `[KIND]` for each span, counted; of those that overlap, for the first."""
    pieces: list[str] = []
    done = 0
    # In order of place: a finder of several notations gives them one after the other.
    for start, end in sorted(spans):
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
            # Between two groups of digits, or within one.
            for joint in (" ", "") if not in_prose else (" ",):
                for first, last in find(f"{above}{joint}{below}"):
                    if first < len(above) < last:
                        yield start + first, start + last + 1 - len(joint)

    return spans


_URL_CREDENTIALS = re.compile(
    r"(?<=://)(?!:[0-9]{1,5}@)[^\s/:@\[\]<>]{0,100}:[^\s/@\[\]<>]{1,100}(?=@)"
)


def _url_credentials(text: str) -> Iterator[tuple[int, int]]:
    return _spans(_URL_CREDENTIALS, text)


_IBAN = re.compile(
    r"(?:(?<![^\W_])|(?<=iban))[A-Z]{2} ?[0-9]{2}(?:[ .\-/_]?[A-Z0-9]){11,40}", re.IGNORECASE
)


_AFTER_IBAN = re.compile(r"(?:BIC|SWIFT)", re.IGNORECASE)


def _ibans(text: str) -> Iterator[tuple[int, int]]:
    from stdnum import iban

    # By the ISO 13616 check alone: the lists of national banks refuse real accounts.
    is_valid = functools.partial(iban.is_valid, check_country=False)
    return _checked(_IBAN, text, is_valid, range(15, 35))


_ELEVEN_DIGITS = re.compile(r"[0-9]{2}(?:[ ./\-]?[0-9]{3}){3}(?!\w)")


def _tax_ids(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.de import idnr

    for match in _patterns().tax_id.finditer(text) if _ELEVEN_DIGITS.search(text) else ():
        if idnr.is_valid(match["number"]):
            yield match.span("number")


# Belgium's national register, and the social security number of Switzerland.
_BELGIAN = re.compile(r"(?<![\w.])[0-9]{2}\.[0-9]{2}\.[0-9]{2}[ \-][0-9]{3}[.\-][0-9]{2}(?![\w])")
_SWISS = re.compile(r"(?<![\w.])756(?P<gap>[ .]?)[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{2}(?!\w)")
# Far faster to look for.
_DIGITS_AND_LETTER = re.compile(r"[0-9](?:[0-9]{3}|\.[0-9]{3}\.)[0-9]{3}[ \-]?[A-Z]", re.IGNORECASE)
_NINE_DIGITS = re.compile(r"[0-9](?:[ .\-]?[0-9]){8}(?![ .\-]?[0-9])")
_SPANISH = re.compile(rf"(?<![\w.\-/]){_SPANISH_ID}(?![\w\-])")


def _national_ids(text: str) -> Iterator[tuple[int, int]]:
    """By forms that little else has and their check digits; nine digits only beside their name."""
    from stdnum.be import nn
    from stdnum.ch import ssn
    from stdnum.es import nie, nif
    from stdnum.pt import nif as portuguese

    if "-" in text and "." in text:
        yield from (m.span() for m in _BELGIAN.finditer(text) if nn.is_valid(m.group()))
    if "756" in text:
        yield from (m.span() for m in _SWISS.finditer(text) if ssn.is_valid(m.group()))

    def is_spanish(written: str) -> bool:
        number = written.replace(".", "").upper()
        return bool((nie if number[0] in "XYZ" else nif).is_valid(number))

    has_letter = bool(_DIGITS_AND_LETTER.search(text))
    if has_letter or _NINE_DIGITS.search(text):
        for match in _patterns().person_id.finditer(text):
            if match["spanish"] and is_spanish(match["spanish"]):
                yield match.span("spanish")
            elif match["number"] and portuguese.is_valid(match["number"]):
                yield match.span("number")
    for match in _SPANISH.finditer(text) if has_letter else ():
        if is_spanish(match.group()) and not follows_reference(text, match.start()):
            yield match.span()


_NIR = re.compile(
    r"(?<![0-9])[12][ .\-]?[0-9]{2}[ .\-]?[0-9]{2}[ .\-]?"
    # A department, overseas with three digits, and a municipality.
    r"(?:[0-9][0-9AB][ .\-]?[0-9]{3}|9[78][0-9][ .\-]?[0-9]{2})[ .\-]?[0-9]{3}"
    r"(?:[ .\-/]{0,3}|[ ,]{1,2}[^\W\d_]{2,4} ?:? ?)[0-9]{2}(?![0-9])"  # "... 025, clé 38"
)


def _social_security_numbers(text: str) -> Iterator[tuple[int, int]]:
    from stdnum.fr import nir

    return _verified(_NIR, text, nir.is_valid)


# Issuers' ranges (Visa, Mastercard, Amex, Discover, Diners; Maestro and JCB in groups): an IMEI
# passes Luhn too.
_CARD = re.compile(
    r"(?<![\w.])(?:"
    r"(?:4[0-9]{3}|5[1-5][0-9]{2}|2[2-7][0-9]{2}|6011|65[0-9]{2})(?:[ .\-]?[0-9]{4}){3}"
    r"|(?:5018|5020|5038|5893|6304|67[5-7][0-9]|35(?:2[89]|[3-8][0-9]))(?:[ .\-][0-9]{4}){3}"
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


_LARGEST_CHAPTER = 32
_LARGEST_RELEASE = 160


def is_host_address(text: str, start: int, end: int) -> bool:
    """Whether `text[start:end]` is the address of a machine: no version, netmask or loopback."""
    written = text[start:end]
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return False
    if address.version == 6:
        return bool(re.search("[0-9]", written)) and len(re.sub(":", "", written)) > 4
    patterns, before = _patterns(), text[max(start - 48, 0) : start].rpartition("\n")[2]
    is_netmask = written.startswith(("0.", "255."))
    if address.is_loopback or is_netmask or patterns.version_before.search(before):
        return False
    if address.is_private or not re.search(r"\w", before):
        return True
    # Versions and chapters begin with small numbers, as few addresses in mail do.
    first = int(written.partition(".")[0])
    version = patterns.version_near.search(before)
    words_before = before.rsplit(None, 3)[-3:]
    # "from 2.14.0.1 to 3.0.2.9"
    if version or _RELEASE_BEFORE.search(before) or _RELEASE_AFTER.match(text, end):
        words_before = [word for word in words_before if not patterns.direction.search(word)]
    return first > (_LARGEST_RELEASE if version else _LARGEST_CHAPTER) or any(
        map(patterns.address_word.search, words_before)
    )


_RELEASE = r"(?:[12]?[0-9]|3[0-2])(?:\.[0-9]{1,5}){3}"
_RELEASE_BEFORE = re.compile(rf"(?<![\w.]){_RELEASE} [^\W\d_]{{1,6}} $")
_RELEASE_AFTER = re.compile(rf" [^\W\d_]{{1,6}} {_RELEASE}(?![\w.])")


def _spans(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, int]]:
    return (match.span() for match in pattern.finditer(text))


def _verified(
    pattern: re.Pattern[str], text: str, is_valid: Callable[[str], bool]
) -> Iterator[tuple[int, int]]:
    """Spans whose digits pass the check; one that fails may overlap one that passes."""
    position = 0
    while match := pattern.search(text, position):
        position = match.start() + 1
        if is_valid(re.sub(r"[^0-9AB]", "", match.group())):
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
            is_end = not text[end : end + 1].isalnum() or _AFTER_IBAN.match(text, end)
            if is_end and is_valid("".join(c for c, _ in compact[:length])):
                yield start, end
                position = end
                break


# In every number below but an IBAN, and much faster to look for.
_GATE_DIGITS = re.compile(r"[0-9](?:[ .\-]?[0-9]){7}")
_GATE_EMAIL = re.compile(r"\w@(?![0-9]x\.)(?:[\w-]+\.)+[^\W\d_]{2,}")
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
    text: str,
    *,
    phone_regions: Sequence[str],
    mask_ip_addresses: bool = True,
    suspicions: bool = True,
    passwords: bool = True,
) -> list[str]:
    """Kinds of personal data that remain in `text`, sorted; empty for most masked texts.

    The quality gate: its own, simpler and blunter patterns, so that a flaw in the masking does
    not hide itself. With `suspicions` it also names the kinds of what only looks like personal
    data in a way that the masking does not know; without `passwords` not of those, of which
    `secrets_in_context` knows more.
    """
    kinds = _certain_kinds(text, tuple(phone_regions), mask_ip_addresses)
    if suspicions:
        kinds |= suspected_kinds(
            text,
            phone_regions=tuple(phone_regions),
            hosts=mask_ip_addresses,
            passwords=passwords,
        )
    return sorted(kinds)


def _certain_kinds(text: str, regions: tuple[str, ...], mask_ip_addresses: bool) -> set[str]:
    from stdnum import iban, luhn
    from stdnum.fr import nir

    kinds: set[str] = set()
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
        return kinds
    if any(nir.is_valid(match.group()) for match in _GATE_NIR.finditer(text)):
        kinds.add("NIR")
    if any(luhn.is_valid(re.sub("[ -]", "", m.group())) for m in _GATE_CARD.finditer(text)):
        kinds.add("CARD")
    for pattern in _GATE_PHONES:
        for match in pattern.finditer(text):
            if is_another_number(text, *match.span()):
                continue
            digits = re.sub(r"\(0\)|[^0-9+]", "", match.group())
            if in_numbering_plan(digits, regions, True):
                kinds.add("PHONE")
    return kinds
