"""Whether a desk is, after a fault and its repair, what an undisturbed one is, or told its loss."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.torture.contents import Contents, Difference, compared
from tests.torture.desk import Ending

LOST_ORIGINALS = re.compile(r"([\d,]+) originals? (?:altered|cut|damaged|gone|of which)")
LOST_LABELS = re.compile(r"label.*(?:lost|gone|cut|altered|damaged|cannot be read)")
LEARNT = (
    *("tables: ticket_predictions", "tables: threshold_simulation"),
    *("tables: suspected_label_errors", "tables: drift_metrics", "tables: review_queue"),
)
"""They say something else where a label, or a mail, is not there to be learnt from."""
OF_DAYS = ("tables: day_origins", "tables: day_links")


@dataclass
class Verdict:
    """What is wrong after a fault, a line each; nothing where all is well."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    hung: list[str] = field(default_factory=list)
    untold: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=list)
    """Losses that were named: no fault."""

    @property
    def faults(self) -> dict[str, list[str]]:
        return {
            "lost": self.lost,
            "doubled": self.doubled,
            "hung": self.hung,
            "untold": self.untold,
        }


def judged(
    expected: Contents, actual: Contents, endings: Sequence[Ending], *, may_lose: bool
) -> Verdict:
    """The verdict on a desk that should hold what is expected.

    Args:
        endings: of the command that the fault fell on, and of all after it.
        may_lose: whether the fault took something away, which may be lost if that is said.
    """
    verdict = Verdict()
    for ending in endings:
        name = ending.arguments[0]
        if ending.status is None:
            verdict.hung.append(f"tickets {name}")
        if "Traceback (most recent call last)" in ending.output:
            verdict.untold.append(f"traceback of tickets {name}")
    text = "\n".join(ending.output for ending in endings)
    differences = compared(expected, actual)
    for difference in differences:
        is_told = may_lose and _is_told(difference, differences, text)
        # Models that have learnt from less suspect other labels.
        is_consequence = is_told and difference.kind in LEARNT
        if difference.doubled or (difference.unexpected and not is_consequence):
            verdict.doubled.append(str(difference))
        if not (difference.missing or difference.changed):
            continue
        if not may_lose:
            verdict.lost.append(str(difference))
        elif is_told:
            verdict.told.append(str(difference))
        else:
            verdict.untold.append(str(difference))
    return verdict


def _is_told(difference: Difference, differences: Sequence[Difference], text: str) -> bool:
    """Whether a loss was named, or is the consequence of one that was."""
    originals = next((one for one in differences if one.kind == "originals"), None)
    lost = (originals.missing | originals.changed) if originals else frozenset()
    is_told = bool(lost) and _number_told(text) >= len(lost)
    if difference is originals:
        return is_told
    if LOST_LABELS.search(text) and difference.kind in ("tables: ticket_labels", *LEARNT):
        return True
    if not is_told:
        return False
    # Of a lost mail nothing need be there; what names it, or has learnt from it, is another.
    missing = {key.partition(" ")[0] for key in difference.missing}
    return difference.kind in (*LEARNT, *OF_DAYS) or missing <= lost


def _number_told(text: str) -> int:
    return max((int(found.replace(",", "")) for found in LOST_ORIGINALS.findall(text)), default=0)
