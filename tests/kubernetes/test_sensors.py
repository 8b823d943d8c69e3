"""Mail that lands is predicted by pods which the sensors launch, without a command."""

import pytest

from tests.kubernetes.desk_in_cluster import DeskInCluster
from tests.kubernetes.objects import name_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900, func_only=True)]


@pytest.fixture(scope="module")
def alone(sample, shared_stores, postgres, tmp_path_factory):
    """A desk whose mail has been imported once, and whose sensors are on."""
    stores = shared_stores()
    folder, database = tmp_path_factory.mktemp("alone"), postgres.database()
    desk = DeskInCluster(folder, stores, database, poll_seconds="10")
    stores.tickets("import", sample.mailbox, "--labels", sample.labels)
    # The first day was not known when it was loaded.
    desk.restart("code-location")
    desk.reload()
    desk.switch_on("new_mail", "automation")
    yield desk
    desk.close()


def predicted(desk):
    warehouse = desk.stores.desk().warehouse
    if "ticket_predictions" not in warehouse.tables():
        return {}
    return dict(
        warehouse.rows("select received_at::date, count(*) from ticket_predictions group by all")
    )


def test_imported_mail_is_predicted_by_pods(alone, embedded):
    wanted = len(embedded.tables()["ticket_predictions"])

    alone.wait_until(
        lambda: sum(predicted(alone).values()) == wanted, "all mail is predicted", seconds=400
    )

    (first, *_) = [run for run in alone.instance.get_runs() if run.job_name == "whole_graph"]
    assert first.tags["dagster/sensor_name"] == "new_mail"
    assert name_of(alone.job(first.run_id)) == f"dagster-run-{first.run_id}"
