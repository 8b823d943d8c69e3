"""A run whose pod cannot start fails after a while, says why, and is run again; its Job goes."""

import pytest

from tests.helm.rendering import FULLNAME, NAMESPACE

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

JOB = "classify_mail"


def succeeded_at_last(desk, run):
    """Where the fault outlived the second start as well, the third one has succeeded."""
    *failures, last = desk.outcome(run)
    return (set(failures), last) == ({"FAILURE"}, "SUCCESS")


def failed(desk, run):
    """What the run's log says, once it has failed."""
    desk.wait_until(lambda: desk.status(run).value == "FAILURE", "the run has failed")
    return desk.events(run)


def test_a_pod_for_which_there_is_no_room(desk, day, well):
    desk.cluster.node.is_full = True
    try:
        run = desk.launch(JOB, day)
        assert "1 Insufficient memory" in failed(desk, run)
        desk.wait_until(lambda: desk.job(run) is None, "its Job is gone")
    finally:
        desk.cluster.node.is_full = False

    assert succeeded_at_last(desk, run)
    well()


def test_an_image_that_cannot_be_pulled(desk, day, well):
    desk.cluster.node.lost_images.add(desk.image)
    try:
        run = desk.launch(JOB, day)
        assert "Failed to pull image" in failed(desk, run)
        desk.wait_until(lambda: desk.job(run) is None, "its Job is gone")
    finally:
        desk.cluster.node.lost_images.clear()

    assert succeeded_at_last(desk, run)
    well()


def test_a_secret_that_is_missing(desk, day, well):
    secret = desk.cluster.store.get("secrets", NAMESPACE, f"{FULLNAME}-secrets")
    desk.cluster.store.remove("secrets", NAMESPACE, f"{FULLNAME}-secrets")
    try:
        run = desk.launch(JOB, day)
        assert f'secrets "{FULLNAME}-secrets" not found' in failed(desk, run)
        desk.wait_until(lambda: desk.job(run) is None, "its Job is gone")
    finally:
        desk.cluster.store.create("secrets", NAMESPACE, secret)

    assert succeeded_at_last(desk, run)
    well()
