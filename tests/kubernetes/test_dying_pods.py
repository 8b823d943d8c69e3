"""A run whose pod dies is marked as failed and run again, and its days are complete afterwards."""

import pytest

from tests.kubernetes.cluster import Cluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

JOB = "classify_mail"
AGAIN = ["FAILURE", "SUCCESS"]


@pytest.mark.parametrize(
    ("end", "reason"),
    [
        (Cluster.kill, "OOMKilled"),
        (Cluster.evict, "Execution was interrupted unexpectedly"),
        (lambda cluster, pod: cluster.lose_node(pod, seconds=5), "has no active pods"),
    ],
    ids=["killed for its memory", "evicted", "its node is gone"],
)
def test_a_pod_that_dies_is_run_again(desk, day, well, end, reason):
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        end(desk.cluster, desk.at_work(run))
        desk.wait_until(lambda: desk.status(run).value == "FAILURE", "the run has failed")

    assert reason in desk.events(run)
    assert desk.outcome(run) == AGAIN
    well()


def test_a_pod_that_is_killed_during_a_write_leaves_nothing_of_it(desk, day, well):
    with desk.commits_waiting() as is_tried:
        run = desk.launch(JOB, day)
        desk.wait_until(is_tried, "a commit waits")
        desk.cluster.kill(desk.pod(run))
        desk.wait_until(lambda: desk.status(run).value == "FAILURE", "the run has failed")

    assert desk.outcome(run) == AGAIN
    well()


def test_a_job_that_is_deleted_by_hand_is_run_again(desk, day, well):
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        desk.cluster.delete_job(desk.job(run))
        desk.wait_until(lambda: desk.status(run).value == "FAILURE", "the run has failed")

    assert desk.outcome(run) == AGAIN
    well()


def test_a_run_that_is_cancelled_ends_its_pod_and_is_not_run_again(desk, day, well):
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        desk.cancel(run)
        assert desk.outcome(run) == ["CANCELED"]
    desk.wait_until(lambda: desk.job(run) is None, "its Job is gone")

    assert desk.outcome(desk.launch(JOB, day)) == ["SUCCESS"]
    well()


def test_what_a_dead_pod_holds_is_free(desk, day, well):
    """A pool's slot, and its turn on the day, for which another run waits."""
    slots = desk.instance.event_log_storage
    slots.set_concurrency_slots("graphics", 1)
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        pod = desk.at_work(run)
        slots.claim_concurrency_slot("graphics", run, "ticket_embeddings")
        later = desk.launch(JOB, day)
        desk.wait_until(lambda: "Waits for run" in desk.events(later), "the later run waits")
        desk.cluster.kill(pod)
        desk.wait_until(lambda: desk.status(run).value == "FAILURE", "the run has failed")

    assert desk.outcome(later) == ["SUCCESS"]
    assert desk.outcome(run) == AGAIN
    assert slots.get_concurrency_info("graphics").active_run_ids == set()
    well()
