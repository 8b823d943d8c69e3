"""Hostile names on their way from where they come from to the surfaces that show them."""

import io
import itertools
import json
import os
import traceback
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from prometheus_client.parser import text_string_to_metric_families

from tests.hostile_names import NAMES, OBEYED, names
from tests.test_cli import data, tickets  # noqa: F401
from ticket_assets.alerts.delivery import Log
from ticket_assets.cli import console, mail
from ticket_assets.cli.status import print_status
from ticket_assets.desk import Desk
from ticket_assets.mail.landing import LandingError
from ticket_assets.mail.sources import Poll, poll_sources
from ticket_assets.metrics.families import gauges
from ticket_assets.metrics.mail import MailFigures
from ticket_assets.metrics.server import Exposition
from ticket_assets.settings import Settings
from ticket_assets.status import read_status
from ticket_assets.text.characters import visible

FILE_NAMES = [
    *{os.fsencode(name.replace("/", "⁄").replace("\0", ""))[:200] for name in NAMES.values()},
    b"\xff\xfe not UTF-8",
]


def scraped(read):
    """The labels' values of all series, as Prometheus parses them."""
    exposition = Exposition({"all": read}, "1.0")
    exposition.refresh()
    return {
        value
        for family in text_string_to_metric_families(exposition.text.decode())
        for sample in family.samples
        for value in sample.labels.values()
    }


@given(names)
def test_a_name_is_one_label_value_of_a_metric(name):
    read = scraped(lambda: [gauges("tickets_test", "x", ("label",), {(name,): 1})])

    assert visible(name) in read


@given(names)
def test_a_name_is_one_line_of_the_log(name):
    with pytest.MonkeyPatch.context() as patch:
        lines = []
        patch.setattr(
            "ticket_assets.alerts.delivery.logger.warning", lambda f, t: lines.append(f % t)
        )
        Log().send([f"The mail of {name} could not be sorted."])

    assert lines == [f"The mail of {visible(name)} could not be sorted."]


@given(names)
def test_a_name_in_an_error_is_text_wherever_the_error_is_shown(name):
    """As in Dagster's log, which writes it to a terminal as it is."""
    error = LandingError(f"Cannot read {name}.")

    assert str(error) == f"Cannot read {visible(name, keep=chr(10))}."
    shown = "".join(traceback.format_exception(error)).replace("\n", "")
    assert not OBEYED & set(shown)


def test_names_of_files_are_text_wherever_a_drop_folder_shows_them(tmp_path, monkeypatch):
    """A refused file whose name is not UTF-8 stopped the folder for good."""
    drop = tmp_path / "drop"
    drop.mkdir()
    for number, name in enumerate(FILE_NAMES):
        (drop / os.fsdecode(name + b".zip")).write_bytes(b"no archive")
        mail_text = f"Message-ID: <{number}@x>\nSubject: x\n\nHello {number}.\n"
        (drop / os.fsdecode(name + b".eml")).write_bytes(mail_text.encode())
    desk = Desk(Settings(data_dir=tmp_path / "data", drop_folder=drop))
    (source,) = desk.sources
    source = replace(source, settled_seconds=0)

    reports = poll_sources([source], Poll(desk.landing, desk.cursors, desk.leases))

    (report,) = reports
    assert (report.landed, len(report.refusals)) == (len(FILE_NAMES), len(FILE_NAMES))
    status = read_status(desk)
    assert len(status["refused_files"]) == len(FILE_NAMES)
    shown = io.StringIO()
    terminal = console.TextConsole(file=shown, width=200)
    for module in (console, mail):
        for stream in ("output", "messages"):
            monkeypatch.setattr(module, stream, terminal, raising=False)
    mail._print_source(report, desk.landing)
    print_status(status, desk.landing.files.location)
    assert not OBEYED.intersection(shown.getvalue()) - {"\n"}
    assert all(
        line.startswith(("Error: ", "Note: ", "Landing", "the drop", "No "))
        for line in shown.getvalue().splitlines()
    )
    assert json.loads(console.json_text(status))["refused_files"] == status["refused_files"]
    days = dict.fromkeys(desk.landing.days(), "x")
    assert visible(source.name) in scraped(lambda: MailFigures(desk).families(days, {}))
    for day in desk.landing.days():
        for message in desk.landing.messages(day):
            message.source.encode()


CATEGORIES = {
    "</script><script>alert(1)</script>": "printer paper jam toner tray stripes",
    "[/it] reseau": "vpn tunnel wifi router slow network",
    "![x](https://evil.example/x.png)": "password locked account sign-in expired reset",
    "$\\frac{$ | `b`": "mailbox calendar quota outlook delegate meeting",
}


FILLERS = ["hello", "thanks", "please", "since", "monday", "our", "floor", "again", "still", "now"]


@pytest.mark.slow
def test_names_of_categories_are_text_from_the_routing_to_every_output(tmp_path, tickets):  # noqa: F811
    """`classify` ended in a traceback of the terminal's library, training in one of Matplotlib."""
    queues = dict.fromkeys(CATEGORIES, "[q] </script>")
    content = {"categories": queues, "priorities": ["[low]", "<high>"], "review_queue": "[r]"}
    routing = tickets.write("routing.yaml", yaml.safe_dump(content))
    rows = [
        {
            "subject": f"{words.split()[number % 5]} {words.split()[(number + 1) % 6]}",
            "body": " ".join([*permutations[number], *FILLERS[number % 8 : number % 8 + 3]]),
            "category": name,
            "priority": ("[low]", "<high>")[number % 2],
            "received_at": f"2026-06-{number % 20 + 1:02d}T08:00:00",
            "sender": f"\x1b[2J[bold]{number} <a{number}@example.org>",
        }
        for name, words in CATEGORIES.items()
        for permutations in [list(itertools.permutations(words.split(), 4))[::7]]
        for number in range(40)
    ]
    export = tickets.write("=export\u202e.jsonl", "\n".join(map(json.dumps, rows)))
    setting = {"TICKETS_ROUTING": routing}

    outputs = [
        tickets("import", export, **setting),
        tickets("run", **setting),
        tickets("status", **setting),
        tickets("model", "show", **setting),
        tickets("model", "list", **setting),
        tickets("evaluate", export, "--splits", "1", **setting),
        *(tickets("classify", words, **setting) for words in CATEGORIES.values()),
    ]
    as_json = tickets("classify", "vpn tunnel wifi router", "--json", **setting)

    for done in outputs:
        assert done.returncode == 0, done.stderr
        assert not OBEYED.intersection(done.stdout + done.stderr) - {"\n"}
    for name, done in zip(CATEGORIES, outputs[-len(CATEGORIES) :], strict=True):
        assert f"category  {name} " in done.stdout
    assert json.loads(as_json.stdout)["category"] == "[/it] reseau"
    pages = [path.read_text() for path in (tmp_path / "data/reports").rglob("*.html")]
    assert not [page for page in pages if "</script><script>alert" in page]
