"""Lines that introduce a quoted message, as in "On Monday at 10:02 Jean wrote:"."""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from itertools import chain

from ticket_assets.text.languages import all_words, phrases

MAX_LINE = 300
"""Characters; longer lines are prose."""
QUOTED = re.compile(r"\s{0,3}>")
_MAX_LINES = 4  # clients wrap an introduction over as many
_MAX_NAME_WORDS = 8
_DASHED = re.compile(r"-{2,}\s*(\S.*?)\s*-{2,}")
_ADDRESS = re.compile(r"[<(\[]*(?:mailto:)?[^\s<>()\[\]@]+@[^\s<>()\[\]@]+[>)\]]*")
_BRACKETED = re.compile(r"<[^<>]*@[^<>]*>[>)]*$")
_CLOCK = re.compile(r"[0-9]{1,2} ?[:h][0-9]{2}")
_FULL_DATE = re.compile(r"\b(?:19|20)[0-9]{2}\b|\b[0-9]{1,2}[./-][0-9]{1,2}[./-][0-9]{2}\b")
_FIGURES = re.compile(
    r"[0-9][0-9.:/,h+-]*(?:st|nd|rd|th|er|º|ª|hs?|[ap]m)?|[+-][0-9]{2}:?[0-9]{2}|(?:gmt|utc)[+-][0-9:]+",
    re.IGNORECASE,
)
_SURROUNDING = " ,;.()\"'“”«»"


class _Patterns:
    """The words of introductions and dates in all languages."""

    def __init__(self) -> None:
        words = all_words()
        # The longest first: "Il giorno 12 marzo" begins with "il" too.
        starts = tuple(sorted(words.introduction_starts, key=len, reverse=True))
        self.start = phrases(starts, after=r"\b[\s,]*")
        self.verb = phrases(words.introduction_verbs, r"(?<!\w)", r"(?!\w)")
        # One test of a line's end is all that most lines cost.
        # An entry is a pattern: the end of "a\sécrit" is "écrit", of "napisał\(a\)" "napisał(a)".
        verbs = (re.sub(r"\\[bs]", " ", verb) for verb in words.introduction_verbs)
        self.ends = tuple({verb.replace("\\", "").split()[-1] for verb in verbs})
        self.date_links = set(words.date_words) & set(map(_plain, words.stopwords)) - {"am", "pm"}
        self.date_words = {
            *words.date_words,
            *("gmt", "utc", "am", "pm", ""),
            *chain.from_iterable(map(str.split, words.months)),
            *words.weekdays,
            *words.hour_words,
            *(zone.split()[0] for zone in words.time_zones),
        }
        self.small_words = {"de", "van", "von", "via", *words.small_words, *words.name_particles}
        self.stopwords = set(words.stopwords)


_patterns = functools.cache(_Patterns)


def is_date(text: str) -> bool:
    """Whether `text` is nothing but a date, a weekday, a time or a number."""
    return bool(text.strip()) and not text[_date_end(text) :].strip()


def starts_quoted(lines: Sequence[str], position: int) -> bool:
    """Whether the first line that is not empty, from `position` on, begins with `>`."""
    while position < len(lines) and not lines[position].strip():
        position += 1
    return position < len(lines) and QUOTED.match(lines[position]) is not None


def introduction(lines: Sequence[str], position: int, above: int) -> int | None:
    """The number of lines above `position` that belong to the introduction which ends there.

    None if none ends there. Of the `above` lines that may belong to it, it takes no more than it
    needs, so that the author's words right above stay. A date or an address tells it from a
    sentence; less will do where lines with `>` follow.
    """
    patterns = _patterns()
    line = lines[position].strip(" *\t")
    if not line or not (line[-1] in ":-" or line.lower().endswith(patterns.ends)):
        return None
    is_marked = starts_quoted(lines, position + 1)
    # Lines of a log follow "Le 3 mars 2026 à 9:12, Windows a écrit :" at once.
    is_apart = is_marked or not "".join(lines[position + 1 : position + 2]).strip()
    joined = nearest = ""
    count: int | None = None
    for index in range(min(_MAX_LINES, above + 1)):
        part = lines[position - index].strip(" *\t")
        if not part or (index and _is_finished(part)) or len(part) + len(joined) > MAX_LINE:
            break
        joined = f"{part} {joined}" if joined else part
        is_dated = _is_introduction(joined, is_marked=is_marked and not nearest, is_apart=is_apart)
        if is_dated is None or (nearest and not _continues(joined, nearest, is_dated)):
            continue
        if is_dated:
            return index
        nearest, count = joined, index
    return count


def _is_introduction(text: str, *, is_marked: bool, is_apart: bool) -> bool | None:
    """Whether the introduction begins with its date rather than with a name; None if it is none."""
    patterns = _patterns()
    dashed = _DASHED.fullmatch(text)
    core = dashed[1] if dashed else text
    has_colon = core[-1] == ":"
    core = core.rstrip(" :")
    has_address = "@" in core
    start = patterns.start.match(core)
    after_start = core[start.end() :] if start else core
    end = _date_end(after_start)
    date, rest = (after_start[:end], after_start[end:]) if end else ("", core)
    verb = patterns.verb.search(rest)
    if verb is None:
        # "2016-10-24 15:36 GMT+02:00 Name <address>:" needs no verb.
        is_old_gmail = has_colon and is_apart and _CLOCK.search(date) and _BRACKETED.search(rest)
        return True if is_old_gmail and _is_name(rest, is_strict=True, is_known=False) else None
    before, after = rest[: verb.start()].strip(" ,"), rest[verb.end() :].strip(" ,")
    is_ended = has_colon or dashed is not None
    if date:
        is_whole = bool(_CLOCK.search(date) and _FULL_DATE.search(date))
        is_ended = is_ended or (is_whole and has_address and not after)
        is_sure = is_marked or has_address or (is_whole and is_apart)
        name = before or after
        if not is_ended or not is_sure or (before and after):
            return None
    else:
        begin = patterns.start.match(after)
        is_told_when = is_date(after[begin.end() :] if begin else after)
        is_sure = is_marked or dashed is not None or (is_apart and (has_address or is_told_when))
        name = before
        if not is_ended or not is_sure or not before or (after and not is_told_when):
            return None
    is_known = has_address or (is_marked and bool(date))
    return bool(date) if _is_name(name, is_strict=not is_marked, is_known=is_known) else None


def _is_name(text: str, *, is_strict: bool, is_known: bool) -> bool:
    """Whether `text` could name who wrote a message; "my colleague" and "the server" do not.

    Args:
        is_strict: no word but the small ones of names may be one that any sentence holds.
        is_known: something else shows that it is a person, so small letters will do.
    """
    patterns = _patterns()
    words = [word for part in _ADDRESS.sub(" ", text).split() if (word := part.strip(_SURROUNDING))]
    if not words or len(words) > _MAX_NAME_WORDS:
        return not words
    if words[0].lower() in patterns.stopwords and (
        words[0].islower() or (len(words) > 1 and words[1][0].islower())
    ):
        return False
    if is_strict and any(
        word in patterns.stopwords and word not in patterns.small_words for word in words[1:]
    ):
        return False
    return is_known or not words[0][0].islower()


def _continues(joined: str, nearest: str, is_dated: bool) -> bool:
    """Whether an introduction that could stand alone begins on the line above all the same."""
    if nearest.count(">") > nearest.count("<") or nearest.count(")") > nearest.count("("):
        return True
    if not is_dated:
        return False
    head = joined[: -len(nearest)].strip()
    start = _patterns().start.match(head)
    head = head[start.end() :] if start else head
    names = head[_date_end(head) :].split()
    return not nearest[0].isupper() or all(name[0].isupper() or name in ",<" for name in names)


def _is_finished(line: str) -> bool:
    """Whether a sentence ends with the line, so that nothing below continues it."""
    return line[-1] in "!?:;" or (line[-1] == "." and not is_date(line.rsplit(maxsplit=1)[-1]))


def _date_end(text: str) -> int:
    """Index after the date, in figures or words, that `text` begins with; 0 without any figure.

    A weekday or a month alone is a date where nothing follows it. "Le 12/03 à 10:02 le serveur"
    does not hold the second "le": no date ends with a word that joins its parts.
    """
    patterns = _patterns()
    end = 0
    has_figures = is_over = False
    for word in re.finditer(r"\S+", text):
        bare = word[0].strip(" ,;.()")
        if _FIGURES.fullmatch(bare):
            has_figures = True
        # Nothing but figures after the time: "ma" is Monday in Dutch, and "my" in French.
        elif is_over or not patterns.date_words.issuperset(_plain(bare).split("-")):
            break
        if _plain(bare) not in patterns.date_links:
            end = word.end()
        is_over = word[0].endswith(",") and _CLOCK.search(text, 0, end) is not None
    return end if has_figures or not text[end:].strip() else 0


def _plain(word: str) -> str:
    """`word` in small letters without accents and points, as the names of dates are listed."""
    decomposed = unicodedata.normalize("NFD", word.lower().replace(".", ""))
    return "".join(sign for sign in decomposed if not unicodedata.combining(sign))
