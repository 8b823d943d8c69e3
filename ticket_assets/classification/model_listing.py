"""The saved classifiers with their standing, for people."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from ticket_assets.classification.model_store import ModelError, ModelStore
from ticket_assets.classification.promotion import PromotionRefusedError, read_candidate


@dataclass(frozen=True)
class ListedModel:
    """A saved version; the figures are missing where it cannot be read."""

    version: str
    standing: str
    """champion, former champion, rolled back, candidate, not promoted or damaged."""
    created_at: str = ""
    encoder: str = ""
    training_tickets: int = 0
    macro_f1: dict[str, float] | None = None
    """By target, on its hold-out."""


def list_models(store: ModelStore) -> list[ListedModel]:
    """All saved versions, the oldest first and those that cannot be read last.

    Raises:
        ModelError: the champion's name cannot be read.
    """
    champion = store.champion_name()
    standings = dict.fromkeys(store.former_champions(), "former champion")
    standings |= dict.fromkeys(store.rolled_back(), "rolled back")
    if champion is not None:
        standings[champion] = "champion"
    with suppress(PromotionRefusedError):  # there is none
        standings.setdefault(read_candidate(store).version, "candidate")
    listed = [_listed(store, name, standings.get(name, "not promoted")) for name in store.names()]
    return sorted(listed, key=lambda model: (not model.created_at, model.created_at, model.version))


def _listed(store: ModelStore, name: str, standing: str) -> ListedModel:
    try:
        store.require_sound(name)
        saved, evaluation = store.version(name), store.load_evaluation(name)
    except ModelError:
        return ListedModel(name, "damaged")
    return ListedModel(
        version=name,
        standing=standing,
        created_at=saved.created_at,
        encoder=saved.encoder,
        training_tickets=saved.training_tickets,
        macro_f1={target: scores.macro_f1 for target, scores in evaluation.targets.items()},
    )
