"""A run whose stores fail says which one and why; once they are back its day is complete."""

import time

import pytest

from tests.kubernetes.gate import Refusal

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

JOB = "classify_mail"
REFUSED = Refusal("PUT", 403, "AccessDenied", "Access Denied")
FULL = Refusal("PUT", 507, "XMinioStorageFull", "The disk of the object store is full.")


def test_postgres_is_restarted(desk, day, well, postgres):
    run = desk.launch(JOB, day)
    desk.at_work(run)
    postgres.stop()
    time.sleep(3)
    postgres.start()

    if desk.outcome(run)[-1] == "FAILURE":
        assert desk.outcome(desk.launch(JOB, day)) == ["SUCCESS"]
    well()


def test_chroma_is_gone(desk, day, well):
    desk.stores.chroma.stop()
    try:
        run = desk.launch(JOB, day)
        assert desk.outcome(run) == ["FAILURE"]
    finally:
        desk.stores.chroma.start()

    assert "Check TICKETS_CHROMA_URL and that the server runs." in desk.errors(run)
    assert desk.outcome(desk.launch(JOB, day)) == ["SUCCESS"]
    well()


@pytest.mark.parametrize("refusal", [REFUSED, FULL], ids=["refuses writes", "disk full"])
def test_a_bucket_that_takes_nothing(desk, day, well, refusal):
    desk.gate.refusal = refusal
    try:
        run = desk.launch(JOB, day)
        assert desk.outcome(run) == ["FAILURE"]
    finally:
        desk.gate.refusal = None

    assert "cannot be read or written" in desk.errors(run)
    assert desk.outcome(desk.launch(JOB, day)) == ["SUCCESS"]
    well()
