"""Faults on a desk, each followed by its repair and the same command again.

The desk then holds what an undisturbed one holds, or what was printed names what is lost.
"""

import argparse
import random
import shutil
import sys
import tempfile
import time
from pathlib import Path

from tests.torture.contents import differing_rows
from tests.torture.desk import Desk
from tests.torture.faults import DAMAGES, FAULTS, IN_NAMESPACES, no_namespaces
from tests.torture.judgement import judged
from tests.torture.report import Outcome, print_report

COMMANDS = ("import", "fetch", "run", "erase", "purge")
PAIRS = [(command, fault) for fault in FAULTS for command in COMMANDS]
SHORT = (2, 5, 11, 29, 31, 39, 41)
"""Seeds of the short form. For the sake of time it leaves out cut files, flipped bytes, and the
command erase."""
TRANSCRIPTS = Path("build/torture")
"""What the commands printed, and after a failure the rows that differ."""


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--faults", type=int, default=200, help="how many seeds, from 0 on")
    options.add_argument("--seeds", type=int, nargs="+", help="these seeds alone")
    options.add_argument("--short", action="store_true", help="one fault of each kind, for CI")
    chosen = options.parse_args()
    seeds = chosen.seeds or (SHORT if chosen.short else range(chosen.faults))
    reason = no_namespaces()
    left_out = [seed for seed in seeds if reason and pair(seed)[1] in IN_NAMESPACES]
    if left_out:
        print(f"Left out, since no disk can be mounted here ({reason}): seeds {left_out}")
    seeds = [seed for seed in seeds if seed not in left_out]
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    outcomes = []
    try:
        desk = Desk(folder)
        for part in desk.prepare({pair(seed)[0] for seed in seeds}):
            print(f"Prepares {part}", flush=True)
        for number, seed in enumerate(seeds, 1):
            outcomes.append(outcome(desk, seed))
            print(f"{number} of {len(seeds)}  {outcomes[-1]}", flush=True)
    except KeyboardInterrupt:
        print("Interrupted: the table shows what was seen so far.")
    finally:
        shutil.rmtree(folder)
    return 0 if print_report(outcomes) and len(outcomes) == len(seeds) else 1


def pair(seed: int) -> tuple[str, str]:
    """The command and the fault of a seed: 45 in a row are all there are."""
    return PAIRS[seed % len(PAIRS)]


def outcome(desk: Desk, seed: int) -> Outcome:
    """What comes of the fault of a seed."""
    started = time.monotonic()
    name, fault = pair(seed)
    command = desk.commands[name]
    desk.load(command.before)
    struck = FAULTS[fault](desk, command, random.Random(seed))  # noqa: S311
    again = [("doctor", "--repair"), command.arguments, ("run",)]
    endings = [
        struck.ending,
        *(desk.tickets(*arguments, settings=command.settings) for arguments in again),
    ]
    expected, actual = desk.undisturbed[name], desk.contents()
    verdict = judged(expected, actual, endings, may_lose=fault in DAMAGES)
    result = Outcome(seed, name, fault, struck.what, verdict, time.monotonic() - started)
    TRANSCRIPTS.mkdir(parents=True, exist_ok=True)
    rows = differing_rows(expected, actual) if any(verdict.faults.values()) else ()
    transcript = "\n".join(map(str, [result, *endings, *rows]))
    (TRANSCRIPTS / f"{seed}.txt").write_text(transcript, "utf-8")
    return result


if __name__ == "__main__":
    sys.exit(main())
