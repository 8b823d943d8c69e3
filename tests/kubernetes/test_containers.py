"""Runs in containers of the product's image, whose pods are made as the chart says."""

from datetime import UTC, datetime
from functools import partial

import pandas as pd
import pytest

from tests.kubernetes.desk_in_cluster import DeskInCluster
from tests.kubernetes.podman_runs import PodmanRuns
from tests.services.stores import Stores

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200, func_only=True)]

ENCODER = {"encoder": "multilingual-e5-small-tickets"}
"""The one that is in the image."""
LABELS = ["ticket_id", "category", "priority", "decision", "priority_decision", "queue"]
CONFIDENCES = ["category_confidence", "priority_confidence"]


@pytest.fixture(scope="module")
def outside(sample, tmp_path_factory):
    """The desk in one folder of this machine, after a run."""
    stores = Stores(tmp_path_factory.mktemp("outside") / "desk", ENCODER)
    stores.tickets("import", sample.mailbox, "--labels", sample.labels)
    stores.tickets("run")
    return stores


@pytest.fixture(scope="module")
def in_the_image(containers, product_image):
    """Pods are containers of the image."""
    return {"image": product_image, "runtime": partial(PodmanRuns, containers=containers)}


@pytest.fixture(scope="module")
def desk(sample, shared_stores, postgres, in_the_image, tmp_path_factory):
    """The desk in the cluster, after a run of the whole graph in a container."""
    stores = shared_stores()
    desk = DeskInCluster(
        *(tmp_path_factory.mktemp("containers"), stores, postgres.database()),
        **in_the_image,
        **ENCODER,
    )
    stores.tickets("import", sample.mailbox, "--labels", sample.labels)
    run = desk.launch("whole_graph", min(stores.desk().landing.days()), datetime.now(UTC).date())
    assert desk.outcome(run) == ["SUCCESS"]
    yield desk
    desk.close()


def predictions(stores: Stores) -> pd.DataFrame:
    return stores.desk().warehouse.frame("from ticket_predictions order by ticket_id")


def test_a_run_in_a_container_makes_the_same_predictions(desk, outside):
    here, there = predictions(desk.stores), predictions(outside)

    assert here[LABELS].to_dict("records") == there[LABELS].to_dict("records")
    # Another build of numpy's libraries: the last digits differ, and training follows them.
    assert here[CONFIDENCES].to_numpy() == pytest.approx(there[CONFIDENCES].to_numpy(), abs=1e-4)
    desk.wait_until(lambda: not desk.orphans(), "no Job of an ended run is left")


def test_a_pod_whose_disk_is_full(desk):
    tables = desk.stores.tables()
    day = sorted(desk.stores.desk().landing.days())[2]
    desk.lose(day)
    desk.cluster.runtime.disk_kilobytes = 4
    try:
        run = desk.launch("classify_mail", day)
        assert desk.outcome(run) == ["FAILURE"]
    finally:
        desk.cluster.runtime.disk_kilobytes = None

    assert "Rows cannot wait in /" in desk.errors(run)
    assert "No space left on device" in desk.errors(run)
    assert desk.outcome(desk.launch("classify_mail", day)) == ["SUCCESS"]
    desk.wait_until(lambda: not desk.orphans(), "no Job of an ended run is left")
    assert desk.differences(tables) == {}
