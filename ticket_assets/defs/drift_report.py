"""drift_metrics and drift_report: how far each day's mail is from what the champion learnt."""

from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import dagster as dg
import pandas as pd

from ticket_assets.defs.io_managers import record_origins
from ticket_assets.defs.partitions import (
    BACKFILLS,
    DAILY,
    Verdicts,
    daily_check,
    days_of_run,
    record_each_day,
    shown,
)
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.markdown import picture
from ticket_assets.planning.groups import DRIFT
from ticket_assets.planning.recipe import CODE_VERSIONS
from ticket_assets.progress import ProgressLog
from ticket_assets.storage.day_origins import read_origins
from ticket_assets.storage.tables import TABLES

if TYPE_CHECKING:
    from ticket_assets.drift.report import DriftReport


@dg.multi_asset(
    name="drift_report",
    outs={
        "drift_metrics": dg.AssetOut(
            description="One row per day, window and metric: distance to the training reference,"
            " the distance from which it counts as drift, and the verdict. A day with little mail"
            " is judged together with up to 30 days before it, and its week is judged as well.",
            kinds={"duckdb", "evidently"},
            code_version=CODE_VERSIONS["drift_metrics"],
        ),
        "drift_report": dg.AssetOut(
            dagster_type=dg.Nothing,
            description="Evidently's report of each day: JSON, and HTML for the latest day and for"
            " days that drift.",
            kinds={"evidently", "html"},
            code_version=CODE_VERSIONS["drift_report"],
        ),
    },
    deps=["ticket_predictions", "ticket_embeddings", "clean_tickets", "ticket_classifier"],
    partitions_def=DAILY,
    backfill_policy=BACKFILLS,
    group_name=DRIFT,
    pool=WAREHOUSE_POOL,
)
def drift_report(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> Iterator[dg.Output[Any]]:
    from ticket_assets.drift.daily import daily_reports
    from ticket_assets.drift.plots import drift_history_png

    models = desk.models
    champion = models.require_champion()
    trained = models.load_trained(champion.version)
    reports = desk.reports
    days = days_of_run(context)
    origins = read_origins(desk.warehouse, "ticket_predictions")
    record_origins(context, "drift_metrics", {day: origins[day] for day in days if day in origins})
    # Before a change that the reference begins with, what was measured in its time stands.
    compared = [day for day in days if day >= (trained.reference_from or day)]
    progress = ProgressLog(context.log.info, "days compared")
    figures = [_figures_before(desk, days, trained.reference_from)]
    latest: DriftReport | None = None
    for number, report in enumerate(
        daily_reports(
            compared,
            warehouse=desk.warehouse,
            champion=trained,
            model_version=champion.version,
            floors=desk.settings.drift_distances,
            min_tickets=desk.settings.drift_min_tickets,
            seed=desk.settings.seed,
            first_html_day=reports.first_html_day(desk.settings.drift_html_days, days[-1]),
        ),
        1,
    ):
        reports.write(report)
        latest = latest if report.metrics.empty else report
        context.add_asset_metadata(
            _report_metadata(latest, desk) if latest else _earlier_report(report.day, desk),
            asset_key="drift_report",
            partition_key=report.day.isoformat(),
        )
        figures.append(report.metrics)
        progress(number, len(compared))
    reports.prune_html(desk.settings.drift_html_days)
    metrics = pd.concat(figures)
    record_each_day(context, metrics, days, "drift_metrics")
    # Once, where the asset's page shows it: with every day of a year it would fill the event log.
    context.add_asset_metadata(
        shown({"run_history": picture("Distance / threshold per day", drift_history_png(metrics))}),
        asset_key="drift_metrics",
        partition_key=days[-1].isoformat(),
    )
    yield dg.Output(metrics, "drift_metrics")
    yield dg.Output(None, "drift_report")


def _figures_before(desk: Desk, days: Sequence[date], reference_from: date | None) -> pd.DataFrame:
    """The rows that there are of these days, of those before the reference begins."""
    table = TABLES["drift_metrics"]
    if reference_from is None or table.name not in desk.warehouse.tables():
        return table.frame([])
    return desk.warehouse.frame(
        f"select {', '.join(table.column_names)} from {table.name}"  # noqa: S608
        " where received_at::date between ? and ? and received_at::date < ?",
        [days[0], days[-1], reference_from],
    )


def _report_metadata(report: "DriftReport", desk: Desk) -> dict[str, Any]:
    from ticket_assets.drift.evidently_server import snapshot_address
    from ticket_assets.drift.plots import drift_markdown, drift_png
    from ticket_assets.drift.report_server import report_address
    from ticket_assets.drift.store import FIGURES

    metadata: dict[str, Any] = {
        "latest_day_with_mail": report.day.isoformat(),
        "drifted": report.drifted,
        "drifted_metrics": report.drifted_metrics,
        "figures": dg.MetadataValue.md(drift_markdown(report)),
        **report.estimated_precision,
        "evidently": dg.MetadataValue.url(
            snapshot_address(desk.settings.evidently_url, report.day)
        ),
        "json": dg.MetadataValue.path(f"{desk.reports.blobs.location}/{report.day}/{FIGURES}"),
    }
    if report.html is not None:
        metadata["report"] = dg.MetadataValue.url(
            report_address(desk.settings.reports_url, report.day)
        )
        metadata["distances"] = picture("Distance / threshold", drift_png(report.metrics))
    return shown(metadata)


def _earlier_report(day: date, desk: Desk) -> dict[str, Any]:
    """Where the drift before a day without mail stands, when no day of the run tells."""
    from ticket_assets.drift.evidently_server import snapshot_address
    from ticket_assets.drift.report_server import report_address

    with_html = [earlier for earlier in desk.reports.html_days() if earlier < day]
    if not with_html:
        return {}
    address = report_address(desk.settings.reports_url, with_html[-1])
    return {
        "latest_report": with_html[-1].isoformat(),
        "report": dg.MetadataValue.url(address),
        "evidently": dg.MetadataValue.url(
            snapshot_address(desk.settings.evidently_url, with_html[-1])
        ),
    }


@daily_check(
    asset="drift_report",
    pool=WAREHOUSE_POOL,
    description="The day's mail is within its drift thresholds. It warns and never blocks: mail"
    " that changes still has to be sorted.",
)
def drift_is_within_bounds(
    _: dg.AssetCheckExecutionContext, desk: Desk, days: Sequence[date]
) -> Verdicts:
    rows = desk.warehouse.rows(
        "select received_at::date as day, metric, distance, drifted,"
        " window_days > min(window_days) over (partition by received_at) as is_week"
        " from drift_metrics where day between ? and ? order by day, metric, is_week",
        [days[0], days[-1]],
    )
    distances: dict[date, dict[str, float]] = {}
    drifted: dict[date, list[str]] = {day: [] for day, *_ in rows}
    for day, metric, distance, has_drifted, is_week in rows:
        name = f"{metric}_of_the_week" if is_week else metric
        distances.setdefault(day, {})[f"{name}_distance"] = distance
        drifted[day] += [name] if has_drifted else []
    return {
        day: dg.AssetCheckResult(
            passed=not metrics,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"drifted_metrics": metrics, **distances[day]},
        )
        for day, metrics in drifted.items()
    }


@dg.asset_check(
    asset="ticket_labels",
    pool=WAREHOUSE_POOL,
    description="Automatic tickets that people labelled after the training keep the target"
    " precision, as far as the interval tells. Where enough of them are audits, which chance has"
    " chosen, those alone are judged. Else they are weighted by the chance that such a ticket is"
    " labelled; among tickets alike people rather label what went wrong, so the figure is below the"
    " true one. Beside it the precision that was estimated without labels, which is blind to a"
    " change of what the categories mean.",
)
def realised_precision_is_within_target(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    from ticket_assets.classification.model_store import ModelError
    from ticket_assets.drift.estimated_precision import (
        ENOUGH_AUDITS,
        labelled_since,
        labels_of,
        precision_estimator,
        realised_precision,
    )
    from ticket_assets.storage.warehouse import WarehouseError

    try:
        champion = desk.models.load_trained(desk.models.require_champion().version)
        labelled = labelled_since(champion, desk.warehouse)
    except (ModelError, WarehouseError) as error:
        # Before the first training, and with a champion that only new labels replace.
        return dg.AssetCheckResult(passed=True, description=f"Nothing to judge: {error}")
    if labelled.empty:
        return dg.AssetCheckResult(passed=True, description="No automatic ticket was labelled.")
    target = champion.evaluation.target_precision
    realised = realised_precision(
        labelled["correct"].to_numpy(), labelled["chance_of_label"].to_numpy()
    )
    audits = labelled.loc[labelled["is_audit"], "correct"].to_numpy()
    judged = realised if len(audits) < ENOUGH_AUDITS else realised_precision(audits)
    estimator = precision_estimator(champion, labels_of(champion, desk.warehouse))
    figures: dict[str, Any] = {
        "target": target,
        "labelled": realised.tickets,
        "realised": realised.precision,
        "realised_low": realised.low,
        "realised_high": realised.high,
        "realised_by_category": {
            category: realised_precision(
                rows["correct"].to_numpy(), rows["chance_of_label"].to_numpy()
            ).precision
            for category, rows in labelled.groupby("category")
        },
        "audits": len(audits),
    }
    if judged is not realised:
        figures |= {
            "audited": judged.precision,
            "audited_low": judged.low,
            "audited_high": judged.high,
        }
    if estimator:
        estimate = estimator.estimate(labelled["confidence"].to_numpy())
        figures |= {
            "estimated": estimate.precision,
            "estimated_low": estimate.low,
            "estimated_high": estimate.high,
        }
    return dg.AssetCheckResult(
        passed=judged.high >= target, severity=dg.AssetCheckSeverity.WARN, metadata=figures
    )
