"""Mail fetched from an IMAP account: each message lands once, and none is marked as read."""

from __future__ import annotations

import hashlib
import json
import math
import re
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

from imapclient import IMAPClient
from imapclient.exceptions import CapabilityError, IMAPClientAbortError, IMAPClientError, LoginError

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.input_files import MAX_MAIL_BYTES
from ticket_assets.mail.landing import IncomingMessage, LandingZone
from ticket_assets.mail.mailboxes import mail_message
from ticket_assets.server_replies import cleansed
from ticket_assets.storage.blobs import BlobNotFoundError, Blobs

Security = Literal["tls", "starttls", "plain"]
Result = TypeVar("Result")
Answer = dict[bytes, Any] | Exception
"""The server's answer about a message, or the error in its place."""

ATTEMPTS = 5
"""Connections in a row that may be lost without a single answer, before a fetch gives up."""
TIMEOUT_SECONDS = 60
SHORTEST_TIMEOUT_SECONDS = 10
GOODBYE_SECONDS = 5
BATCH_MESSAGES = 100
BATCH_BYTES = 4 * 1024 * 1024
"""The most that one request asks for: memory holds it, and a lost connection repeats it."""
LESS_AFTER_LOSS = 10
"""A fraction: the last of a fetch's attempts ask for one message, which tells a bad one apart."""
SIZES_AT_A_TIME = 1000
UIDS_PER_SEARCH = 50_000
"""imaplib refuses lines above a million bytes, and an answer is one line with all UIDs."""
REFUSALS_IN_A_ROW = 10
"""A server that refuses so many messages one after the other refuses all: that is an outage."""
LOSSES_IN_A_ROW = 2
"""The same for messages at which the connection is lost: some servers hang up at a damaged one."""
REFUSED_TRIES = 3
"""Fetches that ask for a refused message; then it is reported, and asked for once a day."""
REFUSED_AGAIN = timedelta(days=1)
LOST = (IMAPClientAbortError, OSError)


class ImapError(TicketAssetsError):
    """An IMAP account cannot be read as it is set."""


class ConnectionLostError(ImapError):
    """The connection is lost again and again."""


class LoginRefusedError(ImapError):
    """The server does not accept the user's secret; to insist would get the account locked."""


@dataclass(frozen=True)
class ImapAccount:
    """An account to fetch from. Secrets in files are read at each login: tokens are renewed."""

    host: str
    user: str
    password: str | None = field(default=None, repr=False)
    password_file: Path | None = None
    token_file: Path | None = None
    """An OAuth2 access token, used instead of a password."""
    folders: tuple[str, ...] = ("INBOX",)
    security: Security = "tls"
    port: int | None = None
    """None: 993 with TLS from the start, else 143."""
    ca_file: Path | None = None
    """PEM file of the authorities to trust, instead of the system's."""

    @property
    def used_port(self) -> int:
        return self.port or (993 if self.security == "tls" else 143)

    @property
    def address(self) -> str:
        return f"{self.host}:{self.used_port}"


@dataclass(frozen=True)
class FetchReport:
    """What one fetch changed."""

    landed: int
    already_there: int
    days: tuple[date, ...]
    """Days that received a new message, sorted."""
    remaining: int
    """Messages that were there when the fetch began and wait for the next one."""
    older: int
    """Landed messages from before the first day, which wait until it is moved back."""
    undated: int
    """Landed messages without a usable date, under the day they landed."""
    refused: tuple[RefusedMessage, ...] = ()
    """Messages that the server does not give out, those of former fetches included."""


@dataclass(frozen=True)
class RefusedMessage:
    """A message that the server lists and does not give out, or that is too large to be one."""

    folder: str
    uid: int
    tries: int
    """Fetches that have asked for it."""
    tried_at: datetime
    reason: str

    asked_now: bool = False
    """Whether the fetch that reports it has asked for it."""

    def is_due(self, now: datetime) -> bool:
        """Whether it is asked for again."""
        return self.tries < REFUSED_TRIES or now - self.tried_at >= REFUSED_AGAIN

    def __str__(self) -> str:
        return f"message with UID {self.uid} in {self.folder}: {self.reason}"


def fetch_new(
    landing: LandingZone,
    account: ImapAccount,
    cursors: Blobs,
    *,
    max_messages: int,
    on_message: Callable[[IncomingMessage], None] | None = None,
    first_day: date | None = None,
    retry_seconds: float = 1.0,
    seconds: float = math.inf,
) -> FetchReport:
    """Land the messages that arrived since the last fetch, the oldest of each folder first.

    A folder's cursor (its UIDVALIDITY and last UID, RFC 3501 section 2.3.1.1) advances only over
    messages that are on disk, so a fetch that dies repeats some work and loses nothing. A folder
    whose UIDVALIDITY changed is read anew; messages that had landed are recognised by content.
    A lost connection is made again, with delays that double from `retry_seconds`. After `seconds`
    the fetch leaves the rest to the next one. A message that the server refuses
    is passed over and remembered: the folder goes on behind it.

    Raises:
        LoginRefusedError: the server refuses the login.
        ImapError: the server cannot be reached or trusted, or has no such folder; or the
            connection is lost again and again. What was fetched before has landed.
        BlobStoreError: the landing zone cannot be written.
    """
    folders = [_Folder(account, name, cursors) for name in account.folders]
    session = _Session(account, retry_seconds, time.monotonic() + seconds)
    on_the_way: deque[tuple[_Folder, int]] = deque()
    failures: list[ImapError] = []

    def arriving(requested: dict[_Folder, list[int]]) -> Iterator[IncomingMessage]:
        try:
            for folder, uids in requested.items():
                for uid, content, delivered_at in session.messages(folder, uids):
                    on_the_way.append((folder, uid))
                    yield mail_message(content, folder.source, delivered_at)
        except ImapError as error:
            failures.append(error)  # raised once what was fetched before has landed

    def landed(message: IncomingMessage) -> None:
        folder, uid = on_the_way.popleft()
        folder.landed(uid)
        if on_message:
            on_message(message)

    try:
        # All folders are opened before the first message is fetched: a misspelt one fails at once.
        waiting = {folder: session.new_uids(folder) for folder in folders}
        room = max_messages
        requested = {}
        for folder, uids in waiting.items():
            requested[folder] = uids[:room]
            room -= len(requested[folder])
        report = landing.land(arriving(requested), landed, first_day)
        if not failures:
            for folder, uids in waiting.items():
                folder.finish(everything=uids == requested[folder] and not session.is_late)
    finally:
        session.close()
        for folder in folders:
            folder.save()
    if failures:
        raise failures[0]
    return FetchReport(
        landed=report.landed,
        already_there=report.already_there,
        days=report.days,
        remaining=sum(map(len, waiting.values())) - session.passed,
        older=report.older,
        undated=report.undated,
        refused=tuple(refused for folder in folders for refused in folder.refused.values()),
    )


@contextmanager
def connection(account: ImapAccount) -> Iterator[IMAPClient]:
    """A connection that is logged in, for as long as it lasts.

    Raises:
        LoginRefusedError: the server refuses the login.
        ImapError: the server cannot be reached or trusted, refuses something, or is lost.
    """
    session = _Session(account, retry_seconds=0.0, deadline=math.inf)
    try:
        yield session.connect()
    except (*LOST, IMAPClientError) as error:
        raise ImapError(f"{account.address} fails: {session.reason(error)}.") from None
    finally:
        session.close()


class _Folder:
    """A folder and how far it is read: `uid` is the last one whose message is on disk."""

    def __init__(self, account: ImapAccount, name: str, cursors: Blobs) -> None:
        self.name = name
        self.source = f"imap:{account.user}@{account.host}/{name}"
        self._identity = {"host": account.host, "user": account.user, "folder": name}
        key = hashlib.sha256(json.dumps(self._identity).encode()).hexdigest()[:20]
        self._cursors, self._cursor = cursors, f"{key}.json"
        self._opened = False
        self.uid_validity = self.uid = 0
        self.refused: dict[int, RefusedMessage] = {}
        self._end: list[int | None] | None = None
        self._present: list[int | None] = [None, None]
        self._load()
        self._saved = self._content()

    def _load(self) -> None:
        try:
            cursor = json.loads(self._cursors.read(self._cursor))
            uid_validity, uid = int(cursor["uid_validity"]), int(cursor["uid"])
            end = cursor.get("end")
            refused = [
                RefusedMessage(
                    self.name,
                    message["uid"],
                    message["tries"],
                    datetime.fromisoformat(message["tried_at"]),
                    message["reason"],
                )
                for message in cursor.get("refused", [])
            ]
        except (BlobNotFoundError, ValueError, KeyError, TypeError):
            return  # a damaged cursor costs a second reading and nothing else
        self.uid_validity, self.uid, self._end = uid_validity, uid, end
        self.refuse(refused)

    def _content(self) -> str:
        refused = [
            {
                "uid": message.uid,
                "tries": message.tries,
                "tried_at": message.tried_at.isoformat(),
                "reason": message.reason,
            }
            for message in self.refused.values()
        ]
        cursor = {"uid_validity": self.uid_validity, "uid": self.uid, "end": self._end}
        return json.dumps({**self._identity, **cursor, "refused": refused}, ensure_ascii=False)

    def open(self, answer: dict[bytes, Any]) -> None:
        """Take over the server's answer to the folder's selection."""
        uid_validity = int(answer.get(b"UIDVALIDITY", 0))
        if uid_validity != self.uid_validity:
            if self._opened:
                raise ImapError(
                    f"The folder {self.name!r} was rebuilt on the server while it was read."
                    " Fetch again to read it anew."
                )
            self.uid_validity, self.uid, self._end, self.refused = uid_validity, 0, None, {}
        if not self._opened:
            # The answer to a later selection includes messages that were not searched for.
            self._present = [answer.get(b"HIGHESTMODSEQ"), answer.get(b"UIDNEXT")]
        self._opened = True

    @property
    def next_uid(self) -> int | None:
        return self._present[1]

    @property
    def is_unchanged(self) -> bool:
        """Whether the server says that nothing has changed since the folder was read to its end:
        neither its HIGHESTMODSEQ (RFC 7162) nor, as that alone is not to be relied on, UIDNEXT."""
        return None not in self._present and self._present == self._end

    def landed(self, uid: int) -> None:
        self.refused.pop(uid, None)
        self.uid = max(self.uid, uid)  # one that was refused before comes out of order

    def refuse(self, messages: Iterable[RefusedMessage]) -> None:
        self.refused.update({message.uid: message for message in messages})

    def finish(self, everything: bool) -> None:
        """End a fetch; `everything`: whether all that was there is on disk or refused."""
        self._end = self._present if everything else None

    def save(self) -> None:
        """Write the cursor if it moved; a power cut leaves the former one or the new one."""
        if (content := self._content()) == self._saved:
            return
        self._cursors.replace(self._cursor, content.encode())
        self._saved = content


class _Session:
    """A connection that is made again when it is lost."""

    def __init__(self, account: ImapAccount, retry_seconds: float, deadline: float) -> None:
        self._account = account
        self._retry_seconds = retry_seconds
        self._deadline = deadline
        self.passed = 0
        """Messages that were fetched, were gone or were refused."""
        self._secret: str | None = None
        """What the last login was tried with."""
        self._client: IMAPClient | None = None
        self._selected: _Folder | None = None
        self._was_connected = False
        self._at_a_time = BATCH_MESSAGES

    @property
    def is_late(self) -> bool:
        return time.monotonic() >= self._deadline

    def new_uids(self, folder: _Folder) -> list[int]:
        """UIDs after the folder's cursor, then those of refused messages that are due again."""

        def search(client: IMAPClient) -> list[int]:
            if folder.is_unchanged:
                return []
            first = folder.uid + 1
            if folder.next_uid is None:
                # The last message answers to `first:*` even when it is before `first`.
                return sorted(uid for uid in client.search(f"UID {first}:*") if uid >= first)
            uids: list[int] = []
            for start in range(first, folder.next_uid, UIDS_PER_SEARCH):
                last = min(start + UIDS_PER_SEARCH, folder.next_uid) - 1
                uids += sorted(client.search(f"UID {start}:{last}"))
            return uids

        new = self._answer(folder, search)
        now = datetime.now(UTC)
        due = sorted(uid for uid, refused in folder.refused.items() if refused.is_due(now))
        return [uid for uid in new if uid not in folder.refused] + due

    def messages(
        self, folder: _Folder, uids: list[int]
    ) -> Iterator[tuple[int, bytes, datetime | None]]:
        """UID, bytes and time of delivery of each message that is still there, in this order."""
        refused: list[RefusedMessage] = []  # since the last message that came
        losses = 0
        for batch in self._batches(folder, uids):
            folder.save()
            left = batch
            while left and not self.is_late:
                try:
                    answers = self._answer(folder, partial(self._first_bodies, left))
                except ConnectionLostError as error:
                    losses += 1
                    if self._at_a_time > 1 or losses == LOSSES_IN_A_ROW:
                        raise
                    answers = {left[0]: error}
                asked, left = left[: self._at_a_time], left[self._at_a_time :]
                self._at_a_time = min(2 * self._at_a_time, BATCH_MESSAGES)
                for uid in asked:
                    self.passed += 1
                    answer = answers.pop(uid, {})
                    if isinstance(answer, Exception):
                        refused.append(_refusal(folder, uid, self.reason(answer)))
                        if len(refused) == REFUSALS_IN_A_ROW:
                            raise self._outage(folder, answer) from None
                    elif (content := answer.get(b"BODY[]")) is not None:
                        # Only now is it known that the server gives out others.
                        folder.refuse(refused)
                        refused, losses = [], 0
                        yield uid, content, answer.get(b"INTERNALDATE")
                    else:
                        folder.refused.pop(uid, None)
        folder.refuse(refused)

    def _outage(self, folder: _Folder, error: Exception) -> ImapError:
        return ImapError(
            f"{self._account.address} refuses {REFUSALS_IN_A_ROW} messages of {folder.name!r} in a"
            f" row: {self.reason(error)}. Fetch again; if it stays, ask who runs the server."
        )

    def close(self) -> None:
        if self._client:
            with suppress(Exception):  # the fetch is over either way
                self._client.socket().settimeout(GOODBYE_SECONDS)
                self._client.logout()
        self._forget()

    def _first_bodies(self, uids: list[int], client: IMAPClient) -> dict[int, Answer]:
        return _bodies(client, uids[: self._at_a_time])

    def _batches(self, folder: _Folder, uids: list[int]) -> Iterator[list[int]]:
        batch: list[int] = []
        batch_bytes = 0
        for start in range(0, len(uids), SIZES_AT_A_TIME):
            some = uids[start : start + SIZES_AT_A_TIME]
            sizes = self._answer(folder, partial(_sizes, uids=some))
            for uid in some:
                size = sizes.get(uid, 0)
                if size > MAX_MAIL_BYTES:
                    # It would be in memory whole, several times.
                    self.passed += 1
                    reason = f"it exceeds {MAX_MAIL_BYTES >> 20} MB, as no mail does"
                    folder.refuse([_refusal(folder, uid, reason)])
                    continue
                if batch and (len(batch) == BATCH_MESSAGES or batch_bytes + size > BATCH_BYTES):
                    yield batch
                    batch, batch_bytes = [], 0
                batch.append(uid)
                batch_bytes += size
        if batch:
            yield batch

    def _answer(self, folder: _Folder, ask: Callable[[IMAPClient], Result]) -> Result:
        """The server's answer with the folder selected, after up to ATTEMPTS connections."""
        lost: BaseException | None = None
        for attempt in range(1, ATTEMPTS + 1):
            if attempt > 1:
                time.sleep(self._retry_seconds * 2 ** (attempt - 2))
            try:
                return ask(self._opened(folder))
            except LOST as error:
                self._forget()
                # A connection that is always lost within a batch gets smaller ones.
                self._at_a_time = max(self._at_a_time // LESS_AFTER_LOSS, 1)
                lost = error
                if self.is_late:
                    break
            except IMAPClientError as error:
                raise ImapError(
                    f"{self._account.address} cannot read the folder {folder.name!r}:"
                    f" {self.reason(error)}. Fetch again; if it stays, ask who runs the server."
                ) from None  # whose text is the server's own
        raise ConnectionLostError(
            f"The connection to {self._account.address} was lost {attempt} times in a row"
            f" ({self.reason(lost)}). What was fetched is kept; fetch again to go on."
        ) from None

    def _opened(self, folder: _Folder) -> IMAPClient:
        client = self._client or self.connect()
        if self._selected is not folder:
            self._selected = None
            try:
                folder.open(client.select_folder(folder.name, readonly=True))
            except IMAPClientAbortError:
                raise
            except IMAPClientError as error:
                raise self._unusable_folder(client, folder, error) from None
            self._selected = folder
        return client

    def _unusable_folder(
        self, client: IMAPClient, folder: _Folder, error: IMAPClientError
    ) -> ImapError:
        names = [name for flags, _, name in client.list_folders() if b"\\Noselect" not in flags]
        present = cleansed(", ".join(sorted(names)), [self._secret])
        if folder.name in names:
            return ImapError(
                f"{self._account.address} does not open the folder {folder.name!r}:"
                f" {self.reason(error)}. Give {self._account.user} the right to read it."
            )
        return ImapError(
            f"{self._account.user} has no folder {folder.name!r} on {self._account.address}; there"
            f" are: {present}. Correct TICKETS_IMAP_FOLDERS."
        )

    def connect(self) -> IMAPClient:
        account = self._account
        context = _tls_context(account)
        secured = account.security == "tls"
        try:
            client = IMAPClient(
                account.host,
                account.used_port,
                ssl=secured,
                ssl_context=context if secured else None,
                timeout=self._timeout(),
            )
            self._client = client
            client.normalise_times = False  # aware, not this machine's local time
            if account.security == "starttls":
                client.starttls(context)
        except ssl.SSLCertVerificationError as error:
            raise ImapError(
                f"The certificate of {account.address} is not trusted: {error.verify_message}."
                " If it is your own, name its authority in TICKETS_IMAP_CA_FILE."
            ) from error
        except CapabilityError:
            raise ImapError(
                f"{account.address} offers no STARTTLS. Set TICKETS_IMAP_SECURITY to tls."
            ) from None
        except OSError as error:
            if self._was_connected:
                raise
            raise ImapError(
                f"Cannot reach {account.address} with security {account.security}:"
                f" {self.reason(error)}. Check TICKETS_IMAP_HOST, TICKETS_IMAP_PORT,"
                " TICKETS_IMAP_SECURITY and the network."
            ) from error
        self._was_connected = True
        self._log_in(client)
        if client.has_capability("ENABLE") and client.has_capability("CONDSTORE"):
            client.enable("CONDSTORE")  # a selection then says HIGHESTMODSEQ
        return client

    def _timeout(self) -> float:
        """How long an answer may take: a fetch must not wait long after its deadline."""
        left = self._deadline - time.monotonic()
        return min(TIMEOUT_SECONDS, max(left, SHORTEST_TIMEOUT_SECONDS))

    def _log_in(self, client: IMAPClient) -> None:
        account = self._account
        try:
            file = account.token_file or account.password_file
            self._secret = _secret(file) if file else account.password
            if account.token_file:
                client.oauth2_login(account.user, self._secret)
            elif client.has_capability("AUTH=PLAIN"):
                client.plain_login(account.user, self._secret)
            else:
                client.login(account.user, self._secret)  # ASCII alone
        except UnicodeEncodeError:
            raise ImapError(
                f"{account.address} takes no password with letters beyond ASCII. Choose another."
            ) from None
        except LoginError as error:
            # The client reports a connection that is lost meanwhile as a refusal too.
            if isinstance(error.__context__, IMAPClientAbortError):
                raise error.__context__ from None
            secret = "token" if account.token_file else "password"
            raise LoginRefusedError(
                f"{account.address} refuses the login of {account.user}: {self.reason(error)}."
                f" Check TICKETS_IMAP_USER and its {secret}."
            ) from None

    def reason(self, error: BaseException | None) -> str:
        """An error's text, which most often is the server's, without the secret."""
        return cleansed(_reason(error), [self._secret]).rstrip(".")

    def _forget(self) -> None:
        if self._client:
            with suppress(Exception):  # most often it is closed already
                self._client.shutdown()
        self._client = self._selected = None


def _sizes(client: IMAPClient, uids: list[int]) -> dict[int, int]:
    answers = client.fetch(uids, ["RFC822.SIZE"])
    return {uid: answer.get(b"RFC822.SIZE", 0) for uid, answer in answers.items()}


def _bodies(client: IMAPClient, uids: list[int]) -> dict[int, Answer]:
    """The answer about each message that is still there, or the error that refuses it."""
    try:
        answers: dict[int, Answer] = client.fetch(uids, ["BODY.PEEK[]", "INTERNALDATE"])
        return answers
    except IMAPClientAbortError:
        raise
    except IMAPClientError as error:
        # Some servers refuse the whole when one message was deleted meanwhile.
        if len(uids) > 1:
            singly = (_bodies(client, [uid]) for uid in uids)
            return {uid: answer for answers in singly for uid, answer in answers.items()}
        return {uids[0]: error} if client.search(f"UID {uids[0]}") else {}


def _refusal(folder: _Folder, uid: int, reason: str) -> RefusedMessage:
    former = folder.refused.get(uid)
    tries = 1 + (former.tries if former else 0)
    return RefusedMessage(folder.name, uid, tries, datetime.now(UTC), reason, asked_now=True)


def _tls_context(account: ImapAccount) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=account.ca_file)
    except OSError as error:
        raise ImapError(
            f"Cannot use {account.ca_file} (TICKETS_IMAP_CA_FILE): {_reason(error)}. Name a PEM"
            " file with the certificate of the server's authority."
        ) from error


def _secret(path: Path) -> str:
    try:
        return path.read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ImapError(
            f"Cannot read the secret in {path}: {_reason(error)}. Check the path and its"
            " permissions."
        ) from None


def _reason(error: BaseException | None) -> str:
    """An error's text in one line; imaplib quotes the server as the text of a bytes object."""
    text = (isinstance(error, OSError) and error.strerror) or str(error) or repr(error)
    return re.sub(r"^b(['\"])(.*)\1$", r"\2", " ".join(text.split())).rstrip(".")
