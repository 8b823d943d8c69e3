"""Finds passwords, keys and tokens that a text gives in clear, by what is said around them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from itertools import chain

from ticket_assets.text.languages import all_words, one_of

Span = tuple[int, int]

_LONGEST_NAME = 40  # characters before or after the hint in it
_WORDS_TO_SIGN = 8
"""Between a name and its colon: "mot de passe de la boîte partagée du service achats : ...", """
_WORDS_TO_VALUE = 5
"""and to a value without one: "my password was changed to ..."."""
_WORDS_TO_ROLE = 4
"""From a value to its name: "... als neues Passwort", "... ist mein Passwort"."""


class _Patterns:
    """Words around secrets, of all languages."""

    def __init__(self) -> None:
        words = all_words()
        # "pin code" comes before "pin", of which it is no value.
        names = one_of(tuple(sorted(words.secret_names, key=len, reverse=True)))
        # "GITLAB_TOKEN=" and "mdp2:" are names, "1password" and "passwordless" are none.
        self.name = re.compile(
            rf"(?<![^\W_])(?:(?P<password>{one_of(words.password_words)})|{names})[0-9]?(?![^\W_])",
            re.IGNORECASE,
        )
        self.copula = re.compile(rf",?[ \t]{one_of(words.copulas)}(?![^\W_])", re.IGNORECASE)
        self.login_pair = re.compile(
            rf"(?<![^\W_]){one_of(words.login_names)}(?: ?/ ?[^\W_]{{2,20}})? ?: ?"
            rf"[^\s/]{{2,60}} ?/ ?(?P<value>{_VALUE})",
            re.IGNORECASE,
        )
        self.role = re.compile(one_of(words.secret_roles), re.IGNORECASE)
        self.hints = words.secret_hints
        self.no_secrets = frozenset(words.no_secrets)
        self.products = frozenset(words.product_names)
        self.things = re.compile(one_of(words.machine_words + words.reference_words), re.IGNORECASE)


_patterns = functools.cache(_Patterns)

_VALUE = r"[^\s\"'«»“”„`<>]{3,128}"
_OPENED_VALUE = rf"[\"'«“„`]?[ \t]?(?P<value>{_VALUE})"
_VALUE_HERE = re.compile(rf"\s{{0,8}}{_OPENED_VALUE}")
_VALUE_AFTER_LOGIN = re.compile(rf"\s{{0,4}}[^\s/]{{2,40}} ?/ ?{_OPENED_VALUE}")
# What closes the name may stand before: `"password": "..."`, `<password>...`.
_SIGN = re.compile(r"[\"'»”)\]]?\s{0,3}(?P<sign>[:=]=?|[-=]?>|→)")
_REMARK = re.compile(r"[ \t]?\((?P<words>[^()\n]{1,30})\)")
_FILLER = re.compile(
    r",?[ \t]{1,3}(?:[-–—] )?(?P<word>(?:[^\W\d_]{1,20}['’\-]?){1,3})(?=[\s=,(]|:(?!/)|$)"
)
_GAP = re.compile(
    rf",?[ \t]{{1,8}}(?:[-–—|;] )?|[ \t]{{0,3}}\n\s{{0,8}}(?={_OPENED_VALUE}[ \t]*(?:\n|$))"
)


def may_state_secret(lower: str) -> bool:
    """Whether a text in small letters holds a part of the names of secrets."""
    return any(hint in lower for hint in _patterns().hints)


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
        done = 0
        for match in _names(text, lower):
            if match.start() >= done:
                span = _value_after(text, match) or _value_before(text, match)
                if span:
                    yield span
                    done = span[1]
        for match in patterns.login_pair.finditer(text):
            if _is_stated(value := _trimmed(match["value"]), "", ends_line=False):
                yield match.start("value"), match.start("value") + len(value)


def _names(text: str, lower: str) -> Iterator[re.Match[str]]:
    """The names of secrets: looked for near their hints alone, which is much faster."""
    name, done = _patterns().name, 0
    if len(lower) != len(text):  # "İ" becomes two letters
        yield from name.finditer(text)
        return
    places = (_places(hint, lower) for hint in _patterns().hints if hint in lower)
    for place in sorted(set(chain.from_iterable(places))):
        start = max(place - _LONGEST_NAME, done)
        for match in name.finditer(text, start, place + _LONGEST_NAME):
            if match.start() >= done:
                yield match
                done = match.end()


def _places(hint: str, text: str) -> Iterator[int]:
    at = text.find(hint)
    while at >= 0:
        yield at
        at = text.find(hint, at + len(hint))


def _value_after(text: str, name: re.Match[str]) -> Span | None:
    position, fillers, previous = name.end(), 0, ""
    is_same_clause = True  # "mot de passe perdu, mon code postal : 75001" states nothing
    while fillers <= _WORDS_TO_SIGN:
        if match := _REMARK.match(text, position):
            if " " not in match["words"] and is_chosen(match["words"]):
                return match.span("words")
            position = match.end()
        if match := _SIGN.match(text, position):
            return _stated_value(text, match.end(), match["sign"]) if is_same_clause else None
        if match := _patterns().copula.match(text, position):
            position = match.end()
            if not is_same_clause:
                continue
            if not _patterns().things.fullmatch(previous):
                if span := _stated_value(text, position, ""):
                    return span
                continue
        may_follow = fillers == 0 or (name["password"] and fillers <= _WORDS_TO_VALUE)
        if may_follow and (span := _bare_value(text, position, fillers, previous)):
            return span
        if not (filler := _FILLER.match(text, position)):
            break
        is_same_clause &= filler.group()[0] != ","
        position, previous, fillers = filler.end(), filler["word"], fillers + 1
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


def _bare_value(text: str, position: int, fillers: int, previous: str) -> Span | None:
    gap = _GAP.match(text, position)
    match = _VALUE_HERE.match(text, gap.end()) if gap else None
    if not match or _patterns().things.fullmatch(previous):
        return None
    start, value = match.start("value"), _trimmed(match["value"])
    is_secret = is_chosen(value, strictly=fillers > 0) or (
        fillers == 0 and _NUMBER_NO_YEAR.fullmatch(value)
    )
    return (start, start + len(value)) if is_secret else None


def _value_before(text: str, name: re.Match[str]) -> Span | None:
    if not name["password"]:
        return None
    line = text[max(name.start() - 160, 0) : name.start()].rpartition("\n")[2]
    words = list(re.finditer(r"\S+", line))[-_WORDS_TO_ROLE - 1 :]
    for word in words[:-1]:
        match = re.search(_VALUE, word.group())
        if match and is_chosen(value := _trimmed(match.group()), strictly=True):
            start = name.start() - len(line) + word.start() + match.start()
            return start, start + len(value)
    return None


def _trimmed(value: str) -> str:
    """Without the punctuation of the sentence, and the next setting in "pwd=...;user=..."."""
    return re.split(r"[;&](?=\w{1,30}=)", value)[0].rstrip(".,;:)]")


_MORE_WORDS = re.compile(r"[\"'»”]?[)\].,;]{0,3}[ \t]+(?:\[|[^\W_])")
_NUMBER_NO_YEAR = re.compile("(?!(?:19|20)[0-9]{2}$)[0-9]{4,12}")
_NOT_A_SECRET = re.compile(
    r"\[|<|https?:|0x[0-9a-f]+$|[*•.x_\-]+$|[0-9]{1,2}[/.:h][0-9]|[\w.+\-]+@[\w\-]+\.[a-z]{2,}$",
    re.IGNORECASE,
)
_SIGN_INSIDE = re.compile(r"[^\W_][!$%&#@+*?]+[^\W_]")
_MODEL = re.compile(r"[^\W\d_]+(?!(?:19|20)[0-9]{2}|1234)[0-9]{4}")
_CODE = re.compile(r"[A-Z]{1,5}[-_]?[0-9]{1,5}")


def _is_stated(value: str, sign: str, ends_line: bool) -> bool:
    """A value, not a remark ("mot de passe : expiré"): it mixes digits, signs or cases.

    Plain words count only when written as an assignment (`password=soleil`), bare digits when
    there are four of them.
    """
    if len(value) < 4 or _NOT_A_SECRET.match(value) or _is_product(value):
        return False
    if re.search(r"[0-9]", value):
        if _CODE.fullmatch(value) and not ends_line:
            return False
        return bool(re.search(r"[^\W\d]", value)) or value.isdigit()
    if _SIGN_INSIDE.search(value) or (ends_line and re.search(r"[a-zà-ÿ][A-Z]", value)):
        return True
    return sign == "=" and value.isalpha() and value.casefold() not in _patterns().no_secrets


def is_chosen(value: str, *, strictly: bool = False) -> bool:
    """Whether people choose such passwords: "Tulipe99", "P@pillon!", no "LDAP2" or "Office365".

    With `strictly` it mixes capitals and small letters, or holds a sign.
    """
    if len(value) < 6 or _NOT_A_SECRET.match(value) or _is_product(value):
        return False
    small, capital = re.search(r"[a-zà-ÿ]", value), re.search(r"[A-ZÀ-Þ]", value)
    if re.search(r"[\\/:=]", value) or not (small or capital):
        return False
    if _SIGN_INSIDE.search(value):
        return True
    if strictly and _MODEL.fullmatch(value):
        return False
    digits = len(re.findall("[0-9]", value))
    return digits > 1 and bool(small) and (bool(capital) or not strictly)


def _is_product(value: str) -> bool:
    name = value.casefold()
    products = _patterns().products
    return name in products or name.rstrip("0123456789.-_+") in products


# What their makers mark as a secret, and keys of a form that nothing else has.
_MARKED = re.compile(
    r"(?<![^\W_])(?:gh[opsu]_\w{20,255}|github_pat_\w{20,255}|glpat-[\w\-]{16,64}"
    r"|sk-(?=[\w\-]{0,100}[0-9])[\w\-]{20,200}|[rs]k_(?:live|test)_\w{8,200}"
    r"|xox[abeoprs]-[\w\-]{10,200}|(?:AKIA|ASIA)[A-Z0-9]{16}|AIza[\w\-]{35}|ya29\.[\w\-]{20,300}"
    r"|hf_\w{30,40}|npm_\w{36}|pypi-[\w\-]{50,250}|SG\.[\w\-]{16,32}\.[\w\-]{30,64}"
    r"|dop_v1_\w{64}|shpat_\w{32}|eyJ[\w\-]{8,2000}\.[\w\-]{8,4000}\.[\w\-]{8,1000})(?![^\W_])"
    r"|(?<![0-9])[0-9]{6}(?:[ \-\n]{1,2}[0-9]{6}){7}(?![0-9])"
    r"|(?<=PRIVATE KEY-----)[\w+/=\s]{20,8000}"
)
_MARKS = (
    *("gh", "glpat-", "sk", "rk_", "xox", "AKIA", "ASIA", "AIza", "ya29", "hf_", "npm_"),
    *("pypi-", "SG.", "dop_v1", "shpat", "eyJ", "PRIVATE KEY"),
)
_SIX_DIGITS = re.compile(r"[0-9]{6}[ \-\n]{1,2}[0-9]{6}")
_COMMANDS = ("/user:", "-p", "/pass", "curl")
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
    if any(mark in text for mark in _MARKS) or _SIX_DIGITS.search(text):
        yield from (match.span() for match in _MARKED.finditer(text))
    if any(mark in text for mark in _COMMANDS):
        for match in _IN_COMMAND.finditer(text):
            yield match.span(match.lastgroup or 0)
