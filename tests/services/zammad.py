"""A small Zammad: the part of its documented API by which tickets are found, read and changed."""

import re
import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.desk_system import DeskSystem, DeskSystemServer, serve

TOKEN = "zammad+t0ken/of=the-desk"  # noqa: S105
ROUTING = """
categories:
  access: {queue: identity, zammad: access}
  network: {queue: infrastructure, zammad: [network, "network::vpn"]}
  printing: {queue: infrastructure, zammad: printing}
priorities: [low, high]
systems:
  zammad:
    priorities: {low: 1 low, high: 3 high}
    queues: {identity: Identity, infrastructure: Infrastructure}
"""
OURS, ANNA, BEN, CUSTOMER, SYSTEM = 5, 6, 7, 20, 1
GROUPS = ["Users", "Identity", "Infrastructure", "Workstations"]
PRIORITIES = ["1 low", "2 normal", "3 high"]
CATEGORIES = ["access", "network", "network::vpn", "printing"]
ATTRIBUTES = {"group": GROUPS, "priority": PRIORITIES, "category": CATEGORIES}
USERS = {
    OURS: ("Ticket", "Assets", "ticket-assets"),
    ANNA: ("Anna", "Agent", "anna"),
    BEN: ("Ben", "Agent", "ben"),
    CUSTOMER: ("Carla", "Customer", "carla"),
    SYSTEM: ("-", "", "-"),
}


class Zammad(DeskSystem):
    def __init__(self):
        super().__init__()
        self.tickets = {}
        self.articles = {}
        self.history = {}
        self.has_elasticsearch = True
        self.now = datetime.now(UTC)
        self.entries = 0

    # What people and rules do there.

    def new_ticket(self, message_id, creator=CUSTOMER, **fields):
        number = len(self.tickets) + 1
        moment = self._tick()
        self.tickets[number] = {
            "id": number,
            "number": str(22000 + number),
            "title": "It drops",
            "group": "Users",
            "priority": "2 normal",
            "category": None,
            "state": "new",
            "customer_id": CUSTOMER,
            "created_by_id": creator,
            "updated_by_id": creator,
            "created_at": moment,
            "updated_at": moment,
            **fields,
        }
        self.articles[number] = []
        self.history[number] = []
        self._record(number, creator, moment, {"type": "created"})
        self.new_article(number, message_id)
        return number

    def new_article(self, ticket, message_id):
        identity = sum(map(len, self.articles.values())) + 1
        self.articles[ticket].append(
            {"id": identity, "ticket_id": ticket, "message_id": message_id, "type": "email"}
        )
        self.tickets[ticket]["updated_at"] = self._tick()

    def set_fields(self, ticket, user, **fields):
        """As somebody saves the form: what is another value than before is an entry of the history,
        what is the same is none."""
        moment = self._tick()
        for name, value in fields.items():
            former = self.tickets[ticket][name]
            if former != value:
                self.tickets[ticket][name] = value
                change = {"value_from": former or "", "value_to": value or ""}
                self._record(ticket, user, moment, {"type": "updated", "attribute": name, **change})
        self.tickets[ticket]["updated_by_id"] = user
        self.tickets[ticket]["updated_at"] = moment

    def forward(self, seconds):
        self.now += timedelta(seconds=seconds)

    def lose_search(self):
        self.has_elasticsearch = False

    def remove(self, ticket):
        del self.tickets[ticket]

    def fields(self, ticket):
        return {name: self.tickets[ticket][name] for name in ATTRIBUTES}

    def entries_of(self, ticket):
        return self.history[ticket]

    # What it answers.

    def answer(self, method, path, query, headers, body):
        if headers["Authorization"] != f"Token token={TOKEN}":
            return 401, {}, {"error": f"Invalid token {headers['Authorization']}"}
        path, query = path.removeprefix("/api/v1/"), dict(query)
        content = None
        match method, path:
            case "GET", "users/me":
                content = {"id": OURS, "login": "ticket-assets"}
            case "GET", "tickets":
                content = list(self.tickets.values())[: int(query.get("per_page", 100))]
            case "GET", "tickets/search":
                content = self._search(query)
        if content is not None:
            return 200, {}, content
        what, _, number = path.rpartition("/")
        return self._answer_about(int(number), method, what, body)

    def _answer_about(self, number, method, what, body):
        ticket = self.tickets.get(number)
        if ticket is None:
            return 404, {}, {"error": f"Couldn't find Ticket with 'id'={number}"}
        content = {"error": "No route matches"}
        match method, what:
            case "GET", "tickets":
                content = ticket
            case "GET", "ticket_articles/by_ticket":
                content = self.articles[number]
            case "GET", "ticket_history":
                content = {"history": self.history[number], "assets": {"User": _users()}}
            case "PUT", "tickets":
                self.happens_before_write()
                for name, value in body.items():
                    allowed = [*ATTRIBUTES.get(name, ()), *([""] if name == "category" else [])]
                    if value not in allowed:
                        text = f"No lookup value found for '{name}': '{value}'"
                        return 422, {}, {"error": text}
                values = {name: value or None for name, value in body.items()}
                self.set_fields(number, OURS, **values)
                content = ticket
        return (404 if "error" in content else 200), {}, content

    def _search(self, query):
        assert query["expand"] == "true"
        text, found = query["query"], []
        if not self.has_elasticsearch:  # it looks for the words in titles and numbers
            found = [item for item in self.tickets.values() if text in item["title"]]
        elif message := re.fullmatch(r'article\.message_id:"(.*)"', text):
            # A phrase: other ids that hold the same words are found too.
            words = _words(re.sub(r"\\(.)", r"\1", message[1]))
            found = [
                item
                for key, item in self.tickets.items()
                if any(words in _words(article["message_id"]) for article in self.articles[key])
            ]
        elif identity := re.fullmatch(r"id:(\d+)", text):
            found = [item for key, item in self.tickets.items() if key == int(identity[1])]
        elif moment := re.fullmatch(r"updated_at:\[(\S+) TO \*\]", text):
            since = datetime.fromisoformat(moment[1])
            found = [
                item
                for item in self.tickets.values()
                if datetime.fromisoformat(item["updated_at"]) >= since
            ]
        if "sort_by" in query:
            assert query["order_by"] == "asc"
            found.sort(key=lambda item: item[query["sort_by"]])
        limit, page = int(query["limit"]), int(query.get("page", 1))
        return found[(page - 1) * limit : page * limit]

    def _tick(self):
        self.now = max(self.now + timedelta(milliseconds=1), datetime.now(UTC))
        return f"{self.now:%Y-%m-%dT%H:%M:%S}.{self.now.microsecond // 1000:03}Z"

    def _record(self, ticket, user, moment, entry):
        self.entries += 1
        about = {"id": self.entries, "o_id": ticket, "object": "Ticket"}
        self.history[ticket].append({**about, **entry, "created_by_id": user, "created_at": moment})


def _users():
    return {
        str(key): {"id": key, "firstname": first, "lastname": last, "login": login}
        for key, (first, last, login) in USERS.items()
    }


def _words(text):
    return " " + " ".join(re.findall(r"\w+", (text or "").lower())) + " "


class ZammadServer(DeskSystemServer):
    module = "tests.services.zammad"


@pytest.fixture(scope="session")
def zammad_server():
    server = ZammadServer()
    yield server
    server.stop()


@pytest.fixture
def zammad(zammad_server):
    """The server, without a ticket."""
    zammad_server.reset()
    return zammad_server


@pytest.fixture
def zammad_settings(zammad, tmp_path):
    """The settings of a desk that has it, as keywords."""
    routing, token = tmp_path / "routing.yaml", tmp_path / "token"
    routing.write_text(ROUTING)
    token.write_text(f"{TOKEN}\n")
    return {"routing": routing, "zammad_url": zammad.url, "zammad_token_file": token}


if __name__ == "__main__":
    serve(Zammad(), int(sys.argv[1]))
