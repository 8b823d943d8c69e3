"""Says what still looks like personal data in a masked text, by other means than the masking."""

from __future__ import annotations

import functools
import ipaddress
import re
from bisect import bisect_right
from collections.abc import Iterator
from itertools import chain

from ticket_assets.text.languages import all_words, one_of, phrases
from ticket_assets.text.said_secrets import is_unknown_word, may_say_secret, may_speak_of_secret
from ticket_assets.text.stated_secrets import (
    is_chosen,
    is_phrase,
    is_plain_secret,
    is_product,
    may_state_secret,
    secret_names,
)
from ticket_assets.text.telephones import (
    follows_reference,
    in_numbering_plan,
    is_another_number,
)

_WORDS_BETWEEN = 4
"""Between a word about passwords and what may be one, before or after it."""
_WORDS_OF_AN_ANSWER = 10
"""What stands in a longer sentence beside that about a password is mostly a model or a folder."""


class _Patterns:
    """Words near personal data, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        self.secret_word = phrases(words.secret_suspicions)
        self.secret_hints = words.secret_suspicion_hints
        self.mention = phrases(
            words.password_words
            + words.secret_names
            + words.phrase_names
            + words.secret_suspicions
            + words.secret_mentions,
            r"(?<![^\W_])",
            r"[0-9]?(?![^\W_])",
        )
        self.mention_hints = (
            words.secret_hints + words.secret_suspicion_hints + words.secret_mention_hints
        )
        self.spellings = frozenset(chain.from_iterable(map(_shortened, words.long_secret_words)))
        self.opening = phrases(
            (
                rf"(?:{one_of(words.code_things)}[ \-]?)?{one_of(words.code_words)}",
                *words.secret_mentions,
            ),
            r"(?<![^\W_])",
            r"(?![^\W_])",
        )
        self.remark = phrases(words.no_secrets + words.turning_words)
        self.things = phrases(words.machine_words + words.reference_words + words.login_names)
        link = rf"(?:[:=]|,? {one_of(words.copulas)}(?![^\W_]))\s{{0,3}}[\"'«“„]?\s?"
        self.link = re.compile(link, re.IGNORECASE)
        some_words = r"(?:[ '’][^\W\d_]{1,16}){0,6}?"
        # "mdp : soleil", "my password is sunshine."
        self.password = phrases(
            words.password_words + words.secret_names, r"(?<![^\W_])", r"[0-9]?(?![^\W_])"
        )
        self.stated_word = re.compile(
            rf"{some_words} ?(?P<link>{link})(?P<value>[^\W\d_]{{4,40}})"
            r"(?![^\W_])[\"'»”]?[.,;!)]{0,2}(?:[ \t]*(?:$|\n)|[ \t]{1,4}[^\W\d_]+ ?:)",
            re.IGNORECASE,
        )
        self.stated_phrase = phrases(
            words.phrase_names,
            r"(?<![^\W_])",
            rf"(?![^\W_])(?:{some_words} ?(?P<link>{link})|\W{{1,3}})"
            r"(?P<words>[^\W_](?:[^\s.;:!?()\[\]\"«»]| (?=[^\W_])){2,100}+)(?!\s?\?)",
        )
        code = rf"(?<![^\W_])[^\W\d_]{{0,15}}{one_of(words.code_words)}(?![^\W_])"
        self.code = re.compile(
            rf"{code}(?P<between>[^0-9\[]{{2,60}}?){_FEW_DIGITS}|{_FEW_DIGITS},? "
            rf"{one_of(words.copulas + words.secret_roles)} (?:[^\W\d_]{{1,12}} ){{0,2}}{code}",
            re.IGNORECASE,
        )
        open_code = one_of(
            words.open_code_words + words.reference_words + words.error_words + words.machine_words
        )
        self.open_code = re.compile(
            rf"(?<![^\W_])(?!{one_of(words.code_words)}(?![^\W_])){open_code}(?:s|n|-)?(?![^\W_])"
            rf"|{one_of(words.open_code_words + words.error_words)}-?{one_of(words.code_words)}",
            re.IGNORECASE,
        )
        at = one_of(tuple(word for word in words.at_words if len(word) > 1))
        at_apart = one_of(tuple(word for word in words.at_words if len(word) > 2))
        opening, closing = r" ?[(\[{<*_\-]{1,2}", r"[)\]}>*_\-]{1,2} ?"
        sign = r"(?:\s{0,2}\\?[@＠]{1,2}\s{0,2}|&#0?64;|%40)"
        self.email = re.compile(
            rf"(?<![\w.+\-])[\w.+\-]{{2,64}}(?:{sign}|{opening}{at}{closing}| {at_apart} )"
            rf"(?![0-9]x\.)[\w\-]{{2,64}}(?:[.,;·]| [.·] ?|\. | {one_of(words.dot_words)} )"
            r"(?:[a-z] ?[a-z]{1,2}|info)(?![^\W_])"
        )
        self.phone_word = phrases(words.phone_announcements, r"(?<![^\W_])", r"[^\n]{0,48}$")
        self.phone_word_after = phrases(
            words.phone_announcements, r"\W{1,3}(?:[^\W\d_]{1,8} ){0,3}", r"(?![^\W_])"
        )
        self.hyphenated = re.compile(
            rf"(?<![^\W_])(?i:{one_of(words.copulas)}) [\"'«“„]?"
            r"([a-z]{2,12}(?:-[a-z0-9]{2,12}){1,2})(?![\w\-])"
        )
        self.second = re.compile(
            rf" \w{{3,12}} (?i:{one_of(words.conjunctions)}) ([^\W\d_]{{5,20}}[!?*#&]?[0-9]{{0,3}}"
            r"|[^\W\d_]+_[^\W_]+)(?!\w)"
        )
        self.digits_in_words = phrases(
            words.digit_words, r"(?<![^\W_])(?:", r"(?![^\W_])[ ,.\-]{1,2}){7}"
        )
        self.tax_id = phrases(words.tax_id_names, r"(?<![^\W_])", rf".{{0,60}}?{_ELEVEN}")
        places = tuple(word for word in words.address_words if word not in words.direction_words)
        self.address = phrases(places, r"(?<![^\W_])", rf"\W{{1,3}}{_FOUR_NUMBERS}")


_ANY = r"[\W_]{0,3}"
_ELEVEN = rf"(?<![0-9])(?P<number>[1-9](?:{_ANY}[0-9]){{10}})(?![0-9])"
# No year, date, version, quantity or part of a longer number.
_FEW_DIGITS = (
    r"(?<![\w.,:/+#\-])(?!(?:19|20)[0-9]{2}(?![0-9]))"
    r"[0-9](?:[ \-]?[0-9]){3,7}[#*]?(?!\w|[.,:/\-][0-9]| ?[%€$£]| [0-9])"
)
_FOUR_NUMBERS = r"(?P<host>[0-9]{1,3}(?:[^\w\n]{1,3}[0-9]{1,3}){3})(?![\w.])"

_patterns = functools.cache(_Patterns)

_DIGITS = re.compile(rf"[0-9Oo](?:{_ANY}[0-9Oo]){{8}}")  # far faster to look for
_PHONE = re.compile(rf"(?<![0-9_+/\\#.,\-])[+(]{{0,2}}[0-9O](?:{_ANY}[0-9O]){{8,12}}(?!\w)")
_PAIRS = re.compile(r"[0O][67](?P<gap>[\W_]{0,2})(?:[0-9O]{2}(?P=gap)){3}[0-9O]{2}")
_IBAN = re.compile(
    rf"[A-Z]{_ANY}[A-Z]{_ANY}[0-9]{_ANY}[0-9](?:{_ANY}[A-Z0-9]){{11,30}}", re.IGNORECASE
)
_NIR = re.compile(rf"(?<![0-9])[12](?:{_ANY}[0-9AB]){{12}}(?:{_ANY}[0-9]){{2}}(?![0-9])")
_GAP = r"(?:[^\w\n]{0,3}|_)"
_CARD = re.compile(rf"(?<![0-9])(?:4|5{_GAP}[1-5]|2{_GAP}[2-7])(?:{_GAP}[0-9]){{14,15}}(?![0-9])")
_LOCAL_HOST = re.compile(rf"(?<![\w.])(?=192|172){_FOUR_NUMBERS}")


def suspected_kinds(
    text: str, *, phone_regions: tuple[str, ...], hosts: bool, passwords: bool
) -> set[str]:
    """Kinds of personal data of which `text` may still hold some.

    `hosts`: addresses of machines, too; `passwords`: those, too.

    Blunter than the masking on purpose: any signs between the digits, and for a password nothing
    but a word about passwords nearby. So it is wrong now and then, and its answer is for a person.
    """
    kinds = set()
    if passwords and (_may_hold_secret(text) or any(map(_is_strong, _WITH_SIGN.findall(text)))):
        kinds.add("PASSWORD")
    if _patterns().email.search(text):
        kinds.add("EMAIL")
    if hosts and any(map(_is_host, _patterns().address.finditer(text))):
        kinds.add("IP")
    if hosts and any(_is_host(match, local=True) for match in _LOCAL_HOST.finditer(text)):
        kinds.add("IP")
    if _DIGITS.search(text):
        kinds |= set(_numbers(text, phone_regions))
    if _patterns().digits_in_words.search(text):
        kinds.add("PHONE")
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
    for match in _CARD.finditer(text):
        digits = _compact(match.group())
        if (
            len(digits) == 16
            and luhn.is_valid(digits)
            and not follows_reference(text, match.start())
        ):
            yield "CARD"
    for match in _patterns().tax_id.finditer(text):
        if idnr.is_valid(_compact(match["number"])):
            yield "TAX_ID"
    for match in _PHONE.finditer(text):
        number = re.sub(r"\(0\)|[^0-9+]", "", match.group().replace("O", "0"))
        before = text[max(match.start() - 60, 0) : match.start()]
        if (
            (
                _patterns().phone_word.search(before)  # may touch: "Tel0612345678"
                or (not before[-1:].isalpha() and _PAIRS.fullmatch(match.group()))
                or _patterns().phone_word_after.match(text, match.end())
            )
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
    """By the shape of a word near one about secrets, or by what is said between the two."""
    folded = text.casefold()
    may_state = may_state_secret(folded)
    return (
        (may_state and _may_state_words(text))
        or (may_state and _may_state_code(text))
        or _stands_by_mention(text, folded)
        or (any(hint in folded for hint in _patterns().secret_hints) and _may_hold_mixed(text))
        or may_say_secret(text)
        or _holds_pair(text)
        or _holds_unknown_word(text)
    )


def _holds_pair(text: str) -> bool:
    """Whether two words in a sentence look composed, whatever it speaks of: an old and a new one.

    "alt: Birne-41, neu: Birne-42", "ancien = Mai_lune, nouveau = Juin_pluie". A single one names a
    product or a machine far more often.
    """
    if not _MAY_BE_COMPOSED.search(text):
        return False
    for sentence in _SENTENCE_END.split(text):
        composed, previous = set(), ""
        for word in sentence.split():
            if not _patterns().things.fullmatch(previous):
                composed |= {part for part in _PART_END.split(word) if _is_composed(part)}
            previous = word.strip(_MARKS)
        if len(composed) > 1:
            return True
    return False


def _is_composed(part: str) -> bool:
    word = part.strip(_MARKS)
    return bool(
        _COMPOSED.fullmatch(word)
        and not _NAME_OF_THING.search(word)
        and not _MACHINE.match(word)
        and not is_product(word)
        and not _patterns().things.fullmatch(re.split("[0-9_-]", word)[0])
    )


_COMPOSED = re.compile(
    r"[A-ZÀ-Þ][^\W\d_]{3,20}[0-9]{1,2}[a-z]?|[^\W\d_]{3,20}(?:_[^\W_]{2,20}){1,3}"
    r"|[A-ZÀ-Þ][a-zà-ÿ]{2,20}[!*?+$#&][A-Za-z0-9]{1,12}|[A-ZÀ-Þ][a-zà-ÿ]{3,20}-[0-9]{1,2}"
    r"|[a-z]{2,8}-[a-z]{2,8}-[0-9]{1,3}"
)
# Far faster to look for: a letter before a digit or a sign, twice.
_MAY_BE_COMPOSED = re.compile(
    r"[^\W\d_](?:[0-9]|[_!*?+$#&\-][A-Za-z0-9])[^.!?…\n]{1,200}?[^\W\d_](?:[0-9]|[_!*?+$#&\-][A-Za-z0-9])"
)
_MACHINE = re.compile(r"(?:srv|pc|fs|nas|vm|prn|imp|sw|db|dc)[_\-0-9]", re.IGNORECASE)


def _holds_unknown_word(text: str) -> bool:
    """Whether a word that ordinary mail lacks stands near a secret's name or is one of a pair.

    In a short text that of letters counts, too ("mdp wolkenbruch", "ist Zugspitze das Passwort?");
    elsewhere with signs inside ("Harvest.Moon", "... est lilas-labo"), or after a login and a
    conjunction ("sign in with demo and showtime").
    """
    patterns, names = _patterns(), secret_names(text)
    if names:
        if any(map(is_unknown_word, patterns.hyphenated.findall(text))) or _TWO_NAMES.search(text):
            return True
        if len(text) <= _SHORT_TEXT:
            near = (
                word[1]
                for word in chain(_SMALL_LETTERS.finditer(text), _CAPITALISED.finditer(text))
                for name in names
                if name.start() - _NEAR_NAME <= word.start() <= name.end() + _NEAR_NAME
            )
            if any(map(is_unknown_word, near)):
                return True
    return any(
        may_speak_of_secret(sentence)
        for sentence in _SENTENCE_END.split(text)
        if any(map(is_unknown_word, patterns.second.findall(sentence)))
    )


_SHORT_TEXT = 90  # characters; in longer ones a mistyped word is likelier than a secret
_NEAR_NAME = 16  # characters
_SMALL_LETTERS = re.compile(r"(?<![\w'’\-])([a-zà-ÿ]{6,30})(?![\w'’\-])")
_CAPITALISED = re.compile(r"(?<=[\w,(] )\(?([A-ZÀ-Þ][a-zà-ÿ]{4,20})(?![\w\-])")
_TWO_NAMES = re.compile(r"(?<![\w.@])[A-ZÀ-Þ][a-zà-ÿ]{2,20}[._][A-ZÀ-Þ][a-zà-ÿ]{2,20}(?![\w.@])")


def _may_state_code(text: str) -> bool:
    """Whether digits are given for a code, and nothing says that it is, say, a postal one."""
    if not _SOME_DIGITS.search(text):
        return False
    patterns = _patterns()
    for match in patterns.code.finditer(text):
        between = match["between"]
        around = f"{text[max(match.start() - 12, 0) : match.start()]}{match.group()}"
        # "code 1603" alone is that of an error.
        link = patterns.link.search(between or "")
        if patterns.open_code.search(around) or (between is not None and not link):
            continue
        # "le code affiché est 1603", but "le code a changé, c'est 7714"
        is_afresh = link is not None and link.group().startswith(",")
        if is_afresh or not any(
            map(patterns.remark.fullmatch, re.findall(r"[^\W\d_]+", between or ""))
        ):
            return True
    return False


_SOME_DIGITS = re.compile(r"[0-9](?:[ \-]?[0-9]){3}")


def _may_state_words(text: str) -> bool:
    """Whether one plain word is given for a password, or several for a passphrase."""
    patterns = _patterns()
    for match in patterns.stated_phrase.finditer(text):
        if is_phrase(match["words"], sure=bool(match["link"])):
            return True
    for name in patterns.password.finditer(text):
        stated = patterns.stated_word.match(text, name.end())
        # "le mot de passe c'est la galère"
        if stated and " " not in stated["link"].strip(" ,") and is_plain_secret(stated["value"]):
            return True
    return False


def _may_hold_mixed(text: str) -> bool:
    patterns = _patterns()
    words = text.split()
    starts = [match.start() for match in re.finditer(r"\S+", text)]
    names = (match.start() for match in patterns.secret_word.finditer(text))
    for place in sorted({bisect_right(starts, name) - 1 for name in names}):
        first = max(place - _WORDS_BETWEEN, 0)
        around = words[first : place + _WORDS_BETWEEN + 1]
        for index, word in enumerate(around, first):
            between = words[min(index, place) : max(index, place)]
            # "... on the Contact360 card. My password is current"
            if index < place and any(map(_ENDS_SENTENCE.search, between)):
                continue
            # "mdp:Tulipe99" is one word, and "Password2" a name.
            part = patterns.secret_word.sub(" ", word).strip(_MARKS)
            if index != place and patterns.things.fullmatch(words[index - 1] if index else ""):
                continue
            if _looks_secret(part):
                return True
            if index == place or not _is_made_up(part):
                continue
            if not any(map(patterns.remark.fullmatch, between[1:])):
                return True
    return False


def _stands_by_mention(text: str, folded: str) -> bool:
    """Whether a word that looks made up stands in the sentence of a secret's name or a short one
    next to it.

    So do words in quotes and the digits of a code, in the same sentence alone.
    """
    patterns = _patterns()
    if not (
        _LETTERS_AND_MORE.search(text) or _SOME_DIGITS.search(text) or _QUOTED.search(text)
    ) or not (any(hint in folded for hint in patterns.mention_hints) or _misspells_secret(folded)):
        return False
    sentences = [sentence for sentence in _SENTENCE_END.split(text) if sentence.strip()]
    for place, sentence in enumerate(sentences):
        # What was given for it is masked.
        if "[PASSWORD]" in sentence or not (
            patterns.mention.search(sentence) or _misspells_secret(sentence.casefold())
        ):
            continue
        if _holds_opening_digits(sentence) or _holds_quoted(sentence):
            return True
        near = [*sentences[max(place - 1, 0) : place], *sentences[place + 1 : place + 2]]
        short = (_MODEL.sub("", one) for one in near if len(one.split()) <= _WORDS_OF_AN_ANSWER)
        if any(map(_holds_made_up, (sentence, *short))):
            return True
    return False


_MODEL = re.compile(r"(?<=[^\W_] )(?:[A-ZÀ-Þ][a-zà-ÿ]+ ){1,2}[A-ZÀ-Þ][a-zà-ÿ]+[0-9]{1,3}(?!\w)")
_ENDS_SENTENCE = re.compile(r"[.!?…][\"'»”)]?$")
_SENTENCE_END = re.compile(r"(?<=[.!?…])[\"'»”]?\s+|\n+")
_LETTERS_AND_MORE = re.compile(r"[^\W\d_](?:[0-9]|[^\w\s]+[^\W_]|_)|[0-9][^\W\d_]")
_LETTERS = re.compile(r"[^\W\d_]{7,16}")


def _misspells_secret(folded: str) -> bool:
    """Whether a word is a secret's name with one typing mistake: "passwrod", "contrasenya"."""
    spellings = _patterns().spellings
    return any(not spellings.isdisjoint(_shortened(word)) for word in _LETTERS.findall(folded))


def _shortened(word: str) -> set[str]:
    """The word and what is left of it without one letter.

    Two words of which these sets meet differ by one letter that is missing, wrong, too many or
    exchanged with the next (the deletions of SymSpell).
    """
    return {word} | {word[:index] + word[index + 1 :] for index in range(len(word))}


def _holds_made_up(sentence: str) -> bool:
    patterns = _patterns()
    previous = ""
    for word in sentence.split():
        if not patterns.things.fullmatch(previous) and any(
            _looks_made_up(part) or any(map(_looks_made_up, part.split("/")))
            for part in _PART_END.split(word)
        ):
            return True
        previous = word.strip(_MARKS)
    return False


def _looks_made_up(word: str) -> bool:
    """Whether people choose such words for a secret, and hardly for anything else.

    A word with digits ("Tulipe34", "Cl0chette"), several with signs between ("Glasfaser#Blau",
    "Regenrinne-12-Ost", "Farol.do.Cabo"); no reference in capitals, file, product or machine.
    """
    patterns, value = _patterns(), word.strip(_MARKS + "-—–/").removesuffix("]")
    if not 6 <= len(value) <= 64 or _NO_SECRET.match(value) or _NAME_OF_THING.search(value):
        return False
    pieces = re.findall(r"[^\W_]+", value)
    names = [piece.casefold().rstrip("0123456789") for piece in pieces]
    if (
        not re.search("[a-zà-ÿ]{3}", value)
        or any(map(is_product, pieces))
        or any(map(patterns.things.fullmatch, names))
        or any(map(patterns.mention.fullmatch, names))
    ):
        return False
    return bool(
        _SIGNS_BETWEEN.search(value)
        or any(map(_WORD_WITH_DIGITS.fullmatch, pieces[:1] if len(pieces) < 3 else pieces))
        or (_THREE_PIECES.fullmatch(value) and not _YEAR.search(value[: value.find("/")]))
        or _CAPITAL_PIECES.fullmatch(value)
    )


_PART_END = re.compile(r"[=|;,()\"«»“”<>]|:(?!/)")
# A file, a folder ("Compta_2026"), a machine ("port-5258", "prn865").
_NAME_OF_THING = re.compile(
    r"\.(?:[a-z][a-z0-9]{1,4}|[A-Z]{3,4})$|^[^\W\d_]+_(?:19|20)[0-9]{2}$"
    r"|^[^\W\d_]{1,4}-[0-9]{3,6}$|^(?i:[b-df-hj-np-tv-xz]{2,5}-?[0-9]{2,6})$"
)
_YEAR = re.compile("(?:19|20)[0-9]{2}")
_SIGNS_BETWEEN = re.compile(r"[^\W_][!$%&#@+*?\[]+[^\W_]")
# Two or more small letters before digits, with a capital or digits inside.
_WORD_WITH_DIGITS = re.compile(
    r"[A-ZÀ-Þ][^\W\d_]{3,20}(?:[0-9]{1,3}|(?:19|20)[0-9]{2})(?:[^\W\d_]{2,20})?"
    r"|(?=.{6})[^\W\d_]{1,12}[0-9]{1,2}[a-zà-ÿ]{3,12}"
)
_THREE_PIECES = re.compile(
    r"[^\W\d_]{3,20}(?:[.\-/][^\W_]{1,20}){0,2}[.\-/](?!0)[0-9]{1,4}(?:[.\-/][^\W_]{1,20}){0,2}"
)
# "Nenuphar_21", "Azerty.4ever"; "Farol.do.Cabo", whose pieces are not all like "System.Net.Http".
_CAPITAL_PIECES = re.compile(
    r"[A-ZÀ-Þ][a-zà-ÿ]{3,20}[._][0-9]{1,4}[a-zà-ÿ]{0,10}"
    r"|[A-ZÀ-Þ][a-zà-ÿ]{2,20}([.\-_])[a-zà-ÿ]{1,5}\1[A-ZÀ-Þ][a-zà-ÿ]{2,20}"
)


def _holds_opening_digits(sentence: str) -> bool:
    """Whether a sentence about what opens something holds digits in a form that codes have."""
    patterns = _patterns()
    opening = patterns.opening.search(sentence)
    if not opening:
        return False
    around = sentence[max(opening.start() - 14, 0) : opening.end() + 14]
    if patterns.open_code.search(around):
        return False
    for match in _OPENING_DIGITS.finditer(sentence):
        day, month = (match["pairs"] or "99-99").split("-")[:2]
        if int(day) > 31 or int(month) > 12:  # no date
            return True
    return False


_OPENING_DIGITS = re.compile(
    r"(?<![\w.,:/+#\-])(?!(?:19|20)[0-9]{2}(?![0-9]))(?:(?P<pairs>[0-9]{2}(?:-[0-9]{2}){2})"
    r"|[0-9]{3}[ \-][0-9]{3}|[*#][0-9]{4,8}[#*]?|[0-9]{4,8}[#*]|[0-9]{4}[A-Z])"
    r"(?!\w|[.,:/\-][0-9]| ?[%€$£]| [0-9])"
)


def _holds_quoted(sentence: str) -> bool:
    """Whether several words in quotes follow a secret's name, no message of a program."""
    patterns = _patterns()
    for name in patterns.mention.finditer(sentence):
        match = _QUOTED_AFTER.match(sentence, name.end())
        if (
            match
            and is_phrase(match["words"], sure=True)
            and not patterns.mention.search(match["words"])
        ):
            return True
    return False


_QUOTED = re.compile(r"[\"«“„]")
_QUOTED_AFTER = re.compile(
    r"(?:[ '’][^\W\d_]{1,16}){0,6}?\s?:?\s?[\"«“„]\s?"
    r"(?P<words>[^\W_][^\"«»“”„\n]{2,60}?)\s?[\"»”“]"
)


def _is_made_up(part: str) -> bool:
    """Whether letters and digits may be a password or a key: "tulipe99", "hunter2"."""
    if len(re.findall(r"[^\W\d_]", part)) < 3 or _NAME_OF_THING.search(part):  # "v2.10.4"
        return False
    if _CODE.fullmatch(part):
        return bool(_HEXADECIMAL.fullmatch(part))
    return is_chosen(part) or bool(_WORD_AND_DIGIT.fullmatch(part) and not is_product(part))


_WORD_AND_DIGIT = re.compile(r"[a-zà-ÿ]{5,20}[0-9]")
_HEXADECIMAL = re.compile(r"(?=[0-9]*[A-Fa-f])(?=[A-Fa-f]*[0-9])[0-9A-Fa-f]{10,64}")
# A mix of all four kinds of signs is a password wherever it stands: "admin:P@ssw0rd1".
_WITH_SIGN = re.compile(r"[^\s:,;()\[\]\"<>/=]{2,24}[!$%&#@*][^\s:,;()\[\]\"<>/=.]{0,20}")


def _is_strong(value: str) -> bool:
    return (
        8 <= len(value) <= 24
        and not _NO_SECRET.match(value)
        and all(re.search(kind, value) for kind in ("[a-zà-ÿ]{2}", "[A-ZÀ-Þ]", "[0-9]"))
        and not is_product(value.rstrip("!$%&#@*"))
    )


_MARKS = "\"'«»“”„`().,;:!?<>*"
_NO_SECRET = re.compile(r"\[|\W*0x|\S*\[[A-Z_]+\]|https?:|\\\\|/|[A-Z]:\\|\S+@|\S+\.[a-z]{2,4}\W*$")
_CODE = re.compile(r"[A-Z_\-]+[0-9\-]+|[0-9a-fA-F\-]{12,}|[^\W\d_]+(?!(?:19|20)[0-9]{2})[0-9]{4}")


def _looks_secret(word: str) -> bool:
    """Whether a part of the word mixes three of small letters, capitals, digits and signs."""
    return not _NO_SECRET.match(word) and any(map(_is_mixed, re.split(r"[\s:=/|;,]", word)))


_ALTERNATING = re.compile(r"[0-9]-?[A-Z]|[A-Z]-?[0-9]")


def _is_mixed(part: str) -> bool:
    value = part.strip(_MARKS)
    if not 6 <= len(value) <= 128 or is_product(value) or _CODE.fullmatch(value):
        return False
    classes = (r"[a-zà-ÿ]", r"[A-ZÀ-Þ]", "[0-9]", r"[^\W_][!$%&#@+*?][^\W_]")
    is_key = len(value) > 7 and len(_ALTERNATING.findall(value)) > 2  # "9K2M-77QX"
    return is_key or sum(bool(re.search(sign, value)) for sign in classes) > 2
