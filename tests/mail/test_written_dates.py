"""Dates are read as programs write them in five languages; their order is that of the column."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ticket_assets.mail.written_dates import as_datetime, figure_orders
from ticket_assets.text.languages import languages

MOMENT = datetime(2026, 9, 8, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cell", "read"),
    [
        ("2025-02-03", datetime(2025, 2, 3)),
        ("2025-02-03 14:05", datetime(2025, 2, 3, 14, 5)),
        ("2025-02-03T14:05:00Z", datetime(2025, 2, 3, 14, 5)),
        ("2025-02-03T14:05:00+02:00", datetime(2025, 2, 3, 12, 5)),
        ("3/2/2025", datetime(2025, 2, 3)),
        ("03/02/2025 14:05:06", datetime(2025, 2, 3, 14, 5, 6)),
        ("03.02.2025 à 14h05", datetime(2025, 2, 3, 14, 5)),
        ("21/11/2026 14:05", datetime(2026, 11, 21, 14, 5)),
        ("21.11.2026 um 14:05", datetime(2026, 11, 21, 14, 5)),
        ("21 novembre 2026 à 14h05", datetime(2026, 11, 21, 14, 5)),
        ("samedi 21 novembre 2026 14:05:07", datetime(2026, 11, 21, 14, 5, 7)),
        ("le 3 févr. 2026 à 9 h 05", datetime(2026, 2, 3, 9, 5)),
        ("1er août 2026", datetime(2026, 8, 1)),
        ("3 Nov 2026 14:05:00 -0500", datetime(2026, 11, 3, 19, 5)),
        ("Mon, 3 Feb 2025 14:05:00 +0100", datetime(2025, 2, 3, 13, 5)),
        (1738591500, datetime(2025, 2, 3, 14, 5)),
        (1738591500000, datetime(2025, 2, 3, 14, 5)),
        ("1738591500", datetime(2025, 2, 3, 14, 5)),
        ("1738591500.25", datetime(2025, 2, 3, 14, 5, 0, 250_000)),
        ("1738591500000", datetime(2025, 2, 3, 14, 5)),
    ],
)
def test_dates_are_read_as_desks_write_them(cell, read):
    assert as_datetime(cell) == read.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    "cell",
    [
        "2026-09-08 14:05 UTC",
        "2026-09-08 14:05:00 +0000",
        "2026/09/08 14:05",
        "2026-09-08 02:05 PM",
        "08.09.26 14:05",
        "8/9/26, 14:05",
        "08-09-2026 14:05",
        "08/09/2026 14.05",
        "8 settembre 2026 alle 14.05.00",
        "08/09/2026 - 14:05",
        "mar. 08/09/2026 14:05",
        "Tue 08/09/2026 2:05 PM",
        "08/09/2026 02:05 p. m.",
        "08/09/2026 2:05\u202fp.\u202fm.",
        "8. September 2026, 14:05 Uhr",
        "Dienstag, den 8. September 2026 um 14:05 Uhr",
        "Di., 08.09.2026 14:05 Uhr",
        "08.09.2026, 14 Uhr 05",
        "08-Sep-2026 14:05",
        "08/Sep/26 2:05 PM",
        "08/sept./26 2:05 PM",
        "September 8, 2026 2:05 PM",
        "Tuesday, September 8th, 2026 at 2:05 pm",
        "8 de septiembre de 2026 a las 14:05",
        "martes, 8 de septiembre de 2026, 14:05 h",
        "8 de setembro de 2026 às 14h05min",
        "terça-feira, 8 de setembro de 2026 14:05",
        "mardi 8 septembre 2026 à 14 h 05 min",
        "le 8 sept. 2026 à 14 heures 05",
        "2026-09-08 16:05 CEST",
        "08.09.2026 16:05 (MESZ)",
        "08/09/2026 15:05 UTC+1",
        "08/09/2026 16:05 (GMT+02:00)",
        "2026-09-08 09:05 -0500",
    ],
)
def test_one_moment_is_read_in_every_form(cell):
    assert as_datetime(cell) == MOMENT


@pytest.mark.parametrize(
    "cell",
    [
        *("", None, "hier", "n/a", "-", "4711", "202609", "2026", "14:05", "Mai", "March 2026"),
        *("31/02/2025", "31 février 2026", "13/13/2026", "08/09/2026 25:00", "INC0012345"),
        *(
            "8 Septober 2026",
            "8/9",
            "0/9/2026",
            "08/09/2026/1",
            "192.168.1.26",
            "1.2.3",
            "10.20.30.40",
        ),
        *(float("nan"), float("inf"), "9" * 5000, "1 " * 3000, "12/ " * 2000),
    ],
)
def test_what_is_no_date_is_none(cell):
    assert as_datetime(cell) is None


@pytest.mark.parametrize(
    ("cell", "hour"), [("12:05 AM", 0), ("12:05 PM", 12), ("1:05 am", 1), ("11:05 p.m.", 23)]
)
def test_noon_and_midnight_are_told_apart(cell, hour):
    assert as_datetime(f"08/09/2026 {cell}") == MOMENT.replace(hour=hour)


def test_mar_is_a_weekday_beside_a_month_and_a_month_else():
    assert as_datetime("mar. 10 nov. 2026") == datetime(2026, 11, 10, tzinfo=UTC)
    assert as_datetime("10 mar 2026") == datetime(2026, 3, 10, tzinfo=UTC)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)))
def test_every_month_of_every_language_is_read(moment):
    day = moment.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)

    for words in languages():
        for name in (words.months[day.month - 1] if words.months else "").split():
            assert as_datetime(f"{day.day} {name} {day.year}") == day
            assert as_datetime(f"{day.day}-{name.title()}-{day.year}") == day


@given(st.dates(datetime(1990, 1, 1).date(), datetime(2060, 1, 1).date()))
def test_what_was_written_in_either_order_is_read_in_that_order(day):
    moment = datetime(day.year, day.month, day.day, tzinfo=UTC)

    assert as_datetime(f"{day:%d/%m/%Y}", "day-first") == moment
    assert as_datetime(f"{day:%m/%d/%Y}", "month-first") == moment


@given(st.text(alphabet="0123456789/.-: ,hTZ+aApPmMuUrR", max_size=100) | st.text(max_size=100))
def test_any_text_is_a_moment_or_none(text):
    read = as_datetime(text)

    assert read is None or read.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("cells", "order"),
    [
        (["03/04/2026", "25/03/2026"], "day-first"),
        (["03/04/2026", "03/25/2026 10:00 AM"], "month-first"),
        (["03/04/26 10:00", "n/a", None, "3/25/26 10:00", 5], "month-first"),
        (["Fr. 03/04/2026", "mar. 25/03/2026"], "day-first"),
        (["3.4.2026", "5.6.2026"], "day-first"),
        (["3.4.2026", "5.25.2026"], "month-first"),
        (["03/04/2026", "05/06/2026"], None),
        (["03-04-2026", "3.4.2026"], None),
        (["03/04/2026", "25/03/2026", "03/25/2026"], None),
        (["03/04/2026", "45/03/2026", "00/25/2026"], None),
    ],
)
def test_the_order_of_a_column_is_decided_by_all_its_values(cells, order):
    assert figure_orders(cells).decision()[0] == order


@pytest.mark.parametrize(
    "cells", [["2026-03-04"], ["3 avril 2026"], ["04/04/2026"], ["25/03/2026"], ["x", None, ""]]
)
def test_a_column_in_which_nothing_can_change_places_has_no_either(cells):
    assert figure_orders(cells).either is None
