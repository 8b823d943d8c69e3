"""A damaged Dagster instance is one line for whoever opens it, and repaired by the doctor."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pytest
from dagster import DagsterRunStatus as RunStatus

from tests.orchestration.test_living_runs import nothing
from tests.slow_cases import slow
from ticket_assets.desk import Desk
from ticket_assets.orchestration.examination import examine_instance, runs_at_work
from ticket_assets.orchestration.instance import InstanceError, desk_instance
from ticket_assets.orchestration.living_runs import HOST_TAG
from ticket_assets.settings import Settings

NewInstance = Callable[[Path], AbstractContextManager[dg.DagsterInstance]]


@pytest.fixture
def desk(tmp_path: Path, new_instance: NewInstance) -> Desk:
    with new_instance(tmp_path) as instance:
        nothing.execute_in_process(instance=instance)
    return Desk(Settings(_env_file=None, data_dir=tmp_path))


def altered(content: bytes) -> bytes:
    return content[:100] + b"?" * 3000 + content[3100:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["history/runs.db", *slow("history/runs/index.db")])
@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(altered, id="altered"),
        pytest.param(
            lambda content: content[: len(content) // 2], id="cut", marks=pytest.mark.slow
        ),
        pytest.param(lambda _: b"no database", id="no database", marks=pytest.mark.slow),
    ],
)
def test_a_damaged_database_is_one_line_and_moved_away(
    desk: Desk, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = desk.folder / "dagster" / name
    path.write_bytes(damage(path.read_bytes()))

    (found,) = examine_instance(desk, repair=False)
    with pytest.raises(InstanceError, match=r"`tickets doctor --repair` moves it away"):
        use(desk)
    (repaired,) = examine_instance(desk, repair=True)

    assert (found.where, repaired.where) == (str(path), str(path))
    assert (found.is_repaired, repaired.is_repaired) == (False, True)
    assert list(desk.folder.glob(f"set_aside/*/dagster/{name}"))
    assert list(examine_instance(desk, repair=False)) == []
    use(desk)


@pytest.mark.slow
def test_a_database_that_was_emptied_is_told_since_its_history_is_gone(desk: Desk) -> None:
    (desk.folder / "dagster" / "history" / "runs.db").write_bytes(b"")

    (repaired,) = examine_instance(desk, repair=True)

    assert "no longer shown" in repaired.what
    use(desk)


def use(desk: Desk) -> None:
    with desk_instance(desk.folder) as instance:
        nothing.execute_in_process(instance=instance)
        assert instance.get_run_records(limit=1)
        instance.get_asset_keys()


@pytest.mark.parametrize("text", ["storage: [unclosed\n", *slow("no_such_key: 1\n", "\0")])
def test_a_configuration_that_cannot_be_used_is_one_line_and_replaced(
    desk: Desk, text: str
) -> None:
    path = desk.folder / "dagster" / "dagster.yaml"
    path.write_text(text)

    (found,) = examine_instance(desk, repair=False)
    with pytest.raises(InstanceError, match=r"dagster\.yaml cannot be used: .* Mend it, or remove"):
        use(desk)
    (repaired,) = examine_instance(desk, repair=True)

    assert (found.where, repaired.is_repaired) == (str(path), True)
    assert list(examine_instance(desk, repair=False)) == []
    use(desk)


@pytest.mark.slow
def test_a_dead_run_is_found_and_ended(desk: Desk) -> None:
    with desk_instance(desk.folder) as instance:
        run = instance.create_run_for_job(
            nothing, status=RunStatus.STARTED, tags={HOST_TAG: "elsewhere"}
        )
        with instance.run_storage.connect() as connection:
            connection.exec_driver_sql(
                "update runs set create_timestamp = ?, update_timestamp = ? where run_id = ?",
                ("2020-01-01 00:00:00.000000", "2020-01-01 00:00:00.000000", run.run_id),
            )

    (found,) = examine_instance(desk, repair=False)
    (repaired,) = examine_instance(desk, repair=True)

    assert found.where == f"run {run.run_id}"
    assert repaired.is_repaired
    assert list(examine_instance(desk, repair=False)) == []
    with desk_instance(desk.folder) as instance:
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert ended.status == RunStatus.FAILURE


@pytest.mark.slow
def test_a_living_run_is_no_finding(desk: Desk) -> None:
    with desk_instance(desk.folder) as instance:
        instance.create_run_for_job(nothing, status=RunStatus.STARTED)

    assert list(examine_instance(desk, repair=True)) == []
    assert len(runs_at_work(desk)) == 1


def test_a_desk_without_an_instance_gets_none(tmp_path: Path) -> None:
    desk = Desk(Settings(_env_file=None, data_dir=tmp_path / "data"))

    assert list(examine_instance(desk, repair=True)) == []
    assert runs_at_work(desk) == []
    assert not desk.folder.exists()
