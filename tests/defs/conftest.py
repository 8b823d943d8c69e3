"""The product's definitions over a temporary data folder, and what the tests build small states of.

Dagster reads definitions at import, and with them the settings: the environment is set while the
package is imported, and put back at once so that other tests see their own.
"""

import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import numpy as np
import pandas as pd
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._utils.error import SerializableErrorInfo

from tests.warehouse_rows import append_rows
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.settings import PREFIX, Settings, load_settings

assert "ticket_assets.definitions" not in sys.modules, (
    "A module of other tests has loaded the graph, and with it settings that are not these"
)

FIRST_DAY = date(2025, 6, 1)
_folder = tempfile.TemporaryDirectory(prefix="tickets-defs-", ignore_cleanup_errors=True)
PRODUCT_ENVIRONMENT = {
    "TICKETS_DATA_DIR": f"{_folder.name}/data",
    "TICKETS_FIRST_DAY": FIRST_DAY.isoformat(),
    "TICKETS_ENCODER": "all-minilm-l6-v2",
    "TICKETS_ENCODER_PRECISION": "fp32",
    "TICKETS_ENCODER_MAX_TOKENS": "64",
    "TICKETS_MIN_CLASS_TICKETS": "5",
}

with pytest.MonkeyPatch.context() as _environment:
    # A developer's own settings stay out.
    _environment.chdir(_folder.name)
    for _name in [name for name in os.environ if name.startswith(PREFIX)]:
        _environment.delenv(_name)
    for _name, _value in PRODUCT_ENVIRONMENT.items():
        _environment.setenv(_name, _value)
    load_settings.cache_clear()
    from ticket_assets import definitions
load_settings.cache_clear()

Fill = Callable[..., None]


@pytest.fixture(scope="session")
def product() -> dg.Definitions:
    """The definitions that Dagster loads."""
    return definitions.defs


@pytest.fixture(scope="session")
def product_environment() -> dict[str, str]:
    """The environment of another process that works on the same desk."""
    outer = {name: os.environ[name] for name in os.environ if not name.startswith(PREFIX)}
    return {**outer, **PRODUCT_ENVIRONMENT}


@pytest.fixture(scope="session")
def product_settings() -> Settings:
    """The settings that the definitions were loaded with."""
    return definitions.DESK.settings


@pytest.fixture
def settings(tmp_path: Path, product_settings: Settings) -> Settings:
    """The same settings over a data folder of the test's own."""
    return product_settings.model_copy(update={"data_dir": tmp_path / "data"})


@pytest.fixture(scope="session")
def fill() -> Callable[..., None]:
    """`append_rows`."""
    return append_rows


TOPICS = {
    "access": "account password locked sign-in rights permission expired reset",
    "network": "vpn network wifi drops slow tunnel router unreachable",
    "printing": "printer paper jam toner queue tray scanner stripes",
}
POLITE = "hello thanks please since yesterday morning our floor again still urgent help nobody"


@pytest.fixture(scope="session")
def labelled_desk() -> TrainingSet:
    """180 labelled tickets, two hours apart; one in ten was filed under a wrong category."""
    random = np.random.default_rng(5)
    rows = []
    for number in range(180):
        topic = str(random.choice(list(TOPICS)))
        words = [*random.choice(TOPICS[topic].split(), 4), *random.choice(POLITE.split(), 6)]
        rows.append(
            {
                "ticket_id": f"{number:020x}",
                "received_at": pd.Timestamp(FIRST_DAY) + pd.Timedelta(hours=2 * number),
                "text": " ".join(words),
                "tokens": " ".join(words),
                "language": "en",
                "category": str(random.choice(list(TOPICS))) if number % 10 == 0 else topic,
                "priority": None,
                "topic": list(TOPICS).index(topic),
            }
        )
    tickets = pd.DataFrame(rows)
    vectors = np.eye(8)[tickets.pop("topic")] + random.normal(scale=0.3, size=(len(rows), 8))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return TrainingSet(tickets, vectors.astype(np.float32), "an-encoder@1")


@pytest.fixture(scope="session")
def trained(labelled_desk: TrainingSet) -> TrainedClassifier:
    """A small classifier, whose figures the tests replace."""
    return train(labelled_desk, TrainingOptions(folds=2))


@pytest.fixture
def instance_in_memory(tmp_path: Path, new_dagster_folder: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in memory that keeps ticks."""
    with dg.DagsterInstance.ephemeral() as instance:
        shutil.copytree(new_dagster_folder, tmp_path / "dagster")
        folder = tmp_path / "dagster/schedules"
        instance._schedule_storage = SqliteScheduleStorage.from_local(str(folder))
        yield instance


@pytest.fixture
def tick(instance: dg.DagsterInstance) -> Callable[..., None]:
    """Records a tick of a sensor on the test's `instance`."""
    location = InProcessCodeLocationOrigin(
        LoadableTargetOrigin(executable_path=sys.executable, module_name=__name__)
    )

    def record(
        status: TickStatus,
        sensor: str = "new_mail",
        *,
        by_automation: bool = False,
        error: str = "no",
    ) -> None:
        now = time.time()
        ended = status != TickStatus.STARTED
        well = ended and status != TickStatus.FAILURE and not by_automation
        state = InstigatorState(
            RemoteInstigatorOrigin(
                repository_origin=RemoteRepositoryOrigin(location, "__repository__"),
                instigator_name=sensor,
            ),
            InstigatorType.SENSOR,
            InstigatorStatus.RUNNING,
            SensorInstigatorData(
                last_tick_timestamp=now, last_tick_success_timestamp=now if well else None
            ),
        )
        if not instance.get_instigator_state(state.instigator_origin_id, state.selector_id):
            instance.add_instigator_state(state)
        elif ended:
            instance.update_instigator_state(state)
        instance.create_tick(
            TickData(
                state.instigator_origin_id,
                sensor,
                InstigatorType.SENSOR,
                status,
                timestamp=now,
                run_ids=[],
                error=SerializableErrorInfo(error, [], None)
                if status == TickStatus.FAILURE
                else None,
                skip_reason="no" if status == TickStatus.SKIPPED else None,
                selector_id=state.selector_id,
            )
        )

    return record
