import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ticket_assets.classification.model_store import ModelError, ModelStore, ModelVersion
from ticket_assets.classification.promotion import (
    Candidate,
    read_candidate,
    superfluous_models,
    write_candidate,
)
from ticket_assets.classification.training import TrainedClassifier, train
from ticket_assets.classification.training_set import TrainingOptions, TrainingSet

NOON = datetime(2025, 4, 1, 12, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models")


@pytest.fixture
def saved(store: ModelStore, trained: TrainedClassifier) -> ModelVersion:
    return store.save(trained, NOON)


@pytest.fixture(scope="module")
def other(training_set: TrainingSet) -> TrainedClassifier:
    return train(training_set, TrainingOptions(seed=8, folds=2))


class Intruder:
    """A type that no model needs."""


def replace_model(path: Path, content: bytes) -> None:
    """What someone with write access would do: new model, and a manifest that agrees with it."""
    (path / "model.skops").write_bytes(content)
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["model.skops"] = hashlib.sha256(content).hexdigest()
    (path / "manifest.json").write_text(json.dumps(manifest))


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


def test_the_same_training_gives_the_same_bytes(
    tmp_path: Path, saved: ModelVersion, training_set: TrainingSet, options: TrainingOptions
):
    again = ModelStore(tmp_path / "elsewhere").save(train(training_set, options), NOON)

    files = sorted(path.name for path in saved.path.iterdir())
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
        assert (saved.path / name).read_bytes() == (again.path / name).read_bytes(), name


def test_saving_again_changes_nothing(
    store: ModelStore, saved: ModelVersion, trained: TrainedClassifier
):
    again = store.save(trained, datetime(2026, 1, 1, tzinfo=UTC))

    assert again == saved
    assert [path.name for path in store.root.iterdir()] == [saved.version]


def test_saving_again_repairs_a_damaged_version(
    store: ModelStore, saved: ModelVersion, trained: TrainedClassifier
):
    (saved.path / "model.skops").unlink()

    store.save(trained, NOON)

    assert store.load(saved.version).encoder == "bag-of-words"


@pytest.mark.parametrize(
    "name", ["model.skops", "evaluation.json", "reference.parquet", "vocabulary.parquet"]
)
def test_a_changed_file_is_refused(name: str, store: ModelStore, saved: ModelVersion):
    content = bytearray((saved.path / name).read_bytes())
    content[len(content) // 2] ^= 1
    (saved.path / name).write_bytes(content)

    with pytest.raises(ModelError, match=f"SHA-256 of {name}"):
        store.load(saved.version)


def test_a_missing_file_is_refused(store: ModelStore, saved: ModelVersion):
    (saved.path / "reference.parquet").unlink()

    with pytest.raises(ModelError, match=r"reference\.parquet: No such file"):
        store.load(saved.version)


@pytest.mark.slow
def test_a_process_that_reads_a_model_does_not_load_pytorch(store: ModelStore, saved: ModelVersion):
    program = (
        "import sys; from pathlib import Path;"
        "from ticket_assets.classification.model_store import ModelStore;"
        "ModelStore(Path(sys.argv[1])).load(sys.argv[2]);"
        "print('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", program, store.root, saved.version]

    assert subprocess.run(command, capture_output=True, check=True).stdout == b"False\n"


def test_a_foreign_type_is_refused_even_with_a_matching_manifest(
    store: ModelStore, saved: ModelVersion
):
    import skops.io

    replace_model(saved.path, skops.io.dumps({"encoder": Intruder()}))

    with pytest.raises(ModelError, match=r"types that may not be loaded: .*Intruder"):
        store.load(saved.version)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x03\x04 not a zip"])
def test_a_file_that_is_no_skops_is_refused(content: bytes, store: ModelStore, saved: ModelVersion):
    replace_model(saved.path, content)

    with pytest.raises(ModelError, match="cannot be loaded"):
        store.load(saved.version)


def test_no_member_of_the_model_file_is_a_pickle(saved: ModelVersion):
    with zipfile.ZipFile(saved.path / "model.skops") as archive:
        assert {Path(name).suffix for name in archive.namelist()} <= {".npy", ".npz", ".json"}


@pytest.mark.parametrize("version", ["../../etc", "0123456789ab", ""])
def test_a_version_that_does_not_exist_is_refused(version: str, store: ModelStore):
    with pytest.raises(ModelError, match=r"no classifier 0123|not a model version"):
        store.load(version)


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
    versions = [copy_of(saved, number) for number in range(9)]
    store.promote(saved.version)
    for version in versions[:3]:
        store.promote(version)
    store.rollback()
    write_candidate(store.root, Candidate(versions[3], None))
    (store.root / versions[4] / "manifest.json").write_text("damaged")

    superfluous = superfluous_models(store, keep=2)
    assert superfluous == [versions[4], versions[2], versions[5], versions[6]]
    store.remove(superfluous)

    assert store.names() == sorted([saved.version, *versions[:2], versions[3], *versions[7:]])
    assert superfluous_models(store, keep=2) == []
    assert read_candidate(store.root).version == versions[3]
    assert store.rollback().version == versions[0]
    assert store.rollback() == saved


def copy_of(saved: ModelVersion, number: int) -> str:
    """The same model, saved so many days later under another name."""
    version = f"{number:012x}"
    shutil.copytree(saved.path, saved.path.with_name(version))
    path = saved.path.with_name(version) / "manifest.json"
    later = (NOON + timedelta(days=number)).isoformat()
    path.write_text(json.dumps({**json.loads(path.read_text()), "created_at": later}))
    return version


def test_a_removal_that_was_killed_leaves_no_half_model_and_is_completed(
    store: ModelStore, saved: ModelVersion, monkeypatch: pytest.MonkeyPatch
):
    def die(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda path, **_: path.exists() and die())
        with pytest.raises(SystemExit):
            store.remove([saved.version])
    assert store.names() == []

    store.remove([])
    assert list(store.root.iterdir()) == []


def test_a_version_of_an_older_release_says_so(store: ModelStore, saved: ModelVersion):
    manifest = json.loads((saved.path / "manifest.json").read_text())
    (saved.path / "manifest.json").write_text(json.dumps({**manifest, "format": 1}))

    with pytest.raises(ModelError, match=r"saved in format 1, and this release reads format 2"):
        store.load(saved.version)


def test_a_damaged_version_is_not_promoted(store: ModelStore, saved: ModelVersion):
    (saved.path / "model.skops").write_bytes(b"")

    with pytest.raises(ModelError, match="damaged"):
        store.promote(saved.version)

    assert store.champion() is None


def test_the_model_card_tells_scores_baselines_and_limits(saved: ModelVersion):
    card = (saved.path / "model_card.md").read_text("utf-8")

    assert card.startswith(f"# Ticket classifier {saved.version}\n")
    for part in ("| encoder | bag-of-words |", "always the most frequent", "## Limits"):
        assert part in card
    assert "from the predicted category alone" in card
    assert "from the topic alone" in card
    assert "Errors by their order: " in card
    assert "none of the evaluated tickets" not in card
    assert "| fr | " in card
