"""Whatever moment a process is killed at, each decision arrives once, and none of a person's.

With DELIVERY_KILLS=30 it is what the documentation says; with DELIVERY_DECISIONS=10000,
DELIVERY_KILLS=20 and DELIVERY_FAULTS=0.2 a receiver fails as well, in all the ways of
tests/services/webhook.py.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.delivery.decided import decided_desk, let_time_pass, outcomes, ticket, ticket_id
from tests.services.webhook import webhook_server
from tests.warehouse_rows import append_rows
from ticket_assets.delivery.decisions import idempotency_key
from ticket_assets.delivery.state import change_state
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

KILLS = int(os.environ.get("DELIVERY_KILLS", "5"))
DECISIONS = int(os.environ.get("DELIVERY_DECISIONS", str(30 * KILLS)))
FAULTS = float(os.environ.get("DELIVERY_FAULTS", "0.05"))
SEED = int(os.environ.get("DELIVERY_SEED", "0"))
ROOT = Path(__file__).parents[2]


class Chain:
    """A desk whose deliveries are killed, with new tickets before each."""

    def __init__(self, folder: Path, receiver: str, target: str) -> None:
        self.settings = Settings(_env_file=None, data_dir=folder)
        self.desk: Desk = decided_desk(self.settings)
        self.key_id = change_state(self.desk.cursors, lambda state: state).desk
        self.receiver, self.target = receiver, target
        self.tickets = 0

    def decide(self, count: int) -> None:
        numbers = range(self.tickets + 1, self.tickets + count + 1)
        append_rows(self.settings, "ticket_predictions", [ticket(number) for number in numbers])
        self.tickets += count

    def label(self, number: int) -> None:
        row = {"ticket_id": ticket_id(number), "category": "printing"}
        append_rows(self.settings, "ticket_labels", [row])

    def hand_over(self, kill_at: int = 0) -> int | None:
        """The number of calls; None if it was killed."""
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.delivery.killed_delivery"),
                *(str(self.settings.data_dir), self.receiver, self.target, str(kill_at)),
            ],
            cwd=ROOT,
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode == -9:
            return None
        assert done.returncode == 0, done.stderr
        return int(json.loads(done.stdout)["calls"])

    def key(self, number: int) -> str:
        return idempotency_key(self.key_id, self.receiver, ticket_id(number))


def killed_again_and_again(
    chain: Chain, trial: Chain, arrived: Callable[[], set[int]]
) -> tuple[set[int], int]:
    """The tickets that a person labelled before they had arrived, and the kills.

    Args:
        trial: another one, to know how many calls there are.
    """
    choice = random.Random(SEED)  # noqa: S311
    share = DECISIONS // (KILLS + 1)
    trial.decide(share)
    calls = trial.hand_over()
    assert calls is not None
    kills, labelled = 0, set()
    while kills < KILLS:
        if chain.tickets + share <= DECISIONS:
            chain.decide(share)
        let_time_pass(chain.desk)
        kills += chain.hand_over(choice.randint(1, calls)) is None
        if untold := sorted(set(range(1, chain.tickets + 1)) - arrived() - labelled):
            labelled.add(number := choice.choice(untold))
            chain.label(number)
    chain.decide(DECISIONS - chain.tickets)
    for _ in range(20):
        let_time_pass(chain.desk)
        chain.hand_over()
        if not {"sending", "failed"} & set(outcomes(chain.desk).values()):
            break
    return labelled, kills


def test_each_decision_arrives_once_at_a_webhook(tmp_path: Path) -> None:
    with webhook_server(tmp_path, FAULTS, SEED, late_seconds=2.0) as server:
        chain = Chain(tmp_path / "data", "webhook", server.url)

        def arrived() -> set[int]:
            return {
                int(event["data"]["ticket_id"])
                for key, event in server.accepted().items()
                if event["type"] == "ticket.decided"
                and key == chain.key(int(event["data"]["ticket_id"]))
            }

        trial = Chain(tmp_path / "trial", "webhook", server.url)
        labelled, kills = killed_again_and_again(chain, trial, arrived)

        print(
            f"{DECISIONS} decisions, {kills} kills: {len(arrived())} arrived once,"
            f" {server.repeats()} repeats with the same key, {len(labelled)} labelled"
        )
        assert arrived() == set(range(1, DECISIONS + 1)) - labelled
        assert server.changed() == []
        assert server.requests() == []
        assert set(outcomes(chain.desk).values()) <= {"delivered", "labelled"}


def test_each_decision_arrives_once_in_a_folder_whose_files_are_taken_away(tmp_path: Path) -> None:
    (tmp_path / "decisions").mkdir()
    chain = Chain(tmp_path / "data", "folder", str(tmp_path / "decisions"))
    taken: Counter[int] = Counter()

    def arrived() -> set[int]:
        for file in (tmp_path / "decisions").glob("*.jsonl"):
            lines = file.read_text("utf-8").splitlines()
            decisions = [json.loads(line) for line in lines]
            assert all(one["key"] == chain.key(int(one["ticket_id"])) for one in decisions)
            taken.update(int(one["ticket_id"]) for one in decisions)
            file.unlink()
        return set(taken)

    (tmp_path / "others").mkdir()
    trial = Chain(tmp_path / "trial", "folder", str(tmp_path / "others"))
    labelled, kills = killed_again_and_again(chain, trial, arrived)

    print(f"{DECISIONS} decisions, {kills} kills: {len(arrived())} arrived")
    assert arrived() == set(range(1, DECISIONS + 1)) - labelled
    assert max(taken.values()) == 1
