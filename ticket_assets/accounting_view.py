"""How accounts of labels and the evidence of their audits are shown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ticket_assets.accounting import LabelAccount, total
from ticket_assets.classification.e_detector import THRESHOLD
from ticket_assets.markdown import Markdown, markdown_table
from ticket_assets.simulation_view import interval_text

if TYPE_CHECKING:
    from ticket_assets.breaker import LabelEvidence

BY_LABEL = "by_label"
"""Metadata: the account and the evidence of each label."""
ACCOUNT_HEADINGS = (
    *("label", "accepted", "overridden", "already right", "undecided"),
    *("audits answered", "waiting", "right of those"),
)
EVIDENCE_HEADINGS = ("label", "audits", "wrong", "evidence", "state")


def accounts_metadata(
    accounts: Sequence[LabelAccount], evidence: Sequence[LabelEvidence]
) -> dict[str, Any]:
    """Both as tables for the UI, and by label for the exporter, which must not wait for the
    warehouse."""
    by_label: dict[str, dict[str, Any]] = {}
    for account in accounts:
        figures = account.as_dict()
        # Without an audit there is no evidence, which a panel shows as that and an alert compares.
        by_label[figures.pop("label")] = {**figures, "evidence": 0.0, "suspended": False}
    for one in evidence:
        by_label.setdefault(one.label, {}).update(
            evidence=one.value / THRESHOLD, suspended=one.suspended_since is not None
        )
    return {
        "suspended": [one.label for one in evidence if one.suspended_since],
        "accounts": accounts_markdown(accounts),
        "evidence": evidence_markdown(evidence),
        BY_LABEL: by_label,
    }


def accounts_markdown(accounts: Sequence[LabelAccount]) -> Markdown:
    """A row for each label, and one for all."""
    return markdown_table(ACCOUNT_HEADINGS, account_rows(accounts), figures=True)


def account_rows(accounts: Sequence[LabelAccount]) -> list[tuple[str, ...]]:
    """Under `ACCOUNT_HEADINGS`."""
    return [_account_cells(one) for one in (*accounts, total(accounts))] if accounts else []


def _account_cells(account: LabelAccount) -> tuple[str, ...]:
    realised = account.realised
    numbers = (account.accepted, account.overridden, account.already_right, account.undecided)
    return (
        account.label,
        *(f"{number:,}" for number in (*numbers, account.audits_answered, account.audits_open)),
        "–" if realised is None else interval_text(realised.precision, realised.low, realised.high),
    )


def evidence_markdown(evidence: Sequence[LabelEvidence]) -> Markdown:
    """A row for each label."""
    return markdown_table(EVIDENCE_HEADINGS, map(evidence_cells, evidence), figures=True)


def evidence_cells(one: LabelEvidence) -> tuple[str, ...]:
    """Under `EVIDENCE_HEADINGS`; the evidence as a share of what suspends a label."""
    since = one.suspended_since
    state = f"suspended since {since:%Y-%m-%d %H:%M}" if since else "automatic"
    return (one.label, f"{one.audits:,}", f"{one.errors:,}", f"{one.value / THRESHOLD:.2%}", state)
