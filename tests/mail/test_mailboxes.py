"""Mail files of every kind give their messages, byte for byte as they were sent."""

import mailbox
from datetime import UTC, datetime

import pytest

from ticket_assets.mail.importing import read_mailbox
from ticket_assets.mail.input_files import ExportError

FIRST = b"From: a@x.fr\nDate: Mon, 3 Mar 2025 10:00:00 +0100\nMessage-ID: <1@x>\n\nBonjour\n"
SECOND = b"From: b@x.fr\nSubject: Panne\n\nDeux lignes\n\nfin\n"
FROM_LINE = b"From a@x.fr Mon Mar  3 10:00:05 2025\n"


def messages(path):
    return [imported.message for imported in read_mailbox(path)]


def contents(path):
    return [message.content for message in messages(path)]


def test_an_mbox_gives_its_messages_without_its_own_lines(tmp_path):
    path = tmp_path / "support.mbox"
    path.write_bytes(FROM_LINE + FIRST + b"\n" + FROM_LINE + SECOND + b"\n")

    assert contents(path) == [FIRST, SECOND]
    assert [message.source for message in messages(path)] == ["mbox:support.mbox"] * 2
    assert [message.message_id for message in messages(path)] == ["1@x", None]


def test_an_mbox_written_by_pythons_mailbox_reads_back(tmp_path):
    path = tmp_path / "support"
    written = mailbox.mbox(path)
    for content in (FIRST, SECOND):
        written.add(content)
    written.close()

    assert contents(path) == [FIRST, SECOND]


def test_an_mbox_with_windows_line_ends_reads_the_same(tmp_path):
    path = tmp_path / "support.mbox"
    unix = FROM_LINE + FIRST + b"\n" + FROM_LINE + SECOND + b"\n"
    path.write_bytes(unix.replace(b"\n", b"\r\n"))

    assert contents(path) == [FIRST.replace(b"\n", b"\r\n"), SECOND.replace(b"\n", b"\r\n")]


def test_quoted_from_lines_of_an_mbox_are_unquoted_by_one_sign(tmp_path):
    path = tmp_path / "support.mbox"
    path.write_bytes(
        FROM_LINE + b"Subject: x\n\n>From ici\n>>From la\n> From loin\nFrom now on it fails\n"
    )

    assert contents(path) == [
        b"Subject: x\n\nFrom ici\n>From la\n> From loin\nFrom now on it fails\n"
    ]


def test_a_message_that_ends_without_an_empty_line_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "support.mbox"
    path.write_bytes(FROM_LINE + FIRST + FROM_LINE + SECOND)

    assert contents(path) == [FIRST, SECOND]


def test_an_mbox_whose_from_lines_have_no_date_is_split_at_empty_lines(tmp_path):
    path = tmp_path / "support.mbox"
    path.write_bytes(b"From a@x.fr\n" + FIRST + b"From here\n\nFrom b@x.fr\n" + SECOND)

    assert contents(path) == [FIRST + b"From here\n", SECOND]


THIRD = b"X-Mozilla-Status: 0001\nReturn-Path: <c@x.fr>\nFrom: c@x.fr\nSubject: C\n\nFin\n"
FOLDED = b">From d@x.fr Mon Mar  3\nReceived: by mx\n\tfor <d@x.fr>\nFrom: d@x.fr\n\nDernier\n"


@pytest.mark.parametrize("bare", [b"From \n", b"From - \n", b"From -\n", b"From \r\n"])
@pytest.mark.parametrize("blank", [b"", b"\n"])
@pytest.mark.parametrize("first", [FROM_LINE, b"From \n", b"From a@x.fr\n"])
def test_a_bare_from_line_above_a_header_starts_a_message(tmp_path, first, bare, blank):
    path = tmp_path / "INBOX"
    path.write_bytes(
        first + FIRST + blank + bare + SECOND + blank + bare + THIRD + blank + bare + FOLDED
    )

    assert contents(path) == [FIRST, SECOND, THIRD, FOLDED.removeprefix(b">")]


def test_a_message_of_headers_alone_below_a_bare_from_line_is_one(tmp_path):
    path = tmp_path / "INBOX"
    path.write_bytes(FROM_LINE + FIRST + b"From \nFrom: b@x.fr\nSubject: Vide\n")

    assert contents(path) == [FIRST, b"From: b@x.fr\nSubject: Vide\n"]


def test_a_bare_from_line_tells_no_date_and_a_dated_one_after_it_does(tmp_path):
    path = tmp_path / "INBOX"
    path.write_bytes(FROM_LINE + FIRST + b"From \n" + SECOND + FROM_LINE + SECOND)

    assert [message.received_at_source for message in messages(path)] == [
        "date",
        "landed",
        "received",
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"From \nthe first floor down nothing prints\n\nFrom my desk too\n",
        b"From \n\nFrom: nobody\n\n",
        b"From \nNote: nothing prints\n\nagain\n",
        b"From \nSubject: a word\nand a sentence\n\n",
        b"From - now on\nSubject: x\n\n",
        b"From the desk\nSubject: x\n\n",
        b" From \nSubject: x\n\n",
    ],
)
@pytest.mark.parametrize("first", [FROM_LINE, b"From \n"])
def test_a_sentence_below_a_bare_from_starts_none(tmp_path, text, first):
    path = tmp_path / "INBOX"
    path.write_bytes(first + FIRST + text + b"fin\n")

    assert contents(path) == [FIRST + text + b"fin\n"]


def test_a_quoted_bare_from_line_starts_none(tmp_path):
    path = tmp_path / "INBOX"
    path.write_bytes(FROM_LINE + FIRST + b">From \n>From: nobody\nfin\n")

    assert contents(path) == [FIRST + b"From \n>From: nobody\nfin\n"]


@pytest.mark.parametrize(
    "from_line",
    [
        b"From a@x.fr Mon Mar  3 10:00:05 2025\n",
        b"From - Mon Mar  3 10:00:05 2025\n",
        b"From 16001234@xxx Mon Mar 03 10:00:05 +0000 2025\n",
    ],
)
def test_a_message_without_a_date_has_that_of_its_delivery_to_the_mbox(tmp_path, from_line):
    path = tmp_path / "support.mbox"
    path.write_bytes(from_line + SECOND)
    (message,) = messages(path)

    assert message.received_at == datetime(2025, 3, 3, 10, 0, 5, tzinfo=UTC)
    assert message.received_at_source == "received"


def test_an_mbox_is_read_one_message_at_a_time(tmp_path):
    path = tmp_path / "support.mbox"
    path.write_bytes((FROM_LINE + FIRST + b"\n") * 3)
    reading = read_mailbox(path)
    assert next(reading).message.content == FIRST

    with path.open("ab") as file:
        file.write((FROM_LINE + b"x" * 2_000_000 + b"\n") * 2)

    assert len(list(reading)) == 4


def test_a_maildir_gives_its_delivered_messages_alone(tmp_path):
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    maildir.add(FIRST)
    seen = mailbox.MaildirMessage(SECOND)
    seen.set_subdir("cur")
    maildir.add(seen)
    (tmp_path / "Maildir" / "tmp" / "half").write_bytes(b"Subject: ha")

    assert sorted(contents(tmp_path / "Maildir")) == sorted([FIRST, SECOND])


def test_a_folder_gives_every_eml_below_it(tmp_path):
    (tmp_path / "2025" / "mars").mkdir(parents=True)
    (tmp_path / "a.eml").write_bytes(FIRST)
    (tmp_path / "2025" / "mars" / "b.EML").write_bytes(SECOND)
    (tmp_path / "note.txt").write_text("x")

    assert sorted(contents(tmp_path)) == sorted([FIRST, SECOND])
    assert sorted(contents(tmp_path / "a.eml")) == [FIRST]


def test_a_mail_is_known_by_its_headers_whatever_its_name(tmp_path):
    (tmp_path / "mail").write_bytes(FIRST)

    assert contents(tmp_path / "mail") == [FIRST]


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.mbox", None, "Cannot read .*a.mbox: No such file or directory"),
        ("a.mbox", b"", "a.mbox is empty"),
        ("a.msg", b"\xd0\xcf\x11\xe0\xa1\xb1", "Outlook message .*save it as .eml"),
        ("a.docx", b"PK\x03\x04xxxx", "a document; save its table as .xlsx or CSV"),
        ("a.txt", b"Bonjour tout le monde", "not known as a mailbox or an export"),
    ],
)
def test_what_is_not_a_mailbox_is_explained(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(ExportError, match=reason):
        messages(tmp_path / name)


def test_a_folder_without_mail_is_explained(tmp_path):
    with pytest.raises(ExportError, match=r"holds no mail: expected a Maildir or \.eml files"):
        messages(tmp_path)
