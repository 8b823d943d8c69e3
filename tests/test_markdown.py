"""Markdown of names that are themselves written like Markdown or HTML."""

import re

import pandas as pd
import pytest
from hypothesis import given
from markdown_it import MarkdownIt

from tests.hostile_names import NAMES, OBEYED, names
from ticket_assets.markdown import Markdown, counts, markdown_table, plain
from ticket_assets.text.characters import visible

PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(markdown):
    """The text of each paragraph or cell, all of which have to be text alone."""
    texts = []
    for token in PARSER.parse(markdown):
        if token.type == "inline":
            assert {child.type for child in token.children} <= {"text"}, token.children
            texts.append("".join(child.content for child in token.children))
        else:
            assert token.tag in {"p", "table", "thead", "tbody", "tr", "th", "td"}
    return texts


def line(name):
    return visible(" ".join(name.split()))


@given(names)
def test_a_name_in_a_sentence_is_shown_as_it_is(name):
    (text,) = shown(f"Too few tickets: {plain(name)} (3).")

    assert text == f"Too few tickets: {line(name)} (3)."


@given(names)
def test_a_name_in_a_cell_is_shown_as_it_is(name):
    texts = shown(markdown_table(("label", "tickets"), [(name, 1)], characters=60_000))

    assert texts == ["label", "tickets", line(name), "1"]


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_no_address_becomes_a_link(name):
    """Readers of GitHub's Markdown make links of `https://`, `www.` and mail addresses."""
    assert not re.search(r"[^\\]://|www\.|[^\\]@", plain(name))


def test_counts_of_hostile_categories_are_one_row_each():
    table = counts(pd.Series([*NAMES.values()], name="category"))

    assert len(table.splitlines()) == len(NAMES) + 2
    assert not OBEYED.intersection(table) - {"\n"}


def test_names_of_assets_stay_as_they_are_and_markdown_of_ones_own_too():
    assert plain("raw_tickets: macro-F1 (95 %)") == "raw_tickets: macro-F1 (95 %)"
    assert "| **x** |" in markdown_table(("a",), [(Markdown("**x**"),)])


def test_long_cells_are_cut():
    assert "| " + "x" * 79 + "… |" in markdown_table(("a",), [("x" * 100,)])
