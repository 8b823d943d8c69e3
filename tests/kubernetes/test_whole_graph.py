"""The whole graph in pods makes the same tables as in one folder."""

from datetime import UTC, datetime

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]


def test_a_run_in_a_pod_makes_the_same_tables(desk, embedded):
    first, today = min(desk.stores.desk().landing.days()), datetime.now(UTC).date()

    run = desk.launch("whole_graph", first, today)

    assert desk.outcome(run) == ["SUCCESS"]
    assert desk.stores.tables() == embedded.tables()
    assert desk.orphans() == []
