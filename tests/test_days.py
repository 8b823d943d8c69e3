"""A file of tests runs on one day."""

from datetime import UTC, datetime

from tests.days import QUICK_FILE, SLOW_FILE, seconds_to_wait


def test_what_would_run_into_the_next_day_begins_on_it() -> None:
    late = datetime(2026, 11, 28, 23, 50, tzinfo=UTC)

    assert seconds_to_wait(late, SLOW_FILE) == 601
    assert seconds_to_wait(late, QUICK_FILE) == 0
    assert seconds_to_wait(datetime(2026, 11, 29, tzinfo=UTC), SLOW_FILE) == 0
