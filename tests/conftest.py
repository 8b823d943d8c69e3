"""A real IMAP server on the loopback, and what stands between it and the product; Dagster instances
that are made once and copied."""

import base64
import functools
import gc
import getpass
import grp
import hashlib
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from imapclient import IMAPClient

from tests.days import QUICK_FILE, SLOW_FILE, seconds_to_wait
from tests.loopback import free_port
from tests.services import warm_processes
from ticket_assets.mail.imap import ImapAccount

pytest_plugins = (
    "tests.services.browser",
    "tests.services.chroma",
    "tests.services.containers",
    "tests.services.glpi",
    "tests.services.postgres",
    "tests.services.prometheus",
    "tests.services.s3",
    "tests.services.stores",
    "tests.services.zammad",
)

# As the command does: searching the many objects of the libraries is a quarter of their loading.
gc.set_threshold(50_000, 20, 50)

# Debian keeps servers off the path of people.
DOVECOT = shutil.which("dovecot", path=f"{os.environ['PATH']}:/usr/sbin")
PASSWORD = "sécret"  # noqa: S105
SIGNING_KEY = b"a key between the test and its server"
CONFIGURATION = """
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
protocols = imap
listen = 127.0.0.1
default_login_user = {user}
default_internal_user = {user}
default_internal_group = {group}
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
mail_fsync = never
ssl = yes
ssl_cert = <{folder}/certificate.pem
ssl_key = <{folder}/key.pem
auth_mechanisms = plain xoauth2
auth_verbose = yes
auth_failure_delay = 0
passdb {{
  driver = oauth2
  mechanisms = xoauth2
  args = {folder}/oauth2.conf
}}
passdb {{
  driver = static
  mechanisms = plain
  args = password={password}
}}
userdb {{
  driver = static
  args = uid={uid} gid={gid} home={folder}/mail/%u
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {plain_port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
service anvil {{
  chroot =
  # A wrong password would delay the logins of the tests that follow.
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
"""
OAUTH2 = """
introspection_mode = local
local_validation_key_dict = fs:posix:prefix={folder}/keys/
username_attribute = sub
"""


FIRST = (
    "image/test_image.py",
    "orchestration/test_by_itself.py",
    "torture/",
    "kubernetes/",
    "test_cli.py",
    "benchmarks/test_scaling.py",
    "orchestration/",
    "test_categories.py",
    "compose/test_boot.py",
    "monitoring/",
    "ui/",
    "test_names.py",
    "test_clock.py",
    "embedding/",
    "drift/",
    "defs/",
    "helm/",
    "mail/",
    "text/",
)
"""What takes longest begins first: the image that others wait for, what itself mostly waits, and
what would keep one worker busy when the others have ended."""


def pytest_configure(config):
    """`make check` tries fewer examples of each property than the whole suite does, and few
    commands, which therefore load what they need themselves."""
    if config.option.markexpr == "not slow":
        from hypothesis import settings

        warm_processes.LIBRARIES = ("ticket_assets.cli",)
        settings.register_profile("quick", max_examples=15)
        settings.load_profile("quick")


def pytest_collection_modifyitems(items):
    """Workers of pytest-xdist take whole files, which share what they set up, in this order."""
    paths = {item: item.path.relative_to(Path(__file__).parent) for item in items}
    items.sort(
        key=lambda item: next(
            (place for place, path in enumerate(FIRST) if str(paths[item]).startswith(path)),
            len(FIRST),
        )
    )


_BEGUN = pytest.StashKey[Path]()
_SLOW_FILES = pytest.StashKey[set[Path]]()


def pytest_collection_finish(session):
    session.stash[_SLOW_FILES] = {
        item.path for item in session.items if item.get_closest_marker("slow")
    }


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item):
    """A file that would run into the next day (UTC) begins on it: see tests/days.py. This is before
    the time that a test has begins to count."""
    if item.session.stash.get(_BEGUN, None) != item.path:
        item.session.stash[_BEGUN] = item.path
        is_slow = item.path in item.session.stash[_SLOW_FILES]
        time.sleep(seconds_to_wait(datetime.now(UTC), SLOW_FILE if is_slow else QUICK_FILE))
    return (yield)


@pytest.fixture(scope="session", autouse=True)
def _migrations_read_once():
    """Dagster has Alembic read its 90 migrations for each of an instance's three databases."""
    from alembic.script import ScriptDirectory

    configurations = {}
    read = ScriptDirectory.from_config

    @functools.cache
    def read_once(folder):
        return read(configurations[folder])

    def from_config(configuration):
        folder = configuration.get_main_option("script_location")
        configurations[folder] = configuration
        return read_once(folder)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ScriptDirectory, "from_config", from_config)
        yield


@pytest.fixture(scope="session")
def new_dagster_folder(tmp_path_factory):
    """The folder of a desk's instance on which nothing has run, to be copied."""
    from ticket_assets.orchestration.instance import desk_instance

    data = tmp_path_factory.mktemp("instance")
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("DAGSTER_HOME", raising=False)
        with desk_instance(data):
            pass
    return data / "dagster"


@pytest.fixture
def new_instance(new_dagster_folder, monkeypatch):
    """Opens the instance of a new desk, given the data folder."""
    from ticket_assets.orchestration.instance import desk_instance

    monkeypatch.delenv("DAGSTER_HOME", raising=False)

    def open_copy(data):
        shutil.copytree(new_dagster_folder, data / "dagster")
        return desk_instance(data)

    return open_copy


@pytest.fixture
def instance(tmp_path, new_instance):
    """The instance of a new desk."""
    with new_instance(tmp_path) as instance:
        yield instance


class Dovecot:
    """A server on the loopback that knows every user; started and stopped by the fixture."""

    def __init__(self, folder):
        self.folder = folder
        self.signing_key = SIGNING_KEY
        self.plain_port, self.tls_port = free_port(), free_port()
        # Dovecot does not give mail to root, and needs a user for what it runs beside it.
        uid, gid = (65534, 65534) if os.getuid() == 0 else (os.getuid(), os.getgid())
        for name in ("mail", "keys/default/HS256"):
            (folder / name).mkdir(parents=True)
        os.chown(folder / "mail", uid, gid)
        self.certificate = folder / "certificate.pem"
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", folder / "key.pem", "-out", self.certificate),
            ],
            check=True,
            capture_output=True,
        )
        (folder / "keys/default/HS256/default").write_text(base64.b64encode(SIGNING_KEY).decode())
        (folder / "oauth2.conf").write_text(OAUTH2.format(folder=folder))
        (folder / "dovecot.conf").write_text(
            CONFIGURATION.format(
                folder=folder,
                user="nobody" if os.getuid() == 0 else getpass.getuser(),
                group=grp.getgrgid(gid).gr_name,
                uid=uid,
                gid=gid,
                password=PASSWORD,
                plain_port=self.plain_port,
                tls_port=self.tls_port,
            )
        )
        self._process = subprocess.Popen([DOVECOT, "-F", "-c", folder / "dovecot.conf"])
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.plain_port)):
                return
            time.sleep(0.05)
        raise AssertionError(self.log())

    def logins(self, user):
        """How often the user has tried to log in so far, and how often in vain."""
        time.sleep(0.3)  # the server writes its log when a connection has ended
        refused = re.findall(rf"auth failed, (\d+) attempts.*user=<{user}>", self.log())
        return self.log().count(f"Login: user=<{user}>"), sum(map(int, refused))

    def stop(self):
        self._process.terminate()
        self._process.wait(30)

    def log(self):
        return (self.folder / "log").read_text()


@pytest.fixture
def closed_port():
    """A port on which nobody listens."""
    return free_port()


@pytest.fixture(scope="session")
def dovecot():
    if DOVECOT is None and not os.environ.get("CI"):
        pytest.skip("Dovecot is not installed (dovecot-imapd)")
    assert DOVECOT, "these tests need dovecot-imapd"
    # Not below pytest's own folder: the server's other user cannot look into it.
    folder = Path(tempfile.mkdtemp(prefix="imap-"))
    folder.chmod(0o755)
    try:
        server = Dovecot(folder)
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def user(dovecot, request):
    """A new user with an empty mailbox."""
    return "u" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]


@pytest.fixture
def account(dovecot, user):
    """The user's account, with changes as keywords."""
    settings = {"password": PASSWORD, "security": "plain", "port": dovecot.plain_port}
    return lambda **changes: ImapAccount(host="127.0.0.1", user=user, **{**settings, **changes})


@pytest.fixture
def mailbox(dovecot, user):
    """The user's own mail program."""
    with IMAPClient("127.0.0.1", dovecot.plain_port, ssl=False) as client:
        client.plain_login(user, PASSWORD)
        yield client


@pytest.fixture
def proxy(account):
    """Starts a `Proxy` before the server; its `account` is the user's, seen through it."""
    started = []

    def start(**options):
        started.append(Proxy(account().port, **options))
        started[-1].account = account(port=started[-1].port)
        return started[-1]

    yield start
    for proxy in started:
        proxy.close()


class Proxy:
    """Stands before the server; cuts connections after so many bytes of answers, one number per
    connection, and then lets the others live. `on_request` sees what goes to the server. It does
    not say a `hidden` word, and answers NO where the body of a message in `refused` is wanted."""

    def __init__(
        self, target, *, cuts=(), on_request=lambda _: None, hidden=None, refused=(), port=0
    ):
        self._hidden = hidden
        self.refused = set(refused)
        self._target = target
        self._cuts = iter(cuts)
        self._on_request = on_request
        self.connections = self.cut = 0
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        with suppress(OSError):  # it is closed already
            # Without this it would accept one more, as the other thread is waiting for it.
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self):
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.connections += 1
                server = socket.create_connection(("127.0.0.1", self._target))
                for target, arguments in (
                    (self._requests, (client, server)),
                    (self._answers, (server, client, next(self._cuts, None))),
                ):
                    threading.Thread(target=target, args=arguments, daemon=True).start()

    def _requests(self, client, server):
        with suppress(OSError):
            while sent := client.recv(65536):
                self._on_request(sent)
                fetch = re.match(rb"(\S+) UID FETCH (\S+) \(BODY.PEEK", sent)
                if fetch and self.refused.intersection(map(int, fetch[2].split(b","))):
                    client.sendall(fetch[1] + b" NO [UNAVAILABLE] Not this one\r\n")
                    continue
                server.sendall(sent)
            server.shutdown(socket.SHUT_WR)

    def _answers(self, server, client, limit):
        with server, client, suppress(OSError):
            while received := server.recv(4096 if limit is None else min(4096, limit)):
                client.sendall(received.replace(self._hidden or b"\0", b"NOTHING"))
                if limit is None:
                    continue
                limit -= len(received)
                if limit <= 0:
                    self.cut += 1
                    if self.cut % 2:  # half of them without a goodbye
                        abrupt = struct.pack("ii", 1, 0)
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, abrupt)
                    with suppress(OSError):
                        client.shutdown(socket.SHUT_RD)  # the other thread ends too
                    return
