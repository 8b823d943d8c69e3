"""The summary of a run of the graph, for people."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class FailedCheck:
    """An asset check that did not pass."""

    asset: str
    check: str
    blocking: bool
    days: list[str] = field(default_factory=list)
    """The days on which it did not pass, where it judges day by day."""


@dataclass
class RunSummary:
    """The outcome of a run."""

    run_id: str
    success: bool
    materialised: list[str] = field(default_factory=list)
    passed_checks: list[str] = field(default_factory=list)
    """Names of the checks that passed on all days of the run."""
    failed_checks: list[FailedCheck] = field(default_factory=list)
    failed_steps: dict[str, str] = field(default_factory=dict)
    """The message of the error of each failed step."""
    skipped: list[str] = field(default_factory=list)
    step_seconds: dict[str, float] = field(default_factory=dict)
    """The duration of each finished step, its checks included."""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    """Per asset the numbers in its metadata, each the latest one."""

    def record_check(
        self, asset: str, check: str, day: str | None, *, passed: bool, blocking: bool
    ) -> None:
        """Adds a verdict on one day, or on the whole asset."""
        failed = next((failed for failed in self.failed_checks if failed.check == check), None)
        if passed:
            if failed is None and check not in self.passed_checks:
                self.passed_checks.append(check)
            return
        if failed is None:
            failed = FailedCheck(asset, check, blocking)
            self.failed_checks.append(failed)
            self.passed_checks = [name for name in self.passed_checks if name != check]
        failed.days.extend([day] if day else [])
