"""`tickets model`: what people see of the saved models, and how they go back to the former one."""

import json
import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from tests.loopback import free_port
from tests.services.s3 import S3Server, settings_of
from tests.slow_cases import slow
from ticket_assets.classification.model_store import ModelError, ModelStore
from ticket_assets.classification.promotion import Candidate, write_candidate
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.cli import app
from ticket_assets.settings import load_settings
from ticket_assets.storage.blobs import Blobs, BlobStoreError
from ticket_assets.storage.bucket_blobs import BucketBlobs

Tickets = Callable[..., Result]


@pytest.fixture
def store(file_store: Blobs) -> ModelStore:
    return ModelStore(file_store.under("models"))


@pytest.fixture
def tickets(
    tmp_path: Path, file_store: Blobs, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Tickets]:
    monkeypatch.chdir(tmp_path)
    for name, value in settings_of(file_store).items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["model", *arguments])

    yield run
    load_settings.cache_clear()


@pytest.fixture(scope="module")
def other(training_set: TrainingSet) -> TrainedClassifier:
    return train(training_set, TrainingOptions(seed=9, folds=2))


@pytest.fixture
def versions(
    store: ModelStore, trained: TrainedClassifier, other: TrainedClassifier
) -> tuple[str, str]:
    """The former champion and the present one."""
    first = store.save(trained, datetime(2025, 4, 1, 12, tzinfo=UTC)).version
    second = store.save(other, datetime(2025, 5, 1, 12, tzinfo=UTC)).version
    store.promote(first)
    store.promote(second)
    write_candidate(store, Candidate(second, None))
    return first, second


def standings(tickets: Tickets) -> dict[str, str]:
    models = json.loads(tickets("list", "--json").stdout)["models"]
    return {model["version"]: model["standing"] for model in models}


def test_a_desk_without_models_is_told_what_to_do(tickets: Tickets):
    assert "No model yet: label tickets, then tickets run" in tickets("list").stdout


@pytest.mark.slow
def test_the_list_says_which_model_is_in_use(tickets: Tickets, versions: tuple[str, str]):
    former, present = versions

    shown = tickets("list").stdout.splitlines()

    assert shown[1].split()[:4] == [former, "former", "champion", "2025-04-01"]
    assert shown[2].split()[:3] == [present, "champion", "2025-05-01"]
    assert "category 0." in shown[2]


def test_a_damaged_model_is_listed_as_such(
    tickets: Tickets, store: ModelStore, versions: tuple[str, str]
):
    store.blobs.replace(f"{versions[0]}/model.skops", b"")

    assert standings(tickets) == {versions[1]: "champion", versions[0]: "damaged"}


def test_the_card_of_the_champion_is_shown_unless_another_is_named(
    tickets: Tickets, versions: tuple[str, str]
):
    assert tickets("show").stdout.startswith(f"# Ticket classifier {versions[1]}\n")
    assert tickets("show", versions[0]).stdout.startswith(f"# Ticket classifier {versions[0]}\n")


def test_a_rollback_restores_the_former_champion_and_says_what_comes_next(
    tickets: Tickets, store: ModelStore, versions: tuple[str, str]
):
    former, present = versions

    done = tickets("rollback")

    assert f"{former} is the champion again, and {present} is taken back." in done.stdout
    assert done.stdout.splitlines()[-1] == "Next: tickets run --only ticket_predictions"
    assert store.require_champion().version == former
    assert standings(tickets) == {former: "champion", present: "rolled back"}


def test_without_a_former_champion_there_is_nothing_to_go_back_to(
    tickets: Tickets, versions: tuple[str, str]
):
    tickets("rollback")

    refused = tickets("rollback")

    assert isinstance(refused.exception, ModelError)
    assert f"only {versions[0]} was ever promoted" in str(refused.exception)


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"TICKETS_FILES": "s3://absent/desk"},
            r"There is no bucket absent at \S+\. Create it, or .* \(TICKETS_FILES\)\.",
        ),
        (
            {"TICKETS_S3_ENDPOINT": f"http://127.0.0.1:{free_port()}"},
            r"\S+ does not answer for s3://\S+\. Check TICKETS_S3_ENDPOINT and the network, .*",
        ),
    ],
)
@pytest.mark.parametrize("command", [["list"], *slow(["show"], ["rollback"])])
def test_a_bucket_that_cannot_be_reached_is_named_in_one_line(
    s3: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    command: list[str],
    changes: dict[str, str],
    line: str,
):
    settings = settings_of(BucketBlobs(f"{s3.bucket()}/desk", s3.access)) | changes
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()

    refused = CliRunner().invoke(app, ["model", *command])

    load_settings.cache_clear()
    assert isinstance(refused.exception, BlobStoreError)
    assert re.fullmatch(line, str(refused.exception))
