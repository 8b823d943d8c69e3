"""The whole graph in pods makes the same tables as in one folder."""

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]


def test_a_run_in_a_pod_makes_the_same_tables(sorted_desk, embedded):
    tables = embedded.tables()

    assert sorted_desk.keys() == tables.keys()
    for name, rows in tables.items():
        assert sorted_desk[name] == rows, name
    assert len(sorted_desk["ticket_predictions"]) > 200


def test_no_job_is_at_work_afterwards(desk, well):
    well()
