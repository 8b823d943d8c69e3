"""Jobs: the whole graph, and its parts as they are run in daily life."""

from __future__ import annotations

import dagster as dg

from ticket_assets.defs.audit import AUDITS

LEARN = ["ticket_labels", "candidate_classifier", "suspected_label_errors", "ticket_classifier"]
SORT = [
    *("suspended_labels", "ticket_predictions", "delivered_tickets", "review_queue"),
    *("threshold_simulation", "drift_metrics", "drift_report"),
]
UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]
"""States of a run that may still make something."""
EVERYTHING = dg.AssetSelection.all() - dg.AssetSelection.checks(*AUDITS)

whole_graph = dg.define_asset_job(
    "whole_graph",
    selection=EVERYTHING,
    description="From the landing zone to the drift report, training included.",
)
classify_mail = dg.define_asset_job(
    "classify_mail",
    selection=EVERYTHING - dg.AssetSelection.assets(*LEARN),
    description="New mail through to predictions and drift with the champion there is.",
)
collect_mail = dg.define_asset_job(
    "collect_mail",
    selection=EVERYTHING - dg.AssetSelection.assets(*LEARN[1:], *SORT),
    description="New mail through to the collection, for a desk without a champion yet.",
)
deliver = dg.define_asset_job(
    "deliver",
    selection=dg.AssetSelection.assets("delivered_tickets"),
    description="What waits for a receiver of decisions is told again.",
)
retrain = dg.define_asset_job(
    "retrain",
    selection=dg.AssetSelection.assets(*LEARN),
    description="A new candidate, promoted to champion when its blocking checks pass.",
)
