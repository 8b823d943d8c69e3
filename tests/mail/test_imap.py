"""Mail fetched from a real IMAP server lands once and whole, whatever breaks on the way."""

import base64
import hmac
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pytest

from ticket_assets.mail import imap
from ticket_assets.mail.imap import BATCH_BYTES, ImapError, fetch_new
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.raw_tickets import raw_tickets
from ticket_assets.storage.folder_blobs import FolderBlobs

PASSWORD = "sécret"  # noqa: S105
"""That of every user of the server (tests/conftest.py)."""


@pytest.fixture
def landing(tmp_path):
    return LandingZone(FolderBlobs(tmp_path / "landing"))


@pytest.fixture
def fetch(landing, tmp_path, account):
    def run(chosen=None, max_messages=10_000, **options):
        return fetch_new(
            landing,
            chosen or account(),
            FolderBlobs(tmp_path / "cursors"),
            max_messages=max_messages,
            retry_seconds=0.01,
            **options,
        )

    return run


def mails(count, seed=1, largest=3000):
    draw = np.random.default_rng(seed)
    return [
        f"From: Anne <anne@example.org>\r\nSubject: Mail {seed}-{number}\r\n"
        f"Date: Mon, {1 + number % 28} Jan 2026 09:00:00 +0100\r\n"
        f"Message-ID: <{seed}-{number}@example.org>\r\n\r\n".encode()
        + draw.bytes(draw.integers(largest // 2)).hex().encode()
        + b"\r\n"
        for number in range(count)
    ]


def deliver(mailbox, contents, folder="INBOX"):
    for content in contents:
        mailbox.append(folder, content, msg_time=datetime(2026, 2, 1, tzinfo=UTC))
    return contents


def landed(landing):
    """What is in the landing zone, file by file."""
    return sorted(
        landing.read(message) for day in landing.days() for message in landing.messages(day)
    )


def refusal(fetch, chosen):
    with pytest.raises(ImapError) as error:
        fetch(chosen)
    message = str(error.value)
    assert "\n" not in message
    assert PASSWORD not in message
    return message


def test_an_empty_mailbox_lands_nothing(fetch, landing):
    report = fetch()

    assert (report.landed, report.already_there, report.remaining) == (0, 0, 0)
    assert landed(landing) == []


def test_only_new_mail_is_fetched_byte_for_byte_under_the_day_of_its_date(fetch, landing, mailbox):
    first = deliver(mailbox, mails(3))
    assert fetch().landed == 3

    second = deliver(mailbox, mails(2, seed=2))
    report = fetch()

    assert (report.landed, report.already_there) == (2, 0)
    assert report.days == (date(2026, 1, 1), date(2026, 1, 2))
    assert landed(landing) == sorted(first + second)
    again = fetch()
    assert (again.landed, again.already_there, again.remaining) == (0, 0, 0)


def test_nothing_is_marked_as_read(fetch, mailbox):
    deliver(mailbox, mails(3))

    assert fetch().landed == 3

    mailbox.select_folder("INBOX", readonly=True)
    flags = mailbox.get_flags(mailbox.search())
    assert [b"\\Seen" in flags_of_message for flags_of_message in flags.values()] == [False] * 3


def test_a_mail_without_a_date_is_filed_under_its_delivery(fetch, landing, mailbox):
    deliver(mailbox, [b"Subject: no date\r\n\r\nHello\r\n"])

    assert fetch().days == (date(2026, 2, 1),)
    (message,) = landing.messages(date(2026, 2, 1))
    assert message.received_at_source == "received"
    assert message.source.startswith("imap:")


def test_a_fetch_takes_no_more_than_it_is_told_and_the_oldest_first(fetch, landing, mailbox):
    contents = deliver(mailbox, mails(5))

    first = fetch(max_messages=2)

    assert (first.landed, first.remaining) == (2, 3)
    assert landed(landing) == sorted(contents[:2])
    assert fetch(max_messages=2).remaining == 1
    assert fetch(max_messages=2).remaining == 0
    assert landed(landing) == sorted(contents)


def test_a_large_mailbox_is_asked_for_in_parts(fetch, landing, mailbox, monkeypatch):
    for most in ("UIDS_PER_SEARCH", "SIZES_AT_A_TIME", "BATCH_MESSAGES"):
        monkeypatch.setattr(imap, most, 3)
    contents = deliver(mailbox, mails(10))

    assert fetch(max_messages=4).remaining == 6
    assert fetch().landed == 6
    assert landed(landing) == sorted(contents)


def test_mail_that_arrives_during_a_fetch_comes_with_the_next(fetch, landing, mailbox):
    early, late = deliver(mailbox, mails(3)), mails(1, seed=2)
    arriving = iter(late)

    report = fetch(on_message=lambda _: deliver(mailbox, [c for c in [next(arriving, None)] if c]))

    assert report.landed == 3
    assert fetch().landed == 1
    assert landed(landing) == sorted(early + late)


def test_several_folders_have_a_cursor_each(fetch, landing, mailbox, account, tmp_path):
    chosen = account(folders=("INBOX", "Réseau & VPN"))
    mailbox.create_folder("Réseau & VPN")
    inbox = deliver(mailbox, mails(3))
    support = deliver(mailbox, mails(2, seed=2), "Réseau & VPN")

    first = fetch(chosen, max_messages=4)
    second = fetch(chosen)

    assert (first.landed, first.remaining, second.landed) == (4, 1, 1)
    assert landed(landing) == sorted(inbox + support)
    cursors = [json.loads(path.read_text()) for path in (tmp_path / "cursors").iterdir()]
    assert sorted((cursor["folder"], cursor["uid"]) for cursor in cursors) == [
        ("INBOX", 3),
        ("Réseau & VPN", 2),
    ]


def test_a_folder_that_was_rebuilt_is_read_anew_and_lands_nothing_twice(
    fetch, landing, mailbox, account
):
    chosen = account(folders=("Support",))
    mailbox.create_folder("Support")
    contents = deliver(mailbox, mails(4), "Support")
    fetch(chosen)
    mailbox.delete_folder("Support")
    mailbox.create_folder("Support")
    deliver(mailbox, mails(1, seed=2) + contents, "Support")

    report = fetch(chosen)

    assert (report.landed, report.already_there) == (1, 4)
    assert landed(landing) == sorted(contents + mails(1, seed=2))


def test_a_damaged_cursor_costs_a_second_reading(fetch, landing, mailbox, tmp_path):
    contents = deliver(mailbox, mails(2))
    fetch()
    (cursor,) = (tmp_path / "cursors").iterdir()
    cursor.write_text('{"uid_val')

    report = fetch()

    assert (report.landed, report.already_there) == (0, 2)
    assert landed(landing) == sorted(contents)
    assert fetch().already_there == 0


@pytest.mark.slow
def test_a_message_deleted_before_it_is_fetched_is_skipped(fetch, landing, mailbox, proxy):
    contents = deliver(mailbox, mails(3))

    def delete_the_second(request):
        if b"BODY.PEEK" in request:
            mailbox.select_folder("INBOX")
            mailbox.delete_messages([2])
            mailbox.expunge()

    before = proxy(on_request=delete_the_second)
    report = fetch(before.account)

    assert (report.landed, report.remaining) == (2, 0)
    assert landed(landing) == sorted([contents[0], contents[2]])
    assert fetch().landed == 0


@pytest.mark.slow
def test_a_message_larger_than_allowed_lands_and_is_rejected_with_its_bytes_kept(
    fetch, landing, mailbox
):
    large = mails(1)[0] + b"x" * 70 + b"\r\n" + b"0123456789abcd\r\n" * (BATCH_BYTES // 12)
    deliver(mailbox, [large, *mails(2, seed=2)])

    assert fetch().landed == 3

    tables = raw_tickets(landing, landing.days(), max_message_bytes=1_000_000)
    assert len(tables.tickets) == 2
    (rejected,) = tables.rejected.to_dict("records")
    assert rejected["size_bytes"] == len(large)
    assert (landing.files.folder / rejected["path"]).read_bytes() == large


@pytest.mark.slow
def test_a_message_that_is_too_large_for_a_mail_is_not_read_and_told(
    fetch, landing, mailbox, monkeypatch
):
    monkeypatch.setattr(imap, "MAX_MAIL_BYTES", 2 << 20)
    contents = deliver(mailbox, mails(3))
    deliver(mailbox, [mails(1)[0] + b"x" * 70 + b"\r\n" + b"0123456789abcd\r\n" * (1 << 18)])
    contents += deliver(mailbox, mails(1, seed=2))

    reports = [fetch() for _ in range(4)]

    assert [(report.landed, report.remaining) for report in reports] == [(4, 0), *[(0, 0)] * 3]
    assert landed(landing) == sorted(contents)
    assert str(reports[0].refused[0]) == (
        "message with UID 4 in INBOX: it exceeds 2 MB, as no mail does"
    )
    assert [report.refused[0].asked_now for report in reports] == [True, True, True, False]


@pytest.mark.slow
def test_a_folder_that_has_not_changed_is_not_searched(fetch, mailbox, proxy):
    """The last message is gone, so that UIDNEXT alone would not say that all is read."""
    asked = []
    before = proxy(on_request=asked.append)

    def searches():
        asked.clear()
        landed = fetch(before.account).landed
        return landed, sum(b"SEARCH" in request for request in asked)

    deliver(mailbox, mails(3))
    mailbox.select_folder("INBOX")
    mailbox.delete_messages([3])
    mailbox.expunge()

    assert searches() == (2, 1)
    assert searches() == (0, 0)
    deliver(mailbox, mails(1, seed=2))
    assert searches() == (1, 1)
    assert searches() == (0, 0)


@pytest.mark.slow
def test_a_server_without_condstore_is_searched_each_time(fetch, landing, mailbox, proxy):
    contents = deliver(mailbox, mails(2))
    before = proxy(hidden=b"CONDSTORE")

    assert [fetch(before.account).landed for _ in range(2)] == [2, 0]
    contents += deliver(mailbox, mails(1, seed=2))
    assert fetch(before.account).landed == 1
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
def test_a_fetch_that_has_no_time_left_leaves_the_rest_to_the_next(
    fetch, landing, mailbox, monkeypatch
):
    monkeypatch.setattr(imap, "BATCH_MESSAGES", 10)
    contents = deliver(mailbox, mails(60))

    nothing = fetch(seconds=0)
    assert (nothing.landed, nothing.remaining) == (0, 60)
    reports = [fetch(seconds=0.05) for _ in range(3)] + [fetch()]

    assert [first.remaining - second.landed for first, second in pairwise([nothing, *reports])] == [
        report.remaining for report in reports
    ]
    assert reports[-1].remaining == 0
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
def test_a_message_that_the_server_refuses_is_passed_over_and_asked_for_again(
    fetch, landing, mailbox, proxy, tmp_path
):
    contents = deliver(mailbox, mails(4))
    before = proxy(refused=[2])

    reports = [fetch(before.account) for _ in range(4)]

    assert [report.landed for report in reports] == [3, 0, 0, 0]
    assert [
        [(refused.uid, refused.tries, refused.asked_now) for refused in report.refused]
        for report in reports
    ] == [[(2, 1, True)], [(2, 2, True)], [(2, 3, True)], [(2, 3, False)]]
    assert str(reports[0].refused[0]) == (
        "message with UID 2 in INBOX: fetch failed: [UNAVAILABLE] Not this one"
    )
    assert landed(landing) == sorted(contents[:1] + contents[2:])
    contents += deliver(mailbox, mails(1, seed=2))
    assert fetch(before.account).landed == 1, "the folder goes on behind it"

    before.refused.clear()
    (path,) = (tmp_path / "cursors").iterdir()
    cursor = json.loads(path.read_bytes())
    cursor["refused"][0]["tried_at"] = "2026-01-01T00:00:00+00:00"  # it is asked for once a day
    path.write_text(json.dumps(cursor))
    report = fetch(before.account)
    assert (report.landed, report.already_there, report.refused) == (1, 0, ())
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
def test_a_server_that_refuses_every_message_is_an_outage(fetch, landing, mailbox, proxy):
    contents = deliver(mailbox, mails(12))
    before = proxy(refused=range(1, 13))

    assert "refuses 10 messages of 'INBOX' in a row" in refusal(fetch, before.account)

    before.refused.clear()
    report = fetch(before.account)
    assert (report.landed, report.refused) == (12, ())
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
def test_a_message_at_which_the_server_hangs_up_is_passed_over(
    fetch, landing, mailbox, dovecot, user
):
    """Dovecot ends the connection when it cannot read a message's file."""
    contents = deliver(mailbox, mails(30))
    files = [path for path in (dovecot.folder / "mail" / user).rglob("*/*") if path.is_file()]
    (damaged,) = [path for path in files if b"Subject: Mail 1-11\n" in path.read_bytes()]
    damaged.chmod(0)

    report = fetch()

    assert (report.landed, report.remaining) == (29, 0)
    assert [(refused.uid, refused.tries) for refused in report.refused] == [(12, 1)]
    assert landed(landing) == sorted(contents[:11] + contents[12:])
    damaged.chmod(0o644)
    report = fetch()
    assert (report.landed, report.already_there, report.refused) == (1, 0, ())
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_connection_cut_ten_times_loses_and_doubles_nothing(fetch, landing, mailbox, proxy, seed):
    contents = deliver(mailbox, mails(400, seed))
    draw = np.random.default_rng(seed)
    before = proxy(cuts=draw.integers(1, 150_000, 10).tolist())

    report = fetch(before.account)

    assert (before.cut, before.connections) == (10, 11)
    assert (report.landed, report.already_there, report.remaining) == (400, 0, 0)
    assert landed(landing) == sorted(contents)
    assert fetch().already_there == 0


@pytest.mark.slow
def test_a_connection_that_is_lost_for_good_ends_the_fetch_and_keeps_what_came(
    fetch, landing, mailbox, proxy
):
    contents = deliver(mailbox, mails(250))
    before = proxy(cuts=[300_000, *[2000] * 100])

    message = refusal(fetch, before.account)

    assert "was lost 5 times in a row" in message
    assert 0 < len(landed(landing)) < 250
    report = fetch()
    assert report.already_there == 0
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
def test_a_killed_fetch_is_completed_by_the_next(fetch, landing, mailbox, account, tmp_path):
    contents = deliver(mailbox, mails(600))
    program = (
        "import sys; from pathlib import Path\n"
        "from ticket_assets.mail.imap import ImapAccount, fetch_new\n"
        "from ticket_assets.mail.landing import LandingZone\n"
        "from ticket_assets.storage.folder_blobs import FolderBlobs\n"
        "folder, user, port, password = sys.argv[1:]\n"
        "account = ImapAccount('127.0.0.1', user, password, security='plain', port=int(port))\n"
        "zone = LandingZone(FolderBlobs(Path(folder, 'landing')))\n"
        "cursors = FolderBlobs(Path(folder, 'cursors'))\n"
        "while fetch_new(zone, account, cursors, max_messages=250).remaining: pass\n"
    )
    arguments = [str(tmp_path), account().user, str(account().port), PASSWORD]

    unfinished = []
    for after in sorted(np.random.default_rng(7).integers(0, 450, 6)):
        process = subprocess.Popen([sys.executable, "-c", program, *arguments])
        while process.poll() is None and len(list(landing.files.folder.rglob("*.eml"))) <= after:
            time.sleep(0.001)
        process.kill()
        process.wait()
        unfinished.append(len(landed(landing)))
    assert unfinished == sorted(unfinished)
    assert 0 < unfinished[0] < 600

    assert fetch().remaining == 0
    assert landed(landing) == sorted(contents)


@pytest.mark.slow
def test_a_wrong_password_is_one_line_after_one_attempt(fetch, account, dovecot, user):
    message = refusal(fetch, account(password="no"))  # noqa: S106

    assert message == (
        f"127.0.0.1:{dovecot.plain_port} refuses the login of {user}: [AUTHENTICATIONFAILED]"
        " Authentication failed. Check TICKETS_IMAP_USER and its password."
    )
    time.sleep(0.3)  # the server writes its log when the connection has ended
    attempts = re.findall(rf"auth failed, (\d+) attempts.*user=<{user}>", dovecot.log())
    assert attempts == ["1"]


def test_a_password_does_not_show_in_the_account(account):
    assert PASSWORD not in repr(account())


def test_the_password_may_be_in_a_file(fetch, mailbox, account, tmp_path):
    deliver(mailbox, mails(1))
    (tmp_path / "password").write_text(f"{PASSWORD}\n", "utf-8")

    chosen = account(password=None, password_file=tmp_path / "password")
    assert fetch(chosen).landed == 1

    missing = account(password=None, password_file=tmp_path / "none")
    assert refusal(fetch, missing) == (
        f"Cannot read the secret in {tmp_path / 'none'}: No such file or directory. Check the path"
        " and its permissions."
    )


def token(user, key):
    """A signed access token (JWT) as an identity provider gives it out."""
    claims = [{"alg": "HS256", "typ": "JWT"}, {"sub": user, "exp": int(time.time()) + 600}]
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in claims]
    signature = hmac.digest(key, b".".join(parts), "sha256")
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")])


@pytest.mark.slow
def test_an_access_token_is_taken_instead_of_a_password(fetch, mailbox, account, dovecot, tmp_path):
    deliver(mailbox, mails(1))
    chosen = account(password=None, token_file=tmp_path / "token")
    (tmp_path / "token").write_bytes(token(chosen.user, dovecot.signing_key) + b"\n")

    assert fetch(chosen).landed == 1

    (tmp_path / "token").write_bytes(token(chosen.user, b"another key"))
    assert f"refuses the login of {chosen.user}" in refusal(fetch, chosen)


def test_an_unknown_folder_is_told_with_those_that_exist_before_anything_lands(
    fetch, landing, mailbox, account
):
    mailbox.create_folder("Support")
    deliver(mailbox, mails(1))

    chosen = account(folders=("INBOX", "Suport"))

    assert refusal(fetch, chosen) == (
        f"{chosen.user} has no folder 'Suport' on {chosen.address}; there are: INBOX,"
        " Support. Correct TICKETS_IMAP_FOLDERS."
    )
    assert landed(landing) == []


def test_a_server_that_is_not_there_is_one_line(fetch, account, closed_port):
    port = closed_port

    assert refusal(fetch, account(port=port)) == (
        f"Cannot reach 127.0.0.1:{port} with security plain: Connection refused. Check"
        " TICKETS_IMAP_HOST, TICKETS_IMAP_PORT, TICKETS_IMAP_SECURITY and the network."
    )


@pytest.mark.parametrize("security", ["tls", "starttls"])
def test_a_certificate_is_trusted_by_the_authority_that_is_named_alone(
    fetch, mailbox, account, dovecot, security
):
    deliver(mailbox, mails(1))
    port = dovecot.tls_port if security == "tls" else dovecot.plain_port
    unnamed = account(security=security, port=port)
    named = account(security=security, port=port, ca_file=dovecot.certificate)

    assert refusal(fetch, unnamed) == (
        f"The certificate of 127.0.0.1:{port} is not trusted: self-signed certificate. If it is"
        " your own, name its authority in TICKETS_IMAP_CA_FILE."
    )
    assert fetch(named).landed == 1


def test_an_authority_that_cannot_be_read_is_one_line(fetch, account, tmp_path):
    chosen = account(security="tls", ca_file=tmp_path / "none.pem")

    assert refusal(fetch, chosen).startswith(
        f"Cannot use {tmp_path / 'none.pem'} (TICKETS_IMAP_CA_FILE): No such file or directory."
    )


def test_tls_on_a_port_without_it_is_one_line(fetch, account, dovecot):
    message = refusal(fetch, account(security="tls"))

    assert message.startswith(f"Cannot reach 127.0.0.1:{dovecot.plain_port} with security tls: ")


@pytest.mark.slow
def test_the_command_fetches_the_account_in_the_settings(mailbox, account, tmp_path):
    deliver(mailbox, mails(3))
    (tmp_path / "password").write_text(PASSWORD, "utf-8")
    outer = {name: value for name, value in os.environ.items() if "TICKETS_" not in name}
    settings = {
        "TICKETS_DATA_DIR": "data",
        "TICKETS_IMAP_HOST": account().host,
        "TICKETS_IMAP_PORT": str(account().port),
        "TICKETS_IMAP_SECURITY": "plain",
        "TICKETS_IMAP_USER": account().user,
        "TICKETS_IMAP_PASSWORD_FILE": "password",
        "TICKETS_IMAP_BATCH": "2",
    }
    command = [sys.executable, "-c", "from ticket_assets.cli import main; main()", "fetch"]

    def run(**changes):
        environment = {**outer, **settings, **changes}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    first, second = run(), run()
    name = f"{account().user} on {account().address}"
    assert (first.stdout, first.stderr) == (
        f"{name}: 2 messages landed, 0 already there, 1 to come.\n"
        "Next: tickets fetch, for those that remain\n",
        "",
    )
    assert second.stdout == (
        f"{name}: 1 message landed, 0 already there, 0 to come.\nNext: tickets run\n"
    )
    wrong = run(TICKETS_IMAP_FOLDERS="Nowhere")
    assert (wrong.returncode, wrong.stdout, wrong.stderr.count("\n")) == (1, "", 1)
    assert wrong.stderr.startswith(f"Error: {account().user} has no folder 'Nowhere' on ")
