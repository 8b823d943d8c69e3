"""The gates between a candidate and the champion, and the candidate that waits before them."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any

from ticket_assets.classification.comparison import Comparison
from ticket_assets.classification.evaluation import Evaluation
from ticket_assets.classification.model_store import ModelError, ModelStore, ModelVersion
from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobNotFoundError

CANDIDATE = "candidate.json"


class PromotionRefusedError(TicketAssetsError):
    """The candidate may not become the champion."""


@dataclass(frozen=True)
class Candidate:
    """The latest candidate: its saved version and how it compares with the champion."""

    version: str
    comparison: Comparison | None
    """None when there was no other champion to compare with."""


@dataclass(frozen=True)
class Gate:
    """A promise that a candidate has to keep, and the figures behind the verdict."""

    passed: bool
    figures: dict[str, float | str]


def write_candidate(store: ModelStore, candidate: Candidate) -> None:
    """Make `candidate` the one that waits for its gates, in place of an earlier one."""
    store.blobs.replace(CANDIDATE, f"{json.dumps(asdict(candidate), indent=2)}\n".encode())


def read_candidate(store: ModelStore) -> Candidate:
    """The candidate that waits.

    Raises:
        PromotionRefusedError: there is none, or its file cannot be read.
    """
    try:
        content = json.loads(store.blobs.read(CANDIDATE))
        comparison = content["comparison"]
        return Candidate(content["version"], Comparison(**comparison) if comparison else None)
    except BlobNotFoundError:
        raise PromotionRefusedError(
            f"There is no candidate in {store.blobs.location}. Materialise candidate_classifier"
            " first."
        ) from None
    except (ValueError, TypeError, KeyError):
        raise PromotionRefusedError(
            f"{CANDIDATE} in {store.blobs.location} cannot be read. Materialise"
            " candidate_classifier again."
        ) from None


def beats_majority_baseline(evaluation: Evaluation) -> Gate:
    """For every target the lower end of the macro-F1's 95 % interval is above the macro-F1 of
    always answering the most frequent label."""
    figures: dict[str, float | str] = {}
    passed = True
    for name, target in evaluation.targets.items():
        figures[f"{name}_macro_f1"] = target.macro_f1
        figures[f"{name}_macro_f1_low"] = target.macro_f1_low
        figures[f"{name}_majority_macro_f1"] = target.baseline_macro_f1
        passed &= target.macro_f1_low > target.baseline_macro_f1
    return Gate(passed, figures)


def reaches_macro_f1_floor(evaluation: Evaluation, floor: float) -> Gate:
    """The macro-F1 of the category is at least `floor`."""
    macro_f1 = evaluation.targets["category"].macro_f1
    return Gate(macro_f1 >= floor, {"macro_f1": macro_f1, "floor": floor})


def is_not_worse_than_champion(comparison: Comparison | None) -> Gate:
    """The candidate is not significantly worse than the champion, or is the first of its kind."""
    if comparison is None:
        return Gate(True, {"basis": "there is no other champion"})
    figures: dict[str, Any] = asdict(comparison)
    return Gate(figures.pop("not_worse"), figures)


def was_not_rolled_back(store: ModelStore, candidate: Candidate) -> Gate:
    """The candidate is not a version that a person took back from being the champion."""
    if candidate.version not in store.rolled_back():
        return Gate(True, {"rolled_back": "no"})
    champion = store.require_champion()
    return Gate(
        False,
        {
            "rolled_back": candidate.version,
            "champion": champion.version,
            "reason": "`tickets model rollback` took this very model back: it stays back until"
            " labels or settings change and another model is trained, and the champion stays",
        },
    )


def promote(store: ModelStore, macro_f1_floor: float) -> ModelVersion:
    """Promotes the waiting candidate unless a person rolled it back; returns the champion.

    The same tickets and labels give the same model again, so a version that was rolled back would
    otherwise return with the next run. The gates are evaluated here again: a check that failed in
    an earlier run does not stop a later run by itself.

    Raises:
        PromotionRefusedError: the candidate fails a gate.
        ModelError: its files are missing or damaged.
    """
    candidate = read_candidate(store)
    if not was_not_rolled_back(store, candidate).passed:
        return store.require_champion()
    evaluation = store.load_evaluation(candidate.version)
    gates = {
        "it does not beat the majority baseline": beats_majority_baseline(evaluation),
        "its macro-F1 is below TICKETS_MACRO_F1_FLOOR": reaches_macro_f1_floor(
            evaluation, macro_f1_floor
        ),
        "it is worse than the champion": is_not_worse_than_champion(candidate.comparison),
    }
    failed = [f"{reason} ({gate.figures})" for reason, gate in gates.items() if not gate.passed]
    if failed:
        raise PromotionRefusedError(
            f"Candidate {candidate.version} is not promoted: {'; '.join(failed)}. The champion"
            " stays. Add or correct labels and materialise candidate_classifier again."
        )
    return store.promote(candidate.version)


def superfluous_models(store: ModelStore, keep: int) -> list[str]:
    """The saved versions that neither are nor can become the champion, but for the newest `keep`.

    The champion stays, those that `rollback` goes back to, and the candidate that waits.

    Raises:
        ModelError: the champion's name cannot be read.
    """
    needed = {store.champion_name(), *store.former_champions()}
    with suppress(PromotionRefusedError):  # there is none
        needed.add(read_candidate(store).version)
    others = [name for name in store.names() if name not in needed]
    others.sort(key=lambda name: _created_at(store, name))
    return others[: max(len(others) - keep, 0)]


def _created_at(store: ModelStore, name: str) -> str:
    """When it was saved; what cannot be read goes first."""
    try:
        return store.version(name).created_at
    except ModelError:
        return ""
