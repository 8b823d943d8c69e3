"""One desk in a cluster for all tests of this folder, and the same desk in one folder."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.kubernetes.desk_in_cluster import DeskInCluster
from tests.services.stores import Stores
from ticket_assets.sample.mailbox import generate, write_mailbox

MESSAGES, DAYS = 260, 6


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A mailbox whose last day was yesterday."""
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    mails = generate(messages=MESSAGES, days=DAYS, until=yesterday)
    return write_mailbox(tmp_path_factory.mktemp("sample"), mails)


@pytest.fixture(scope="session")
def embedded(sample, tmp_path_factory):
    """The desk in one folder, after a run."""
    stores = Stores(tmp_path_factory.mktemp("embedded") / "desk")
    stores.tickets("import", sample.mailbox, "--labels", sample.labels)
    stores.tickets("run")
    return stores


@pytest.fixture(scope="session")
def desk(sample, shared_stores, postgres, tmp_path_factory):
    """The desk in the cluster; its mail has landed."""
    stores = shared_stores()
    desk = DeskInCluster(tmp_path_factory.mktemp("cluster"), stores, postgres.database())
    stores.tickets("import", sample.mailbox, "--labels", sample.labels)
    yield desk
    desk.close()
