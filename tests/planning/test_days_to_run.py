"""Which days run now: a table of what has landed, what was predicted from, and what failed."""

from datetime import UTC, date, datetime, timedelta

import pytest

from ticket_assets.mail.landed_days import DayRange
from ticket_assets.planning.days_to_run import DELAYS, Failure, days_to_run

NOW = datetime(2026, 1, 20, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
TRIES = len(DELAYS) + 1


def day(number):
    return date(2026, 1, number)


def days(first, last=None):
    return DayRange(day(first), day(last or first))


def together(first, last, *numbers):
    """Days that failed together a minute ago; only some of them are still to be done."""
    return {
        number: failed(LANDED[number], ago=MINUTE, together=days(first, last)) for number in numbers
    }


def failed(content, tries=1, ago=0 * MINUTE, together=None):
    return lambda number: Failure(content, tries, NOW - ago, together or days(number))


LANDED = {5: "a", 6: "b", 7: "c"}


@pytest.mark.parametrize(
    ("predicted", "at_work", "failures", "expected"),
    [
        pytest.param({}, [], {}, [days(5, 7)], id="nothing was predicted"),
        pytest.param({5: "a", 6: "b", 7: "c"}, [], {}, [], id="all is done"),
        pytest.param({5: "a", 6: "old", 7: "c"}, [], {}, [days(6)], id="late mail"),
        pytest.param({6: "b"}, [], {}, [days(5), days(7)], id="days apart"),
        pytest.param({}, [days(1, 6)], {}, [days(7)], id="a run is at work on two of them"),
        pytest.param(
            {5: "a", 7: "c"}, [], {6: failed("b")}, [], id="it failed now: it waits a minute"
        ),
        pytest.param(
            {5: "a", 7: "c"}, [], {6: failed("b", ago=MINUTE)}, [days(6)], id="the minute is over"
        ),
        pytest.param(
            {5: "a", 7: "c"}, [], {6: failed("b", 2, 4 * MINUTE)}, [], id="later tries wait longer"
        ),
        pytest.param(
            {5: "a", 7: "c"}, [], {6: failed("old", TRIES)}, [days(6)], id="its content has changed"
        ),
        pytest.param(
            {5: "a", 7: "c"},
            [],
            {6: failed("b", TRIES, timedelta(days=9))},
            [],
            id="it failed too often and stands",
        ),
        pytest.param(
            {5: "a", 6: "b", 7: "c"}, [], {6: failed("b")}, [], id="another run has done it"
        ),
        pytest.param(
            {},
            [],
            together(5, 7, 5, 6, 7),
            [days(5), days(6), days(7)],
            id="three that failed together are tried one by one",
        ),
        pytest.param(
            {5: "a"},
            [],
            together(4, 7, 6, 7),
            [days(6, 7)],
            id="four that failed together are tried in halves",
        ),
        pytest.param(
            {},
            [days(6)],
            {6: failed("b", ago=MINUTE), 7: failed("c")},
            [days(5)],
            id="one is new, one at work, one waits",
        ),
    ],
)  # fmt: skip
def test_the_ranges_to_run(predicted, at_work, failures, expected):
    plan = days_to_run(
        {day(number): content for number, content in LANDED.items()},
        {day(number): content for number, content in predicted.items()},
        at_work,
        {day(number): failure(number) for number, failure in failures.items()},
        NOW,
    )

    assert plan.ranges == expected


def test_what_does_not_run_is_named_with_its_reason():
    plan = days_to_run(
        {day(number): "x" for number in (5, 6, 7, 8)},
        {day(8): "x"},
        [days(5)],
        {day(6): failed("x", 2)(6), day(7): failed("x", TRIES)(7)},
        NOW,
    )

    assert (plan.ranges, plan.busy, plan.standing) == ([], [day(5)], [day(7)])
    assert plan.waiting == {day(6): NOW + DELAYS[1]}


def test_one_bad_day_among_sixteen_is_alone_before_it_stands():
    """A model of runs that fail as a whole when they hold the bad day."""
    content = {day(number): "x" for number in range(1, 17)}
    done, failures, now, runs = {}, {}, NOW, 0
    while (plan := days_to_run(content, done, [], failures, now)).ranges or plan.waiting:
        for together in plan.ranges:
            runs += 1
            for day_of_run in together.days():
                former = failures.get(day_of_run)
                if day(11) in together.days():
                    failures[day_of_run] = Failure(
                        "x", (former.tries if former else 0) + 1, now, together
                    )
                else:
                    done[day_of_run] = "x"
        now = min(plan.waiting.values(), default=now)

    assert content.keys() - done.keys() == {day(11)}
    assert plan.standing == [day(11)]
    assert runs == 9
