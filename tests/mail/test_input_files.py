"""Of what lies in a folder only the regular files are read; the rest is told and costs nothing."""

import os
import socket
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ticket_assets.mail.folders import FolderError, poll_drop_folder, poll_maildir
from ticket_assets.mail.importing import import_path, read_mailbox
from ticket_assets.mail.input_files import (
    MAX_FOLDERS_DEEP,
    NO_FILES,
    ExportError,
    InputFile,
    NoFileError,
)
from ticket_assets.mail.labels import read_labels
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.sources import DropFolder, Maildir
from ticket_assets.storage.folder_blobs import FolderBlobs

KINDS = ("mail", "link out", "link in", "link to a folder", "loop", "dangling", "pipe", "socket")
DEVICES = ("zero", "full")
ODD_NAMES = ("mail", "caf\udce9", "a b", "x\ny", "\x1b[2J", "-rf", "\u202ecod", "long" * 60)
NAMES = st.sampled_from(ODD_NAMES) | st.text(
    st.characters(blacklist_characters="/.:", blacklist_categories=["Cc", "Cs"]),
    min_size=1,
    max_size=40,
)
LEAVES = st.sampled_from(KINDS + DEVICES)
FLAT = st.dictionaries(NAMES, LEAVES, max_size=8)
TREES = st.recursive(
    FLAT, lambda inner: st.dictionaries(NAMES, LEAVES | inner, max_size=4), max_leaves=25
)


def mail(number):
    return (
        f"From: Anne <anne@example.org>\nSubject: Mail {number}\n"
        f"Date: Mon, 5 Jan 2026 09:00:00 +0100\nMessage-ID: <{number}@example.org>\n\nHello\n"
    ).encode()


class Tree:
    """A folder in which such things are made, and what has to become of them."""

    def __init__(self, folder, outside):
        self.folder, self._outside = folder, outside
        self.mails = []
        self.others = 0
        self._sockets = []
        folder.mkdir()

    def make(self, nodes, inner="", suffix=".eml"):
        folder = self.folder / inner
        folder.mkdir(exist_ok=True)
        for name, node in nodes.items():
            if isinstance(node, dict):
                self.make(node, folder / name, suffix)
            else:
                self._make(folder / f"{name}{suffix}", node)

    def _make(self, path, kind):
        if kind == "mail":
            self.mails.append(mail(len(self.mails)))
            path.write_bytes(self.mails[-1])
            return
        if kind in DEVICES:
            try:
                os.mknod(path, stat.S_IFCHR | 0o666, Path("/dev", kind).stat().st_rdev)
            except PermissionError:
                return
        elif kind == "pipe":
            os.mkfifo(path)
        elif kind == "socket":
            self._sockets.append(socket.socket(socket.AF_UNIX))
            short = self.folder.with_name("socket")
            self._sockets[-1].bind(str(short))
            short.rename(path)
        else:
            targets = {
                "link out": self._outside / "secret.eml",
                "link in": "mail.eml",
                "link to a folder": self._outside,
                "loop": path.name,
                "dangling": "/nowhere/at/all",
            }
            path.symlink_to(targets[kind])
        self.others += 1

    def close(self):
        for opened in self._sockets:
            opened.close()


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    folder = tmp_path_factory.mktemp("outside")
    (folder / "secret.eml").write_bytes(mail("secret"))
    return folder


@pytest.fixture(scope="module")
def new_place(tmp_path_factory, outside):
    """A landing zone, cursors and an empty tree at each call."""

    def make():
        folder = tmp_path_factory.mktemp("place")
        landing = LandingZone(FolderBlobs(folder / "landing"))
        return landing, FolderBlobs(folder / "cursors"), Tree(folder / "tree", outside)

    return make


def landed(landing):
    return sorted(
        landing.read(message) for day in landing.days() for message in landing.messages(day)
    )


def drop_folder_look(landing, cursors, folder):
    return poll_drop_folder(
        landing,
        folder,
        cursors,
        categories=["network"],
        priorities=["low"],
        max_messages=10_000,
        settled_seconds=0,
    )


@pytest.mark.slow
@given(nodes=TREES)
@settings(max_examples=40, deadline=None)
def test_a_drop_folder_lands_its_regular_mails_and_tells_the_rest(new_place, nodes):
    landing, cursors, tree = new_place()
    tree.make(nodes)

    first, second = (drop_folder_look(landing, cursors, tree.folder) for _ in range(2))

    tree.close()
    assert landed(landing) == sorted(tree.mails)
    assert len(first.problems) == tree.others
    assert (second.landed, second.already_there, second.problems) == (0, 0, [])
    assert len(DropFolder(tree.folder).refusals(cursors)) == tree.others


@pytest.mark.slow
@given(new=FLAT, cur=FLAT)
@settings(max_examples=40, deadline=None)
def test_a_maildir_lands_its_regular_mails_and_tells_the_rest(new_place, new, cur):
    landing, cursors, tree = new_place()
    tree.make(new, "new", ".new.host")
    tree.make(cur, "cur", ".cur.host:2,S")

    first, second = (poll_maildir(landing, tree.folder, cursors, max_messages=99) for _ in range(2))

    tree.close()
    assert landed(landing) == sorted(tree.mails)
    assert len(first.problems) == tree.others
    assert (second.landed, second.already_there, second.problems) == (0, 0, [])
    assert len(Maildir(tree.folder).refusals(cursors)) == tree.others


@pytest.mark.slow
@given(nodes=TREES)
@settings(max_examples=40, deadline=None)
def test_an_import_of_a_folder_lands_its_regular_mails_and_counts_the_rest(new_place, nodes):
    landing, _, tree = new_place()
    tree.make({**nodes, "one": "mail"})

    report = import_path(landing, tree.folder, categories=["network"], priorities=["low"])

    tree.close()
    assert landed(landing) == sorted(tree.mails)
    assert report.ignored == ({NO_FILES: tree.others} if tree.others else {})


def replaced_by_a_link(path, outside):
    path.unlink()
    path.symlink_to(outside / "secret.eml")


def replaced_by_a_pipe(path, _outside):
    path.unlink()
    os.mkfifo(path)


def below_a_link(path, outside):
    path.unlink()
    path.parent.rmdir()
    path.parent.symlink_to(outside)


@pytest.mark.parametrize("swap", [replaced_by_a_link, replaced_by_a_pipe, below_a_link])
def test_what_is_replaced_between_the_look_and_the_reading_is_not_read(tmp_path, outside, swap):
    path = tmp_path / "inbox" / "2026" / "secret.eml"
    path.parent.mkdir(parents=True)
    path.write_bytes(mail(1))
    file = InputFile(path, tmp_path / "inbox")
    assert file.read() == mail(1)

    swap(path, outside)

    with pytest.raises((NoFileError, NotADirectoryError)):
        file.read()
    with pytest.raises(ExportError, match="Cannot read"):
        list(read_mailbox(path, folder=tmp_path / "inbox"))


def test_a_link_that_a_person_names_is_followed(tmp_path, outside):
    (tmp_path / "mail.eml").symlink_to(outside / "secret.eml")
    (tmp_path / "drop").symlink_to(outside)
    (tmp_path / "labels.csv").write_text("message_id,category\n1@x,network\n")
    (tmp_path / "named.csv").symlink_to(tmp_path / "labels.csv")
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))

    (imported,) = read_mailbox(tmp_path / "mail.eml")
    report = drop_folder_look(landing, FolderBlobs(tmp_path / "cursors"), tmp_path / "drop")

    assert imported.message.content == mail("secret")
    assert (report.landed, report.problems) == (1, [])
    assert [label.message_id for label in read_labels(tmp_path / "named.csv")] == ["1@x"]


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.parquet", "a.mbox", "a.zip", "a.eml"])
def test_a_linked_file_of_any_kind_shows_nothing_of_what_it_leads_to(tmp_path, name):
    (tmp_path / "secret").write_text("root:x:0:0\n")
    (tmp_path / "drop").mkdir()
    (tmp_path / "drop" / name).symlink_to(tmp_path / "secret")
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))

    report = drop_folder_look(landing, FolderBlobs(tmp_path / "cursors"), tmp_path / "drop")

    assert report.problems == [f"Cannot read {tmp_path / 'drop' / name}: it is a link, not a file."]
    assert landing.days() == []


@pytest.mark.parametrize("read", [read_mailbox, read_labels])
def test_a_pipe_or_a_device_that_a_person_names_is_no_file(tmp_path, read):
    os.mkfifo(tmp_path / "a.csv")
    (tmp_path / "b.csv").symlink_to("/dev/zero")

    for name, kind in (("a.csv", "a named pipe"), ("b.csv", "a device")):
        with pytest.raises(ExportError) as refused:
            list(read(tmp_path / name))
        assert str(refused.value) == f"Cannot read {tmp_path / name}: it is {kind}, not a file."


def test_a_folder_of_a_maildir_that_is_a_link_is_refused(tmp_path, outside):
    (tmp_path / "Maildir" / "cur").mkdir(parents=True)
    (tmp_path / "Maildir" / "new").symlink_to(outside)
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))

    with pytest.raises(FolderError, match=r"Maildir: (it is a link|Not a directory).*Maildir/new"):
        poll_maildir(
            landing, tmp_path / "Maildir", FolderBlobs(tmp_path / "cursors"), max_messages=9
        )

    assert landing.days() == []


def test_folders_within_folders_end_somewhere(tmp_path):
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(MAX_FOLDERS_DEEP + 2):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(os.open("a.eml", os.O_WRONLY | os.O_CREAT, dir_fd=here))
    os.close(here)
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))

    report = drop_folder_look(landing, FolderBlobs(tmp_path / "cursors"), tmp_path)

    assert report.landed == 0
    (problem,) = report.problems
    assert problem.endswith("d: it lies over 100 folders deep.")


def test_a_mail_of_a_terabyte_is_refused_before_it_is_read(tmp_path):
    path = tmp_path / "drop" / "a.eml"
    path.parent.mkdir()
    with path.open("wb") as file:
        file.write(mail(1))
        file.truncate(1 << 40)
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))

    report = drop_folder_look(landing, FolderBlobs(tmp_path / "cursors"), path.parent)

    (problem,) = report.problems
    assert problem.startswith(f"Cannot read {path}: it exceeds 160 MB, as no mail does.")
