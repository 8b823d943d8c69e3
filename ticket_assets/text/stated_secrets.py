"""Finds passwords, keys and tokens that a text gives in clear, by what is said around them."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Iterator
from itertools import chain

from ticket_assets.text.languages import all_words, one_of, phrases, small_letters

Span = tuple[int, int]

_LONGEST_START, _LONGEST_NAME = 32, 64  # characters of a name before its hint, and from there on
_LONGEST_SENTENCE = 300  # characters on either side of a name
_WORDS_TO_SIGN = 12
"""Between a name and its colon: "mot de passe de la boîte partagée du service achats : ...", """
_WORDS_TO_VALUE = 6
"""and to a value without one: "my password was changed to ..."."""
_WORDS_TO_CODE = 4
"""To the digits of a code without a colon: "code pin de ma carte agent 5093"."""
_WORDS_TO_ROLE = 4
"""From a value to its name: "... als neues Passwort", "... ist mein Passwort"."""


class _Patterns:
    """Words around secrets, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        names = one_of(tuple(sorted(words.secret_names, key=len, reverse=True)))
        code, thing = one_of(words.code_words), one_of(words.code_things)
        open_code = one_of(words.open_code_words + words.error_words)
        joint = r"(?:[ \-]|(?<=['’]))"
        of_thing = rf"(?:{joint}{one_of(words.code_links)}){{0,4}}{joint}{thing}(?![^\W_])"
        # "GITLAB_TOKEN=" and "mdp2:" are names, "1password" and "passwordless" are none, nor is a
        # placeholder. "pin code" comes before "pin", of which it is no value. For small letters.
        self.name = re.compile(
            rf"(?<![^\W_])(?!password\])(?:(?P<phrase>{one_of(words.phrase_names)})"
            rf"|(?P<password>{one_of(words.password_words)})"
            rf"|(?P<code>{thing}[ \-]?{code}(?:{of_thing}){{0,2}}|{code}(?:{of_thing}){{1,3}})"
            rf"|{names})[0-9]?(?![^\W_])"
        )
        self.copula = re.compile(rf",?[ \t]{one_of(words.copulas)}(?![^\W_])", re.IGNORECASE)
        login = rf"(?<![^\W_]){one_of(words.login_names)}"
        self.login_pair = re.compile(
            rf"{login}(?:(?: ?/ ?[^\W_]{{2,20}})? ?: ?[^\s/]{{2,60}} ?/ ?(?P<value>{_VALUE})"
            rf"|(?: {one_of(words.copulas)})? [^\s/:]{{2,60}} / (?P<chosen>{_VALUE}))",
            re.IGNORECASE,
        )
        # "user: jsmith, password: rainbow"
        self.login_and_password = re.compile(
            rf"{login} ?(?P<sign>[:=])? ?[^\s:=/;,]{{2,60}}[\s,;/|\-–]{{1,5}}"
            rf"(?:{one_of(words.conjunctions)} )?"
            rf"{one_of(words.password_words + words.secret_names)}"
            rf"(?(sign) ?[:=]? ?| ?[:=] ?)(?P<value>{_VALUE})(?=\W*(?:\n|$))",
            re.IGNORECASE,
        )
        self.setting_before = re.compile(
            rf"(?<![^\W_]){one_of(words.setting_verbs)} [\"'«“„]? ?(?P<value>{_VALUE}?) ?[\"'»”]? "
            rf"{one_of(words.secret_roles)}(?: [^\W\d_]{{1,10}}){{0,2}} $",
            re.IGNORECASE,
        )
        # "passe" is found where "pass" is.
        self.hints = tuple(
            hint
            for hint in words.secret_hints
            if not any(hint != other and hint.startswith(other) for other in words.secret_hints)
        )
        self.login_hints = words.login_hints
        self.no_plain_secret = phrases(words.no_secrets + words.login_names + words.password_words)
        self.no_secret = re.compile(one_of(words.no_secrets), re.IGNORECASE)
        self.phrase_introduction = re.compile(
            r"(?: [^\W\d_]{1,16}(?:-[^\W\d_]{1,16})?){0,5}?"
            rf"(?:\s?(?P<sign>[:=])|,? {one_of(words.copulas)}(?![^\W_]))\s",
            re.IGNORECASE,
        )
        # "c'était mamie1947 le mot de passe", "8316A, c'est le code d'entrée"
        self.copula_before = re.compile(
            rf"(?<![^\W_]){one_of(words.copulas)} [\"'«“„]?(?P<value>{_VALUE}) [^\W\d_]{{2,5}} $",
            re.IGNORECASE,
        )
        self.code_before = re.compile(
            rf"(?<![\w.,:/+#\-])[\"'«“„]?(?P<value>{_CODE})[\"'»”]?,? "
            rf"(?i:{one_of(words.copulas)}) (?:[^\W\d_]{{1,5}} )?$"
        )
        self.code_link = phrases(words.code_links)
        self.one_time = phrases(words.one_time_words, r"(?<![^\W_])", r"(?![^\W_])")
        self.one_time_code = re.compile(
            rf"(?<![^\W_])(?!{open_code})[^\W\d_]{{0,15}}{code}(?![^\W_])"
            rf"(?! (?:[^\W\d_]{{1,3}} )?{open_code})[^0-9\n.!?\[]{{1,40}}?"
            r"(?<![\w.,:/+#\-])(?P<value>(?:[A-Z]-)?[0-9]{3}[ \-]?[0-9]{3})(?!\w|[ .,\-][0-9])",
            re.IGNORECASE,
        )
        self.turning = frozenset(words.turning_words)
        self.openings = frozenset(words.pronouns)  # "phrase de passe : je l'ai perdue"
        self.small_words = frozenset(words.stopwords + words.turning_words + words.pronouns)
        self.plain_words = self.small_words.union(words.request_words)
        self.products = frozenset(words.product_names)
        elided = rf"(?:{one_of(words.elisions)}['’])?"
        self.things = phrases(words.machine_words + words.reference_words, elided)


_patterns = functools.cache(_Patterns)

_WORD_START = re.compile(r"(?<![^\W_])[^\W_]")
_VALUE = r"[^\s\"'«»“”„`<>]{3,128}"
_OPENED_VALUE = rf"[\"'«“„`]?[ \t]?(?P<value>{_VALUE})"
_VALUE_HERE = re.compile(rf"\s{{0,8}}{_OPENED_VALUE}")
_VALUE_AFTER_LOGIN = re.compile(rf"\s{{0,4}}[^\s/]{{2,40}} ?/ ?{_OPENED_VALUE}")
# What closes the name may stand before: `"password": "..."`, `<password>...`.
_SIGN = re.compile(r"[\"'»”)\]]?\s{0,3}(?P<sign>=>|[:=]=?|[-=]?>|→)")
_REMARK = re.compile(r"[ \t]?\((?P<words>[^()\n]{1,30})\)")
_FILLER = re.compile(
    r",?[ \t]{1,3}(?:[-–—] )?(?P<word>(?:[^\W\d_]{1,20}['’\-]?){1,3}|[0-9]{1,2}[hG][0-9]{0,2})"
    r"(?=[\s=,(]|:(?!/)|$)"
)
_GAP = re.compile(
    rf",?[ \t]{{1,8}}(?:[-–—|;] )?|[ \t]{{0,3}}\n\s{{0,8}}(?={_OPENED_VALUE}[ \t]*(?:\n|$))"
)


@functools.lru_cache(maxsize=1)  # asked several times of each text
def may_state_secret(lower: str) -> bool:
    """Whether a text in small letters holds a part of the names of secrets."""
    return any(map(lower.__contains__, _patterns().hints))


def stated_secrets(text: str) -> Iterator[Span]:
    """Spans of the values that are given for a password, a key, a PIN or a login.

    A value is what follows the name ("mdp : ...", "das Passwort lautet ...", "the password ... does
    not work", on the next line) or stands before it ("... como contraseña"). The less is said
    between the two, the more a value has to look like one, so that a remark stays: "mot de passe :
    expiré", "mdp LDAP2 refusé".
    """
    patterns = _patterns()
    lower = text.lower()
    if may_state_secret(lower):
        done = searched = 0
        for match in secret_names(text):
            if match.start() >= done:
                span = (
                    (match["phrase"] and _phrase_after(text, match))
                    or _value_after(text, match)
                    or _value_before(text, match)
                )
                if span:
                    yield span
                    done = span[1]
                    for another in _more_values(text, done, is_code=bool(match["code"])):
                        yield another
                        done = another[1]
                elif match["password"] and match.start() >= searched:
                    start, searched = _sentence(text, match)
                    yield from _composed_words(text, start, searched)
        may_assign = ":" in text or "=" in text
        for match in patterns.login_and_password.finditer(text) if may_assign else ():
            if span := _secret_of(match, is_plain_secret):
                yield span
        for match in patterns.one_time_code.finditer(text) if _SIX_IN_GROUPS.search(text) else ():
            if patterns.one_time.search(_line_of(text, match.start())):
                yield match.span("value")
        if "\t" in text or "|" in text:
            yield from _column_values(text)


def _sentence(text: str, name: re.Match[str]) -> Span:
    """Of the sentence around a name what is near it."""
    start, limit = max(name.start() - _LONGEST_SENTENCE, 0), name.end() + _LONGEST_SENTENCE
    ends = [end.end() for end in _SENTENCE_END.finditer(text, start, name.start())]
    end = _SENTENCE_END.search(text, name.end(), limit)
    return ends[-1] if ends else start, end.start() if end else min(limit, len(text))


def _composed_words(text: str, start: int, end: int) -> Iterator[Span]:
    """What stands in a sentence about a password and is composed as little but passwords are."""
    for match in _COMPOSED.finditer(text, start, end):
        first = re.match(r"[^\W\d_]+", match.group())
        previous = text[start : match.start()].split()[-1:]
        words = [*previous, first.group() if first else ""]
        if not is_product(match.group()) and not any(map(_patterns().things.fullmatch, words)):
            yield match.span()


def _line_of(text: str, position: int) -> str:
    return text[text.rfind("\n", 0, position) + 1 :].partition("\n")[0]


def _column_values(text: str) -> Iterator[Span]:
    """What stands in a table under the name of a password, between tabs or strokes."""
    column, sign, position = -1, "", 0
    for line in text.splitlines(keepends=True):
        if column >= 0 and (cells := line.split(sign))[column:]:
            cell = cells[column]
            start = (
                position + len(sign.join([*cells[:column], ""])) + len(cell) - len(cell.lstrip())
            )
            if is_plain_secret(value := cell.strip()) and not re.search(r"\s", value):
                yield start, start + len(value)
        else:
            sign = "\t" if "\t" in line else "|"
            is_heading = sign in line and may_state_secret(line.lower())
            column = _password_column(line.split(sign)) if is_heading else -1
        position += len(line)


def _password_column(cells: list[str]) -> int:
    """The place of the heading that is the name of a password; -1 for a line without one."""
    names = (_patterns().name.fullmatch(cell.strip().lower()) for cell in cells)
    places = [place for place, name in enumerate(names) if name and name["password"]]
    return places[0] if places and len(cells) > 1 else -1


def _more_values(text: str, position: int, *, is_code: bool) -> Iterator[Span]:
    """What a list goes on with: "4482 1193 et 7720 3316", "Tulipe44, Tulipe45"."""
    while match := (_ANOTHER_CODE if is_code else _ANOTHER_VALUE).match(text, position):
        value = match["value"] if is_code else _trimmed(match["value"])
        if not is_code and not is_chosen(value, strictly=True):
            return
        position = match.start("value") + len(value)
        yield match.start("value"), position


def login_secrets(text: str) -> Iterator[Span]:
    """Spans of what a stroke parts from a login: "login : jean/abc1", "login admin / Admin2020"."""
    lower = text.lower() if _STROKE.search(text) else ""
    if any(map(lower.__contains__, _patterns().login_hints)):
        for match in _patterns().login_pair.finditer(text):
            if match["value"]:
                span = _secret_of(match, lambda value: _is_stated(value, "", ends_line=False))
            else:
                span = _secret_of(match, _is_surely_chosen, group="chosen")
            if span:
                yield span


@functools.lru_cache(maxsize=1)  # two look for them in each text
def secret_names(text: str) -> tuple[re.Match[str], ...]:
    """The names of secrets, in order, and in small letters."""
    small = small_letters(text)
    return tuple(_names(small)) if may_state_secret(small) else ()


def _names(small: str) -> Iterator[re.Match[str]]:
    """Looked for near their hints alone, which is much faster."""
    name, done = _patterns().name, 0
    places = (_places(hint, small) for hint in _patterns().hints if hint in small)
    for place in sorted(set(chain.from_iterable(places))):
        limit = place + _LONGEST_NAME
        for word in _WORD_START.finditer(small, max(place - _LONGEST_START, done), place + 1):
            match = name.match(small, word.start(), limit)
            if match and (match.end() < limit or limit >= len(small)):  # else it may be cut off
                yield match
                done = match.end()
                break


def _places(hint: str, text: str) -> Iterator[int]:
    at = text.find(hint)
    while at >= 0:
        yield at
        at = text.find(hint, at + len(hint))


def _value_after(text: str, name: re.Match[str]) -> Span | None:
    patterns = _patterns()
    position, fillers, previous = name.end(), 0, ""
    code_words, may_be_code = 0, bool(name["code"])
    is_same_clause = True  # "mot de passe perdu, mon code postal : 75001" states nothing
    while fillers <= _WORDS_TO_SIGN:
        may_follow = fillers == 0 or bool(name["password"] and fillers <= _WORDS_TO_VALUE)
        if span := (
            _enclosed_value(text, position, name)
            or (may_be_code and _stated_code(text, position, name, strictly=True))
            or _bare_value(text, position, fillers, previous, keys_only=not may_follow)
        ):
            return span
        if match := _REMARK.match(text, position):
            position = match.end()
            continue
        if match := _SIGN.match(text, position):
            if not is_same_clause:
                return None
            return _stated_code(text, match.end(), name) or _stated_value(
                text, match.end(), match["sign"]
            )
        if match := patterns.copula.match(text, position):
            position, code_words = match.end(), 0
            # "le mot de passe du poste est Lyon12", but not "... c'est toujours Lyon12".
            is_of_thing = " " not in match.group().strip(", ") and patterns.things.fullmatch(
                previous
            )
            if (is_same_clause and not is_of_thing) and (
                span := _stated_code(text, position, name) or _stated_value(text, position, "")
            ):
                return span
            continue
        if not (filler := _FILLER.match(text, position)):
            break
        is_same_clause &= filler.group()[0] != ","
        is_linked = bool(patterns.code_link.fullmatch(previous))
        position, previous, fillers = filler.end(), filler["word"], fillers + 1
        code_words += 1
        may_be_code = (
            may_be_code
            and is_same_clause
            and code_words <= _WORDS_TO_CODE
            and not patterns.things.fullmatch(previous)
            # "code alarme déclenchée à 0530", but not "código do cofre da receção 8830"
            and not (patterns.no_secret.fullmatch(previous) and not is_linked)
        )
    return _secret_of(_ANSWER.match(text, position), _is_surely_chosen)


def _enclosed_value(text: str, position: int, name: re.Match[str]) -> Span | None:
    """What stands in brackets or quotes: "(Tulipe99)", "PIN (082645)", "Kennwort «Guter Tag 5»"."""
    if not _OPENING.match(text, position):
        return None
    if match := _REMARK.match(text, position):
        if " " not in match["words"] and is_chosen(match["words"]):
            return match.span("words")
        code = _CODE_IN_BRACKETS.match(text, position)
        if code and (name["code"] or _CODE_NAME_END.search(name.group())):
            return code.span("value")
    if name["password"] and (match := _QUOTED_VALUE.match(text, position)):
        words = match["value"]
        is_sure = bool(match["sign"] or re.search("[0-9]", words))
        if is_sure and is_phrase(words, sure=True) and not may_state_secret(words.lower()):
            return match.span("value")
    return None


def _stated_value(text: str, position: int, sign: str) -> Span | None:
    """The value after a sign or a copula; a login may stand before it."""
    for pattern in (_VALUE_HERE, _VALUE_AFTER_LOGIN):
        if match := pattern.match(text, position):
            start, value = match.start("value"), _trimmed(match["value"])
            ends_line = not _MORE_WORDS.match(text, start + len(value))
            if _is_stated(value, sign, ends_line) and (
                ends_line or "\n" not in text[position:start]
            ):
                return start, start + len(value)
    return None


def _stated_code(
    text: str, position: int, name: re.Match[str], *, strictly: bool = False
) -> Span | None:
    """What opens a door or a telephone: digits, also in groups, and few capitals among them.

    With `strictly`, where nothing but a blank stands before it, years and most groups of digits do
    not count.
    """
    if not name["code"]:
        return None
    match = (_CODE_ALONE if strictly else _CODE_STATED).match(text, position)
    return match.span("value") if match else None


def _phrase_after(text: str, name: re.Match[str]) -> Span | None:
    """Several plain words that are given for a passphrase or as an answer."""
    introduction = _patterns().phrase_introduction.match(text, name.end())
    if not introduction:
        match = _PHRASE_BELOW.match(text, name.end())
        return match.span("value") if match and is_phrase(match["value"], sure=False) else None
    match = _QUOTED_PHRASE.match(text, introduction.end()) or _PHRASE.match(
        text, introduction.end()
    )
    if not match or text[match.end() : match.end() + 2].strip() == "?":
        return None
    value = match["value"]
    if not introduction["sign"]:  # "c'est héron cerise balcon, je l'ai notée"
        value = value.partition(", ")[0]
    if is_phrase(value, sure=bool(introduction["sign"])):
        return match.start("value"), match.start("value") + len(value)
    return None


def is_phrase(words: str, *, sure: bool) -> bool:
    """Whether words may be a passphrase: no remark on one, such as "is no longer accepted".

    If not `sure`, by a colon before them, they are three at least, and without small words.
    """
    patterns, folded = _patterns(), re.findall(r"[^\s,]+", words.casefold())
    is_sentence = not patterns.small_words.isdisjoint(folded)
    remarks = sum(map(bool, map(patterns.no_secret.fullmatch, folded)))
    return (
        # "sieben alte Dampfloks fahren heim", but not "alt"
        remarks <= (sure and len(folded) > 3 and not is_sentence)
        and patterns.turning.isdisjoint(folded)
        and folded[0] not in patterns.openings
        and (sure or (len(folded) > 2 and not is_sentence))
    )


def is_plain_secret(value: str) -> bool:
    """Whether a single word where a password is expected may be one: no remark, no product."""
    patterns, word = _patterns(), value.casefold()
    plain = unicodedata.normalize("NFKD", word).encode("ascii", "ignore").decode()
    return (
        len(word) > 3
        and bool(re.match(r"[^\W_]", word))
        and not _NOT_A_SECRET.match(word)
        and not patterns.no_plain_secret.fullmatch(word)
        and not is_product(word)
        and patterns.plain_words.isdisjoint({word, plain})
    )


def _bare_value(
    text: str, position: int, fillers: int, previous: str, *, keys_only: bool
) -> Span | None:
    if keys_only:
        key = _RANDOM.match(text, position)
        return key.span("value") if key and not _patterns().things.fullmatch(previous) else None
    gap = _GAP.match(text, position)
    match = _VALUE_HERE.match(text, gap.end()) if gap else None
    if not gap or not match or _patterns().things.fullmatch(previous):
        return None
    start, value = match.start("value"), _trimmed(match["value"])
    line = text[text.rfind("\n", 0, position) + 1 : position]
    is_form = bool("\n" in gap.group() or _patterns().name.fullmatch(line.lower()))
    is_secret = (
        is_chosen(value, strictly=fillers > 0)
        or _RANDOM.match(text, position)
        or (is_form and _LINE_END.match(text, match.end()) and _is_alone(value))
    ) or (fillers == 0 and (_NUMBER_NO_YEAR.fullmatch(value) or _KEY.fullmatch(value)))
    return (start, start + len(value)) if is_secret else None


def _is_alone(value: str) -> bool:
    """Whether the only word of the line below a secret's name may be one: "Kuckucksuhr.3"."""
    return (
        len(value) > 5
        and bool(re.search(r"[a-zà-ÿ]{3}", value) and re.search("[0-9]", value))
        and bool(re.match(r"[^\W_]", value))
        and not (_NOT_A_SECRET.match(value) or _FILE.search(value) or is_product(value))
        and not _patterns().things.fullmatch(value.rstrip("0123456789-_."))
    )


def _value_before(text: str, name: re.Match[str]) -> Span | None:
    patterns = _patterns()
    line = text[max(name.start() - 160, 0) : name.start()].rpartition("\n")[2]
    line_start = name.start() - len(line)
    if name["code"] and (match := patterns.code_before.search(line)):
        return line_start + match.start("value"), line_start + match.end("value")
    if not name["password"]:
        return None
    for pattern, is_secret in (
        (patterns.copula_before, is_chosen),
        (patterns.setting_before, is_plain_secret),
    ):
        if span := _secret_of(pattern.search(line), is_secret, offset=line_start):
            return span
    # "... on the Contact360 card. My password is current"
    sentence = [0, *(end.end() for end in _SENTENCE_END.finditer(line))][-1]
    words = list(re.compile(r"\S+").finditer(line, sentence))[-_WORDS_TO_ROLE - 1 :]
    for index, word in enumerate(words[:-1]):
        if patterns.things.fullmatch(words[index - 1].group() if index else ""):
            continue
        match, offset = re.search(_VALUE, word.group()), line_start + word.start()
        if span := _secret_of(match, _is_surely_chosen, group=0, offset=offset):
            return span
    return None


def _secret_of(
    match: re.Match[str] | None,
    is_secret: Callable[[str], bool],
    *,
    group: str | int = "value",
    offset: int = 0,
) -> Span | None:
    """The span of what was matched, without the punctuation after it, if that is a secret.

    `offset`: where the text that was searched begins.
    """
    if not match or not is_secret(value := _trimmed(match[group])):
        return None
    start = offset + match.start(group)
    return start, start + len(value)


def _trimmed(value: str) -> str:
    """Without the punctuation of the sentence, and the next setting in "pwd=...;user=..."."""
    return re.split(r"[;&](?=\w{1,30}=)", value)[0].rstrip(".,;:)]")


_CODE = r"(?:[A-Z]{1,2}-|[*#])?(?=[A-Z0-9]{4,8}(?![^\W_]))(?:[A-Z]{0,2}[0-9]){3,8}[A-Z]{0,2}[#*]?"
_CODE_ALONE = re.compile(
    rf",?[ \t]{{1,3}}[\"'«“„`(]?[ \t]?(?P<value>(?!(?:19|20)[0-9]{{2}}\b){_CODE}"
    r"|[0-9]{3}[ \-][0-9]{3}(?![ .,\-][0-9]))(?![^\W_])"
)
_CODE_IN_BRACKETS = re.compile(
    rf"[ \t]?\([\"'«“„]? ?(?P<value>(?!(?:19|20)[0-9]{{2}}\b){_CODE}) ?[\"'»”“]?\)"
)
_CODE_NAME_END = re.compile(r"(?:pin|puk|otp)$", re.IGNORECASE)
_CODE_STATED = re.compile(
    r"\s{0,4}[\"'«“„`]?[ \t]?"
    rf"(?P<value>[0-9]{{2,6}}(?:[ \-][0-9]{{2,6}}){{1,3}}(?![0-9])|{_CODE})"
    r"(?![^\W_]|[\-/.:,][^\W_])"
)
_SENTENCE_END = re.compile(r"[.!?…][\"'»”]?\s|\n")
# "Brezel+Senf42", "Glasfaser#Blau"; "Regenrinne-12-Ost", "Doudou.Lapin.31".
_COMPOSED = re.compile(
    r"(?<![\w.,:\-/\\@#&+=%])(?:(?=\S{0,24}[A-ZÀ-Þ])"
    r"(?:[^\W\d_]{3,20}[0-9]{0,4}[!$%#*+][^\W_]{3,20}"
    r"|[^\W\d_]{3,20}[0-9]{1,4}&[^\W_]{3,20}|[^\W\d_]{3,20}&[^\W\d_]{3,20}[0-9]{1,4})"
    r"|[A-ZÀ-Þ][a-zà-ÿ]{2,20}(?P<joint>[.\-])(?:[^\W\d_]{2,20}(?P=joint)[1-9][0-9]{0,2}"
    r"|[1-9][0-9]{0,2}(?P=joint)[^\W\d_]{2,20}))(?![\w@\\&+#]|[.\-/=][\w])"
)
_LINE_END = re.compile(r"[ \t]*(?:\n|$)")
# "pk7Tz0QmW4xLr9Vb3": small letters, capitals and digits, several of each.
_RANDOM = re.compile(
    r"[ \t]{1,8}[\"'«“„`]?(?P<value>(?=[A-Za-z0-9]{12,64}(?![^\W_]))(?=(?:[A-Za-z]*[0-9]){3})"
    r"(?=(?:[A-Z0-9]*[a-z]){3})(?=(?:[a-z0-9]*[A-Z]){2})[A-Za-z0-9]+)"
)
_ANOTHER_CODE = re.compile(
    r"(?:[,;/]| [^\W\d_]{1,3}(?= ))\s?"
    r"(?P<value>[0-9]{3,6}(?:[ \-][0-9]{3,6})?|[0-9a-z]{4}-[0-9a-z]{4})"
    r"(?![^\W_]|[.:/][0-9])"
)
_ANOTHER_VALUE = re.compile(rf"(?:,|[ \t][^\W\d_]{{1,4}})[ \t](?P<value>{_VALUE})")
# "A1B2C3D4", "VK7JG-NPHTM-C97JM": no word of a text and no reference, which changes once.
_KEY = re.compile(
    r"(?:[A-Z]+[0-9]+){2,}[A-Z0-9]*(?<=\w{8})"
    r"|(?=[A-Z\-]*[0-9])(?=[0-9\-]*[A-Z])[A-Z0-9]{4,6}(?:-[A-Z0-9]{4,6}){2,7}"
)
_PHRASE_BELOW = re.compile(
    r"[ \t]*\n\s{0,4}(?P<value>[^\W\d_]{2,20}(?: [^\W\d_]{2,20}){2,11})[ \t]*(?:\n|$)"
)
_QUOTED_PHRASE = re.compile(
    r" ?[\"«“„'‘`] ?(?P<value>[^\W_][^\"«»“”„\n]{2,100}[^\s\"«»“”„]) ?[\"»”“'’`]"
)
_PHRASE = re.compile(r"\s{0,4}(?P<value>[^\W_](?:[^\s.;:!?()\[\]\"«»]| (?=[^\W_])|['’\-]){3,100})")
_OPENING = re.compile(r"\s?[:=]?\s?[(\"«“„]")
_QUOTED_VALUE = re.compile(
    r"\s?(?P<sign>[:=])?\s?[\"«“„] ?(?P<value>[^\W_][^\s\"«»“”„]*[ ][^\"«»“”„\n]{2,60}?) ?[\"»”“]"
)
# "... mot de passe ? — Tulipe12", "... the password?" "Tulip12"
_ANSWER = re.compile(
    r"(?:[ '’][^\W\d_]{1,16}){0,4} ?\?\s{0,2}[\"'»«”]? ?(?:[\-–—] ?[\"'»«“„]?|[\"'»«“„]) ?"
    rf"(?P<value>{_VALUE})"
)
_STROKE = re.compile(r" / |: ?[^\s/:]{2,60} ?/ ?[^\s/]")  # far faster to look for
_MORE_WORDS = re.compile(r"[\"'»”]?[)\].,;]{0,3}[ \t]+(?:\[|[^\W_])")
_NUMBER_NO_YEAR = re.compile("(?!(?:19|20)[0-9]{2}$)[0-9]{4,26}")
_NOT_A_SECRET = re.compile(
    r"\[|<|https?:|0x[0-9a-f]+$|#[0-9a-f]{6}$|[*•.x_\-]+$|[0-9]{1,2}[/.:h][0-9]|[\w.+\-]+@[\w\-]+\.[a-z]{2,}$",
    re.IGNORECASE,
)
_SIGN_INSIDE = re.compile(r"[^\W_][!$%&#@+*?]+[^\W_]")
# "Th1sIsMine", "Banana_Split4", "Tulipe5!"
_MIXED = re.compile(
    r"[a-zà-ÿ][0-9]{1,3}[A-ZÀ-Þ]?[a-zà-ÿ]|[a-zà-ÿ]{4}\.[0-9]{1,3}|[^\W\d_][_\-][^\W\d_]\S*[0-9]|[0-9][!$%&#@+*]{1,3}$"
)
_SNAKE = re.compile(r"\W?[^\W_]*[a-zà-ÿ](?:_[^\W_]{1,20}){1,6}\W?")  # "girafe_bleue"
_FILE = re.compile(r"\.[a-z][a-z0-9]{1,3}$")  # "Budget_2024.xlsx"
_HYPHENATED = re.compile(r"[a-zà-ÿ]{3,20}-[a-zà-ÿ]{3,20}-(?!0)[0-9]{2,4}")  # "bleuet-castor-77"
_MODEL = re.compile(r"[^\W\d_]+(?!(?:19|20)[0-9]{2}|1234)[0-9]{4}")
_NAMED = re.compile(r"[A-Z]{1,5}[-_]?[0-9]{1,5}")


def _is_stated(value: str, sign: str, ends_line: bool) -> bool:
    """A value, not a remark ("mot de passe : expiré"): it mixes digits, signs or cases.

    Plain words count only when written as an assignment (`password=soleil`), bare digits when
    there are four of them.
    """
    if len(value) < 4 or _NOT_A_SECRET.match(value) or is_product(value):
        return False
    if re.search(r"[0-9]", value):
        if _NAMED.fullmatch(value) and not ends_line:
            return False
        return bool(re.search(r"[^\W\d]", value)) or value.isdigit()
    if _SIGN_INSIDE.search(value) or (ends_line and re.search(r"[a-zà-ÿ][A-Z]", value)):
        return True
    if _SNAKE.fullmatch(value):  # no "user_password"
        return not _patterns().name.search(value.replace("_", " ").lower())
    return (
        sign in ("=", "==") and value.isalpha() and not _patterns().no_plain_secret.fullmatch(value)
    )


def is_chosen(value: str, *, strictly: bool = False) -> bool:
    """Whether people choose such passwords: "Tulipe99", "P@pillon!", no "LDAP2" or "Office365".

    With `strictly` it mixes capitals and small letters, or holds a sign.
    """
    if len(value) < 6 or _NOT_A_SECRET.match(value) or is_product(value):
        return False
    small, capital = re.search(r"[a-zà-ÿ]", value), re.search(r"[A-ZÀ-Þ]", value)
    if re.search(r"[\\/:=]", value) or not (small or capital):
        return False
    if _SIGN_INSIDE.search(value):
        return True
    if strictly and (_MODEL.fullmatch(value) or _FILE.search(value)):
        return False
    if (small and capital and _MIXED.search(value)) or _HYPHENATED.fullmatch(value):
        return True
    digits = len(re.findall("[0-9]", value))
    return digits > 1 and bool(small) and (bool(capital) or not strictly)


def _is_surely_chosen(value: str) -> bool:
    return is_chosen(value, strictly=True)


def is_product(value: str) -> bool:
    """Whether it is the name of a product, also with a release or a model: "Windows10"."""
    name = value.casefold()
    names = (name, *(part.rstrip("0123456789.-_+") for part in (name, re.split("[+-]", name)[0])))
    return not _patterns().products.isdisjoint(names)


# What their makers mark as a secret, and keys of a form that nothing else has.
_MARKED = re.compile(
    r"(?<![^\W_])(?:gh[opsu]_\w{20,255}|github_pat_\w{20,255}|glpat-[\w\-]{16,64}"
    r"|sk-(?=[\w\-]{0,100}[0-9])[\w\-]{20,200}|[rs]k_(?:live|test)_\w{8,200}"
    r"|xox[abeoprs]-[\w\-]{10,200}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w\-]{35}|ya29\.[\w\-]{20,300}"
    r"|hf_\w{30,40}|npm_\w{36}|pypi-[\w\-]{50,250}|SG\.[\w\-]{16,32}\.[\w\-]{30,64}"
    r"|dop_v1_\w{64}|shpat_\w{32}|eyJ[\w\-]{8,2000}\.[\w\-]{8,4000}\.[\w\-]{8,1000})(?![^\W_])"
    r"|(?<![0-9])[0-9]{6}(?:[ \-\n]{1,2}[0-9]{6}){7}(?![0-9])"
    r"|(?<=Bearer )[\w\-.=+/]{16,4000}|(?<=Authorization: Basic )[\w+/=]{8,400}"
    r"|(?<=PRIVATE KEY-----)[\w+/=\s]{20,8000}"
)
_MARKS = (
    *(
        "ghp_",
        "gho_",
        "ghs_",
        "ghu_",
        "github_pat_",
        "glpat-",
        "sk-",
        "k_live_",
        "k_test_",
        "xox",
        "AKIA",
        "ASIA",
        "AIza",
        "ya29",
        "hf_",
        "npm_",
    ),
    *("pypi-", "SG.", "dop_v1", "shpat", "eyJ", "PRIVATE KEY", "Bearer ", "ion: Basic"),
)
_SIX_IN_GROUPS = re.compile(r"[0-9]{3}[ \-]?[0-9]{3}(?!\w|[ .,\-][0-9])")
_SIX_DIGITS = re.compile(r"[0-9]{6}[ \-\n]{1,2}[0-9]{6}")
# What an authenticator is given by hand, base32 (RFC 4648) in groups of four.
_AUTHENTICATOR_KEY = re.compile(
    r"(?<![\w\-])(?:[A-Z2-7]{4}(?: [A-Z2-7]{4}){3,12}|[a-z2-7]{4}(?: [a-z2-7]{4}){3,12})(?![\w\-])"
)
_FOUR_AND_FOUR = re.compile(r"[A-Za-z2-7]{4} (?=[A-Za-z]{0,3}[2-7])[A-Za-z2-7]{4}")  # far faster
_MIXED_GROUP = re.compile(r"(?=[2-7]{0,3}[A-Za-z])(?=[A-Za-z]{0,3}[2-7])\S{4}")
_COMMANDS = ("/user:", " -p", "--pass", "/pass", "curl")
# In commands, whose options are the same in all languages.
_IN_COMMAND = re.compile(
    rf"/user:\S{{1,60}} (?!/)(?P<net>{_VALUE})|\bmysql\w*\b[^\n]{{0,80}}? -p(?P<mysql>{_VALUE})"
    rf"|sshpass -p ?(?P<sshpass>{_VALUE})"
    rf"|(?:--?pass(?:word|wd)?[ =]|/pass(?:word)?:)(?P<pass>{_VALUE})"
    rf"|\bcurl\b[^\n]{{0,80}}? (?:-u|--user) ?[^\s:]{{1,60}}:(?P<curl>{_VALUE})",
    re.IGNORECASE,
)


def marked_secrets(text: str) -> Iterator[Span]:
    """Spans of secrets known by their own form, or by the option of a command."""
    if any(map(text.__contains__, _MARKS)) or _SIX_DIGITS.search(text):
        yield from (match.span() for match in _MARKED.finditer(text))
    if _FOUR_AND_FOUR.search(text):
        for match in _AUTHENTICATOR_KEY.finditer(text):
            mixed = len(_MIXED_GROUP.findall(match.group()))
            if mixed > 1 or (mixed and match.group().isupper()):  # "pour 4x4z avec"
                yield match.span()
    if any(map(text.__contains__, _COMMANDS)):
        for match in _IN_COMMAND.finditer(text):
            yield match.span(match.lastgroup or 0)
