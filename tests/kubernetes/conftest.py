"""One desk in a cluster for all tests of this folder, and the same desk in one folder."""

from datetime import UTC, datetime

import pytest

from tests.days import last_friday
from tests.kubernetes.desk_in_cluster import DeskInCluster
from tests.services.stores import Stores
from ticket_assets.sample.mailbox import generate, write_mailbox

MESSAGES, DAYS = 260, 6


@pytest.fixture(scope="session")
def sample(tmp_path_factory):
    """A mailbox of the last days."""
    mails = generate(messages=MESSAGES, days=DAYS, until=last_friday())
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


@pytest.fixture(scope="session")
def days(desk):
    """The days on which mail was received."""
    return sorted(desk.stores.desk().landing.days())


@pytest.fixture(scope="session")
def sorted_desk(desk, days):
    """The desk in the cluster, after a run of the whole graph; its tables."""
    run = desk.launch("whole_graph", days[0], datetime.now(UTC).date())
    assert desk.outcome(run) == ["SUCCESS"]
    return desk.stores.tables()


@pytest.fixture
def day(desk, days, sorted_desk):
    """A day that has to be made again."""
    desk.lose(days[2])
    assert desk.stores.tables() != sorted_desk
    return days[2]


@pytest.fixture
def well(desk, sorted_desk):
    """Asserts that afterwards runs, Jobs and rows are as if nothing had happened."""

    def assert_well():
        desk.wait_until(lambda: not desk.unfinished(), "all runs have ended")
        desk.wait_until(lambda: not desk.orphans(), "no Job of an ended run is left")
        assert desk.differences(sorted_desk) == {}

    return assert_well
