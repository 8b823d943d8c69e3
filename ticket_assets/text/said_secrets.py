"""Finds secrets that no rule knows, by a linear model of the words around a secret's name."""

from __future__ import annotations

import functools
import math
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import accumulate, chain, pairwise
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

from ticket_assets.text.languages import all_words, phrases
from ticket_assets.text.stated_secrets import Span, is_product, secret_names

WEIGHTS = Path(__file__).with_name("said_secrets.txt")
"""One line each: a template of `TEMPLATES`, its values and the weight; made by `make weights`."""
MASKED_FROM, SUSPECTED_FROM, EDGE_FROM, STRANGE_FROM = 0.25, 0.12, 0.08, 0.02
"""Probabilities; chosen by leaving wordings out. The last makes a suspicion of a word that ordinary
mail lacks: plain words given for a password are told far less surely than others."""
ORDINARY_WORDS = WEIGHTS.with_name("ordinary_words.txt")
"""Made by `make weights`, too."""
_FARTHEST = 14  # words and signs from a name
_SHORTEST = 4  # letters and signs
_MOST_WORDS = 2_000  # that are looked at in one text

_TOKEN = re.compile(
    r"\[[A-Z_]+\]"
    r"|(?<![\w.,:/+#\-])(?:[0-9]{3} [0-9]{3}|[0-9]{2}(?: [0-9]{2}){2}|[0-9](?: [0-9]){3,5})"
    r"(?![\w%€$]| ?[0-9]|[.,:/\-][0-9])|[:=|;,()\[\]{}\"«»“”„<>?!…\n→]|\.(?=[\s\"'»”)]|$)"
    r"|(?:[^\s:=|;,()\[\]{}\"«»“”„<>?!…→.]|[!?.\]](?=[^\s\"'»”)\]])|\[(?=[0-9a-z])|:(?=//))+"
)
_SENTENCE_ENDS = frozenset(".!?…¶")
_SENTENCE_STARTS = _SENTENCE_ENDS | {"^"}
_QUOTES = frozenset('"«»“”„')
_ANNOUNCING = _QUOTES | {":", "=", "/", "→"}
_KINDS = "phrase", "password", "code"
_NO_CANDIDATES = frozenset(
    [*("copula", "turning", "pronoun", "stop", "remark")]
    + [f"name {kind}" for kind in (*_KINDS, "other")]
)
_STRANGE = frozenset(["other", "perhaps remark", "mixed", "number"])
_IF_UNKNOWN = {"known": "other", "remark": "perhaps remark"}
_SIGN_INSIDE = re.compile(r"[^\W_][!$%&#@+*?][^\W_]|[!$%#*@]$")
_JOINT_INSIDE = re.compile(r"[^\W_][_.\-][^\W_]")
# A placeholder, a path, an address, a version, a date, an hour, a small number, an identifier; the
# name of a machine ("PC-LYON-12"), a file or a constant; an error ("auth8523"), a colour, a model.
_NO_SECRET = re.compile(
    r"\[|\\|/|https?:|[A-Z]:\\|0[xX]|#[0-9a-fA-F]{6}$|[A-Z]{1,4}-?[0-9]{3,5}[a-z]{1,4}$|[0-9]{1,3}$"
    r"|(?:19|20)[0-9]{2}(?:-[0-9]{2}-[0-9]{2})?$"
    r"|[0-9]+(?:[.,/][0-9]+)+\.?$|[0-9]{1,2}[hH][0-9]{0,2}$|[vV][0-9]+[.\-]"
    r"|[0-9]{1,2}-[0-9]{1,2}-(?:19|20)[0-9]{2}$|[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}"
    r"|[A-Z]+(?:_[A-Z]+)+$|[A-Z][A-Z0-9]*(?:-[A-Z0-9]+)*-[A-Z]*[0-9]+$"
    r"|[a-z]{1,2}-[0-9]{3,4}$|[a-z]{2,4}(?!19|20)[0-9]{4}$|[0-9]{1,5}/|\S*(?:://|\[[A-Z_]+\])"
    r"|\S+\.(?i:docx?|xls[xm]?|pptx?|pdf|zip|csv|txt|log|exe|msi|jpe?g|png|xml|json|js|py)$"
)
_NETWORK = "ssid"  # which everybody sees
_LONG = 4  # letters of a word that another word is rarely made of
_LETTER_GROUPS = 3
_RUN = re.compile(r"(.)\1+")
_ELISION = re.compile("^(?:[a-z]|qu)['’]", re.IGNORECASE)
_FEW_WORDS = re.compile(r" {0,2}|(?: [^\W\d_]+){1,3} ")  # "le chat dort sur le toit"
_NEXT = re.compile(r" (?:[^\W\d_]{1,3} )?")  # "contas à moda do porto"
_LONGEST_PATH = 4
_LONGEST_QUOTE = 6


Feature = tuple[str, tuple[str, ...]]


class Candidate(NamedTuple):
    """A word near a secret's name."""

    start: int
    end: int
    values: tuple[str, ...]
    """One for each of `ATTRIBUTES`."""
    marks: tuple[str, ...]
    """Classes of the words and signs between the name and it."""


ATTRIBUTES = (
    *("category", "length", "class", "rarity", "ending", "shape", "side", "distance", "name"),
    *("path", "quoted", "class-2", "class-1", "class+1", "class+2"),
    *("word-2", "word-1", "word+1", "word+2"),
)
TEMPLATES = tuple(
    tuple(template.split())
    for template in (
        *("rarity", "class-2", "class-1", "class+1", "class+2", "word-1", "word+1"),
        *("ending", "shape", "word-2", "word+2", "word-2 word-1", "word-1 class+1"),
        "category length",
        "category rarity",
        "category class",
        "side distance",
        "name side",
        "name category class",
        "side distance category class",
        "name category side distance",
        "class-1 category class",
        "class+1 category class",
        "class-1 class+1 category class",
        "class-2 class-1 category class",
        "word-1 category",
        "path category",
        "quoted name side",
    )
)
_DESCRIPTION = ("category", "class", "side")
_MARK_OF = " ".join(("mark", *_DESCRIPTION))
_MARKS_BETWEEN = frozenset(
    ["copula", "setting", "remark", "turning", "thing", "login", ":", "=", ",", "(", '"', "«", "?"]
)


@functools.cache
def _classes() -> tuple[tuple[str, re.Pattern[str]], ...]:
    words = all_words()
    plain = {"stop": words.stopwords, "request": words.request_words}
    return (
        ("copula", phrases(words.copulas)),
        ("turning", phrases(words.turning_words)),
        ("pronoun", phrases(words.pronouns)),
        ("setting", phrases(words.setting_verbs)),
        *((name, phrases(tuple(map(re.escape, entries)))) for name, entries in plain.items()),
        ("remark", phrases(words.no_secrets)),
        ("thing", phrases(words.machine_words + words.reference_words)),
        ("login", phrases(words.login_names)),
        ("error", phrases(words.error_words)),
    )


@functools.lru_cache(maxsize=50_000)
def _folded(word: str) -> str:
    signs = unicodedata.normalize("NFD", word.casefold())
    return "".join(sign for sign in signs if not unicodedata.combining(sign))


@functools.lru_cache(maxsize=50_000)
def word_class(token: str) -> str:
    """The list of words that a word is of, what it is made of, or whether ordinary mail has it."""
    if not any(map(str.isalnum, token)):
        return token[:1]
    if token[0] == "[" and token[-1] == "]":
        return "placeholder"
    for word in (token, _folded(token)):
        for name, pattern in _classes():
            if pattern.fullmatch(word):
                # "zanzibar" ends like one.
                return "perhaps remark" if name == "remark" and not _is_ordinary(token) else name
    if any(map(str.isdigit, token)):
        return "mixed" if any(map(str.isalpha, token)) else "number"
    return "known" if _is_ordinary(token) else "other"


def is_unknown_word(word: str) -> bool:
    """Whether a word is in no list of a language, not of ordinary mail and not a product."""
    return word_class(word) in _UNKNOWN and _look(word).may_be_secret


_UNKNOWN = frozenset(["other", "mixed", "perhaps remark"])


def word_spans(text: str) -> list[Span]:
    """Where the words and signs of a text are."""
    return [token.span() for token in _TOKEN.finditer(text)]


def secret_places(text: str, spans: Sequence[Span]) -> list[int]:
    """Which of the words at `spans` begin a secret's name or are about what secrets open."""
    names = [bisect_right(spans, (name.start(), len(text))) - 1 for name in secret_names(text)]
    topics = (at for at, (start, end) in enumerate(spans) if _look(text[start:end]).is_topic)
    return [*names, *topics]


def may_speak_of_secret(sentence: str) -> bool:
    """Whether a secret's name or a word about what secrets open is in a sentence."""
    return bool(secret_names(sentence)) or any(map(_holds_topic, sentence.split()))


def _is_ordinary(word: str) -> bool:
    """Whether ordinary mail has the word, also with its letters in another order: "rceonnu"."""
    plain = _folded(word)
    return plain in ordinary_words() or "".join(sorted(plain)) in _letters_of_ordinary_words()


@functools.cache
def _letters_of_ordinary_words() -> frozenset[str]:
    return frozenset("".join(sorted(word)) for word in ordinary_words() if len(word) > _LONG)


def plain_words(text: str) -> set[str]:
    """The words of a text that are letters, at least one of them, and signs, without accents."""
    words = (_folded(token.group()) for token in _TOKEN.finditer(text))
    return {
        word for word in words if any(map(str.isalpha, word)) and not any(map(str.isdigit, word))
    }


@functools.cache
def ordinary_words() -> frozenset[str]:
    """What mail that states no secret is made of."""
    return frozenset(ORDINARY_WORDS.read_text("utf-8").split())


@functools.cache
def _letter_groups() -> tuple[dict[str, int], dict[str, int]]:
    """How often three letters, and the first two of them, follow each other in known words."""
    threes: dict[str, int] = {}
    twos: dict[str, int] = {}
    words = all_words()
    for word in sorted({_folded(word) for word in (*words.stopwords, *words.request_words)}):
        bounded = f"^^{word}$"
        for at in range(len(bounded) - 2):
            three = bounded[at : at + _LETTER_GROUPS]
            threes[three] = threes.get(three, 0) + 1
            twos[three[:2]] = twos.get(three[:2], 0) + 1
    return threes, twos


class WordForm(NamedTuple):
    """What a word looks like, wherever it stands; `is_capitalised`: as the first of a sentence."""

    category: str
    is_capitalised: bool
    length: str
    rarity: str
    ending: str
    shape: str


@functools.lru_cache(maxsize=50_000)
def word_form(word: str) -> WordForm:
    """What `word` looks like."""
    has_digit, has_letter = any(map(str.isdigit, word)), any(map(str.isalpha, word))
    category = (
        "number"
        if word.isdigit()
        else "mixed"
        if has_digit and has_letter
        else "sign"
        if _SIGN_INSIDE.search(word)
        else "digits"
        if has_digit
        else "joint"
        if _JOINT_INSIDE.search(word)
        else "capitals"
        if word.isupper() and len(word) > 1
        else "word"
    )
    shape = "".join(
        "A" if sign.isupper() else "a" if sign.islower() else "9" if sign.isdigit() else sign
        for sign in word[:40]
    )
    threes, twos = _letter_groups()
    bounded = f"^^{_folded(word)[:40]}$"
    groups = [bounded[at : at + _LETTER_GROUPS] for at in range(len(bounded) - 2)]
    surprise = -sum(
        math.log((threes.get(three, 0) + 0.1) / (twos.get(three[:2], 0) + 4)) for three in groups
    ) / len(groups)
    return WordForm(
        category=category,
        is_capitalised=category == "word" and word[0].isupper(),
        length=_step(len(word)),
        rarity=str(min(int(2 * surprise), 9)),
        ending=_folded(word)[-3:],
        shape=_RUN.sub(r"\1+", shape)[:10],
    )


@functools.lru_cache(maxsize=1_000)
def _step(count: int) -> str:
    return next((str(step) for step in (1, 2, 3, 4, 6, 9, 14, 20) if count <= step), "99")


class _Words(NamedTuple):
    """The words and signs of a text in order, between two that stand for its start and its end."""

    written: list[str]
    starts: list[int]
    ends: list[int]
    classes: list[str]
    sentences: list[int]
    """The number of the sentence of each."""


def _words_of(text: str, written: list[str]) -> _Words:
    spans = [token.span() for token in _TOKEN.finditer(text)]
    limits = [0, 0], [len(text), len(text)]
    return _Words(
        written=written,
        starts=[*limits[0], *(start for start, _ in spans), *limits[1]],
        ends=[*limits[0], *(end for _, end in spans), *limits[1]],
        classes=list(map(word_class, written)),
        sentences=[
            *(0, 0),
            *accumulate(
                last in _SENTENCE_ENDS and word not in _SENTENCE_ENDS
                for last, word in pairwise(written[1:])
            ),
        ],
    )


def candidates(text: str, *, unknown: Container[str] = ()) -> Iterator[Candidate]:
    """The words near the names of secrets, but for sentences in which one is masked already.

    Near words about what secrets open, too, where no name is, if they are more than letters or
    have a sign before them. `unknown`: ordinary words that are taken for unknown ones.
    """
    names = secret_names(text)
    # Most texts have neither, and this is far faster to know than their words and signs are found.
    if not names and not any(map(_holds_topic, text.split())):
        return
    written = ["^", "^", *_TOKEN.findall(text), "$", "$"]
    looks = list(map(_look, written))
    topics = [(at, at, "topic") for at, look in enumerate(looks) if look.is_topic]
    near_topics = [
        (at, place)
        for at, place in _near(topics, len(written) - 3)
        if looks[at].may_be_secret
        and (looks[at].is_more or written[at - 1] in _ANNOUNCING)
        and word_class(written[at]) in _STRANGE
    ]
    if not names and not near_topics:
        return
    written = [word.replace("\n", "¶") for word in written]
    words = _words_of(text, written)
    classes, sentences = words.classes, words.sentences
    if unknown:
        for at in [at for at, word in enumerate(written) if _folded(word) in unknown]:
            classes[at] = _IF_UNKNOWN.get(classes[at], classes[at])
    places = []
    for name in names:
        first, last = bisect_left(words.ends, name.start() + 1), bisect_left(words.ends, name.end())
        kind = next((kind for kind in _KINDS if name[kind]), "other")
        places.append((first, last, kind))
        classes[first : last + 1] = [f"name {kind}"] * (last + 1 - first)
    near_names = (
        (at, place)
        for at, place in _near(places, len(written) - 3)
        if looks[at].may_be_secret and classes[at] not in _NO_CANDIDATES
    )
    masked = {sentences[at] for at, word in enumerate(written) if word == "[PASSWORD]"}
    seen: set[int] = set()
    for at, (first, last, kind) in chain(near_names, near_topics):
        if (
            at not in seen
            and classes[at] not in _NO_CANDIDATES
            and _NETWORK not in map(_folded, written[at - 2 : at])
            and sentences[at] not in masked
            and abs(sentences[at] - sentences[first]) < 2
        ):
            seen.add(at)
            yield _candidate(words, at, first, last, kind)
            if len(seen) > _MOST_WORDS:
                return


_Place = tuple[int, int, str]


def _near(places: list[_Place], end: int) -> Iterator[tuple[int, _Place]]:
    """What stands near each place; between two, what is nearer to it."""
    lefts = [2, *(last for _, last, _ in places)]
    rights = [*(first for first, *_ in places[1:]), end]
    for place, left, right in zip(places, lefts, rights, strict=False):
        first, last, _ = place
        left = left if left == 2 else (left + first) // 2 + 1  # noqa: PLW2901
        for at in range(max(first - _FARTHEST, left), min(last + _FARTHEST, right) + 1):
            yield at, place


class _Look(NamedTuple):
    is_topic: bool
    is_more: bool
    """More than letters, which "mot" and "l'appli" are not."""
    may_be_secret: bool


@functools.lru_cache(maxsize=50_000)
def _look(word: str) -> _Look:
    plain = _ELISION.sub("", _folded(word))
    return _Look(
        is_topic=bool(_topics().fullmatch(word) or _topics().fullmatch(plain)),
        is_more=not _ELISION.sub("", word).isalpha(),
        may_be_secret=_may_be_secret(word),
    )


@functools.lru_cache(maxsize=50_000)
def _holds_topic(chunk: str) -> bool:
    """Whether a word about what secrets open is in what stands between two blanks."""
    return any(_look(word).is_topic for word in _TOKEN.findall(chunk))


@functools.cache
def _topics() -> re.Pattern[str]:
    return phrases(all_words().secret_topics)


def _may_be_secret(word: str) -> bool:
    return (
        len(word) >= _SHORTEST
        and not _NO_SECRET.match(word)
        and not is_product(word)
        and any(map(str.isalnum, word))
    )


def _candidate(words: _Words, at: int, first: int, last: int, kind: str) -> Candidate:
    written, _, _, classes, sentences = words
    between = classes[last + 1 : at] if at > last else classes[at + 1 : first]
    side = "after" if at > last else "before"
    if sentences[at] != sentences[first]:
        side += " in another"
    form = word_form(written[at])
    is_first = written[at - 1] in _SENTENCE_STARTS
    is_quoted = not (
        _QUOTES.isdisjoint(written[max(at - _LONGEST_QUOTE, 0) : at])
        or _QUOTES.isdisjoint(written[at + 1 : at + 1 + _LONGEST_QUOTE])
    )
    values = (
        "capital" if form.is_capitalised and not is_first else form.category,
        form.length,
        classes[at],
        form.rarity,
        form.ending,
        form.shape,
        side,
        _step(len(between) + 1),
        kind,
        "/".join((side, *between)) if len(between) <= _LONGEST_PATH else "long",
        "yes" if is_quoted else "no",
        *classes[at - 2 : at],
        *classes[at + 1 : at + 3],
        *map(_folded, written[at - 2 : at]),
        *map(_folded, written[at + 1 : at + 3]),
    )
    marks = tuple(sorted(_MARKS_BETWEEN.intersection(between)))
    return Candidate(words.starts[at], words.ends[at], values, marks)


def _is_strange(candidate: Candidate) -> bool:
    """Whether a name is near a word in small letters that no ordinary mail has."""
    category, class_of_word, name = _description_of_strange(candidate.values)
    return (category, class_of_word) == ("word", "other") and str(name) != "topic"


_description_of_strange = itemgetter(*map(ATTRIBUTES.index, ("category", "class", "name")))


def features(candidate: Candidate) -> list[Feature]:
    """A template and its values, for each template and each mark between the name and the word."""
    values = dict(zip(ATTRIBUTES, candidate.values, strict=True))
    described = tuple(values[name] for name in _DESCRIPTION)
    return [
        *((" ".join(names), tuple(values[name] for name in names)) for names in TEMPLATES),
        *(("mark", (mark,)) for mark in candidate.marks),
        *((_MARK_OF, (mark, *described)) for mark in candidate.marks),
    ]


class _Model:
    """The weights, so arranged that a word costs a few microseconds."""

    def __init__(self) -> None:
        tables: dict[str, dict[object, float]] = {" ".join(names): {} for names in TEMPLATES}
        tables |= {"bias": {}, "mark": {}, _MARK_OF: {}}
        for line in WEIGHTS.read_text("utf-8").rstrip("\n").split("\n"):
            template, *values, weight = line.split("\t")
            tables[template][tuple(values) if len(values) > 1 else values[0]] = float(weight)
        self.bias = tables["bias"]["bias"]
        self.marks, self.marks_of = tables["mark"], tables[_MARK_OF]
        self.tables = [
            (itemgetter(*map(ATTRIBUTES.index, names)), tables[" ".join(names)].get)
            for names in TEMPLATES
        ]
        self.description = itemgetter(*map(ATTRIBUTES.index, _DESCRIPTION))

    def probability(self, candidate: Candidate) -> float:
        values = candidate.values
        score = self.bias
        for key, weight in self.tables:
            score += weight(key(values), 0.0)
        for mark in candidate.marks:
            score += self.marks.get(mark, 0.0)
            score += self.marks_of.get((mark, *self.description(values)), 0.0)
        return 1 / (1 + math.exp(-score))


_model = functools.cache(_Model)


ProbableWord = tuple[int, int, float]
"""Start, end and probability."""


def said_secrets(text: str) -> Iterator[Span]:
    """Spans of words that are likely secrets, with the less likely ones and few words between."""
    words = ((word.start, word.end, probability) for word, probability in probable_words(text))
    return joined_spans(text, words, MASKED_FROM, SUSPECTED_FROM, EDGE_FROM)


def joined_spans(
    text: str,
    words: Iterable[ProbableWord],
    masked_from: float,
    joined_from: float,
    edge_from: float,
) -> Iterator[Span]:
    """Spans from the first to the last of likely words with few others between, in order.

    Each of them is at least `joined_from` probable and one at least `masked_from`. At either end of
    several words one more that is next to them needs little: "coffre ⟦pluie tambour abricot⟧".
    """
    run: list[ProbableWord] = []
    probable = sorted(word for word in words if word[2] >= edge_from)
    edges = [word for word in probable if word[2] < joined_from]
    for start, end, probability in probable:
        if probability < joined_from:
            continue
        if run and not _FEW_WORDS.fullmatch(text, run[-1][1], start):
            yield from _span(text, run, edges, masked_from)
            run = []
        run.append((start, end, probability))
    yield from _span(text, run, edges, masked_from)


def _span(
    text: str, run: list[ProbableWord], edges: list[ProbableWord], masked_from: float
) -> Iterator[Span]:
    if not any(probability >= masked_from for *_, probability in run):
        return
    start, end = run[0][0], run[-1][1]
    if len(run) > 1:
        for first, last, _ in edges:
            if _NEXT.fullmatch(text, end, first):
                end = last
        for first, last, _ in reversed(edges):
            if _NEXT.fullmatch(text, last, start):
                start = first
    yield start, end


def may_say_secret(text: str) -> bool:
    """Whether a word of `text` is somewhat likely a secret."""
    return any(
        probability >= (STRANGE_FROM if _is_strange(word) else SUSPECTED_FROM)
        for word, probability in probable_words(text)
    )


def probable_words(text: str) -> Iterator[tuple[Candidate, float]]:
    """The words near a secret's name, or near what secrets open, with their probabilities."""
    model = _model()
    return ((candidate, model.probability(candidate)) for candidate in candidates(text))
