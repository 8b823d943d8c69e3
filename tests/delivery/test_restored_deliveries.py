"""A desk that comes back from a backup tells nobody anything until a person says so."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from tests.delivery.decided import decided_desk, outcomes, ticket
from tests.delivery.test_handover import Notebook
from tests.warehouse_rows import append_rows
from ticket_assets.backup import back_up, restore
from ticket_assets.delivery.handover import hand_over
from ticket_assets.delivery.state import change_state, read_state
from ticket_assets.desk import Desk
from ticket_assets.settings import Settings


@pytest.mark.slow
def test_what_was_delivered_before_the_backup_is_never_told_again_and_the_rest_when_asked(
    tmp_path: Path,
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    desk, before, after = decided_desk(settings, [ticket(1)]), Notebook(), Notebook()
    hand_over(desk, [before])
    back_up(desk, str(tmp_path / "backups"), keep=1)
    append_rows(settings, "ticket_predictions", [ticket(2)])
    hand_over(desk, [before])
    shutil.rmtree(settings.data_dir)

    restored = restore(Desk(settings), str(tmp_path / "backups"))

    desk = Desk(settings)
    append_rows(settings, "ticket_predictions", [ticket(2)])
    assert restored.is_delivery_stopped
    hand_over(desk, [after])
    assert after.told == []
    change_state(desk.cursors, lambda state: replace(state, stopped_at=None))
    hand_over(desk, [after])
    assert after.told == [2]
    assert after.keys[2] == before.keys[2]
    assert outcomes(desk) == {1: "delivered", 2: "delivered"}


def test_a_desk_that_never_delivered_is_not_stopped(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    back_up(decided_desk(settings, [ticket(1)]), str(tmp_path / "backups"), keep=1)
    shutil.rmtree(settings.data_dir)

    restored = restore(Desk(settings), str(tmp_path / "backups"))

    assert not restored.is_delivery_stopped
    assert read_state(Desk(settings).cursors) is None
