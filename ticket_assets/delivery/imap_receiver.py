"""The desk's mail account: a decided mail goes to its category's folder or gets its keyword, and
one that a person moves to such a folder, or gives such a keyword, is labelled by it.

What this desk has moved or flagged bears a keyword of its own beside, which names the folder or the
keyword, so that it is no label there; another folder or keyword is one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
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
from ticket_assets.system_names import OWN_KEYWORDS

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
    """The folders and keywords of the categories in the account that mail is fetched from."""

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
            if self._folders and not client.has_capability("MOVE"):
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
        keyword = self._names.keyword.get(category)
        if folder is None and keyword is None:
            reason = f"The routing file gives the category {category!r} no folder and no keyword."
            return Receipt(ticket, Outcome.REFUSED, reason)
        message = bare_id(decision.message_id)
        if not message:
            return Receipt(ticket, Outcome.REFUSED, "Its mail has no Message-ID to find it by.")
        outcome, reason, place = self._give(client, message, folder, keyword)
        return Receipt(ticket, outcome, reason, place)

    def _give(
        self, client: IMAPClient, message: str, folder: str | None, keyword: str | None
    ) -> tuple[Outcome, str, str | None]:
        """Move or flag a message; what came of it, why, and where it is."""
        was_moved = False
        for source in self._account.folders:
            kept = _select(client, source).get(b"PERMANENTFLAGS", ())
            if not (uids := _found(client, message)):
                continue
            if others := self._persons_keyword(client, uids):
                return Outcome.TAKEN, f"Others have given it {others!r}.", source
            if keyword:
                self._require_kept(source, kept, [keyword.encode(), keyword_mark(keyword)])
                return *self._flag(client, uids, keyword), source
            if folder:
                self._require_kept(source, kept, [mark(folder)])
                # The keyword first: a process that is killed behind it moves the mail the next
                # time, and one that is killed behind the move has told whose it was.
                client.add_flags(uids, [mark(folder)])
                client.move(uids, folder)
                was_moved = True
                break
        # Whoever was faster: the mail is where it is now.
        for place in self._folders:
            _select(client, place, readonly=True)
            if uids := _found(client, message):
                if mark(place) not in _keywords(client, uids):
                    return Outcome.TAKEN, f"Others have moved it to {place!r}.", place
                return (Outcome.DELIVERED if was_moved else Outcome.ALREADY_THERE), "", place
        return Outcome.UNKNOWN, "Its mail is in none of the folders that are fetched.", None

    def _require_kept(self, source: str, kept: Iterable[bytes], keywords: list[bytes]) -> None:
        names = {keyword.lower() for keyword in kept}
        if b"\\*" not in names and not {keyword.lower() for keyword in keywords} <= names:
            raise ReceiverError(
                f"{self._account.address} keeps no keywords in {source!r}, by which decided mail is"
                " known.",
                is_refusal=True,
            )

    def _flag(self, client: IMAPClient, uids: list[int], keyword: str) -> tuple[Outcome, str]:
        flags = _keywords(client, uids)
        if keyword_mark(keyword) in flags:  # told before
            if keyword.lower().encode() in flags:
                return Outcome.ALREADY_THERE, ""
            return Outcome.TAKEN, f"Others have taken {keyword!r} off."
        # Both at once: no look sees the one without the other.
        client.add_flags(uids, [keyword, keyword_mark(keyword)])
        if others := self._persons_keyword(client, uids):  # given meanwhile
            client.remove_flags(uids, [keyword, keyword_mark(keyword)])
            return Outcome.TAKEN, f"Others have given it {others!r}."
        return Outcome.DELIVERED, ""

    def _persons_keyword(self, client: IMAPClient, uids: list[int]) -> str | None:
        """A category's keyword that others have given; None: there is none."""
        flags = _keywords(client, uids)
        for keyword in self._names.keyword.values():
            if keyword.lower().encode() in flags and keyword_mark(keyword) not in flags:
                return keyword
        return None

    def read_back(self, cursor: str | None) -> ReadBack:
        former, look = _cursor(cursor), _Cursor()
        meant: list[tuple[str, str]] = []
        problems: list[str] = []
        with _receiving(self._account) as client:
            for folder in self._folders:
                look.moved[folder], messages = _new(client, folder, former.moved.get(folder))
                category = self._names.meant("category", folder)
                meant += [(message, category) for message in messages if category]
            if self._names.keyword:
                for folder in (*self._account.folders, *self._folders):
                    _, last = former.moved.get(folder, (0, None))
                    look.flagged[folder], flagged = self._newly_flagged(
                        client, folder, former.flagged.get(folder), last
                    )
                    for message, categories in flagged:
                        if len(categories) == 1:
                            meant.append((message, categories[0]))
                        else:
                            problems.append(
                                f"The mail {message!r} in {folder!r} bears the keywords of"
                                f" {' and '.join(map(repr, categories))}. Take off what does not"
                                " hold."
                            )
        known = self._landing.tickets_named({message for message, _ in meant})
        now = datetime.now(UTC)
        values = [
            PersonsValue(ticket, category, None, now, "somebody")
            for message, category in meant
            for ticket in sorted(known.get(message, ()))
        ]
        return ReadBack(tuple(values), look.text(), tuple(problems))

    def _newly_flagged(
        self, client: IMAPClient, folder: str, former: _Flagged | None, last: int | None
    ) -> tuple[_Flagged, list[tuple[str, list[str]]]]:
        """The messages with keywords of others, and the ids and categories of those with other ones
        than at the last look.

        What is there at the first look, also at the first for a keyword, or when the folder was
        rebuilt, counts for nothing.

        Args:
            last: UID up to which a category's folder was read. What was moved there since is
                labelled by the folder, whatever keyword it brings along.
        """
        validity = int(_select(client, folder, readonly=True)[b"UIDVALIDITY"])
        present = {
            keyword: set(
                client.search(["KEYWORD", keyword, "UNKEYWORD", keyword_mark(keyword).decode()])
            )
            for keyword in self._names.keyword.values()
        }
        uids = former.uids if former and former.validity == validity else {}
        before = {
            keyword: {uid for uid in here if last is not None and uid > last}.union(
                uids.get(keyword, here)
            )
            for keyword, here in present.items()
        }
        changed = sorted(
            uid
            for uid in set().union(*present.values())
            if any((uid in present[keyword]) != (uid in before[keyword]) for keyword in present)
        )
        later = set(changed[MOST_MESSAGES:])
        seen = {
            keyword: sorted((present[keyword] - later) | (before[keyword] & later))
            for keyword in present
        }
        messages = [
            (
                message,
                [name for name, keyword in self._names.keyword.items() if uid in seen[keyword]],
            )
            for uid, message in _names(client, changed[:MOST_MESSAGES]).items()
            if message
        ]
        return _Flagged(validity, seen), messages


@dataclass(frozen=True)
class _Flagged:
    """The messages of a folder that others have given keywords of categories."""

    validity: int
    uids: Mapping[str, list[int]]
    """By keyword."""


@dataclass
class _Cursor:
    """How far looks have come."""

    moved: dict[str, tuple[int, int]] = field(default_factory=dict)
    """UIDVALIDITY and last UID of each category's folder."""
    flagged: dict[str, _Flagged] = field(default_factory=dict)
    """Of each folder."""

    def text(self) -> str:
        flagged = {name: [folder.validity, folder.uids] for name, folder in self.flagged.items()}
        return json.dumps({"moved": self.moved, "flagged": flagged}, ensure_ascii=False)


def mark(folder: str) -> bytes:
    """The keyword of a message that this desk moves to a folder."""
    return f"{OWN_KEYWORDS}{hashlib.sha256(folder.encode()).hexdigest()[:12]}".encode()


def keyword_mark(keyword: str) -> bytes:
    """The keyword of a message to which this desk gives a category's keyword. Servers keep the case
    in which they have seen one first."""
    return mark(f"keyword {keyword.lower()}")


def configured(desk: ReceiverStores) -> ImapReceiver | None:
    """The mail account, where the routing file has folders or keywords for categories; None else.

    Raises:
        SettingsError: the account is set in part.
        RoutingError: the routing file cannot be used, or mail is fetched from such a folder.
    """
    if not desk.settings.imap_host:
        return None
    names = desk.routing.systems.get("imap")
    if names is None or not (names.category or names.keyword):
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


def _keywords(client: IMAPClient, uids: list[int]) -> set[bytes]:
    """All flags of these messages, in small letters: case does not tell keywords apart."""
    return {flag.lower() for flags in client.get_flags(uids).values() for flag in flags}


def _cursor(text: str | None) -> _Cursor:
    """Where the last look ended; damaged, it is as good as none."""
    try:
        content = json.loads(text or "")
        return _Cursor(
            {folder: (int(at[0]), int(at[1])) for folder, at in content["moved"].items()},
            {
                folder: _Flagged(
                    int(at[0]), {keyword: [*map(int, uids)] for keyword, uids in at[1].items()}
                )
                for folder, at in content["flagged"].items()
            },
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        return _Cursor()
