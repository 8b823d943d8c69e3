"""The status of a desk: landed mail, tables, the champion and its figures, the latest drift."""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any

from ticket_assets.accounting import read_accounts
from ticket_assets.breaker import read_evidence
from ticket_assets.classification.evidence import labels_needed
from ticket_assets.delivery.overview import delivery_overview
from ticket_assets.desk import Desk
from ticket_assets.mail.landed_days import day_fingerprint
from ticket_assets.planning.failed_days import read_failed_days
from ticket_assets.planning.needed_runs import last_table
from ticket_assets.storage.day_origins import read_origins
from ticket_assets.storage.tables import TABLES
from ticket_assets.storage.warehouse import Warehouse


def read_status(desk: Desk) -> dict[str, Any]:
    """Figures of landing zone, tables, champion, decisions and latest drift, ready for JSON."""
    warehouse = desk.warehouse
    existing = warehouse.tables()
    return {
        "data_dir": str(desk.settings.data_dir.absolute()),
        "landing": _landing(desk),
        "refused_files": [
            refusal for source in desk.sources for refusal in source.refusals(desk.cursors)
        ],
        "failed_days": _failed_days(desk),
        "tables": _tables(warehouse, existing),
        "shadow_mode": desk.settings.shadow_mode,
        "delivery": delivery_overview(desk).for_json(),
        "champion": _champion(desk),
        "evidence": _evidence(desk, existing),
        "decisions": _decisions(desk, existing),
        "suspended_labels": [
            one.label
            for one in read_evidence(warehouse, desk.settings.target_precision, desk.champion)
            if one.suspended_since
        ],
        "accounts": [account.as_dict() for account in read_accounts(warehouse)],
        "drift": _drift(warehouse) if "drift_metrics" in existing else None,
    }


def _landing(desk: Desk) -> dict[str, Any]:
    landing = desk.landing
    days = landing.days()
    return {
        "messages": sum(landing.counts(days).values()),
        "days": len(days),
        "first": days[0].isoformat() if days else None,
        "last": days[-1].isoformat() if days else None,
    }


def _failed_days(desk: Desk) -> list[dict[str, Any]]:
    """The days that failed in the sensor's runs, unless they were sorted or changed since."""
    failed_days = read_failed_days(desk.cursors)
    if not failed_days:
        return []
    origins = read_origins(desk.warehouse, last_table(desk))
    return [
        asdict(failed)
        for failed in failed_days
        if failed.landed == day_fingerprint(desk.landing, day := date.fromisoformat(failed.day))
        and (day not in origins or origins[day].landed != failed.landed)
    ]


def _tables(warehouse: Warehouse, existing: set[str]) -> dict[str, Any]:
    counted = {}
    for name in (table for table in TABLES if table in existing):
        column = TABLES[name].partition_column
        newest = f"max({column})" if column else "null"
        # Names come from the declarations, not from outside.
        rows, latest = warehouse.row(f"select count(*), {newest} from {name}")  # noqa: S608
        counted[name] = {"rows": rows, "newest": latest}
    return counted


def _evidence(desk: Desk, existing: set[str]) -> dict[str, Any]:
    """The labelled tickets of each category, and how many make it possible to be automatic."""
    rows = (
        desk.warehouse.rows(
            "select category, count(*) from ticket_labels where category is not null group by all"
        )
        if "ticket_labels" in existing
        else []
    )
    counts = dict(rows)
    settings = desk.settings
    return {
        "labels_needed": labels_needed(settings.target_precision, settings.precision_risk),
        "labelled": {name: counts.get(name, 0) for name in desk.routing.categories},
    }


def _champion(desk: Desk) -> dict[str, Any] | None:
    if not desk.has_models:
        return None  # spares an empty desk the import of scikit-learn
    store = desk.models
    champion = store.champion()
    if champion is None:
        return None
    evaluation = store.load_evaluation(champion.version)
    return {
        "version": champion.version,
        "encoder": champion.encoder,
        "targets": {
            name: {
                "macro_f1": target.macro_f1,
                "majority_macro_f1": target.baseline_macro_f1,
                "rows": target.holdout_rows,
                "coverage": target.coverage,
                "precision": target.auto_precision,
            }
            for name, target in evaluation.targets.items()
        },
    }


def _decisions(desk: Desk, existing: set[str]) -> dict[str, int]:
    """The numbers of tickets by decision."""
    if "ticket_predictions" not in existing:
        return {}
    return dict(
        desk.warehouse.rows("select decision, count(*) from ticket_predictions group by all")
    )


def _drift(warehouse: Warehouse) -> dict[str, Any] | None:
    rows = warehouse.rows(
        "select strftime(received_at, '%Y-%m-%d'), metric, bool_or(drifted) from drift_metrics"
        " where received_at = (select max(received_at) from drift_metrics)"
        " group by all order by metric"
    )
    if not rows:
        return None
    metrics = [metric for _, metric, drifted in rows if drifted]
    return {"day": rows[0][0], "drifted": bool(metrics), "metrics": metrics}
