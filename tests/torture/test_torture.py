"""The short form of `make torture`, and that it sees what it is made to see."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.torture.contents import Contents, Difference, compared
from tests.torture.desk import Ending
from tests.torture.faults import no_namespaces
from tests.torture.judgement import judged

EXPECTED = Contents(
    {
        "originals": Counter([("a", "day/a.eml 1"), ("b", "day/b.eml 2")]),
        "tables: raw_tickets": Counter([("a", "('a',)"), ("b", "('b',)")]),
        "collection": Counter([("a", "vector"), ("b", "vector")]),
    },
    {},
)


def changed(kind: str, *rows: tuple[str, str]) -> Contents:
    """The expected contents, but for one kind."""
    return Contents({**EXPECTED.kinds, kind: Counter(rows)}, {})


def verdict(actual: Contents, output: str = "", *, status: int | None = 0, may_lose: bool = True):
    return judged(EXPECTED, actual, [Ending(("run",), status, output, 1.0)], may_lose=may_lose)


def test_an_equal_desk_is_as_it_should_be() -> None:
    assert not any(verdict(EXPECTED).faults.values())


def test_what_is_changed_missing_unexpected_or_doubled_is_told_apart() -> None:
    rows = [("a", "else"), ("c", "vector"), ("d", "vector"), ("d", "vector")]

    (difference,) = compared(EXPECTED, changed("collection", *rows))

    assert difference == Difference(
        "collection", frozenset("b"), frozenset("a"), frozenset("c"), frozenset("d")
    )


@pytest.mark.parametrize(
    ("actual", "is_changed"),
    [
        ("(0.1, -2.5e-05, '1.5')", False),
        ("(0.1004, 0.0001, '1.5')", False),
        ("(0.102, -2.5e-05, '1.5')", True),
        ("(0.1, -2.5e-05, '1.5', None)", True),
        ("(0.1, -2.5e-05, 'a1e5')", True),
    ],
)
def test_only_the_last_digits_of_a_number_may_differ(actual: str, is_changed: bool) -> None:
    one, other = (
        Contents({"collection": Counter([("a", text)])}, {})
        for text in ("(0.1, -2.5e-05, '1.5')", actual)
    )

    assert bool(compared(one, other)) == is_changed


@pytest.mark.parametrize(
    ("row", "fault"), [(("b", "('b',)"), "1 doubled (b)"), (("c", "('c',)"), "1 unexpected (c)")]
)
def test_a_row_too_many_is_a_fault(row: tuple[str, str], fault: str) -> None:
    found = verdict(changed("tables: raw_tickets", ("a", "('a',)"), ("b", "('b',)"), row))

    assert found.doubled == [f"tables: raw_tickets: {fault}"]


def test_a_command_that_was_disturbed_may_lose_nothing_even_if_it_says_so() -> None:
    found = verdict(
        changed("originals", ("a", "day/a.eml 1")), "1 original altered", may_lose=False
    )

    assert found.lost == ["originals: 1 missing (b)"]


@pytest.mark.parametrize(
    ("output", "is_told"),
    [
        ("All is well.", False),
        ("found  1 original altered or cut, and set aside", True),
        ("found  2 originals of which the tables know gone", True),
    ],
)
def test_a_lost_original_has_to_be_named(output: str, is_told: bool) -> None:
    found = verdict(changed("originals", ("a", "day/a.eml 1")), output)

    assert (bool(found.told), bool(found.untold)) == (is_told, not is_told)


def test_a_named_loss_explains_no_other() -> None:
    one = changed("originals", ("a", "day/a.eml 1"))
    actual = Contents({**one.kinds, "collection": Counter([("b", "vector")])}, {})

    found = verdict(actual, "1 original altered")

    assert found.untold == ["collection: 1 missing (a)"]


def test_a_traceback_and_a_command_that_hung_are_seen() -> None:
    found = verdict(EXPECTED, "Traceback (most recent call last):\n", status=None)

    assert found.hung == ["tickets run"]
    assert found.untold == ["traceback of tickets run"]


def test_what_cannot_be_read_is_lost() -> None:
    actual = Contents(
        {"originals": EXPECTED.kinds["originals"]}, {"tables": "x", "collection": "y"}
    )

    assert len(verdict(actual, may_lose=False).lost) == 2


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_after_a_fault_of_each_kind_nothing_is_lost_doubled_hung_or_untold() -> None:
    reason = no_namespaces()
    assert not (reason and os.environ.get("CI")), reason

    done = subprocess.run(
        [sys.executable, "-m", "tests.torture", "--short"],
        cwd=Path(__file__).parents[2],
        check=False,
        capture_output=True,
        text=True,
    )

    assert done.returncode == 0, done.stdout + done.stderr
