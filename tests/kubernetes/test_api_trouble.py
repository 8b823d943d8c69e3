"""An API of Kubernetes that refuses, fails or is slow costs a run a delay or another try."""

import pytest

from tests.kubernetes.server import RequestFault

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600, func_only=True)]

JOB = "classify_mail"


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (
            RequestFault("create", "jobs", code=429, headers={"Retry-After": "1"}),
            ["FAILURE", "SUCCESS"],
        ),
        (RequestFault("create", "jobs", code=500), ["SUCCESS"]),
        (RequestFault("create", "jobs", code=500, is_done=True), ["SUCCESS"]),
        (RequestFault("create", "jobs", seconds=12), ["SUCCESS"]),
    ],
    ids=["429", "500", "its answer is lost", "slow"],
)
def test_at_the_launch(desk, day, well, fault, outcome):
    desk.cluster.api.fail(fault)

    run = desk.launch(JOB, day)

    assert desk.outcome(run) == outcome
    assert len(desk.jobs(run)) == 1
    well()


@pytest.fixture(autouse=True)
def healed(desk):
    yield
    desk.cluster.api.heal()


@pytest.mark.parametrize("code", [429, 500])
def test_while_a_run_is_at_work(desk, day, well, code):
    with desk.writers_waiting():
        run = desk.launch(JOB, day)
        desk.at_work(run)
        desk.cluster.api.fail(RequestFault("get", "jobs/status", code=code, times=3))
        desk.wait_until(lambda: desk.answers("get", "jobs/status", code) >= 3, "it has failed")

    assert desk.outcome(run) == ["SUCCESS"]
    well()
