"""Runs go on while the daemon or the code location starts anew, or their history is pruned."""

from datetime import UTC, datetime, timedelta

import pytest

from ticket_assets.orchestration.pruning import prune_runs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

JOB = "classify_mail"


def test_the_daemon_is_restarted_in_the_middle(desk, day, well):
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        desk.restart("daemon")

    assert desk.outcome(run) == ["SUCCESS"]
    well()


def test_the_daemon_is_killed_while_runs_wait(desk, days, day, well):
    with desk.writers_waiting():
        runs = [desk.launch(JOB, of_day) for of_day in days[:5]]
        desk.at_work(runs[0])
        desk.cluster.kill(desk.deployed("daemon"))

    assert [desk.outcome(run) for run in runs] == [["SUCCESS"]] * 5
    well()


def test_the_code_location_is_redeployed_under_a_run(desk, day, days, well):
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        desk.restart("code-location")
    desk.reload()

    assert desk.outcome(run) == ["SUCCESS"]
    assert desk.outcome(desk.launch(JOB, days[0])) == ["SUCCESS"]
    well()


def test_the_event_log_is_pruned_under_a_run(desk, day, well):
    ended = desk.launch(JOB, day)
    assert desk.outcome(ended) == ["SUCCESS"]
    desk.lose(day)
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        prune_runs(desk.instance, datetime.now(UTC) + timedelta(days=1))

    assert desk.outcome(run) == ["SUCCESS"]
    well()


@pytest.mark.parametrize("hours", [2, -2])
def test_the_clock_of_a_node_jumps(desk, day, days, well, hours):
    """The pods on that node take no run for dead that is at work on another one."""
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        desk.cluster.runtime.clock_offset = 3600.0 * hours
        try:
            later = desk.launch(JOB, days[0])
            desk.at_work(later)
        finally:
            desk.cluster.runtime.clock_offset = 0.0
        assert desk.status(run).value == "STARTED"

    assert [desk.outcome(run), desk.outcome(later)] == [["SUCCESS"], ["SUCCESS"]]
    well()
