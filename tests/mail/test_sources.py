"""Mail sources polled together: what is new lands once, and what fails is tried again patiently."""

import json
import os
import resource
import sqlite3
import threading
import time
import zipfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from imapclient import IMAPClient

from ticket_assets.mail.back_off import BackOff
from ticket_assets.mail.folders import poll_drop_folder, poll_maildir
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.sources import (
    POLLING,
    DropFolder,
    ImapSource,
    Maildir,
    Poll,
    PollBusyError,
    poll_sources,
)
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.leases import FileLeases

pytestmark = pytest.mark.slow


@pytest.fixture
def landing(tmp_path):
    return LandingZone(FolderBlobs(tmp_path / "landing"))


@pytest.fixture
def cursors(tmp_path):
    return FolderBlobs(tmp_path / "cursors")


@pytest.fixture
def poll(landing, cursors, tmp_path):
    """Polls sources over the test's own landing zone."""

    def run(*sources, at_once=(), **options):
        return poll_sources(
            sources, Poll(landing, cursors, FileLeases(tmp_path), **options), at_once
        )

    return run


@pytest.fixture
def dropped(tmp_path):
    folder = tmp_path / "dropped"
    folder.mkdir()
    return folder


@pytest.fixture
def look(landing, dropped, cursors):
    """Looks into the drop folder, whose files count as finished at once."""

    def run(**options):
        settings = {"settled_seconds": 0, "max_messages": 10_000, **options}
        return poll_drop_folder(
            landing,
            dropped,
            cursors,
            categories=["network", "printing"],
            priorities=["low", "high"],
            **settings,
        )

    return run


def mail(name, day=5):
    return (
        f"From: Anne <anne@example.org>\r\nSubject: Mail {name}\r\n"
        f"Date: Mon, {day} Jan 2026 09:00:00 +0100\r\nMessage-ID: <{name}@example.org>\r\n\r\n"
        f"Hello {name}\r\n"
    ).encode()


def landed(landing):
    return sorted(
        landing.read(message) for day in landing.days() for message in landing.messages(day)
    )


def counts(report):
    return report.landed, report.already_there, report.remaining


@pytest.mark.slow
def test_two_thousand_mails_land_once_while_new_ones_arrive_and_the_line_is_cut_ten_times(
    poll, landing, mailbox, proxy, account
):
    draw = np.random.default_rng(11)
    contents = [
        mail(number, 1 + number % 28) + draw.bytes(draw.integers(1500)).hex().encode() + b"\r\n"
        for number in range(2000)
    ]
    mailbox.multiappend("INBOX", contents[:1000])
    before = proxy(cuts=draw.integers(1, 120_000, 10).tolist())

    def arrive():
        with IMAPClient(account().host, account().port, ssl=False) as client:
            client.plain_login(account().user, account().password)
            for start in range(1000, 2000, 50):
                client.multiappend("INBOX", contents[start : start + 50])

    arriving = threading.Thread(target=arrive)
    arriving.start()
    reports = []
    while arriving.is_alive() or not reports or reports[-1].landed:
        reports += poll(ImapSource(before.account), at_once=["outage"], max_messages=300)
    arriving.join()

    assert before.cut == 10
    assert [report.error for report in reports if report.error] == []
    assert sum(report.landed for report in reports) == 2000
    assert sum(report.already_there for report in reports) == 0
    assert landed(landing) == sorted(contents)


def test_a_rebuilt_mailbox_is_read_anew_and_lands_nothing_twice(poll, landing, mailbox, account):
    source = ImapSource(account(folders=("Support",)))
    contents = [mail(name) for name in "abc"]
    mailbox.create_folder("Support")
    mailbox.multiappend("Support", contents)
    assert counts(poll(source)[0]) == (3, 0, 0)

    mailbox.delete_folder("Support")
    mailbox.create_folder("Support")
    mailbox.multiappend("Support", [*contents, mail("d")])

    assert counts(poll(source)[0]) == (1, 3, 0)
    assert landed(landing) == sorted([*contents, mail("d")])


def test_a_source_that_is_down_lets_the_others_land_and_lands_everything_once_it_is_back(
    poll, landing, mailbox, proxy, dropped
):
    mailbox.append("INBOX", mail("waiting"))
    before = proxy()
    before.close()
    write(dropped / "a.eml", mail("dropped"))
    source = ImapSource(before.account)
    other = DropFolder(dropped, settled_seconds=0)

    first, dropped_report = poll(source, other)

    assert first.error is not None
    assert first.error.startswith(f"Cannot reach {before.account.address}")
    assert dropped_report.landed == 1
    again, _ = poll(source, other)
    assert (again.error, again.waits_for, again.next_try) == (None, first.error, first.next_try)
    assert landed(landing) == [mail("dropped")]

    back = proxy(port=before.port)
    assert back.port == before.port
    report, _ = poll(source, other, at_once=["outage"])
    assert counts(report) == (1, 0, 0)
    assert landed(landing) == sorted([mail("waiting"), mail("dropped")])


def test_a_refused_login_is_one_line_and_not_tried_again_until_the_secret_changes(
    poll, dovecot, account, mailbox, tmp_path
):
    mailbox.append("INBOX", mail("waiting"))
    secret = write(tmp_path / "secret", b"wrong")
    source = ImapSource(account(password=None, password_file=secret))
    before = dovecot.logins(account().user)

    refused = poll(source)[0]
    waiting = [poll(source, at_once=["outage"])[0] for _ in range(5)]

    assert refused.error is not None
    assert refused.error.startswith(f"{account().address} refuses the login of {account().user}")
    assert "\n" not in refused.error
    hour = refused.next_try - datetime.now(UTC)
    assert timedelta(minutes=59) < hour <= timedelta(hours=1)
    assert {(report.error, report.waits_for) for report in waiting} == {(None, refused.error)}
    assert dovecot.logins(account().user) == (before[0], before[1] + 1)

    secret.write_text(account().password, "utf-8")
    assert counts(poll(source)[0]) == (1, 0, 0)
    assert dovecot.logins(account().user) == (before[0] + 1, before[1] + 1)


def test_no_secret_can_be_read_from_what_is_remembered_of_a_failure(
    poll, account, closed_port, tmp_path
):
    source = ImapSource(account(port=closed_port, password="a long secret"))  # noqa: S106

    poll(source)

    (state,) = (tmp_path / "cursors").glob("source-*.json")
    remembered = json.loads(state.read_text())
    assert "a long secret" not in state.read_text()
    assert len(remembered["configuration"].partition(":")[2]) == 6
    assert BackOff(configuration=remembered["configuration"]).is_about(source.configuration())


def test_delays_double_up_to_a_limit_and_a_success_ends_them():
    now = datetime(2026, 1, 5, tzinfo=UTC)
    state, delays = BackOff(), []
    for _ in range(7):
        state = state.failed(now, "outage", "down", b"")
        delays.append((state.next_try - now) // timedelta(minutes=1))

    assert delays == [1, 2, 4, 8, 15, 15, 15]
    refused = state.failed(now, "login", "no", b"")
    assert refused.next_try == now + timedelta(hours=1), "another kind of failure counts anew"
    assert refused.succeeded(now) == BackOff(last_success=now)


def test_two_polls_do_not_work_at_once(poll, landing, dropped, tmp_path):
    with FileLeases(tmp_path).hold(POLLING), pytest.raises(PollBusyError) as error:
        poll(DropFolder(dropped))

    assert str(error.value) == (
        "Another fetch is at work on the same sources. Wait until it has ended."
    )
    assert poll(DropFolder(dropped))[0].error is None


def test_a_refused_message_is_a_new_problem_once_and_stays_listed(poll, mailbox, proxy):
    mailbox.multiappend("INBOX", [mail(name) for name in "abc"])
    source = ImapSource(proxy(refused=[2]).account)

    reports = [poll(source)[0] for _ in range(5)]

    assert [len(report.problems) for report in reports] == [0, 0, 1, 0, 0]
    assert [len(report.refusals) for report in reports] == [0, 0, 1, 1, 1]
    assert "has refused message with UID 2 in INBOX" in reports[2].problems[0]


def write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def test_a_drop_folder_takes_mail_archives_and_tables_from_all_its_folders_and_keeps_them(
    look, landing, dropped
):
    write(dropped / "a.eml", mail("a"))
    write(dropped / "deeper" / "still" / "b.eml", mail("b"))
    write(dropped / "box.mbox", b"From x Mon Jan  5 09:00:00 2026\n" + mail("c"))
    with zipfile.ZipFile(dropped / "more.zip", "w") as archive:
        archive.writestr("d.eml", mail("d"))
    write(
        dropped / "export.csv",
        "objet;corps;date;catégorie\nVPN;Le VPN coupe;05/01/2026 10:00;Network\n".encode(),
    )
    before = sorted((path, path.stat().st_mtime_ns) for path in dropped.rglob("*"))

    report = look()

    assert (report.landed, report.labels, report.problems) == (5, 1, [])
    assert set(map(mail, "abcd")) < set(landed(landing))
    assert [(label.category, label.priority) for label in landing.labels()] == [("network", None)]
    assert sorted((path, path.stat().st_mtime_ns) for path in dropped.rglob("*")) == before
    again = look()
    assert counts(again) == (0, 0, 0)
    assert again.labels == 0


def test_a_file_that_is_still_being_written_lands_when_it_is_whole(look, landing, dropped):
    whole = mail("whole")
    path = write(dropped / "a.eml", whole[:40])
    os.utime(path, (1, 1))  # a copy that keeps the time of the original

    early = look(settled_seconds=0.5)
    path.write_bytes(whole)
    os.utime(path, (1, 1))
    still = look(settled_seconds=0.5)
    time.sleep(0.6)

    assert counts(early) == counts(still) == (0, 0, 1)
    assert counts(look(settled_seconds=0.5)) == (1, 0, 0)
    assert landed(landing) == [whole]


@pytest.mark.parametrize("name", [".hidden.eml", "a.eml.tmp", "a.eml.part", ".git/a.eml"])
def test_an_unfinished_name_is_passed_over_until_it_is_renamed(look, landing, dropped, name):
    path = write(dropped / name, mail("a"))

    assert counts(look()) == (0, 0, 0)
    path.rename(dropped / "a.eml")
    assert counts(look()) == (1, 0, 0)


def test_a_file_that_cannot_be_used_is_a_new_problem_once_and_stops_no_other(
    look, landing, dropped
):
    outlook = write(dropped / "a.pst", b"!BDN and more")
    export = write(dropped / "b.csv", b"subject,body,category\nVPN,It drops,Cooking\n")
    empty = write(dropped / "c.eml", b"")
    write(dropped / "d.eml", mail("d"))

    first, second = look(), look()

    assert landed(landing) == [mail("d")]
    assert first.problems == [
        f"{empty} is empty. It is tried again once it or the settings have changed.",
        f"{outlook} is an Outlook archive (.pst); export it as mbox or .eml. It is tried again once"
        " it or the settings have changed.",
        first.problems[2],
    ]
    assert first.problems[2].startswith(f"{export}: unknown categories: 'Cooking' (1) (known: ")
    assert (second.problems, counts(second)) == ([], (0, 0, 0))
    export.write_bytes(b"subject,body,category\nVPN,It drops,Network\n")
    third = look()
    assert (third.landed, third.labels, third.problems) == (1, 1, [])


ROUTING = """
categories: {{{categories}}}
priorities: [low, high]
"""


def test_refused_files_stay_listed_until_they_are_usable_or_gone(
    poll, landing, dropped, cursors, tmp_path
):
    routing = write(
        tmp_path / "routing.yaml", ROUTING.format(categories="network: n, vpn: n").encode()
    )
    export = write(dropped / "b.csv", b"subject,Details,category\nVPN,It drops,Cooking\n")
    gone = write(dropped / "c.xlsx", b"PK a workbook")
    source = DropFolder(dropped, routing, {"body": "Details"}, settled_seconds=0)

    def standing():
        """The refused files after a poll, as a command that does not poll lists them as well."""
        (report,) = poll(source)
        assert report.refusals == source.refusals(cursors)
        return [reason.partition(".")[0].rpartition("/")[2] for reason in report.refusals]

    assert [standing(), standing()] == [["b", "c"], ["b", "c"]]
    gone.unlink()
    assert source.refusals(cursors)[0].startswith(f"{export}: unknown categories")
    assert standing() == ["b"]
    write(routing, ROUTING.format(categories="network: n, cooking: kitchen").encode())
    assert standing() == []
    assert [label.category for label in landing.labels()] == ["cooking"]


def test_a_refused_export_is_read_again_when_the_columns_are_named(poll, dropped, landing):
    write(dropped / "b.csv", b"What,Details\nVPN,It drops\n")
    assert len(poll(DropFolder(dropped, settled_seconds=0))[0].refusals) == 1

    named = DropFolder(dropped, None, {"subject": "What", "body": "Details"}, settled_seconds=0)
    (report,) = poll(named)

    assert (report.landed, report.refusals) == (1, ())


def test_an_export_whose_dates_could_be_read_both_ways_waits_for_their_order(
    poll, dropped, landing
):
    write(dropped / "b.csv", b"Subject,Created\nVPN,03/04/2025\n")
    (report,) = poll(DropFolder(dropped, settled_seconds=0))
    (refusal,) = report.refusals
    assert "cannot be told: all its dates may have either, like '03/04/2025'" in refusal
    assert (report.landed, list(landing.days())) == (0, [])

    (report,) = poll(DropFolder(dropped, date_order="month-first", settled_seconds=0))

    assert (report.landed, report.refusals) == (1, ())
    assert list(landing.days()) == [date(2025, 3, 4)]
    (table,) = report.tables
    assert "dates in 'Created' were read with the month first" in table.notes[0]
    assert "has no column known as body, sender" in table.notes[1]


def test_files_refused_by_version_0_1_0_are_found_again(look, dropped, tmp_path):
    """It remembered them like mails that have landed."""
    write(dropped / "a.eml", mail("a"))
    write(dropped / "b.xlsx", b"PK a workbook")
    assert len(look().problems) == 1
    (memory,) = (tmp_path / "cursors").glob("*.sqlite")
    with sqlite3.connect(memory) as connection:
        connection.execute("alter table seen drop column refusal")
        connection.execute("alter table seen drop column reader")
    connection.close()

    report = look()

    assert (counts(report), len(report.problems)) == ((0, 1, 0), 1)


class SlowMonotonic:
    """A clock that is asked so many times before the deadline has passed."""

    def __init__(self, looks_in_time):
        self._looks_in_time = looks_in_time
        self._now = 0

    def __call__(self):
        self._now += 1
        return self._now

    def deadline(self):
        return self._now + self._looks_in_time + 0.5


@pytest.fixture
def no_room():
    """Files of this process may not grow beyond so many bytes, as on a full disk."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, usual[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, usual)


def test_a_temporary_folder_without_room_stops_no_other_file_and_is_told(
    look, landing, dropped, no_room
):
    with zipfile.ZipFile(dropped / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.csv", "subject\n" + f"{'VPN ' * 900}\n" * 50)
    write(dropped / "b.eml", mail("b"))

    no_room(100_000)
    report = look()
    no_room(resource.RLIM_INFINITY)

    assert landed(landing) == [mail("b")]
    (problem,) = report.problems
    assert problem.startswith(f"Cannot read {dropped / 'a.zip'}: File too large where t.csv in ")
    assert (look().landed, look().landed) == (1, 0)


def test_a_large_file_is_landed_over_several_polls_without_a_gap(
    look, landing, dropped, monkeypatch
):
    monkeypatch.setattr("ticket_assets.mail.folders.BATCH_MESSAGES", 3)
    contents = [mail(number) for number in range(10)]
    separator = b"From x Mon Jan  5 09:00:00 2026\n"
    write(dropped / "box.mbox", b"".join(separator + content + b"\n" for content in contents))

    slow = SlowMonotonic(looks_in_time=1)
    monkeypatch.setattr("ticket_assets.mail.folders.monotonic", slow)

    reports = [look(deadline=slow.deadline()) for _ in range(5)]

    assert [counts(report) for report in reports] == [
        (3, 0, 1), (3, 0, 1), (3, 0, 1), (1, 0, 0), (0, 0, 0)
    ]  # fmt: skip
    assert landed(landing) == sorted(contents)


def test_a_file_too_large_for_a_poll_with_a_deadline_is_told(look, dropped, monkeypatch):
    monkeypatch.setattr("ticket_assets.mail.folders.POLLED_BYTES", 100)
    write(dropped / "a.eml", mail("a"))

    report = look(deadline=time.monotonic() + 60)

    assert report.landed == 0
    (problem,) = report.problems
    assert problem.startswith(f"{dropped / 'a.eml'} exceeds 0 MB: land it with `tickets fetch`.")
    assert look().landed == 1


@pytest.mark.slow
def test_a_folder_of_many_files_is_not_read_again(look, landing, dropped):
    for number in range(2000):
        write(dropped / f"{number % 7}" / f"{number}.eml", mail(number, 1 + number % 28))
    assert counts(look()) == (2000, 0, 0)
    for path in dropped.rglob("*.eml"):
        path.chmod(0)  # whoever reads one now fails, unless he is root
    before = {path: path.stat().st_atime_ns for path in dropped.rglob("*.eml")}

    assert counts(look()) == (0, 0, 0)

    assert {path: path.stat().st_atime_ns for path in dropped.rglob("*.eml")} == before


def test_a_drop_folder_that_is_missing_is_one_line(poll, tmp_path):
    report = poll(DropFolder(tmp_path / "none"))[0]

    assert report.error == (
        f"Cannot read the drop folder {tmp_path / 'none'}: No such file or directory. Check"
        " TICKETS_DROP_FOLDER and its permissions."
    )


@pytest.fixture
def maildir(tmp_path):
    for name in ("new", "cur", "tmp"):
        (tmp_path / "Maildir" / name).mkdir(parents=True)
    return tmp_path / "Maildir"


def test_a_maildir_message_lands_once_wherever_a_mail_program_moves_it(poll, landing, maildir):
    write(maildir / "new" / "1.a.host", mail("a"))
    write(maildir / "cur" / "2.b.host:2,RS", mail("b"))
    write(maildir / "tmp" / "3.c.host", mail("c")[:20])

    assert counts(poll(Maildir(maildir))[0]) == (2, 0, 0)

    (maildir / "new" / "1.a.host").rename(maildir / "cur" / "1.a.host:2,S")
    (maildir / "cur" / "2.b.host:2,RS").unlink()
    write(maildir / "tmp" / "3.c.host", mail("c")).rename(maildir / "new" / "3.c.host")
    assert counts(poll(Maildir(maildir))[0]) == (1, 0, 0)
    assert landed(landing) == sorted(map(mail, "abc"))
    assert sorted(path.name for path in maildir.rglob("*.host*")) == ["1.a.host:2,S", "3.c.host"]


def test_a_maildir_is_taken_in_parts(landing, maildir, cursors):
    for number in range(5):
        write(maildir / "new" / f"{number}.host", mail(number))

    def look(**options):
        return poll_maildir(landing, maildir, cursors, **{"max_messages": 2, **options})

    assert [counts(look()) for _ in range(3)] == [(2, 0, 3), (2, 0, 1), (1, 0, 0)]
    assert landing.days() == [date(2026, 1, 5)]
    write(maildir / "new" / "late.host", mail("late"))
    assert counts(look(deadline=time.monotonic())) == (0, 0, 1)


def test_a_memory_that_is_damaged_costs_a_second_reading(landing, maildir, cursors, tmp_path):
    write(maildir / "new" / "1.host", mail("a"))
    poll_maildir(landing, maildir, cursors, max_messages=9)
    (memory,) = (tmp_path / "cursors").glob("*.sqlite")
    memory.write_bytes(b"not a database, although it is long enough to be taken for one" * 20)

    report = poll_maildir(landing, maildir, cursors, max_messages=9)

    assert counts(report) == (0, 1, 0)


def test_a_folder_that_is_no_maildir_is_one_line(poll, dropped):
    report = poll(Maildir(dropped))[0]

    assert report.error is not None
    assert report.error.startswith(f"Cannot read the Maildir {dropped}: No such file or directory")
