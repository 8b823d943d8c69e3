"""The desk's mail account: a decided mail goes to its category's folder, and one that a person
moves to a category's folder is labelled by it.

What this desk moves bears a keyword that names the folder, so that it is no label there; elsewhere
it is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from imapclient.exceptions import IMAPClientAbortError, IMAPClientError

from ticket_assets.delivery.receivers import (
    Outcome,
    PersonsValue,
    ReadBack,
    Receipt,
    Receiver,
    ReceiverError,
)
from ticket_assets.mail.headers import bare_id
from ticket_assets.mail.imap import ImapError, LoginRefusedError, connection
from ticket_assets.mail.sources import ImapSource, imap_account
from ticket_assets.routing import RoutingError

if TYPE_CHECKING:
    from imapclient import IMAPClient

    from ticket_assets.delivery.decisions import Decision, Intent
    from ticket_assets.delivery.receivers import ReceiverStores
    from ticket_assets.mail.imap import ImapAccount
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.system_names import SystemNames

MOST_MESSAGES = 1000
"""Of each folder in one look."""
_HEADER = b"BODY[HEADER.FIELDS (MESSAGE-ID)]"


class ImapReceiver(Receiver):
    """The folders of the categories in the account that mail is fetched from."""

    name = "imap"

    def __init__(self, account: ImapAccount, names: SystemNames, landing: LandingZone) -> None:
        self._account = account
        self._names = names
        self._landing = landing
        self._folders = list(
            dict.fromkeys(folder for folders in names.category.values() for folder in folders)
        )

    @property
    def configuration(self) -> bytes:
        return ImapSource(self._account).configuration() + repr(self._names).encode()

    def deliver(self, intents: Iterable[Intent]) -> Iterator[Receipt]:
        with _receiving(self._account) as client:
            if not client.has_capability("MOVE"):
                raise ReceiverError(
                    f"{self._account.address} moves no mail (RFC 6851).", is_refusal=True
                )
            for intent in intents:
                yield self._deliver(client, intent.decision)

    def _deliver(self, client: IMAPClient, decision: Decision) -> Receipt:
        ticket, category = decision.ticket_id, decision.category
        if category is None:
            return Receipt(ticket, Outcome.ALREADY_THERE)  # it waits for a person where it is
        folder = self._names.written("category", category)
        if folder is None:
            reason = f"The routing file gives the category {category!r} no folder."
            return Receipt(ticket, Outcome.REFUSED, reason)
        message = bare_id(decision.message_id)
        if not message:
            return Receipt(ticket, Outcome.REFUSED, "Its mail has no Message-ID to find it by.")
        was_moved = any(
            self._move(client, source, folder, message) for source in self._account.folders
        )
        # Whoever was faster: the mail is where it is now.
        for place in self._folders:
            _select(client, place, readonly=True)
            if uids := _found(client, message):
                flags = client.get_flags(uids)
                if not any(mark(place) in flags.get(uid, ()) for uid in uids):
                    reason = f"Others have moved it to {place!r}."
                    return Receipt(ticket, Outcome.TAKEN, reason, place)
                outcome = Outcome.DELIVERED if was_moved else Outcome.ALREADY_THERE
                return Receipt(ticket, outcome, reference=place)
        return Receipt(
            ticket, Outcome.UNKNOWN, "Its mail is in none of the folders that are fetched."
        )

    def _move(self, client: IMAPClient, source: str, folder: str, message: str) -> bool:
        keywords = _select(client, source).get(b"PERMANENTFLAGS", ())
        uids = _found(client, message)
        if not uids:
            return False
        if b"\\*" not in keywords and mark(folder) not in keywords:
            raise ReceiverError(
                f"{self._account.address} keeps no keywords in {source!r}, by which moved mail is"
                " known.",
                is_refusal=True,
            )
        # The keyword first: a process that is killed behind it moves the mail the next time, and
        # one that is killed behind the move has told whose it was.
        client.add_flags(uids, [mark(folder)])
        client.move(uids, folder)
        return True

    def read_back(self, cursor: str | None) -> ReadBack:
        former = _positions(cursor)
        positions: dict[str, tuple[int, int]] = {}
        moved: list[tuple[str, str]] = []
        with _receiving(self._account) as client:
            for folder in self._folders:
                positions[folder], messages = _new(client, folder, former.get(folder))
                category = self._names.meant("category", folder)
                moved += [(message, category) for message in messages if category]
        known = self._landing.tickets_named({message for message, _ in moved})
        now = datetime.now(UTC)
        values = [
            PersonsValue(ticket, category, None, now, "somebody")
            for message, category in moved
            for ticket in sorted(known.get(message, ()))
        ]
        return ReadBack(tuple(values), json.dumps(positions, ensure_ascii=False))


def mark(folder: str) -> bytes:
    """The keyword of a message that this desk moves to a folder."""
    return f"ticket-assets-{hashlib.sha256(folder.encode()).hexdigest()[:12]}".encode()


def configured(desk: ReceiverStores) -> ImapReceiver | None:
    """The mail account, where the routing file has folders for categories; None else.

    Raises:
        SettingsError: the account is set in part.
        RoutingError: the routing file cannot be used, or mail is fetched from such a folder.
    """
    if not desk.settings.imap_host:
        return None
    names = desk.routing.systems.get("imap")
    if names is None or not names.category:
        return None
    account = imap_account(desk.settings)
    folders = {folder for folders in names.category.values() for folder in folders}
    if both := folders & set(account.folders):
        raise RoutingError(
            f"Mail is fetched from {', '.join(sorted(both))}, which the routing file names as the"
            " folder of a category. Take it out of TICKETS_IMAP_FOLDERS or of the routing file."
        )
    return ImapReceiver(account, names, desk.landing)


@contextmanager
def _receiving(account: ImapAccount) -> Iterator[IMAPClient]:
    try:
        with connection(account) as client:
            yield client
    except ImapError as error:
        is_refusal = isinstance(error, LoginRefusedError)
        raise ReceiverError(str(error), is_refusal=is_refusal) from None


def _select(client: IMAPClient, folder: str, *, readonly: bool = False) -> dict[bytes, Any]:
    try:
        answer: dict[bytes, Any] = client.select_folder(folder, readonly=readonly)
        return answer
    except IMAPClientAbortError:
        raise
    except IMAPClientError:
        raise ReceiverError(
            f"The mail account has no folder {folder!r} that can be opened. Make it, or correct"
            " the routing file."
        ) from None


def _found(client: IMAPClient, message: str) -> list[int]:
    """The messages of this id in the selected folder; the search finds those that hold it."""
    uids = client.search(["HEADER", "MESSAGE-ID", message])
    return [uid for uid, name in _names(client, uids).items() if name == message]


def _names(client: IMAPClient, uids: list[int]) -> dict[int, str | None]:
    answers = client.fetch(uids, ["BODY.PEEK[HEADER.FIELDS (MESSAGE-ID)]"]) if uids else {}
    return {
        uid: bare_id(answer.get(_HEADER, b"").decode("utf-8", "replace").partition(":")[2])
        for uid, answer in answers.items()
    }


def _new(
    client: IMAPClient, folder: str, former: tuple[int, int] | None
) -> tuple[tuple[int, int], list[str]]:
    """How far a folder is read now, and the ids of what others have moved there since.

    What is there at the first look, or when the folder was rebuilt, counts for nothing: nobody
    knows when it came.
    """
    answer = _select(client, folder, readonly=True)
    validity, end = int(answer[b"UIDVALIDITY"]), int(answer[b"UIDNEXT"]) - 1
    if former is None or former[0] != validity:
        return (validity, end), []
    last = former[1]
    uids = [uid for uid in client.search(f"UID {last + 1}:*") if uid > last]
    uids = sorted(uids)[:MOST_MESSAGES]
    flags = client.get_flags(uids) if uids else {}
    names = _names(client, [uid for uid in uids if mark(folder) not in flags.get(uid, ())])
    return (validity, max([last, *uids])), [name for name in names.values() if name]


def _positions(cursor: str | None) -> dict[str, tuple[int, int]]:
    """How far each folder was read; damaged, it is as good as none."""
    try:
        content = json.loads(cursor or "")
        return {folder: (int(at[0]), int(at[1])) for folder, at in content.items()}
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return {}
