"""What people say of tickets: each word of theirs counts, or is told with its reason."""

import os
import subprocess
import sys
from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.mail.corrections import (
    CorrectionError,
    land_correction,
    land_corrections,
    open_corrections,
)
from ticket_assets.mail.folders import drop_folder_refusals, poll_drop_folder
from ticket_assets.mail.input_files import ExportError, InputFile
from ticket_assets.mail.labels import LabelSet
from ticket_assets.mail.landing import IncomingMessage, Label, LandingZone
from ticket_assets.storage.folder_blobs import FolderBlobs

ALLOWED = LabelSet(["network.vpn", "printing"], ["low", "high"], {"VPN": "network.vpn"})
NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


def message(name, content=b"Hello"):
    return IncomingMessage(content, "eml", "test", NOW, "date_header", f"{name}@example.org")


@pytest.fixture
def landing(tmp_path):
    zone = LandingZone(tmp_path / "raw")
    zone.land([message("a", b"A"), message("b", b"B"), message("c", b"C")])
    return zone


@pytest.fixture
def tickets(landing):
    """The ticket id of each message."""
    names = landing.tickets_named({f"{name}@example.org" for name in "abc"})
    return {name[0]: ticket_id for name, (ticket_id,) in names.items()}


def label(category=None, priority=None, ticket_id=None, message_id=None, at=NOW):
    return Label(category, priority, at, "anna", ticket_id, message_id)


def held(landing):
    """The labels that hold, by ticket."""
    rows = landing.resolve_labels(ALLOWED.categories).labels
    return {row.ticket_id: (row.category, row.priority) for row in rows.itertuples()}


def corrections(folder, text, name="corrections.csv"):
    path = folder / name
    path.write_text(text)
    return open_corrections(InputFile(path))


def test_a_ticket_is_named_by_its_id_or_by_its_message(landing, tickets):
    assert land_correction(landing, label("Network VPN", ticket_id=tickets["a"]), ALLOWED) == 1
    assert land_correction(landing, label(None, "HIGH", None, "b@example.org"), ALLOWED) == 1

    assert held(landing) == {tickets["a"]: ("network.vpn", None), tickets["b"]: (None, "high")}


def test_a_message_that_came_in_several_forms_is_corrected_in_all(landing):
    landing.land([message("a", b"A, forwarded")])

    assert land_correction(landing, label("VPN", message_id="a@example.org"), ALLOWED) == 2
    assert list(held(landing).values()) == [("network.vpn", None)] * 2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"ticket_id": "0" * 20}, "There is no ticket '00000000000000000000' here."),
        ({"message_id": "x@example.org"}, "There is no ticket 'x@example.org' here."),
        ({}, "Names no ticket."),
        (
            {"message_id": "a@example.org", "category": "cooking"},
            "'cooking' is no category (network.vpn, printing).",
        ),
        (
            {"message_id": "a@example.org", "priority": "soon"},
            "'soon' is no priority (low, high).",
        ),
    ],
)
def test_what_there_is_not_is_refused_and_lands_nothing(landing, changes, reason):
    with pytest.raises(CorrectionError) as refused:
        land_correction(landing, label(**{"category": "printing", **changes}), ALLOWED)

    assert (str(refused.value), list(landing.labels())) == (reason, [])


def test_an_erased_ticket_is_told_of_as_erased(landing, tickets):
    content = f'{{"ticket_id": "{tickets["a"]}"}}\n'.encode()
    landing.files.replace("erased/1.jsonl", content)

    with pytest.raises(CorrectionError, match="was erased"):
        land_correction(landing, label("printing", ticket_id=tickets["a"]), ALLOWED)


def test_the_latest_word_holds_for_category_and_priority_apart(landing, tickets):
    named = {"ticket_id": tickets["a"]}
    land_correction(landing, label("VPN", "high", **named), ALLOWED)
    land_correction(landing, label("printing", at=NOW.replace(hour=10), **named), ALLOWED)
    land_correction(landing, label("VPN", at=NOW.replace(hour=8), **named), ALLOWED)

    assert held(landing) == {tickets["a"]: ("printing", "high")}


def test_the_good_rows_of_a_table_count_and_the_others_are_told_with_their_reason(
    landing, tickets, tmp_path
):
    table = corrections(
        tmp_path,
        "ticket_id;message_id;category;priority\n"
        f"{tickets['a']};;vpn;\n"
        ";<b@example.org>;cooking;\n"
        ";;printing;\n"
        "00000000000000000000;;printing;\n"
        ";late@example.org;printing;high\n"
        f"{tickets['c']};;;\n"
        f"{tickets['c']};;;soon\n"
        ";b@example.org;Printing;Low\n",
    )

    report = land_corrections(landing, table, ALLOWED)

    assert held(landing) == {
        tickets["a"]: ("network.vpn", None),
        tickets["b"]: ("printing", "low"),
    }
    assert (report.taken, report.landed) == (3, 3)
    assert list(report.problems) == [
        "row 2: 'cooking' is no category (network.vpn, printing)",
        "row 3: names no ticket",
        "row 4: there is no ticket '00000000000000000000' here",
        "row 7: 'soon' is no priority (low, high)",
    ]
    assert report.waiting == (
        "1 correction of messages that have not landed will count once they have:"
        " row 5: there is no ticket 'late@example.org' here."
    )
    landing.land([message("late", b"L")])
    assert ("printing", "high") in held(landing).values()


def test_the_same_table_again_changes_nothing(landing, tickets, tmp_path):
    table = corrections(tmp_path, f"ticket_id,category\n{tickets['a']},printing\n")

    assert land_corrections(landing, table, ALLOWED).landed == 1
    assert land_corrections(landing, table, ALLOWED).landed == 0
    assert len(list(landing.labels())) == 1


def test_dates_that_can_be_read_both_ways_are_asked_for(landing, tickets, tmp_path):
    text = f"ticket_id,category,labelled_at\n{tickets['a']},printing,03/04/2026\n"

    with pytest.raises(ExportError, match="day or the month"):
        land_corrections(landing, corrections(tmp_path, text), ALLOWED)
    assert list(landing.labels()) == []


@pytest.mark.parametrize(
    "header",
    [
        "subject,body,category",
        "ticket,subject,category",  # an export, with the desk's own numbers
        "ticket,category,Description",
        "ticket_id,agent",
        "category,priority",
    ],
)
def test_a_table_of_something_else_is_none_of_corrections(tmp_path, header):
    assert corrections(tmp_path, f"{header}\nx,y,z\n") is None


def test_a_column_of_a_text_that_is_mapped_makes_an_export(tmp_path):
    path = tmp_path / "export.csv"
    path.write_text("ticket,Details,category\n1,It drops,printing\n")

    assert open_corrections(InputFile(path)) is not None
    assert open_corrections(InputFile(path), {"body": "Details"}) is None


@pytest.mark.slow
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["a@example.org", "b@example.org", "nobody@example.org", ""]),
            st.sampled_from(["printing", "vpn", "cooking", ""]),
            st.sampled_from(["low", "soon", ""]),
        ),
        max_size=12,
    )
)
@settings(max_examples=50, deadline=None)
def test_each_row_counts_or_says_nothing_or_is_told(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("desk")
    landing = LandingZone(folder / "raw")
    landing.land([message("a", b"A"), message("b", b"B")])
    text = "".join(f"\n{','.join(row)}" for row in rows)
    table = corrections(folder, f"message_id,category,priority{text}\n")

    report = land_corrections(landing, table, ALLOWED)

    saying = [row for row in rows if row[1] or row[2]]
    assert report.taken + len(report.problems) == len(saying)
    assert len(list(landing.labels())) == report.taken
    assert {entry.message_id for entry in landing.labels()} <= {row[0] for row in saying} - {""}


def look(landing, folder):
    return poll_drop_folder(
        landing,
        folder,
        FolderBlobs(folder.parent / "cursors"),
        categories=ALLOWED.categories,
        priorities=ALLOWED.priorities,
        max_messages=100,
        settled_seconds=0,
    )


def test_a_table_in_the_drop_folder_is_taken_once_and_its_bad_rows_stand(
    landing, tickets, tmp_path
):
    dropped = tmp_path / "dropped"
    dropped.mkdir()
    path = dropped / "monday.csv"
    path.write_text(f"ticket_id,category\n{tickets['a']},network.vpn\n{tickets['b']},cooking\n")
    cursors = FolderBlobs(tmp_path / "cursors")

    first = look(landing, dropped)

    reason = (
        f"{path}: 1 correction not taken: row 2: 'cooking' is no category (network.vpn, printing)."
        " 1 other counts. It is tried again once it or the settings have changed."
    )
    assert (first.labels, first.landed, first.problems) == (1, 0, [reason])
    assert drop_folder_refusals(dropped, cursors) == (reason,)
    assert held(landing) == {tickets["a"]: ("network.vpn", None)}

    again = look(landing, dropped)
    assert (again.labels, again.problems) == (0, [])

    path.write_text(f"ticket_id,category\n{tickets['a']},network.vpn\n{tickets['b']},printing\n")
    os.utime(path, (1, 1))
    mended = look(landing, dropped)
    assert (mended.labels, mended.problems) == (2, [])
    assert drop_folder_refusals(dropped, cursors) == ()
    assert held(landing)[tickets["b"]] == ("printing", None)


def test_a_correction_before_its_message_waits_for_it(landing, tmp_path):
    dropped = tmp_path / "dropped"
    dropped.mkdir()
    (dropped / "early.csv").write_text("message_id,category\nlate@example.org,network.vpn\n")

    report = look(landing, dropped)

    assert report.problems == []
    assert report.early_labels == [
        f"{dropped}/early.csv: 1 correction of messages that have not landed will count once they"
        " have: row 1: there is no ticket 'late@example.org' here."
    ]
    landing.land([message("late", b"L")])
    assert list(held(landing).values()) == [("network.vpn", None)]


def tickets_command(folder, *arguments):
    environment = {**os.environ, "TICKETS_DATA_DIR": str(folder), "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, "-m", "ticket_assets", *map(str, arguments)],
        env=environment,
        cwd=folder.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_says_what_holds_now_and_what_it_cannot_take(tmp_path):
    data, inbox = tmp_path / "data", tmp_path / "inbox"
    inbox.mkdir()
    (inbox / "a.eml").write_bytes(
        b"From: a@example.org\nMessage-ID: <a@x>\nDate: Mon, 2 Mar 2026 09:00:00 +0000\n\nHello\n"
    )
    assert tickets_command(data, "import", inbox).returncode == 0

    one = tickets_command(data, "correct", "<a@x>", "--category", "NETWORK", "--by", "anna")
    wrong = tickets_command(data, "correct", "<b@x>", "--category", "network")
    nothing = tickets_command(data, "correct", "<a@x>")
    table = tmp_path / "corrections.csv"
    table.write_text("message_id,priority\na@x,high\na@x,soon\n")
    many = tickets_command(data, "correct", "--file", table)

    assert (one.returncode, one.stdout) == (
        0,
        "<a@x>: network, says anna.\nNext: tickets run\n",
    )
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert "There is no ticket 'b@x' here." in wrong.stderr
    assert (nothing.returncode, "--category, --priority or both" in nothing.stderr) == (1, True)
    assert (many.returncode, many.stdout) == (
        1,
        "1 correction taken, 1 of them new.\nNext: tickets run\n",
    )
    assert "row 2: 'soon' is no priority" in many.stderr
    (held_now,) = LandingZone(data / "landing").resolve_labels().labels.itertuples()
    assert (held_now.category, held_now.priority) == ("network", "high")
    assert held_now.labelled_at.date() >= date(2026, 3, 2)
