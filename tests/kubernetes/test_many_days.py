"""Many runs for many days, or for one: no day is lost, none is there twice."""

import pytest
from dagster._core.execution.backfill import BULK_ACTION_TERMINAL_STATUSES

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]

JOB = "classify_mail"


def test_two_runs_for_one_day(desk, day, well):
    runs = [desk.launch(JOB, day), desk.launch(JOB, day)]

    assert [desk.outcome(run) for run in runs] == [["SUCCESS"], ["SUCCESS"]]
    well()


def test_a_backfill_that_is_cut_half_way(desk, days, day, well):
    for lost in days:
        desk.lose(lost)
    with desk.writers_waiting():
        backfill = desk.backfill(JOB, days)
        desk.wait_until(lambda: bool(desk.runs_of(backfill)), "the backfill has a run")
        pod = desk.at_work(desk.runs_of(backfill)[0].run_id)
        desk.cluster.kill(desk.deployed("daemon"))
        desk.cluster.kill(pod)

    def is_complete():
        return desk.instance.get_backfill(backfill).status in BULK_ACTION_TERMINAL_STATUSES

    desk.wait_until(is_complete, "the backfill is complete", 300)
    well()
