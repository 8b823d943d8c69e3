"""A mail server that quotes the login in what it answers."""

import base64
import io
import json
from contextlib import suppress
from socketserver import StreamRequestHandler

import pytest

from tests.hostile_names import OBEYED
from tests.loopback import LoopbackServer
from ticket_assets.cli import console, mail
from ticket_assets.mail.imap import ImapAccount
from ticket_assets.mail.landing import LandingZone
from ticket_assets.mail.sources import ImapSource, Poll, poll_sources
from ticket_assets.storage.folder_blobs import FolderBlobs
from ticket_assets.storage.leases import FileLeases

SECRET = "correct-Horse_battery7"  # noqa: S105


class QuotingServer(LoopbackServer):
    """Speaks so much of IMAP that a client logs in; answers with all that it was sent, decoded too.

    `refuses` names the command that it refuses: the login, or the selection of a folder after it.
    """

    def __init__(self, capabilities, refuses="login"):
        self._capabilities, self._refuses = capabilities, refuses
        self._sent = ""

        class Connection(StreamRequestHandler):
            def handle(connection):  # noqa: N805
                self._answer(connection.rfile, connection.wfile)

        super().__init__(Connection)

    def _answer(self, requests, answers):
        def say(line):
            answers.write(line.encode() + b"\r\n")

        say("* OK ready")
        while line := requests.readline().decode().strip():
            tag, command, *rest = line.split(" ")
            if command == "CAPABILITY":
                say(f"* CAPABILITY IMAP4rev1 {self._capabilities}")
                say(f"{tag} OK done")
            elif command in {"AUTHENTICATE", "LOGIN"}:
                if command == "AUTHENTICATE" and len(rest) == 1:
                    say("+ ")
                    rest.append(requests.readline().decode().strip())
                self._sent = self._quoted(" ".join(rest), rest[-1])
                if self._refuses == "login":
                    say(f"{tag} NO [AUTH] \x1b[2JRefused: {self._sent}")
                else:
                    say(f"{tag} OK welcome")
            elif command == "LOGOUT":
                say(f"{tag} OK")
                return
            elif command == "LIST":
                say(f'* LIST () "/" "{SECRET} folder"')
                say(f"{tag} OK done")
            else:
                say(f"{tag} NO Not for {self._sent}")

    def _quoted(self, line, code):
        with suppress(ValueError):
            return f"{line} {base64.b64decode(code, validate=True).decode()!r} {SECRET[:9]}"
        return line


@pytest.fixture
def server():
    servers = []

    def start(*arguments):
        servers.append(QuotingServer(*arguments))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


@pytest.mark.parametrize("refuses", ["login", "folder"])
@pytest.mark.parametrize("mechanism", ["AUTH=PLAIN", "AUTH=PLAIN SASL-IR", "LOGIN", "XOAUTH2"])
def test_what_a_server_quotes_of_the_login_is_neither_shown_nor_kept(
    mechanism, refuses, server, tmp_path, monkeypatch
):
    quoting = server(mechanism if mechanism != "XOAUTH2" else "AUTH=XOAUTH2", refuses)
    (tmp_path / "secret").write_text(SECRET)
    name = "token_file" if mechanism == "XOAUTH2" else "password_file"
    account = ImapAccount(
        host="127.0.0.1",
        user="desk",
        security="plain",
        port=quoting.port,
        **{name: tmp_path / "secret"},
    )
    landing = LandingZone(FolderBlobs(tmp_path / "landing"))
    cursors = FolderBlobs(tmp_path / "cursors")
    shown = io.StringIO()
    monkeypatch.setattr(console, "messages", console.TextConsole(file=shown))

    (report,) = poll_sources(
        [ImapSource(account)], Poll(landing, cursors, FileLeases(tmp_path / "leases"))
    )
    mail._print_source(report, landing)

    kept = b"".join(
        path.read_bytes() for path in (tmp_path / "cursors").rglob("*") if path.is_file()
    ).decode()
    assert report.error
    assert json.dumps(report.error, ensure_ascii=False)[1:-1] in kept
    codes = [SECRET, f"\0desk\0{SECRET}", f"user=desk\1auth=Bearer {SECRET}\1\1"]
    codes = [SECRET[:9], *(base64.b64encode(code.encode()).decode() for code in codes)]
    for surface in (kept, shown.getvalue()):
        assert not [code for code in codes if code in surface]
        assert not OBEYED.intersection(surface) - {"\n"}
    assert "refuses the login of desk: " in report.error or "INBOX" in report.error
