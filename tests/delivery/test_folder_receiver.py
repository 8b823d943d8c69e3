from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.delivery.decided import decided_desk, let_time_pass, ticket, ticket_id
from tests.delivery.test_webhook_receiver import DECISION, INTENT
from ticket_assets.delivery.decisions import Intent
from ticket_assets.delivery.folder_receiver import Folder
from ticket_assets.delivery.handover import hand_over
from ticket_assets.delivery.receivers import Outcome, ReceiverError
from ticket_assets.settings import Settings


def intent(number: int, **changes: Any) -> Intent:
    decision = replace(DECISION, ticket_id=ticket_id(number), **changes)
    return replace(INTENT, key=f"key-{number}", decision=decision)


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_a_csv_has_a_row_for_each_decision(tmp_path: Path) -> None:
    batch = [intent(1), intent(2, category=None, decision="review", likely=("réseau", "a, b"))]

    receipts = list(Folder(tmp_path, "csv").deliver(batch))

    assert [receipt.outcome for receipt in receipts] == [Outcome.DELIVERED] * 2
    assert visible(tmp_path) == ["decisions-b1.csv"]
    with (tmp_path / "decisions-b1.csv").open(encoding="utf-8", newline="") as file:
        sure, review = csv.DictReader(file)
    assert sure["key"] == "key-1"
    assert (sure["category"], sure["priority"], sure["likely"]) == ("réseau", "", "[]")
    assert (review["category"], json.loads(review["likely"])) == ("", ["réseau", "a, b"])


def test_no_cell_of_a_csv_is_a_formula(tmp_path: Path) -> None:
    chosen = "=HYPERLINK(A1)@example.org"
    list(Folder(tmp_path, "csv").deliver([intent(1, message_id=chosen)]))

    with (tmp_path / "decisions-b1.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["message_id"] == f"'{chosen}"


def test_json_lines_hold_the_same(tmp_path: Path) -> None:
    list(Folder(tmp_path, "jsonl").deliver([intent(1), intent(2)]))

    lines = (tmp_path / "decisions-b1.jsonl").read_text("utf-8").splitlines()

    assert [json.loads(line)["ticket_id"] for line in lines] == [ticket_id(1), ticket_id(2)]
    assert json.loads(lines[0])["received_at"] == "2026-11-20T08:30:00Z"


def test_what_was_read_and_removed_is_not_put_there_again(tmp_path: Path) -> None:
    """As after a kill between the renaming of the file and the ledger's row."""
    list(Folder(tmp_path, "csv").deliver([intent(1)]))
    (tmp_path / "decisions-b1.csv").unlink()

    receipts = list(Folder(tmp_path, "csv").deliver([intent(1)]))

    assert [receipt.outcome for receipt in receipts] == [Outcome.DELIVERED]
    assert visible(tmp_path) == []


def test_a_file_that_was_not_renamed_yet_is_made_of_what_still_holds(tmp_path: Path) -> None:
    """As after a kill before the renaming, when a person has labelled a ticket since."""
    folder = Folder(tmp_path, "jsonl")
    list(folder.deliver([intent(1), intent(2)]))
    (tmp_path / "decisions-b1.jsonl").rename(tmp_path / ".ticket-assets" / "b1.jsonl")

    list(Folder(tmp_path, "jsonl").deliver([intent(2)]))

    (line,) = (tmp_path / "decisions-b1.jsonl").read_text("utf-8").splitlines()
    assert json.loads(line)["key"] == "key-2"


def test_marks_of_former_batches_do_not_pile_up(tmp_path: Path) -> None:
    folder = Folder(tmp_path, "csv")
    for number in range(3):
        list(folder.deliver([replace(intent(number), batch=f"b{number}")]))

    assert [path.name for path in (tmp_path / ".ticket-assets").iterdir()] == ["b2.published"]


@pytest.mark.slow
def test_a_folder_of_another_desk_is_left_alone(tmp_path: Path) -> None:
    folder = tmp_path / "decisions"
    folder.mkdir()
    desks = [
        decided_desk(
            Settings(_env_file=None, data_dir=tmp_path / name, delivery_folder=folder), [ticket(1)]
        )
        for name in ("first", "second")
    ]

    told = [hand_over(desk)["folder"] for desk in (*desks, desks[0])]

    assert [dict(one.outcomes) for one in told] == [{"delivered": 1}, {}, {}]
    assert told[1].problem.startswith(f"The folder {folder} belongs to another desk.")
    (folder / ".ticket-assets" / "desk").unlink()
    let_time_pass(desks[1])
    assert hand_over(desks[1])["folder"].outcomes == {"delivered": 1}
    assert len(visible(folder)) == 2


@pytest.fixture
def closed_folder(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "decisions").mkdir()
    (tmp_path / "decisions" / ".ticket-assets").write_text("in the way")
    return tmp_path / "decisions"


def test_a_folder_that_is_not_there_is_no_new_one(tmp_path: Path) -> None:
    with pytest.raises(ReceiverError, match="There is no folder"):
        list(Folder(tmp_path / "not-mounted", "csv").deliver([intent(1)]))

    assert not (tmp_path / "not-mounted").exists()


def test_what_the_system_refuses_is_told(closed_folder: Path) -> None:
    with pytest.raises(ReceiverError, match=r"Cannot write in .*: File exists"):
        list(Folder(closed_folder, "csv").deliver([intent(1)]))
