"""Which tickets a day is judged by."""

from datetime import date

import pytest

from ticket_assets.drift.window import Window, current_window, windows_of

RECEIVED = {date(2026, 3, 1): 3, date(2026, 3, 3): 1, date(2026, 3, 4): 2}


@pytest.mark.parametrize(
    ("day", "min_tickets", "tickets", "first_day"),
    [
        (4, 1, 2, 4),
        (4, 2, 2, 4),
        (4, 3, 3, 3),  # whole days: the third ticket brings its day
        (4, 4, 6, 1),  # the empty 2 March is crossed
        (4, 100, 6, 1),  # never enough: as far back as the data goes
        (3, 2, 4, 1),  # later days are not looked at
        (1, 3, 3, 1),
    ],
)
def test_window_reaches_back_whole_days_until_it_holds_enough(day, min_tickets, tickets, first_day):
    window = current_window(RECEIVED, date(2026, 3, day), min_tickets)

    assert window == Window(date(2026, 3, first_day), date(2026, 3, day), tickets)
    assert window.days == day - first_day + 1


def test_window_reaches_back_thirty_days_at_most():
    received = {date(2026, 3, 31): 1, date(2026, 3, 1): 2, date(2026, 2, 28): 4}

    window = current_window(received, date(2026, 3, 31), min_tickets=5)

    assert window == Window(date(2026, 3, 1), date(2026, 3, 31), tickets=3)
    assert window.days == 31


@pytest.mark.parametrize("day", [date(2026, 3, 2), date(2026, 2, 28), date(2026, 3, 5)])
def test_day_without_a_ticket_has_an_empty_window(day):
    assert current_window(RECEIVED, day, min_tickets=1) == Window(day, day, tickets=0)


@pytest.mark.parametrize(
    ("tickets", "windows"),
    [
        ({8: 60, 5: 10, 1: 500}, [(8, 60), (2, 70)]),  # 1 March is a week and a day before
        ({8: 60, 1: 500}, [(8, 60)]),  # the week holds nothing more
        ({8: 2000, 7: 2000}, [(8, 2000)]),  # the day tells all
        ({8: 10, 2: 45}, [(2, 55)]),  # the day's own window is a week
        ({7: 60}, [(8, 0)]),
    ],
)
def test_the_week_is_judged_beside_a_day_where_it_tells_more(tickets, windows):
    received = {date(2026, 3, day): count for day, count in tickets.items()}

    judged = windows_of(received, date(2026, 3, 8), min_tickets=50)

    assert [(window.first_day.day, window.tickets) for window in judged] == windows
