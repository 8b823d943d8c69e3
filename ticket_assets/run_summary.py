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
    step_seconds: dict[str, float] = field(default_factory=dict)
    """How long each finished step took, checks included."""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per asset the numbers among its metadata, the latest where one was given several times."""
