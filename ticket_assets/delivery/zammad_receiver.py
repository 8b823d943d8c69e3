"""Zammad, by its REST API (docs.zammad.org): fields of its tickets, and what agents made of them.

A ticket is found by the Message-ID of its first article, and says itself who set which field when.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ticket_assets.delivery.fields import (
    TARGETS,
    AmbiguousTicketError,
    Change,
    Field,
)
from ticket_assets.delivery.looks import ChangedTicket, LookingReceiver, aware_moment
from ticket_assets.delivery.receivers import ReceiverError
from ticket_assets.delivery.rest import AnswerError, RestApi
from ticket_assets.mail.headers import bare_id
from ticket_assets.settings import SettingsError
from ticket_assets.system_names import SystemNames, Target

if TYPE_CHECKING:
    from ticket_assets.delivery.decisions import Decision
    from ticket_assets.delivery.receivers import ReceiverStores
    from ticket_assets.mail.landing import LandingZone

SYSTEM_USER = 1
"""Zammad's own, in whose name triggers and schedulers change tickets."""


class ZammadReceiver(LookingReceiver):
    """The tickets of a Zammad."""

    name = "zammad"
    page_size = 50
    pages = 200
    """Elasticsearch gives no more than 10,000 tickets of one search."""

    def __init__(self, api: RestApi, names: SystemNames, landing: LandingZone) -> None:
        super().__init__(api, names, landing)
        self._fields: dict[Target, str] = {
            "category": names.category_field or "category",
            "priority": "priority",
            "queue": "group",
        }
        self._account: int | None = None
        self._has_search = False

    def find(self, decision: Decision) -> str | None:
        message = bare_id(decision.message_id)
        if not message:
            return None
        phrase = message.replace("\\", "\\\\").replace('"', '\\"')
        tickets = self._search(f'article.message_id:"{phrase}"')
        # A search knows words and their order, not whole ids.
        references = [
            str(ticket["id"]) for ticket in tickets if self._first_message(ticket["id"]) == message
        ]
        if len(references) > 1:
            raise AmbiguousTicketError(
                f"Zammad has several tickets of this message: {', '.join(references)}."
            )
        if not tickets:
            self._require_search()
        return references[0] if references else None

    def read(self, reference: str) -> Mapping[Target, Field]:
        ticket = self._ask("GET", f"tickets/{reference}", parameters={"expand": "true"})
        if not isinstance(ticket, dict):
            raise self._api.nonsense(f"tickets/{reference}")
        # The history last: what others set in between is seen there.
        history = self._ask("GET", f"ticket_history/{reference}")
        try:
            return self._read(ticket, history)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise self._api.nonsense(f"ticket_history/{reference}") from None

    def write(self, reference: str, values: Mapping[Target, str]) -> None:
        body = {self._fields[target]: value for target, value in values.items()}
        self._ask("PUT", f"tickets/{reference}", body=body)

    def changed(self, begin: datetime, page: int) -> list[ChangedTicket]:
        moment = begin.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        # As they are now, in the order of what the search was last told of them.
        tickets = self._search(
            f"updated_at:[{moment} TO *]", sort_by="updated_at", order_by="asc", page=page + 1
        )
        if not tickets and page == 0:
            self._require_search()
        return [
            ChangedTicket(
                str(ticket["id"]),
                aware_moment(ticket["updated_at"]),
                f"Zammad's ticket {ticket.get('number') or ticket['id']}",
            )
            for ticket in tickets
        ]

    def message(self, reference: str) -> str | None:
        return self._first_message(int(reference))

    def seen_until(self) -> None:
        return None

    def _ask(self, method: str, path: str, **request: Any) -> Any:
        return self._api.ask(method, f"api/v1/{path}", **request)

    def _search(self, query: str, **parameters: str | int) -> list[dict[str, Any]]:
        parameters = {"query": query, "expand": "true", "limit": self.page_size, **parameters}
        tickets = self._ask("GET", "tickets/search", parameters=parameters)
        if not isinstance(tickets, list) or not all(
            isinstance(ticket, dict)
            and isinstance(ticket.get("id"), int)
            and _is_moment(ticket.get("updated_at"))
            for ticket in tickets
        ):
            raise self._api.nonsense("tickets/search")
        return tickets

    def _require_search(self) -> None:
        """A search that finds nothing may be one that knows no fields."""
        if self._has_search:
            return
        tickets = self._ask("GET", "tickets", parameters={"per_page": 1, "page": 1})
        if not isinstance(tickets, list) or (tickets and not isinstance(tickets[0], dict)):
            raise self._api.nonsense("tickets")
        if tickets and not self._search(f"id:{tickets[0].get('id')}"):
            raise ReceiverError(
                "Zammad's search knows no fields, by which tickets are found here: it needs"
                " Elasticsearch."
            )
        self._has_search = bool(tickets)

    def _first_message(self, ticket: int) -> str | None:
        """The Message-ID of a ticket's first article: it is that mail's ticket. One of a later
        article is a reply, which decides nothing."""
        try:
            articles = self._ask("GET", f"ticket_articles/by_ticket/{ticket}")
        except AnswerError as error:
            if error.status in {403, 404}:  # closed to this account, or removed meanwhile
                return None
            raise
        if not isinstance(articles, list) or not all(
            isinstance(item, dict) and isinstance(item.get("id"), int) for item in articles
        ):
            raise self._api.nonsense("ticket_articles/by_ticket")
        if not articles:
            return None
        return bare_id(min(articles, key=lambda item: item["id"]).get("message_id"))

    def _read(self, ticket: dict[str, Any], history: Any) -> dict[Target, Field]:
        users = history["assets"].get("User", {})
        fields: dict[Target, Field] = {}
        for target in TARGETS:
            name = self._fields[target]
            value = str(ticket.get(name) or "")
            changes = tuple(self._changes(ticket, history["history"], users, name))
            fields[target] = Field(value, changes or self._at_creation(ticket, target, value))
        return fields

    def _changes(
        self, ticket: dict[str, Any], history: list[dict[str, Any]], users: Any, name: str
    ) -> Iterator[Change]:
        for entry in history:
            if (entry["object"], entry["type"], entry.get("attribute")) != (
                *("Ticket", "updated"),
                name,
            ):
                continue
            author = int(entry["created_by_id"])
            is_ours = author == self._own_id()
            yield Change(
                value=str(entry.get("value_to") or ""),
                is_ours=is_ours,
                is_person=not is_ours and author not in {SYSTEM_USER, ticket.get("customer_id")},
                at=aware_moment(entry["created_at"]),
                by=_person(users.get(str(author), {}), author),
            )

    def _at_creation(
        self, ticket: dict[str, Any], target: Target, value: str
    ) -> tuple[Change, ...]:
        """What a ticket had from its beginning, where that is no default: a category always, the
        others where someone has made the ticket by hand."""
        author = ticket.get("created_by_id")
        by_hand = author not in {SYSTEM_USER, ticket.get("customer_id"), self._own_id()}
        if not value or not (by_hand or target == "category"):
            return ()
        return (Change(value, False, False, aware_moment(ticket["created_at"]), "its creation"),)

    def _own_id(self) -> int:
        if self._account is None:
            account = self._ask("GET", "users/me")
            if not isinstance(account, dict) or not isinstance(account.get("id"), int):
                raise self._api.nonsense("users/me")
            self._account = account["id"]
        return self._account


def configured(desk: ReceiverStores) -> ZammadReceiver | None:
    """The Zammad of the settings; None where none is set.

    Raises:
        SettingsError: its address is set without a token, or the other way round.
        RoutingError: the routing file cannot be used.
    """
    settings = desk.settings
    if not settings.zammad_url and not settings.zammad_token_file:
        return None
    if not settings.zammad_url or not settings.zammad_token_file:
        raise SettingsError("Set both TICKETS_ZAMMAD_URL and TICKETS_ZAMMAD_TOKEN_FILE.")
    api = RestApi(
        "Zammad",
        settings.zammad_url,
        "TICKETS_ZAMMAD_URL",
        settings.zammad_ca_file,
        lambda: {"Authorization": f"Token token={settings.secret('zammad_token')}"},
    )
    names = desk.routing.systems.get("zammad", SystemNames())
    return ZammadReceiver(api, names, desk.landing)


def _person(user: Any, number: int) -> str:
    names = [str(user.get(name) or "") for name in ("firstname", "lastname")]
    return " ".join(filter(None, names)) or str(user.get("login") or f"user {number}")


def _is_moment(text: Any) -> bool:
    try:
        aware_moment(text)
    except (ValueError, TypeError):
        return False
    return True
