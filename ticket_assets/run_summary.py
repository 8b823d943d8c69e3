"""What a run of the graph did, in words that a person can be shown."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FailedCheck:
    """An asset check that did not pass."""

    asset: str
    check: str
    blocking: bool


@dataclass
class RunSummary:
    """What a run did."""

    run_id: str
    success: bool
    materialised: list[str] = field(default_factory=list)
    passed_checks: int = 0
    failed_checks: list[FailedCheck] = field(default_factory=list)
    failed_steps: dict[str, str] = field(default_factory=dict)
    """Name of each failed step to the message of its error."""
    skipped: list[str] = field(default_factory=list)
