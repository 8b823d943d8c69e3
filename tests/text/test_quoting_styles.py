"""Whatever the language and the client, the words above, between and below quotes stay."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.text.languages import FOLDER
from ticket_assets.text.quoting import split_reply

STYLES = yaml.safe_load(Path(__file__).with_name("quoting_styles.yaml").read_text("utf-8"))
OWN = [line for style in STYLES.values() for line in style["own"]]
QUOTED = "Bitte neu starten, merci de redémarrer"


class Style(NamedTuple):
    """One client's way to quote in one language."""

    name: str
    lines: str


def styles(kind: str) -> list[Style]:
    return [
        Style(f"{language}-{client}", lines)
        for language, style in STYLES.items()
        for client, lines in style[kind].items()
    ]


INTRODUCTIONS, HEADERS = styles("introductions"), styles("headers")
DESK_LINES = [
    Style(f"{language}-{desk}", line[0])
    for language, style in STYLES.items()
    for desk, line in style["desk_lines"].items()
]
TWINS = [
    (f"{language}-{desk}", *lines)
    for language, style in STYLES.items()
    for desk, lines in style["desk_lines"].items()
    if len(lines) == 2
]
GAPS = ("\n", "\n\n")


def own_lines(text: str) -> list[str]:
    return [line for line in split_reply(text).own.split("\n") if line]


def test_every_language_with_a_file_has_styles() -> None:
    assert STYLES.keys() == {path.stem for path in FOLDER.glob("??.yaml")}


@pytest.mark.parametrize("style", INTRODUCTIONS, ids=[style.name for style in INTRODUCTIONS])
def test_words_around_marked_quotes_are_all_that_is_left(style: Style) -> None:
    for own, gap in product(OWN, GAPS):
        text = gap.join(
            [own, f"{style.lines}\n> {QUOTED}", f"Antwort 1{gap}> {QUOTED}", "Réponse 2", own]
        )
        assert own_lines(text) == [own, "Antwort 1", "Réponse 2", own], text


@pytest.mark.parametrize(
    "style", INTRODUCTIONS + HEADERS, ids=[style.name for style in INTRODUCTIONS + HEADERS]
)
def test_words_above_an_unmarked_quote_are_all_that_is_left(style: Style) -> None:
    for own, gap in product(OWN, GAPS):
        text = f"{own}{gap}{style.lines}\n\n{QUOTED}\n"
        assert own_lines(text) == [own], text


@pytest.mark.slow
@pytest.mark.parametrize("style", INTRODUCTIONS, ids=[style.name for style in INTRODUCTIONS])
def test_words_below_a_quote_inside_an_unmarked_one_stay(style: Style) -> None:
    for own, above in product(OWN, ("", OWN[0])):
        text = f"{above}\n\n{style.lines}\n\n{QUOTED}\n\n{style.lines}\n\n> Älter\n\n{own}\n"
        assert own_lines(text)[-1] == own, text
        assert "Älter" not in own_lines(text)


@pytest.mark.parametrize("style", HEADERS, ids=[style.name for style in HEADERS])
def test_words_around_a_marked_quote_below_mail_headers_are_all_that_is_left(style: Style) -> None:
    for own in OWN:
        text = f"{own}\n\n{style.lines}\n\n> {QUOTED}\n\n{own}\n"
        assert own_lines(text) == [own, own], text


@pytest.mark.parametrize("style", HEADERS, ids=[style.name for style in HEADERS])
def test_a_message_that_is_passed_on_without_a_word_is_the_request(style: Style) -> None:
    for own, greeting in product(OWN, ("", "Bonjour,\n\n", "Hallo zusammen\n\n", "[EXTERN]\n\n")):
        own_and_greeting = own_lines(f"{greeting}{style.lines}\n\n{own}\n")
        assert own_and_greeting[-1] == own
        assert not any("@" in line for line in own_and_greeting)


@pytest.mark.parametrize("style", DESK_LINES, ids=[style.name for style in DESK_LINES])
def test_the_desks_text_below_its_line_is_cut(style: Style) -> None:
    for own, gap in product(OWN, GAPS):
        assert own_lines(f"{own}{gap}{style.lines}\n\nTicket 12\n{QUOTED}\n") == [own]


@pytest.mark.parametrize("style", DESK_LINES, ids=[style.name for style in DESK_LINES])
def test_where_nobody_answered_above_the_desks_line_all_is_kept(style: Style) -> None:
    for own, greeting in product(OWN, ("", "Bonjour,\n\n", "Guten Tag\n\n")):
        assert own in own_lines(f"{greeting}{style.lines}\n\n{own}\n")


@pytest.mark.parametrize(("name", "above", "below"), TWINS, ids=[twin[0] for twin in TWINS])
def test_words_below_the_desks_text_stay(name: str, above: str, below: str) -> None:
    for own, first in product(OWN, ("", OWN[0])):
        text = f"{first}\n{above}\n\nTicket 12\n{QUOTED}\n{below}\n\n{own}\n"
        assert own_lines(text) == [line for line in (first, own) if line]


BLOCKS = st.one_of(
    st.tuples(st.just("own"), st.sampled_from(OWN)),
    st.tuples(st.just("quoted"), st.sampled_from([style.lines for style in INTRODUCTIONS])),
)


@pytest.mark.slow
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(BLOCKS, st.sampled_from(GAPS)), min_size=1, max_size=8))
def test_own_lines_woven_into_quotes_of_all_styles_stay(
    blocks: list[tuple[tuple[str, str], str]],
) -> None:
    text = "".join(
        f"{gap}{lines}" if kind == "own" else f"{gap}{lines}\n> {QUOTED}"
        for (kind, lines), gap in blocks
    )
    own = [lines for (kind, lines), _ in blocks if kind == "own"]

    if own:
        assert own_lines(text) == own
