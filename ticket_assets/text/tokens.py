"""Words of a ticket for the lexical models: lower case, no stopwords, codes kept whole."""

from __future__ import annotations

import functools
import re
from importlib import resources

_TOKEN = re.compile(
    r"""
      (?P<placeholder>\[[a-z_]+\])
    | (?P<url>(?:https?|ftp)://(?P<host>[^\s/:?\#<>"'\])]+)[^\s<>"')\]]*)
    | (?P<path>(?<![a-z])[a-z]:\\[^\s"'<>|,;]* | \\\\[^\s"'<>|,;]+ | (?<!\S)/[\w.\-]+(?:/[\w.\-]+)+)
    | (?P<word>[^\W_]+(?:[._\-'][^\W_]+)*(?:\+\+|\#)?)
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[^\W_]+(?:[._\-'][^\W_]+)*(?:\+\+|\#)?")
_DATE = re.compile(r"\d{1,4}[.\-]\d{1,2}(?:[.\-]\d{1,4})?")
_NUMBER = re.compile(r"[\d.\-]+")
_VERSION = re.compile(r"\d+(?:\.\d+){2,}")
_ELISION = re.compile(r"(?:l|d|j|m|t|s|c|n|qu|jusqu|lorsqu|puisqu|quoiqu)'")
_INVERSION = re.compile(
    r"-(?:t-)?(?:je|tu|il|elle|on|nous|vous|ils|elles|ce|moi|toi|lui|leur|le|la|les|y|en|ci|là)$"
)
# "erreur 691" and "windows 11" mean something, "12 postes" does not.
_NUMBER_NAMERS = frozenset(
    {
        *("erreur", "error", "fehler", "fehlercode", "erro", "code", "código", "codigo", "stop"),
        *("event", "évènement", "événement", "http", "https", "statut", "status", "port", "id"),
        *(
            "windows",
            "office",
            "sap",
            "server",
            "exchange",
            "outlook",
            "word",
            "excel",
            "java",
            "kb",
        ),
    }
)


def tokens(text: str, language: str) -> list[str]:
    """Lower-case words of `text` without the stopwords of `language`, in order.

    Negations stay (pas, ne, sans, not, nicht, kein, no, não...), French `n'` becomes `ne` and
    English `n't` becomes `not`. Error codes, versions, product names and paths stay whole; a URL is
    its host. Numbers are dropped unless the word before names them ("erreur 691", "windows 11");
    dates, single letters and masking placeholders are dropped. A language without a stopword list
    keeps all its words.
    """
    stopwords = _stopwords(language)
    found: list[str] = []
    previous = ""
    for line in text.lower().replace("’", "'").split("\n"):
        # Nothing but words in most lines, and a third of the time to find them.
        is_plain = not any(sign in line for sign in "[/\\")
        for match in (_WORD if is_plain else _TOKEN).finditer(line):
            word = match.group()
            kind = "word" if is_plain else match.lastgroup
            if kind == "placeholder":
                continue
            if kind == "path":
                found.append(word.rstrip(".:)"))
                continue
            if kind == "url":
                found.append(match["host"].removeprefix("www."))
                continue
            if word[0].isdigit() and _NUMBER.fullmatch(word):
                if previous in _NUMBER_NAMERS or (
                    _VERSION.fullmatch(word) and not _DATE.fullmatch(word)
                ):
                    found.append(word)
                previous = ""
                continue
            previous = word.rpartition("'")[2]
            if "'" in word or "-" in word:
                found.extend(_parts(word, language, stopwords))
            elif len(word) > 1 and word not in stopwords:
                found.append(word)
    return found


def _parts(word: str, language: str, stopwords: frozenset[str]) -> list[str]:
    """The words inside an elided, contracted or inverted form."""
    if word in stopwords:
        return []
    parts = [word]
    if language == "fr":
        negated = word.startswith("n'")
        parts = [_INVERSION.sub("", _ELISION.sub("", word))]
        if negated:
            parts.insert(0, "ne")
    elif language == "en" and word.endswith("n't"):
        parts = [word[:-3], "not"]
    elif language == "en":
        parts = [word.partition("'")[0]]
    return [part for part in parts if len(part) > 1 and part not in stopwords]


@functools.cache
def _stopwords(language: str) -> frozenset[str]:
    if not re.fullmatch(r"[a-z]{2}", language):
        return frozenset()
    listed = resources.files("ticket_assets.text") / "stopwords" / f"{language}.txt"
    return frozenset(listed.read_text("utf-8").split()) if listed.is_file() else frozenset()
