"""What there is: landed mail, tables, the champion and its figures, the latest drift."""

from __future__ import annotations

from typing import Any

from ticket_assets.desk import Desk
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
            refusal
            for source in desk.sources
            for refusal in source.refusals(desk.settings.cursors_dir)
        ],
        "tables": _tables(warehouse, existing),
        "champion": _champion(desk),
        "decisions": _decisions(warehouse) if "ticket_predictions" in existing else {},
        "drift": _drift(warehouse) if "drift_metrics" in existing else None,
    }


def _landing(desk: Desk) -> dict[str, Any]:
    landing = desk.landing
    days = landing.days()
    return {
        "messages": sum(map(landing.count, days)),
        "days": len(days),
        "first": days[0].isoformat() if days else None,
        "last": days[-1].isoformat() if days else None,
    }


def _tables(warehouse: Warehouse, existing: set[str]) -> dict[str, Any]:
    counted = {}
    for name in (table for table in TABLES if table in existing):
        column = TABLES[name].partition_column
        newest = f"max({column})" if column else "null"
        # Names come from the declarations above, not from outside.
        rows, latest = warehouse.row(f"select count(*), {newest} from {name}")  # noqa: S608
        counted[name] = {"rows": rows, "newest": latest}
    return counted


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


def _decisions(warehouse: Warehouse) -> dict[str, int]:
    return dict(warehouse.rows("select decision, count(*) from ticket_predictions group by all"))


def _drift(warehouse: Warehouse) -> dict[str, Any] | None:
    found = warehouse.rows(
        "select strftime(received_at, '%Y-%m-%d'), metric, drifted from drift_metrics"
        " where received_at = (select max(received_at) from drift_metrics) order by metric"
    )
    if not found:
        return None
    metrics = [metric for _, metric, drifted in found if drifted]
    return {"day": found[0][0], "drifted": bool(metrics), "metrics": metrics}
