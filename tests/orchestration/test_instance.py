"""A data folder has a Dagster instance of its own, unless DAGSTER_HOME names another."""

from pathlib import Path

import dagster as dg
import pytest
import yaml

from ticket_assets.orchestration import code_location, instance
from ticket_assets.orchestration.instance import (
    TEMPLATE,
    WORKSPACE,
    InstanceError,
    dagster_home,
    desk_instance,
)

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def no_chosen_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAGSTER_HOME", raising=False)


def test_the_committed_template_is_the_packaged_one() -> None:
    assert (PROJECT / "dagster_home" / "dagster.yaml").read_bytes() == TEMPLATE.read_bytes()


def test_a_new_data_folder_gets_an_instance_with_the_settings_of_the_template(
    tmp_path: Path,
) -> None:
    with desk_instance(tmp_path / "data") as home:
        pools = home.get_concurrency_config().pool_config

        assert home.root_directory == str(tmp_path / "data" / "dagster")
        assert pools.default_pool_limit == 1
        assert pools.pool_granularity.value == "op"
        assert home.telemetry_enabled is False
        assert home.run_retries_enabled
        assert home.run_monitoring_settings["free_slots_after_run_end_seconds"] <= 60


def test_a_configuration_that_nobody_has_changed_follows_the_template(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    path = dagster_home(tmp_path) / "dagster.yaml"
    assert path.read_bytes().endswith(TEMPLATE.read_bytes())

    newer_template(tmp_path, monkeypatch)
    dagster_home(tmp_path)
    dagster_home(tmp_path)

    assert path.read_text().partition("\n")[2] == "telemetry:\n  enabled: true\n"
    assert caplog.messages == []


@pytest.mark.parametrize("is_stamped", [True, False])
def test_a_changed_configuration_is_kept_and_a_newer_template_is_told_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_stamped: bool,
) -> None:
    path = dagster_home(tmp_path) / "dagster.yaml"
    stamp = path.read_text().partition("\n")[0] if is_stamped else "# Mine."
    path.write_text(changed := f"{stamp}\ntelemetry:\n  enabled: false\n")
    if is_stamped:
        dagster_home(tmp_path)
        assert caplog.messages == []

    newer_template(tmp_path, monkeypatch)
    dagster_home(tmp_path)
    dagster_home(tmp_path)

    assert path.read_text() == changed
    (message,) = caplog.messages
    assert message.startswith(f"{path} was changed by hand and stays as it is. ")

    caplog.clear()
    path.write_text(message.rpartition(": ")[2] + changed.removeprefix(stamp))
    dagster_home(tmp_path)
    assert caplog.messages == []


def newer_template(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The product of another version."""
    template = folder / "template.yaml"
    template.write_text("telemetry:\n  enabled: true\n")
    monkeypatch.setattr(instance, "TEMPLATE", template)


def test_a_chosen_home_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "dagster.yaml").write_text("")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))

    assert dagster_home(tmp_path / "data") == tmp_path / "home"
    assert not (tmp_path / "data").exists()


def test_a_chosen_home_without_a_configuration_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))

    with pytest.raises(InstanceError, match=r"There is no dagster.yaml in"):
        dagster_home(tmp_path / "data")


@dg.job
def nothing() -> None:
    pass


@pytest.mark.slow
def test_data_folders_used_in_turn_share_neither_runs_nor_cursors(tmp_path: Path) -> None:
    for folder in ("first", "second", "first"):
        with desk_instance(tmp_path / folder) as home:
            nothing.execute_in_process(instance=home)
            home.run_storage.set_cursor_values({"of": folder, f"only {folder}": "1"})

    with desk_instance(tmp_path / "first") as first, desk_instance(tmp_path / "second") as second:
        assert (len(first.get_runs()), len(second.get_runs())) == (2, 1)
        assert first.run_storage.get_cursor_values({"of"}) == {"of": "first"}
        assert second.run_storage.get_cursor_values({"only first"}) == {}


def test_the_workspace_names_the_module_of_the_definitions() -> None:
    workspace = yaml.safe_load(WORKSPACE.read_text("utf-8"))

    assert workspace == {
        "load_from": [
            {
                "python_module": {
                    "module_name": code_location.MODULE,
                    "location_name": code_location.NAME,
                }
            }
        ]
    }
    # For who starts Dagster's own commands from the project's folder.
    assert yaml.safe_load((PROJECT / "workspace.yaml").read_text("utf-8")) == workspace


def test_a_run_of_the_command_belongs_to_the_code_location_that_the_ui_shows() -> None:
    origin = code_location.job_origin("whole_graph")

    assert origin.repository_origin.get_label() == "__repository__@ticket_assets"
    assert origin.job_name == "whole_graph"
