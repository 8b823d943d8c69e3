"""Says what still looks like personal data in a masked text, by other means than the masking."""

from __future__ import annotations

import functools
import ipaddress
import re
from collections.abc import Iterator

from ticket_assets.text.languages import all_words, one_of, phrases
from ticket_assets.text.telephones import in_numbering_plan, is_another_number

_WORDS_BETWEEN = 3
"""Between a word about passwords and what may be one, before or after it."""


class _Patterns:
    """Words near personal data, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        self.secret_word = phrases(words.secret_suspicions)
        self.secret_hints = words.secret_suspicion_hints
        self.products = frozenset(words.product_names)
        at = one_of(tuple(word for word in words.at_words if len(word) > 1))
        at_apart = one_of(tuple(word for word in words.at_words if len(word) > 2))
        opening, closing = r" ?[(\[{<*_\-]{1,2}", r"[)\]}>*_\-]{1,2} ?"
        self.email = re.compile(
            rf"(?<![\w.+\-])[\w.+\-]{{2,64}}(?: ?[@＠] ?|{opening}{at}{closing}| {at_apart} )"
            rf"[\w\-]{{2,64}}(?:[.,;·]| [.·] ?|\. | {one_of(words.dot_words)} )"
            r"(?:[a-z]{2,3}|info)(?![^\W_])"
        )
        self.phone_word = phrases(words.phone_announcements, r"(?<![^\W_])", r"\b[^\n]{0,24}$")
        self.tax_id = phrases(words.tax_id_names, r"(?<![^\W_])", rf"[^\n]{{0,30}}?{_ELEVEN}")
        self.address = phrases(words.address_words, r"(?<![^\W_])", rf"\W{{1,3}}{_FOUR_NUMBERS}")


_ANY = r"[\W_]{0,3}"
_ELEVEN = rf"(?<![0-9])(?P<number>[1-9](?:{_ANY}[0-9]){{10}})(?![0-9])"
_FOUR_NUMBERS = r"(?P<host>[0-9]{1,3}(?:[^\w\n]{1,3}[0-9]{1,3}){3})(?![\w.])"

_patterns = functools.cache(_Patterns)

_DIGITS = re.compile(rf"[0-9Oo](?:{_ANY}[0-9Oo]){{8}}")  # far faster to look for
_PHONE = re.compile(rf"(?<![\w+/\\#.,\-])[+(]{{0,2}}[0-9O](?:{_ANY}[0-9O]){{8,12}}(?!\w)")
_PAIRS = re.compile(r"[0O][67](?P<gap>[\W_]{0,2})(?:[0-9O]{2}(?P=gap)){3}[0-9O]{2}")
_IBAN = re.compile(rf"[A-Z]{{2}}{_ANY}[0-9]{_ANY}[0-9](?:{_ANY}[A-Z0-9]){{11,30}}", re.IGNORECASE)
_NIR = re.compile(rf"(?<![0-9])[12](?:{_ANY}[0-9AB]){{12}}(?:{_ANY}[0-9]){{2}}(?![0-9])")
_CARD = re.compile(
    r"(?<!\w)(?:4[0-9]|5[1-5]|2[2-7]|3[47]|6[05-9])[0-9]{2}(?P<gap>[^\w\n]{1,3}|_)"
    r"[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}(?!\w)"
)
_LOCAL_HOST = re.compile(rf"(?<![\w.])(?=192|172){_FOUR_NUMBERS}")


def suspected_kinds(text: str, *, phone_regions: tuple[str, ...], hosts: bool) -> set[str]:
    """Kinds of personal data of which `text` may still hold some; `hosts`: addresses of machines.

    Blunter than the masking on purpose: any signs between the digits, and for a password nothing
    but a word about passwords nearby. So it is wrong now and then, and its answer is for a person.
    """
    kinds = set()
    if _may_hold_secret(text):
        kinds.add("PASSWORD")
    if _patterns().email.search(text):
        kinds.add("EMAIL")
    if hosts and any(map(_is_host, _patterns().address.finditer(text))):
        kinds.add("IP")
    if hosts and any(_is_host(match, local=True) for match in _LOCAL_HOST.finditer(text)):
        kinds.add("IP")
    if _DIGITS.search(text):
        kinds |= set(_numbers(text, phone_regions))
    return kinds


def _numbers(text: str, phone_regions: tuple[str, ...]) -> Iterator[str]:
    from stdnum import iban, luhn
    from stdnum.de import idnr
    from stdnum.fr import nir

    for match in _IBAN.finditer(text):
        compact = _compact(match.group())
        if any(
            iban.is_valid(compact[:length], check_country=False)
            for length in range(15, len(compact) + 1)
        ):
            yield "IBAN"
    if any(nir.is_valid(_compact(match.group())) for match in _NIR.finditer(text)):
        yield "NIR"
    if any(luhn.is_valid(_compact(match.group())) for match in _CARD.finditer(text)):
        yield "CARD"
    for match in _patterns().tax_id.finditer(text):
        if idnr.is_valid(_compact(match["number"])):
            yield "TAX_ID"
    for match in _PHONE.finditer(text):
        number = re.sub(r"\(0\)|[^0-9+]", "", match.group().replace("O", "0"))
        before = text[max(match.start() - 60, 0) : match.start()]
        if (
            (_PAIRS.fullmatch(match.group()) or _patterns().phone_word.search(before))
            and not is_another_number(text, match.start(), match.end())
            and in_numbering_plan(number, phone_regions, True)
        ):
            yield "PHONE"


def _is_host(match: re.Match[str], *, local: bool = False) -> bool:
    try:
        address = ipaddress.ip_address(re.sub("[^0-9]+", ".", match["host"]))
    except ValueError:
        return False
    return not address.is_loopback and (address.is_private or not local)


def _compact(number: str) -> str:
    return re.sub(r"[\W_]", "", number)


def _may_hold_secret(text: str) -> bool:
    patterns = _patterns()
    folded = text.casefold()
    if not any(hint in folded for hint in patterns.secret_hints):
        return False
    words = text.split()
    told = {index for index, word in enumerate(words) if patterns.secret_word.search(word)}
    near = {
        index
        for place in told
        for index in range(place - _WORDS_BETWEEN - 1, place + _WORDS_BETWEEN + 2)
        if 0 <= index < len(words)
    }
    # "mdp:Tulipe99" is one word, and "Password2" a name.
    return any(_looks_secret(patterns.secret_word.sub(" ", words[index])) for index in near)


_NO_SECRET = re.compile(r"\[|\W*0x|\S*\[[A-Z_]+\]|https?:|\\\\|/|[A-Z]:\\|\S+@|\S+\.[a-z]{2,4}\W*$")
_CODE = re.compile(r"[A-Z_\-]+[0-9\-]+|[0-9a-fA-F\-]{12,}|[^\W\d_]+(?!(?:19|20)[0-9]{2})[0-9]{4}")


def _looks_secret(word: str) -> bool:
    """Whether a part of the word mixes three of small letters, capitals, digits and signs."""
    return not _NO_SECRET.match(word) and any(map(_is_mixed, re.split(r"[\s:=/|;,]", word)))


_ALTERNATING = re.compile(r"[0-9]-?[A-Z]|[A-Z]-?[0-9]")


def _is_mixed(part: str) -> bool:
    value = part.strip("\"'«»“”„`().,;:!?<>*")
    name = value.casefold().rstrip("0123456789.-_+")
    if not 6 <= len(value) <= 128 or name in _patterns().products or _CODE.fullmatch(value):
        return False
    classes = (r"[a-zà-ÿ]", r"[A-ZÀ-Þ]", "[0-9]", r"[^\W_][!$%&#@+*?][^\W_]")
    is_key = len(value) > 7 and len(_ALTERNATING.findall(value)) > 2  # "9K2M-77QX"
    return is_key or sum(bool(re.search(sign, value)) for sign in classes) > 2
