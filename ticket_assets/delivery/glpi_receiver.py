"""GLPI, by its REST API (apirest.md): fields of its tickets, and what technicians made of them.

A ticket is found by its number, which comes with an export: GLPI keeps no Message-ID of a mail.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from ticket_assets.delivery.fields import Change, Field
from ticket_assets.delivery.looks import ChangedTicket, LookingReceiver
from ticket_assets.delivery.receivers import ReceiverError
from ticket_assets.delivery.rest import AnswerError, RestApi
from ticket_assets.settings import SettingsError
from ticket_assets.system_names import SystemNames, Target

if TYPE_CHECKING:
    from ticket_assets.delivery.decisions import Decision
    from ticket_assets.delivery.receivers import ReceiverStores
    from ticket_assets.mail.landing import LandingZone

CHANGED_OPTION, NUMBER_OPTION = "19", "2"
"""Search options of tickets: when it was changed, and its number."""
LOGGED_OPTIONS: dict[Target, int] = {"category": 7, "priority": 3}
"""Search options by which the history names fields."""
RELATION_ADDED = 15
"""The history's action of a relation that was added, as that of a group."""
REQUESTER, ASSIGNED = 1, 2
"""Roles of users and groups of a ticket."""
HISTORY_ENTRIES = 1000
_NUMBERS = re.compile(r"\((\d+)\)")
_LAST_NUMBER = re.compile(r"\((\d+)\)$|^(\d+)$")


class GlpiReceiver(LookingReceiver):
    """The tickets of a GLPI. Its names are numbers: of categories, priorities and groups."""

    name = "glpi"
    page_size = 50
    pages = 200

    def __init__(self, api: RestApi, names: SystemNames, landing: LandingZone) -> None:
        super().__init__(api, names, landing)
        self._session: dict[str, str] | None = None
        self._account = 0
        self._offset = timedelta()
        """Of its clock, which tells no time zone, to UTC."""
        self._began_at = datetime.now(UTC)

    def close(self) -> None:
        if self._session:
            with suppress(AnswerError, ReceiverError):  # it ends by itself as well
                self._ask("GET", "killSession")
        self._session = None
        super().close()

    def find(self, decision: Decision) -> str | None:
        number = decision.message_id or ""
        if not (number.isascii() and number.isdecimal()):
            return None
        try:
            self._item(f"Ticket/{int(number)}")
        except AnswerError as error:
            if error.status == 404:
                return None
            raise
        return str(int(number))

    def read(self, reference: str) -> Mapping[Target, Field]:
        ticket = self._item(f"Ticket/{reference}")
        groups = self._items(f"Ticket/{reference}/Group_Ticket")
        users = self._items(f"Ticket/{reference}/Ticket_User")
        # The history last: what others set in between is seen there.
        log = self._items(f"Ticket/{reference}/Log", {"range": f"0-{HISTORY_ENTRIES - 1}"})
        try:
            return self._read(ticket, groups, users, log)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._api.nonsense(f"Ticket/{reference}") from None

    def write(self, reference: str, values: Mapping[Target, str]) -> None:
        columns: dict[Target, str] = {"category": "itilcategories_id", "priority": "priority"}
        fields = {
            columns[name]: int(value or 0) for name, value in values.items() if name in columns
        }
        if fields:
            answer = self._ask("PUT", f"Ticket/{reference}", body={"input": fields})
            if not (isinstance(answer, list) and answer and answer[0].get(reference) is True):
                raise AnswerError(f"GLPI does not change ticket {reference}: {answer}"[:300], 422)
        if "queue" in values:
            # Another assigned group is none that was there before: nothing is replaced.
            assignment = {
                "tickets_id": int(reference),
                "groups_id": int(values["queue"]),
                "type": ASSIGNED,
            }
            self._ask("POST", "Group_Ticket", body={"input": assignment})

    def changed(self, begin: datetime, page: int) -> list[ChangedTicket]:
        self._require_session()
        since = (begin + self._offset).replace(tzinfo=None) - timedelta(seconds=1)
        first = page * self.page_size
        parameters: dict[str, str | int] = {
            "criteria[0][field]": CHANGED_OPTION,
            "criteria[0][searchtype]": "morethan",
            "criteria[0][value]": f"{since:%Y-%m-%d %H:%M:%S}",
            "sort": CHANGED_OPTION,
            "order": "ASC",
            "range": f"{first}-{first + self.page_size - 1}",
            "forcedisplay[0]": NUMBER_OPTION,
            "forcedisplay[1]": CHANGED_OPTION,
        }
        try:
            answer = self._ask("GET", "search/Ticket", parameters=parameters)
        except AnswerError as error:
            if "ERROR_RANGE_EXCEED_TOTAL" in str(error):
                return []
            raise
        try:
            if not answer["totalcount"]:
                return []
            return [
                ChangedTicket(
                    str(int(row[NUMBER_OPTION])),
                    self._moment(row[CHANGED_OPTION]),
                    f"GLPI's ticket {row[NUMBER_OPTION]}",
                )
                for row in answer["data"]
            ]
        except (KeyError, TypeError, ValueError):
            raise self._api.nonsense("search/Ticket") from None

    def message(self, reference: str) -> str:
        return reference

    def seen_until(self) -> datetime:
        self._require_session()
        return self._began_at - timedelta(seconds=1)

    def _read(
        self,
        ticket: dict[str, Any],
        groups: list[dict[str, Any]],
        users: list[dict[str, Any]],
        log: list[dict[str, Any]],
    ) -> dict[Target, Field]:
        requesters = {int(user["users_id"]) for user in users if user["type"] == REQUESTER}
        log = sorted(log, key=lambda entry: int(entry["id"]))
        values: dict[Target, str] = {
            "category": _number(ticket["itilcategories_id"]),
            "priority": _number(ticket["priority"]),
        }
        fields = {
            target: Field(
                value,
                tuple(self._changes(log, LOGGED_OPTIONS[target], requesters))
                or self._at_creation(ticket, target, value, requesters),
            )
            for target, value in values.items()
        }
        assigned = [_number(group["groups_id"]) for group in groups if group["type"] == ASSIGNED]
        fields["queue"] = self._queue(assigned, log, self._moment(ticket["date_mod"]))
        return fields

    def _changes(
        self, log: list[dict[str, Any]], option: int, requesters: set[int]
    ) -> Iterator[Change]:
        for entry in log:
            if int(entry["id_search_option"]) != option or int(entry["linked_action"]):
                continue
            # Several where somebody acts in the name of another, none where a rule or a job does.
            authors = {int(number) for number in _NUMBERS.findall(entry["user_name"])}
            number = _LAST_NUMBER.search(entry["new_value"].strip())
            is_ours = authors == {self._account}
            yield Change(
                value=_number(number[1] or number[2]) if number else "",
                is_ours=is_ours,
                is_person=bool(authors) and not is_ours and not authors & requesters,
                at=self._moment(entry["date_mod"]),
                by=_NUMBERS.sub("", entry["user_name"]).strip() or "GLPI",
            )

    def _at_creation(
        self, ticket: dict[str, Any], target: Target, value: str, requesters: set[int]
    ) -> tuple[Change, ...]:
        """What a ticket had from its beginning, where that is no default: a category always, the
        priority where someone has made the ticket for another."""
        author = int(ticket["users_id_recipient"])
        by_hand = author not in requesters | {0, self._account}
        if not value or not (by_hand or target == "category"):
            return ()
        return (Change(value, False, False, self._moment(ticket["date_creation"]), "its creation"),)

    def _queue(self, assigned: list[str], log: list[dict[str, Any]], at: datetime) -> Field:
        """The assigned groups as one field. What we assigned is in the history; all else is of
        others, also that it is gone."""
        ours = [
            number[1]
            for entry in log
            if entry["itemtype_link"] == "Group"
            and int(entry["linked_action"]) == RELATION_ADDED
            and {int(number) for number in _NUMBERS.findall(entry["user_name"])} == {self._account}
            and (number := _LAST_NUMBER.search(entry["new_value"].strip()))
        ]
        value = ",".join(assigned)
        if not assigned and not ours:
            return Field("")
        is_ours = bool(assigned) and set(assigned) <= set(ours)
        return Field(value, (Change(value, is_ours, False, at, "GLPI"),))

    def _require_session(self) -> dict[str, str]:
        if self._session is None:
            answer = self._api.ask("GET", "initSession")
            if not isinstance(answer, dict) or not isinstance(answer.get("session_token"), str):
                raise ReceiverError("GLPI answers initSession without a session.")
            session = {"Session-Token": answer["session_token"]}
            content, headers = self._api.answer("GET", "getFullSession", headers=session)
            try:
                self._account = int(content["session"]["glpiID"])
                local = datetime.fromisoformat(content["session"]["glpi_currenttime"])
                self._began_at = parsedate_to_datetime(headers["date"]).astimezone(UTC)
            except (KeyError, TypeError, ValueError):
                raise ReceiverError(
                    "GLPI answers getFullSession without account or time."
                ) from None
            # Zones differ by quarters of an hour; the rest is what the answer took.
            quarters = round((local - self._began_at.replace(tzinfo=None)) / timedelta(minutes=15))
            self._offset = quarters * timedelta(minutes=15)
            self._session = session
        return self._session

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        try:
            return self._api.ask(method, path, headers=self._require_session(), **request)
        except ReceiverError as error:
            if "ERROR_RIGHT_MISSING" in str(error):  # to this ticket; some versions answer 401
                raise AnswerError(str(error).rstrip("."), 403) from None
            if "ERROR_SESSION_TOKEN_INVALID" not in str(error):
                raise
            self._session = None  # it has ended meanwhile
            return self._api.ask(method, path, headers=self._require_session(), **request)

    def _item(self, path: str) -> dict[str, Any]:
        item = self._ask("GET", path)
        if not isinstance(item, dict) or "id" not in item:
            raise self._api.nonsense(path)
        return item

    def _items(
        self, path: str, parameters: Mapping[str, str | int] | None = None
    ) -> list[dict[str, Any]]:
        items = self._ask("GET", path, parameters=parameters)
        if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
            raise self._api.nonsense(path)
        return items

    def _moment(self, text: Any) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=UTC) - self._offset


def configured(desk: ReceiverStores) -> GlpiReceiver | None:
    """The GLPI of the settings; None where none is set.

    Raises:
        SettingsError: its address is set without a token, or the other way round.
        RoutingError: the routing file cannot be used.
    """
    settings = desk.settings
    if not settings.glpi_url and not settings.glpi_user_token_file:
        return None
    if not settings.glpi_url or not settings.glpi_user_token_file:
        raise SettingsError("Set both TICKETS_GLPI_URL and TICKETS_GLPI_USER_TOKEN_FILE.")
    names = desk.routing.systems.get("glpi", SystemNames())

    def credentials() -> dict[str, str]:
        headers = {"Authorization": f"user_token {settings.secret('glpi_user_token')}"}
        app_token = settings.secret("glpi_app_token")
        return {**headers, "App-Token": app_token} if app_token else headers

    api = RestApi("GLPI", settings.glpi_url, "TICKETS_GLPI_URL", settings.glpi_ca_file, credentials)
    return GlpiReceiver(api, names, desk.landing)


def _number(value: Any) -> str:
    """A number as text; empty for 0, which is GLPI's none."""
    return str(int(value) or "")
