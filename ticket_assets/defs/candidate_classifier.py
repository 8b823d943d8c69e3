"""candidate_classifier: the challenger and its evaluation, with the gates of promotion."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from ticket_assets.defs.conventions import WAREHOUSE_POOL
from ticket_assets.defs.evaluation_view import evaluation_metadata
from ticket_assets.routing import load_routing
from ticket_assets.settings import Settings
from ticket_assets.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from ticket_assets.classification.evaluation import Evaluation
    from ticket_assets.classification.promotion import Candidate


@dg.asset(
    deps=["ticket_embeddings", "clean_tickets", "ticket_labels"],
    description="Candidates compared by cross-validation, the best one judged on the most recent"
    " labelled tickets and refitted on all. The same tickets and labels are not learnt twice.",
    group_name="learning",
    kinds={"scikitlearn"},
    code_version="1",
    pool=WAREHOUSE_POOL,
)
def candidate_classifier(
    context: dg.AssetExecutionContext, settings: dg.ResourceParam[Settings]
) -> dg.MaterializeResult[None]:
    from ticket_assets.classification.comparison import compare_with_champion
    from ticket_assets.classification.labelled_tickets import labelled_tickets
    from ticket_assets.classification.model_store import ModelStore
    from ticket_assets.classification.promotion import Candidate, write_candidate
    from ticket_assets.classification.training import TrainingOptions, fingerprint, train

    store = ModelStore(settings.models_dir)
    training_set = labelled_tickets(Warehouse(settings.warehouse_path))
    options = TrainingOptions(
        seed=settings.seed,
        target_precision=settings.target_precision,
        holdout_share=settings.holdout_share,
        min_class_tickets=settings.min_class_tickets,
        priorities=load_routing(settings.routing).priorities,
    )
    trained = store.find_trained(fingerprint(training_set, options))
    reused = trained is not None
    if trained is None:
        trained = train(training_set, options, context.log.info)
    version = store.save(trained, created_at=datetime.now(UTC))
    champion = store.champion()
    comparison = None
    if champion is not None and champion.version != version.version:
        comparison = compare_with_champion(
            trained, store.load_trained(champion.version), training_set, settings.seed
        )
    write_candidate(store.root, Candidate(version.version, comparison))
    return dg.MaterializeResult(
        metadata={
            "version": version.version,
            "already_trained": reused,
            **evaluation_metadata(trained.evaluation),
        }
    )


@dg.asset_check(
    asset="candidate_classifier",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="The candidate beats always saying the most frequent label, beyond chance.",
)
def candidate_beats_the_majority(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import beats_majority_baseline

    gate = beats_majority_baseline(_waiting(settings)[1])
    return dg.AssetCheckResult(passed=gate.passed, metadata=gate.figures)


@dg.asset_check(
    asset="candidate_classifier",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="The candidate's macro-F1 on categories is at least TICKETS_MACRO_F1_FLOOR.",
)
def candidate_reaches_the_floor(settings: dg.ResourceParam[Settings]) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import reaches_macro_f1_floor

    gate = reaches_macro_f1_floor(_waiting(settings)[1], settings.macro_f1_floor)
    return dg.AssetCheckResult(passed=gate.passed, metadata=gate.figures)


@dg.asset_check(
    asset="candidate_classifier",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="The candidate is not worse than the champion on the same tickets, beyond chance.",
)
def candidate_is_not_worse_than_the_champion(
    settings: dg.ResourceParam[Settings],
) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import is_not_worse_than_champion

    gate = is_not_worse_than_champion(_waiting(settings)[0].comparison)
    return dg.AssetCheckResult(passed=gate.passed, metadata=gate.figures)


def _waiting(settings: Settings) -> "tuple[Candidate, Evaluation]":
    """The candidate that waits and its evaluation."""
    from ticket_assets.classification.model_store import ModelStore
    from ticket_assets.classification.promotion import read_candidate

    candidate = read_candidate(settings.models_dir)
    return candidate, ModelStore(settings.models_dir).load_evaluation(candidate.version)
