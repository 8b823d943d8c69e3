"""Words of a ticket for the lexical models: lower case, no stopwords, codes kept whole."""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

from ticket_assets.text.languages import all_words, one_of, words_of

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


def tokens(text: str, language: str) -> list[str]:
    """Lower-case words of `text` without the stopwords of `language`, in order.

    Negations stay (pas, ne, sans, not, nicht, kein, no, não...), those of contractions as words of
    their own. Error codes, versions, product names and paths stay whole; a URL is
    its host. Numbers are dropped unless the word before names them ("erreur 691", "windows 11");
    dates, single letters and masking placeholders are dropped. A language without a stopword list
    keeps all its words.
    """
    stopwords, number_namers = _grammar(language).stopwords, _number_namers()
    kept: list[str] = []
    previous = ""
    for line in text.lower().replace("’", "'").split("\n"):
        # Nothing but words in most lines, and a third of the time to find them.
        is_plain = not ("[" in line or "/" in line or "\\" in line)
        for match in _WORD.findall(line) if is_plain else _TOKEN.finditer(line):
            if isinstance(match, str):
                word = match
            else:
                word, kind = match.group(), match.lastgroup
                if kind == "placeholder":
                    continue
                if kind == "path":
                    kept.append(word.rstrip(".:)"))
                    continue
                if kind == "url":
                    kept.append(match["host"].removeprefix("www."))
                    continue
            if word[0].isdigit() and _NUMBER.fullmatch(word):
                if previous in number_namers or (
                    _VERSION.fullmatch(word) and not _DATE.fullmatch(word)
                ):
                    kept.append(word)
                previous = ""
                continue
            previous = word.rpartition("'")[2]
            if "'" in word or "-" in word:
                kept.extend(_parts(word, language))
            elif len(word) > 1 and word not in stopwords:
                kept.append(word)
    return kept


class _Grammar(NamedTuple):
    """How words of one language are told apart."""

    stopwords: frozenset[str]
    elision: re.Pattern[str]
    contractions: list[tuple[re.Pattern[str], str]]
    """Forms, and templates of the words that they stand for."""
    inversion: re.Pattern[str]


@functools.cache
def _grammar(language: str) -> _Grammar:
    words = words_of(language)
    contractions = [entry.split(" -> ") for entry in words.contractions]
    return _Grammar(
        stopwords=frozenset(words.stopwords),
        elision=re.compile(f"{one_of(words.elisions)}'"),
        contractions=[(re.compile(form), template) for form, template in contractions],
        inversion=re.compile(f"-(?:t-)?{one_of(words.inverted_pronouns)}$"),
    )


@functools.cache
def _number_namers() -> frozenset[str]:
    """Before a number they mean something: "erreur 691" and "windows 11", not "12 postes"."""
    return frozenset(all_words().number_namers)


@functools.lru_cache(maxsize=50_000)  # most of them stand in many tickets
def _parts(word: str, language: str) -> tuple[str, ...]:
    """The words inside an elided, contracted or inverted form."""
    grammar = _grammar(language)
    if word in grammar.stopwords:
        return ()
    contracted = (
        form.expand(template)
        for pattern, template in grammar.contractions
        if (form := pattern.fullmatch(word))
    )
    parts = (
        grammar.inversion.sub("", grammar.elision.sub("", part))
        for part in next(contracted, word).split()
    )
    return tuple(part for part in parts if len(part) > 1 and part not in grammar.stopwords)
