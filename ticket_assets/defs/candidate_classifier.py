"""candidate_classifier: the challenger and its evaluation, with the gates of promotion; and
suspected_label_errors: the labels it doubts."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from ticket_assets.classification.evaluation_view import evaluation_metadata
from ticket_assets.defs.partitions import shown
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.markdown import markdown_table
from ticket_assets.planning.groups import LEARNING

if TYPE_CHECKING:
    from ticket_assets.classification.evaluation import Evaluation
    from ticket_assets.classification.promotion import Candidate

SUSPECTS_SHOWN = 5
SUSPECT_COLUMNS = ["ticket_id", "target", "given", "predicted", "confidence", "labelled_by"]


@dg.multi_asset(
    name="candidate_classifier",
    outs={
        "candidate_classifier": dg.AssetOut(
            dagster_type=dg.Nothing,
            description="Candidates compared by cross-validation, the best one judged on the most"
            " recent labelled tickets and refitted on all. The same tickets and labels are not"
            " learnt twice.",
            kinds={"scikitlearn"},
            code_version="2",
        ),
        # Beside the candidate, not after it: a candidate that fails its gates because of wrong
        # labels is when the list is needed most, and what comes after it does not run then.
        "suspected_label_errors": dg.AssetOut(
            description="Labelled tickets that a model which has not learnt from them takes for"
            " something else with confidence: often wrong labels. The most suspect first.",
            kinds={"duckdb", "scikitlearn"},
            code_version="1",
        ),
    },
    deps=["ticket_embeddings", "clean_tickets", "ticket_labels"],
    group_name=LEARNING,
    pool=WAREHOUSE_POOL,
)
def candidate_classifier(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> Iterator[dg.MaterializeResult[Any]]:
    from ticket_assets.classification.comparison import compare_with_champion
    from ticket_assets.classification.labelled_tickets import labelled_tickets, suspect_rows
    from ticket_assets.classification.promotion import Candidate, write_candidate
    from ticket_assets.classification.training import train
    from ticket_assets.classification.training_set import fingerprint, training_options
    from ticket_assets.planning.retraining import present_drift

    store = desk.models
    warehouse = desk.warehouse
    options = training_options(desk.settings, desk.routing.priorities)
    training_set = labelled_tickets(warehouse, options.max_tickets)
    started = time.perf_counter()
    trained = store.find_trained(fingerprint(training_set, options))
    reused = trained is not None
    if trained is None:
        drift = present_drift(desk)
        trained = train(
            training_set,
            options,
            context.log.info,
            reference_from=drift.first_day if drift else None,
        )
    fitting_seconds = time.perf_counter() - started
    # A candidate that is not yet named as the one that waits must not be removed as superfluous.
    with desk.changing_models():
        version = store.save(trained, created_at=datetime.now(UTC))
        champion = store.champion()
        comparison = former = None
        if champion is not None and champion.version != version.version:
            in_use = store.load_trained(champion.version)
            former = in_use.evaluation
            comparison = compare_with_champion(trained, in_use, training_set, desk.settings.seed)
        write_candidate(store, Candidate(version.version, comparison))
    yield dg.MaterializeResult(
        asset_key="candidate_classifier",
        metadata={
            "version": version.version,
            "already_trained": reused,
            "older_tickets_left_out": trained.evaluation.older_rows,
            "fitting_seconds": fitting_seconds,
            **shown(evaluation_metadata(trained.evaluation, former)),
        },
    )
    suspects = suspect_rows(warehouse, trained.label_errors, version.version)
    yield dg.MaterializeResult(
        asset_key="suspected_label_errors",
        value=suspects,
        metadata={
            "labelled_tickets": len(trained.training_tickets),
            "suspected": suspects.groupby("target").size().to_dict(),
            "most_suspect": dg.MetadataValue.md(
                markdown_table(
                    SUSPECT_COLUMNS,
                    suspects.loc[suspects["rank"] <= SUSPECTS_SHOWN, SUSPECT_COLUMNS]
                    .round({"confidence": 3})
                    .itertuples(index=False),
                )
            ),
        },
    )


@dg.asset_check(
    asset="candidate_classifier",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="The candidate beats always saying the most frequent label, beyond chance.",
)
def candidate_beats_the_majority(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import beats_majority_baseline

    gate = beats_majority_baseline(_waiting(desk)[1])
    return dg.AssetCheckResult(passed=gate.passed, metadata=gate.figures)


@dg.asset_check(
    asset="candidate_classifier",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="The candidate's macro-F1 on categories is at least TICKETS_MACRO_F1_FLOOR.",
)
def candidate_reaches_the_floor(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import reaches_macro_f1_floor

    gate = reaches_macro_f1_floor(_waiting(desk)[1], desk.settings.macro_f1_floor)
    return dg.AssetCheckResult(passed=gate.passed, metadata=gate.figures)


@dg.asset_check(
    asset="candidate_classifier",
    blocking=True,
    pool=WAREHOUSE_POOL,
    description="The candidate is not worse than the champion on the same tickets, beyond chance.",
)
def candidate_is_not_worse_than_the_champion(
    desk: dg.ResourceParam[Desk],
) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import is_not_worse_than_champion

    gate = is_not_worse_than_champion(_waiting(desk)[0].comparison)
    return dg.AssetCheckResult(passed=gate.passed, metadata=gate.figures)


@dg.asset_check(
    asset="candidate_classifier",
    pool=WAREHOUSE_POOL,
    description="The candidate is not a model that `tickets model rollback` took back; such a one"
    " is not promoted again.",
)
def candidate_was_not_rolled_back(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    from ticket_assets.classification.promotion import was_not_rolled_back

    gate = was_not_rolled_back(desk.models, _waiting(desk)[0])
    return dg.AssetCheckResult(
        passed=gate.passed, severity=dg.AssetCheckSeverity.WARN, metadata=gate.figures
    )


def _waiting(desk: Desk) -> "tuple[Candidate, Evaluation]":
    """The candidate that waits and its evaluation."""
    from ticket_assets.classification.promotion import read_candidate

    candidate = read_candidate(desk.models)
    return candidate, desk.models.load_evaluation(candidate.version)
