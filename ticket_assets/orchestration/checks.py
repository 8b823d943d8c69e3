"""All checks of the graph, judged on the mail that has landed."""

from __future__ import annotations

import os
from collections.abc import Callable

import dagster as dg

from ticket_assets import definitions
from ticket_assets.checks_table import CheckedGraph, CheckOutcome
from ticket_assets.defs.audit import audit
from ticket_assets.defs.jobs import whole_graph
from ticket_assets.defs.partitions import DESK
from ticket_assets.orchestration.runs import EventListener, materialise


def judge_graph(
    listener: EventListener | None = None, on_start: Callable[[int], None] | None = None
) -> CheckedGraph:
    """Materialises the whole graph for the days with mail, then the audit of all days.

    Its runs are in the data folder's own Dagster instance, whatever DAGSTER_HOME says.

    Args:
        listener: called with each event of the runs.
        on_start: called with the number of assets and checks of each run.
    """
    graph = definitions.defs.resolve_asset_graph()
    outcomes = {
        key: CheckOutcome(key.name, graph.get_check_spec(key).blocking)
        for key in sorted(graph.asset_check_keys, key=lambda key: key.name)
    }
    checked = CheckedGraph(
        {
            asset.to_user_string(): [
                outcome for key, outcome in outcomes.items() if key.asset_key == asset
            ]
            for asset in graph.toposorted_asset_keys
            if asset in graph.materializable_asset_keys
            or any(key.asset_key == asset for key in outcomes)
        }
    )

    def listen(event: dg.DagsterEvent) -> None:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            outcomes[evaluation.asset_check_key].record(
                evaluation.partition,
                evaluation.severity.value,
                {
                    name: entry.value
                    for name, entry in evaluation.metadata.items()
                    if not isinstance(entry, dg.MarkdownMetadataValue)
                },
                passed=evaluation.passed,
            )
        if listener is not None:
            listener(event)

    os.environ.pop("DAGSTER_HOME", None)
    days = DESK.landing.days()
    for job in (whole_graph, audit):
        run = materialise(days[0], days[-1], (), listen, on_start, job_name=job.name)
        checked.materialised.update(run.materialised)
        checked.failed_steps.update(run.failed_steps)
    return checked
