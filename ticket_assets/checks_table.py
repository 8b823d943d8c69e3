"""The verdicts of all checks of the graph, and the table that shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ticket_assets.markdown import bold, markdown_table
from ticket_assets.plural import counted

Severity = Literal["ERROR", "WARN"]
CELL_CHARACTERS = 300
FAILED = ("step that failed", "why")
HEADER = ("asset", "check", "verdict", "severity", "days failed", "figures")


@dataclass
class CheckOutcome:
    """The verdicts of a check: one of the whole asset, or one for each day."""

    check: str
    blocking: bool
    severities: set[Severity] = field(default_factory=set)
    failures: dict[str | None, Severity] = field(default_factory=dict)
    """The severity of each failed verdict, by day."""
    days: set[str | None] = field(default_factory=set)
    figures: Mapping[str, Any] = field(default_factory=dict)
    """Those of the first failed day, else of the last one that has any."""

    def record(
        self, day: str | None, severity: Severity, figures: Mapping[str, Any], *, passed: bool
    ) -> None:
        """Adds a verdict on one day, or on the whole asset; days come in order."""
        if figures and not self.failures:
            self.figures = {"day": day, **figures} if day else figures
        self.days.add(day)
        self.severities.add(severity)
        if not passed:
            self.failures[day] = severity

    @property
    def severity(self) -> Severity:
        """That of its failures; of a check that passed, the one it has on any day."""
        if self.failures:
            return "ERROR" if "ERROR" in self.failures.values() else "WARN"
        return "WARN" if "WARN" in self.severities else "ERROR"

    @property
    def verdict(self) -> str:
        if not self.days:
            return "not judged"
        if not self.failures:
            return "passed"
        return "failed" if self.severity == "ERROR" else "warns"


@dataclass
class CheckedGraph:
    """What has become of each asset and each of its checks, in the order of the graph."""

    checks: Mapping[str, Sequence[CheckOutcome]]
    """By asset."""
    materialised: set[str] = field(default_factory=set)
    failed_steps: dict[str, str] = field(default_factory=dict)
    """The message of the error of each failed step."""

    def passes(self, fail_on: Severity) -> bool:
        """Whether every step ran, and every check was judged and did not fail, or only warns where
        warnings do not count."""
        outcomes = [outcome for of_asset in self.checks.values() for outcome in of_asset]
        return (
            not self.failed_steps
            and all(outcome.days for outcome in outcomes)
            and not any(
                outcome.failures and (fail_on == "WARN" or outcome.severity == "ERROR")
                for outcome in outcomes
            )
        )

    def to_markdown(self, fail_on: Severity) -> str:
        """The whole outcome, for the summary of a job or the comment of a pull request."""
        verdicts = [outcome.verdict for of_asset in self.checks.values() for outcome in of_asset]
        counts = {name: verdicts.count(name) for name in ("passed", "warns", "failed")}
        lines = [
            f"## Asset checks {'passed' if self.passes(fail_on) else 'failed'}",
            "",
            f"{counted(len(self.materialised), 'asset')} materialised;"
            f" {counted(len(verdicts), 'check')}: {counts['passed']} passed,"
            f" {counts['warns']} warn, {counts['failed']} failed,"
            f" {len(verdicts) - sum(counts.values())} not judged.",
            *(["", "A warning fails as well."] if fail_on == "WARN" else []),
            "",
            markdown_table(HEADER, self._rows(), characters=CELL_CHARACTERS),
        ]
        if self.failed_steps:
            reasons = self.failed_steps.items()
            lines += ["", markdown_table(FAILED, reasons, characters=CELL_CHARACTERS)]
        return "\n".join(lines) + "\n"

    def _rows(self) -> list[tuple[str, ...]]:
        rows: list[tuple[str, ...]] = []
        for asset, outcomes in self.checks.items():
            state = "materialised" if asset in self.materialised else "not materialised"
            rows.append((asset, "", state, "", "", ""))
            for outcome in outcomes:
                by_day = outcome.days - {None}
                rows.append(
                    (
                        asset,
                        outcome.check,
                        bold("failed") if outcome.verdict == "failed" else outcome.verdict,
                        ", ".join(
                            ([outcome.severity] if outcome.days else [])
                            + (["blocks"] if outcome.blocking else [])
                        ),
                        f"{len(outcome.failures)} of {len(outcome.days)}" if by_day else "",
                        ", ".join(
                            f"{name}: {_figure(value)}" for name, value in outcome.figures.items()
                        ),
                    )
                )
        return rows


def _figure(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
