"""suspended_labels: the labels that audits have taken off automatic, and each label's account."""

from datetime import UTC, datetime

import dagster as dg

from ticket_assets.defs.partitions import shown
from ticket_assets.defs.pools import WAREHOUSE_POOL
from ticket_assets.desk import Desk
from ticket_assets.planning.groups import SORTING


@dg.asset(
    deps=["ticket_labels", "ticket_classifier"],
    description="Labels of which so many audits were wrong that chance does not explain it: their"
    " new tickets go to a person, until `tickets breaker reset` or another champion. Beside it what"
    " became of the automatic decisions of each label.",
    group_name=SORTING,
    kinds={"duckdb"},
    code_version="1",
    pool=WAREHOUSE_POOL,
)
def suspended_labels(
    context: dg.AssetExecutionContext, desk: dg.ResourceParam[Desk]
) -> dg.MaterializeResult[None]:
    from ticket_assets.accounting import read_accounts
    from ticket_assets.accounting_view import accounts_metadata
    from ticket_assets.breaker import suspend_labels

    evidence = suspend_labels(
        desk.warehouse,
        desk.settings.target_precision,
        desk.models.require_champion().version,
        datetime.now(UTC).replace(tzinfo=None),
    )
    accounts = read_accounts(desk.warehouse)
    return dg.MaterializeResult(metadata=shown(accounts_metadata(accounts, evidence)))


@dg.asset_check(
    asset="suspended_labels",
    pool=WAREHOUSE_POOL,
    description="No label has broken its promise, as far as its audits tell. A person should look"
    " at the tickets of one that has, and correct what is wrong, before `tickets breaker reset`.",
)
def labels_keep_their_promise(desk: dg.ResourceParam[Desk]) -> dg.AssetCheckResult:
    from ticket_assets.accounting_view import evidence_markdown
    from ticket_assets.breaker import read_evidence

    evidence = read_evidence(desk.warehouse, desk.settings.target_precision, desk.champion)
    suspended = [one.label for one in evidence if one.suspended_since]
    return dg.AssetCheckResult(
        passed=not suspended,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=shown(
            {
                "suspended": suspended,
                "target": desk.settings.target_precision,
                "evidence": evidence_markdown(evidence),
            }
        ),
    )
