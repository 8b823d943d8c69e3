"""A data folder that an earlier version wrote is opened by this one: nothing in it is lost.

`desk-0.1.0.tar.xz` is what version 0.1.0 left of 200 sample mails of 14 days (until 2026-03-31,
seed 5, encoder all-minilm-l6-v2 in fp32) after `tickets import` and `tickets run`: landing zone,
labels, warehouse, collection and models; the reports and the encoder's files are left out.
"""

import json
import os
import tarfile
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.services.warm_processes import warm_processes
from ticket_assets.cli import app
from ticket_assets.settings import load_settings

TEXT = "L'imprimante du deuxième étage fait des bourrages papier"
ARCHIVE = Path(__file__).parent / "desk-0.1.0.tar.xz"
SETTINGS = {
    "TICKETS_ENCODER": "all-minilm-l6-v2",
    "TICKETS_ENCODER_PRECISION": "fp32",
    "TICKETS_MACRO_F1_FLOOR": "0.2",
    "TICKETS_MIN_CLASS_TICKETS": "5",
}


@pytest.fixture
def former_desk(tmp_path, monkeypatch):
    """The data folder of version 0.1.0, and the settings it was made with."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TICKETS_DATA_DIR", str(tmp_path / "data"))
    for name, value in SETTINGS.items():
        monkeypatch.setenv(name, value)
    load_settings.cache_clear()
    yield tmp_path / "data"
    load_settings.cache_clear()


@pytest.mark.slow
def test_its_mail_tables_and_champion_are_there(former_desk):
    result = CliRunner().invoke(app, ["status", "--json"])

    assert result.exit_code == 0, result.output
    status = json.loads(result.stdout)
    assert status["landing"]["messages"] == 200
    assert {name: table["rows"] for name, table in status["tables"].items()} == {
        "raw_tickets": 198,
        "rejected_messages": 2,
        "clean_tickets": 197,
        "ticket_labels": 141,
        "ticket_embeddings": 197,
        "ticket_predictions": 197,
        "suspected_label_errors": 62,
        "drift_metrics": 84,
    }
    assert status["champion"]["version"] == "b5a2f44ba86d"


def test_its_champion_waits_for_vectors_of_this_version(former_desk):
    """Version 0.1.0 computed them by a forward pass of its own, under another key."""
    result = CliRunner().invoke(app, ["classify", TEXT])

    assert result.exit_code == 1
    assert "Train again: tickets run." in str(result.exception)


def test_its_champion_has_nothing_to_simulate_with_and_says_so(former_desk):
    result = CliRunner().invoke(app, ["simulate"])

    assert result.exit_code == 1
    assert "kept no thresholds of other targets" in str(result.exception)


@pytest.mark.slow
def test_a_run_encodes_it_anew_and_sorts_a_text(former_desk):
    done = warm_processes().run(["tickets", "run"], os.environ, former_desk.parent)
    assert done.returncode == 0, done.stderr
    assert "Encodes 197 tickets anew" in done.stderr

    result = CliRunner().invoke(app, ["classify", "--json", TEXT])

    assert result.exit_code == 0, result.output
    ticket = json.loads(result.stdout)
    assert ticket["category"] == "printing"
    assert len(ticket["nearest"]) == 5

    simulated = json.loads(CliRunner().invoke(app, ["simulate", "--json"]).stdout)
    assert (simulated["tickets"], len(simulated["targets"])) == (197, 20)
