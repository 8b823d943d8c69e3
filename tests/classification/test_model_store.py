import hashlib
import io
import json
import pickle
import signal
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest

from tests.services.dying_blobs import DyingBlobs, Killed
from tests.slow_cases import slow
from ticket_assets.classification.model_erasure import erase_from_models, learnt_from
from ticket_assets.classification.model_store import (
    ModelError,
    ModelStore,
    ModelVersion,
    table_bytes,
)
from ticket_assets.classification.promotion import (
    Candidate,
    read_candidate,
    superfluous_models,
    write_candidate,
)
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet
from ticket_assets.storage.blobs import Blobs
from ticket_assets.storage.folder_blobs import FolderBlobs

NOON = datetime(2025, 4, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(file_store: Blobs) -> ModelStore:
    return ModelStore(file_store)


@pytest.fixture
def saved(store: ModelStore, trained: TrainedClassifier) -> ModelVersion:
    return store.save(trained, NOON)


@pytest.fixture(scope="module")
def other(training_set: TrainingSet) -> TrainedClassifier:
    return train(training_set, TrainingOptions(seed=8, folds=2))


class Intruder:
    """A type that no model needs."""


def change_manifest(store: ModelStore, version: str, **changes: object) -> None:
    manifest = store.manifest(version) | changes
    store.blobs.replace(f"{version}/manifest.json", json.dumps(manifest).encode())


def replace_model(store: ModelStore, version: str, content: bytes) -> None:
    """What someone with write access would do: new model, and a manifest that agrees with it."""
    store.blobs.replace(f"{version}/model.skops", content)
    digest = hashlib.sha256(content).hexdigest()
    files = store.manifest(version)["files"] | {"model.skops": digest}
    change_manifest(store, version, files=files)


def test_a_loaded_classifier_predicts_what_was_saved(
    store: ModelStore,
    saved: ModelVersion,
    trained: TrainedClassifier,
    training_set: TrainingSet,
):
    loaded = store.load(saved.version)

    assert loaded.predict(training_set.tickets, training_set.vectors).equals(
        trained.classifier.predict(training_set.tickets, training_set.vectors)
    )
    assert saved.version == trained.evaluation.fingerprint[:12]
    assert saved.labels["category"] == ("access", "network", "printing")
    assert (saved.training_tickets, saved.created_at) == (400, "2025-04-01T12:00:00+00:00")


def test_everything_comes_back(store: ModelStore, saved: ModelVersion, trained: TrainedClassifier):
    loaded = store.load_trained(saved.version)

    assert loaded.evaluation == trained.evaluation
    assert loaded.vocabulary == trained.vocabulary
    assert loaded.training_tickets.equals(trained.training_tickets)
    scalar = [name for name in trained.holdout if not name.endswith("_probabilities")]
    assert loaded.holdout[scalar].equals(trained.holdout[scalar])
    assert loaded.reference.drop(columns="vector").equals(trained.reference.drop(columns="vector"))
    assert loaded.reference["vector"][0].tolist() == trained.reference["vector"][0].tolist()


def test_new_tickets_are_compared_with_what_an_earlier_release_has_learnt(
    store: ModelStore, saved: ModelVersion, trained: TrainedClassifier, training_set: TrainingSet
):
    # Given a reference that knows nothing of wordings
    former = trained.reference.drop(columns=["wording", "unlearnt_words", "unlearnt_pairs"])
    content, name = table_bytes(former), "reference.parquet"
    store.blobs.replace(f"{saved.version}/{name}", content)
    digest = hashlib.sha256(content).hexdigest()
    change_manifest(
        store, saved.version, files=store.manifest(saved.version)["files"] | {name: digest}
    )

    familiarity = store.load_familiarity(saved.version, trained.classifier)
    reasons = familiarity.reasons(training_set.tickets, training_set.vectors)

    assert reasons.isna().mean() > 0.95


@pytest.mark.slow
def test_the_same_training_gives_the_same_bytes(
    tmp_path: Path,
    store: ModelStore,
    saved: ModelVersion,
    training_set: TrainingSet,
    options: TrainingOptions,
):
    elsewhere = ModelStore(FolderBlobs(tmp_path / "elsewhere"))
    again = elsewhere.save(train(training_set, options), NOON)

    files = [blob.name.partition("/")[2] for blob in store.blobs.list(saved.version)]
    assert again == saved
    assert files == [
        "evaluation.json",
        "holdout.parquet",
        "label_errors.parquet",
        "manifest.json",
        "model.skops",
        "model_card.md",
        "reference.parquet",
        "training_tickets.parquet",
        "vocabulary.parquet",
    ]
    for name in files:
        path = f"{saved.version}/{name}"
        assert store.blobs.read(path) == elsewhere.blobs.read(path), name


def test_saving_again_changes_nothing(
    store: ModelStore, saved: ModelVersion, trained: TrainedClassifier
):
    before = list(store.blobs.list())

    again = store.save(trained, datetime(2026, 1, 1, tzinfo=UTC))

    assert again == saved
    assert list(store.blobs.list()) == before


def test_saving_again_repairs_a_damaged_version(
    store: ModelStore, saved: ModelVersion, trained: TrainedClassifier
):
    store.blobs.delete([f"{saved.version}/model.skops"])

    store.save(trained, NOON)

    assert store.load(saved.version).encoder == "bag-of-words"


@pytest.mark.parametrize(
    "name", ["model.skops", "evaluation.json", "reference.parquet", "vocabulary.parquet"]
)
def test_a_changed_file_is_refused(name: str, store: ModelStore, saved: ModelVersion):
    content = bytearray(store.blobs.read(f"{saved.version}/{name}"))
    content[len(content) // 2] ^= 1
    store.blobs.replace(f"{saved.version}/{name}", bytes(content))

    with pytest.raises(ModelError, match=f"SHA-256 of {name}"):
        store.load(saved.version)


def test_a_missing_file_is_refused(store: ModelStore, saved: ModelVersion):
    store.blobs.delete([f"{saved.version}/reference.parquet"])

    with pytest.raises(ModelError, match=r"reference\.parquet is missing"):
        store.load(saved.version)


@pytest.mark.slow
def test_a_process_that_reads_a_model_does_not_load_pytorch(
    tmp_path: Path, trained: TrainedClassifier
):
    saved = ModelStore(FolderBlobs(tmp_path)).save(trained, NOON)
    program = (
        "import sys; from pathlib import Path;"
        "from ticket_assets.classification.model_store import ModelStore;"
        "from ticket_assets.storage.folder_blobs import FolderBlobs;"
        "ModelStore(FolderBlobs(Path(sys.argv[1]))).load(sys.argv[2]);"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, tmp_path, saved.version]

    assert subprocess.run(command, capture_output=True, check=True).stdout == b"False\n"


def test_a_foreign_type_is_refused_even_with_a_matching_manifest(
    store: ModelStore, saved: ModelVersion
):
    import skops.io

    replace_model(store, saved.version, skops.io.dumps({"encoder": Intruder()}))

    with pytest.raises(ModelError, match=r"types that may not be loaded: .*Intruder"):
        store.load(saved.version)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x03\x04 not a zip"])
def test_a_file_that_is_no_skops_is_refused(content: bytes, store: ModelStore, saved: ModelVersion):
    replace_model(store, saved.version, content)

    with pytest.raises(ModelError, match="cannot be loaded"):
        store.load(saved.version)


def test_no_member_of_the_model_file_is_a_pickle(store: ModelStore, saved: ModelVersion):
    content = store.blobs.read(f"{saved.version}/model.skops")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert {Path(name).suffix for name in archive.namelist()} <= {".npy", ".npz", ".json"}


@pytest.mark.parametrize("version", ["../../etc", "0123456789ab", ""])
def test_a_version_that_does_not_exist_is_refused(version: str, store: ModelStore):
    with pytest.raises(ModelError, match=r"no classifier 0123|not a model version"):
        store.load(version)


@pytest.mark.slow
def test_the_champion_changes_by_promotion_and_rollback(
    store: ModelStore, saved: ModelVersion, other: TrainedClassifier
):
    assert store.champion() is None
    store.promote(saved.version)
    second = store.save(other, NOON)
    assert store.champion() == saved

    store.promote(second.version)
    store.promote(second.version)  # twice is once
    assert store.champion() == second
    assert store.names() == sorted([saved.version, second.version])

    assert store.rollback() == saved
    assert store.champion() == saved
    with pytest.raises(ModelError, match=f"only {saved.version} was ever promoted"):
        store.rollback()


def test_what_was_rolled_back_is_remembered_until_it_is_promoted_again(
    store: ModelStore, saved: ModelVersion, other: TrainedClassifier
):
    second = store.save(other, NOON)
    store.promote(saved.version)
    store.promote(second.version)
    assert (store.former_champions(), store.rolled_back()) == ((saved.version,), ())

    store.rollback()
    assert (store.former_champions(), store.rolled_back()) == ((), (second.version,))

    store.promote(second.version)
    assert (store.former_champions(), store.rolled_back()) == ((saved.version,), ())


def test_what_is_neither_in_use_nor_new_is_superfluous_and_rollback_works_without_it(
    store: ModelStore, saved: ModelVersion
):
    versions = [copy_of(store, saved, number) for number in range(9)]
    store.promote(saved.version)
    for version in versions[:3]:
        store.promote(version)
    store.rollback()
    write_candidate(store, Candidate(versions[3], None))
    store.blobs.replace(f"{versions[4]}/manifest.json", b"damaged")

    superfluous = superfluous_models(store, keep=2)
    assert superfluous == [versions[4], versions[2], versions[5], versions[6]]
    store.remove(superfluous)

    assert store.names() == sorted([saved.version, *versions[:2], versions[3], *versions[7:]])
    assert superfluous_models(store, keep=2) == []
    assert read_candidate(store).version == versions[3]
    assert store.rollback().version == versions[0]
    assert store.rollback() == saved


def copy_of(store: ModelStore, saved: ModelVersion, number: int) -> str:
    """The same model, saved so many days later under another name."""
    version = f"{number:012x}"
    for blob in list(store.blobs.list(saved.version)):
        name = blob.name.replace(saved.version, version)
        store.blobs.replace(name, store.blobs.read(blob.name))
    change_manifest(store, version, created_at=(NOON + timedelta(days=number)).isoformat())
    return version


def dying(store: ModelStore, changes: int) -> ModelStore:
    return ModelStore(cast(Blobs, DyingBlobs(store.blobs, changes)))


@pytest.mark.parametrize("changes", [9, *slow(1, 5, 10)])
def test_a_saving_that_was_killed_leaves_the_champion_and_is_completed(
    store: ModelStore, saved: ModelVersion, other: TrainedClassifier, changes: int
):
    store.promote(saved.version)

    killed = dying(store, changes)
    with pytest.raises(Killed):
        killed.promote(killed.save(other, NOON).version)

    assert store.champion() == saved
    assert store.load(saved.version)
    assert (store.find_trained(other.evaluation.fingerprint) is None) == (changes < 10)
    assert store.promote(store.save(other, NOON).version) == store.champion()
    assert store.load_trained(other.evaluation.fingerprint[:12])


SAVE_AND_DIE = """
import pickle, sys
from datetime import datetime
from ticket_assets.classification.model_store import ModelStore
from tests.services.dying_blobs import DyingBlobs, kill

blobs, trained = pickle.load(sys.stdin.buffer)
store = ModelStore(DyingBlobs(blobs, 9, kill))
store.promote(store.save(trained, datetime.now()).version)
"""


@pytest.mark.slow
def test_a_process_that_is_killed_while_it_saves_leaves_the_champion(
    store: ModelStore, saved: ModelVersion, other: TrainedClassifier
):
    store.promote(saved.version)

    died = subprocess.run(
        [sys.executable, "-c", SAVE_AND_DIE],
        input=pickle.dumps((store.blobs, other)),
        check=False,
        cwd=Path(__file__).parents[2],
    )

    assert died.returncode == -signal.SIGKILL
    assert store.champion() == saved
    assert store.load(saved.version)
    assert store.find_trained(other.evaluation.fingerprint) is None


@pytest.mark.parametrize("changes", [1, 4])
def test_a_removal_that_was_killed_leaves_no_half_model_and_is_completed(
    store: ModelStore, saved: ModelVersion, changes: int
):
    with pytest.raises(Killed):
        dying(store, changes).remove([saved.version])

    with pytest.raises(ModelError, match="There is no classifier"):
        store.load(saved.version)
    store.remove(superfluous_models(store, keep=0))
    assert list(store.blobs.list()) == []
    assert store.names() == []


@pytest.mark.parametrize("changes", [5, *slow(1, 9, 13, 17)])
def test_an_erasure_that_was_killed_leaves_a_sound_model_and_is_completed(
    tmp_path: Path, store: ModelStore, saved: ModelVersion, trained: TrainedClassifier, changes: int
):
    undisturbed = ModelStore(FolderBlobs(tmp_path / "undisturbed"))
    undisturbed.save(trained, NOON)
    erased = list(trained.training_tickets["ticket_id"][:3])
    erase_from_models(undisturbed, erased, {})

    with pytest.raises(Killed):
        erase_from_models(dying(store, changes), erased, {})

    assert store.load_trained(saved.version).evaluation.fingerprint == saved.fingerprint
    erase_from_models(store, erased, {})
    assert learnt_from(store, erased) == {}
    assert {blob.name: store.blobs.read(blob.name) for blob in store.blobs.list()} == {
        blob.name: undisturbed.blobs.read(blob.name) for blob in undisturbed.blobs.list()
    }


def test_who_was_overtaken_changes_no_champion(
    store: ModelStore, saved: ModelVersion, other: TrainedClassifier
):
    """Two processes that have read the same record: the second must not undo what the first did."""
    for overtaking in (store.save(other, NOON).version, saved.version):
        late = ModelStore(store.blobs)
        record = late._record()
        late._record = lambda record=record: record
        store.promote(overtaking)

        with pytest.raises(ModelError, match="Another process has changed the champion"):
            late.promote(saved.version)

        assert store.require_champion().version == overtaking


def test_a_version_of_an_older_release_says_so(store: ModelStore, saved: ModelVersion):
    change_manifest(store, saved.version, format=1)

    with pytest.raises(ModelError, match=r"saved in format 1, and this release reads format 2"):
        store.load(saved.version)


def test_a_damaged_version_is_not_promoted(store: ModelStore, saved: ModelVersion):
    store.blobs.replace(f"{saved.version}/model.skops", b"")

    with pytest.raises(ModelError, match="damaged"):
        store.promote(saved.version)

    assert store.champion() is None


def test_the_model_card_tells_scores_baselines_and_limits(store: ModelStore, saved: ModelVersion):
    card = store.card(saved.version)

    assert card.startswith(f"# Ticket classifier {saved.version}\n")
    for part in ("| encoder | bag-of-words |", "always the most frequent", "## Limits"):
        assert part in card
    assert "from the predicted category alone" in card
    assert "from the topic alone" in card
    assert "Errors by their order: " in card
    assert "none of the evaluated tickets" not in card
    assert "| fr | " in card
    assert "right less than 90% of the time\n  is at most 10%" in card
    assert "fewer than 22 labelled tickets of different texts" in card
    assert "below a probability of 60%" in card
    assert "of the least sure tenth of these (" in card
