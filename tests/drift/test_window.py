"""Which tickets a day is judged by."""

from datetime import date

import pandas as pd
import pytest

from ticket_assets.drift.window import current_window

# Three tickets on 1 March, none on the 2nd, one on the 3rd, two on the 4th.
TICKETS = pd.DataFrame(
    {
        "ticket_id": list("abcdef"),
        "received_at": pd.to_datetime(
            [
                "2026-03-01 00:00:00",
                "2026-03-01 08:30:00",
                "2026-03-01 23:59:59.999999",
                "2026-03-03 12:00:00",
                "2026-03-04 00:00:00",
                "2026-03-04 09:00:00",
            ],
            format="ISO8601",
        ).astype("datetime64[us]"),
    }
)


@pytest.mark.parametrize(
    ("day", "min_tickets", "ids", "first_day"),
    [
        (4, 1, "ef", 4),
        (4, 2, "ef", 4),
        (4, 3, "def", 3),  # whole days: the third ticket brings its day
        (4, 4, "abcdef", 1),  # the empty 2 March is crossed
        (4, 100, "abcdef", 1),  # never enough: as far back as the data goes
        (3, 2, "abcd", 1),  # later days are not looked at
        (1, 3, "abc", 1),
    ],
)
def test_window_reaches_back_whole_days_until_it_holds_enough(day, min_tickets, ids, first_day):
    window = current_window(TICKETS, date(2026, 3, day), min_tickets)

    assert "".join(window.tickets["ticket_id"]) == ids
    assert window.first_day == date(2026, 3, first_day)
    assert window.last_day == date(2026, 3, day)
    assert window.days == day - first_day + 1


@pytest.mark.parametrize("day", [date(2026, 3, 2), date(2026, 2, 28), date(2026, 3, 5)])
def test_day_without_a_ticket_has_an_empty_window(day):
    window = current_window(TICKETS, day, min_tickets=1)

    assert window.tickets.empty
    assert list(window.tickets.columns) == list(TICKETS.columns)
    assert (window.first_day, window.last_day, window.days) == (day, day, 1)


def test_window_of_no_tickets_at_all_is_empty():
    assert current_window(TICKETS.iloc[:0], date(2026, 3, 1), min_tickets=20).tickets.empty
