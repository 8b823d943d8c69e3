"""What became of the automatic decisions of each label: who confirmed, changed or audited them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from ticket_assets.classification.decisions import AUDIT

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ticket_assets.drift.estimated_precision import Precision
    from ticket_assets.storage.warehouse import Warehouse

DAYS = 90
"""With mail, up to the latest: about a quarter, in which a label gets tens of audits."""
_BY_LABEL = f"""
select coalesce(former_category, if(decided_by = 'person', model_category, category)) as label,
    count(*) filter (former_decision = 'auto' and former_category = category) as accepted,
    count(*) filter (former_decision = 'auto' and former_category <> category) as overridden,
    count(*) filter (decision = 'labelled' and former_decision is null
        and model_decision = 'auto' and model_category = category) as already_right,
    count(*) filter (decision = 'auto') as undecided,
    count(*) filter (decision = 'review' and review_reason = '{AUDIT}') as audits_open,
    count(*) filter (former_decision = '{AUDIT}') as audits_answered,
    count(*) filter (former_decision = '{AUDIT}' and former_category <> category) as audit_errors
from ticket_predictions where received_at::date > ?
group by label
having accepted + overridden + already_right + undecided + audits_open + audits_answered > 0
order by label
"""  # noqa: S608 - our own names


@dataclass(frozen=True)
class LabelAccount:
    """Numbers of tickets of one label."""

    label: str
    accepted: int
    """Automatic, and a person gave the same category afterwards."""
    overridden: int
    """Automatic, and a person gave another category afterwards."""
    already_right: int
    """A person's category was there before the first decision, and the model says the same."""
    undecided: int
    """Automatic, and no person has given a category: that says nothing of whether it is right."""
    audits_open: int
    """Audits that no person has answered."""
    audits_answered: int
    audit_errors: int
    """Answered audits of which the person said another category."""

    @property
    def realised(self) -> Precision | None:
        """The precision by audits alone, with its 90 % interval; None without an answered one.

        What people label of their own accord is left out: they rather label what went wrong.
        """
        from ticket_assets.drift.estimated_precision import realised_precision

        if not self.audits_answered:
            return None
        is_right = np.arange(self.audits_answered) >= self.audit_errors
        return realised_precision(is_right)

    def as_dict(self) -> dict[str, Any]:
        """The numbers, and the precision as `realised`, `realised_low` and `realised_high`."""
        realised = self.realised
        return asdict(self) | {
            "realised": realised and realised.precision,
            "realised_low": realised and realised.low,
            "realised_high": realised and realised.high,
        }


def read_accounts(warehouse: Warehouse, days: int = DAYS) -> list[LabelAccount]:
    """The account of each label with automatic tickets of the last `days` with mail.

    Raises:
        WarehouseError: the warehouse cannot be read.
    """
    # A desk of an earlier release gets the column with the first write.
    if "former_decision" not in warehouse.columns("ticket_predictions"):
        return []
    last_day = warehouse.last_day("ticket_predictions")
    if last_day is None:
        return []
    rows = warehouse.rows(_BY_LABEL, [last_day - timedelta(days=days)])
    return [LabelAccount(*row) for row in rows]


def total(accounts: Sequence[LabelAccount]) -> LabelAccount:
    """All labels together, as one label."""
    numbers = [list(asdict(account).values())[1:] for account in accounts]
    return LabelAccount("all labels", *(sum(column) for column in zip(*numbers, strict=True)))
