"""A small GLPI: the part of its documented API by which tickets are found, read and changed."""

import sys
from datetime import UTC, datetime, timedelta

import pytest

from tests.services.desk_system import DeskSystem, DeskSystemServer, serve

USER_TOKEN, APP_TOKEN = "glpi+us3r/token", "glpi-4pp-token"
ROUTING = """
categories:
  access: {queue: identity, glpi: 11}
  network: {queue: infrastructure, glpi: [12, 13]}
  printing: {queue: infrastructure, glpi: 14}
priorities: [low, high]
systems:
  glpi:
    priorities: {low: 2, high: 4}
    queues: {identity: 21, infrastructure: 22}
"""
OURS, ANNA, BEN, CUSTOMER, RULE = 5, 6, 7, 20, 0
USERS = {OURS: "ticket-assets", ANNA: "Agent Anna", BEN: "Agent Ben", CUSTOMER: "Customer Carla"}
CATEGORIES = {0: "", 11: "Access", 12: "Network", 13: "Network > VPN", 14: "Printing"}
GROUPS = {21: "Identity", 22: "Infrastructure", 23: "Workstations"}
LOGGED = {"itilcategories_id": 7, "priority": 3}
OFFSET = timedelta(hours=2)
"""Its clock shows local time, and says no zone."""


class Glpi(DeskSystem):
    def __init__(self):
        super().__init__()
        self.tickets, self.groups, self.logs = {}, {}, {}
        self.sessions = set()
        self.entries = 0
        self.now = datetime.now(UTC) + OFFSET

    # What people and rules do there.

    def new_ticket(self, recipient=CUSTOMER, **fields):
        number = len(self.tickets) + 1
        moment = self._tick()
        self.tickets[number] = {
            "id": number,
            "name": "It drops",
            "itilcategories_id": 0,
            "priority": 3,
            "urgency": 3,
            "users_id_recipient": recipient,
            "date": moment,
            "date_creation": moment,
            "date_mod": moment,
            **fields,
        }
        self.groups[number], self.logs[number] = [], []
        self._log(number, recipient, moment, linked_action=20)
        return number

    def set_fields(self, ticket, user, **fields):
        """What is another value than before is an entry of the history, the same is none."""
        moment = self._tick()
        for name, value in fields.items():
            former = self.tickets[ticket][name]
            if former != value:
                self.tickets[ticket][name] = value
                texts = {
                    "old_value": _text(name, former),
                    "new_value": _text(name, value),
                }
                self._log(ticket, user, moment, id_search_option=LOGGED[name], **texts)
                self.tickets[ticket]["date_mod"] = moment

    def assign(self, ticket, user, group):
        moment = self._tick()
        self.groups[ticket].append({"tickets_id": ticket, "groups_id": group, "type": 2})
        about = {"itemtype_link": "Group", "linked_action": 15}
        self._log(ticket, user, moment, new_value=f"{GROUPS[group]} ({group})", **about)
        self.tickets[ticket]["date_mod"] = moment

    def unassign(self, ticket, user, group):
        moment = self._tick()
        self.groups[ticket] = [item for item in self.groups[ticket] if item["groups_id"] != group]
        about = {"itemtype_link": "Group", "linked_action": 16}
        self._log(ticket, user, moment, old_value=f"{GROUPS[group]} ({group})", **about)
        self.tickets[ticket]["date_mod"] = moment

    def forward(self, seconds):
        self.now += timedelta(seconds=seconds)

    def end_sessions(self):
        self.sessions.clear()

    def fields(self, ticket):
        fields = {name: self.tickets[ticket][name] for name in LOGGED}
        return {**fields, "groups": [group["groups_id"] for group in self.groups[ticket]]}

    def entries_of(self, ticket):
        return self.logs[ticket]

    # What it answers.

    def answer(self, method, path, query, headers, body):
        path, query = path.removeprefix("/apirest.php/"), dict(query)
        if headers["App-Token"] != APP_TOKEN:
            return 400, {}, ["ERROR_WRONG_APP_TOKEN_PARAMETER", "parameter app_token seems wrong"]
        if path == "initSession":
            return self._new_session(headers)
        if headers["Session-Token"] not in self.sessions:
            return 401, {}, ["ERROR_SESSION_TOKEN_INVALID", "session_token seems invalid"]
        match method, path.split("/"):
            case "GET", ["killSession"]:
                self.sessions.discard(headers["Session-Token"])
                answer = 200, {}, ""
            case "GET", ["getFullSession"]:
                moment = f"{datetime.now(UTC) + OFFSET:%Y-%m-%d %H:%M:%S}"
                answer = 200, {}, {"session": {"glpiID": OURS, "glpi_currenttime": moment}}
            case "GET", ["search", "Ticket"]:
                answer = self._search(query)
            case "POST", ["Group_Ticket"]:
                self.happens_before_write()
                assignment = body["input"]
                self.assign(assignment["tickets_id"], OURS, assignment["groups_id"])
                answer = 201, {}, {"id": 1, "message": ""}
            case _, ["Ticket", number, *parts]:
                answer = self._answer_about(int(number), method, parts, body)
            case _:
                answer = 400, {}, ["ERROR_RESOURCE_NOT_FOUND_NOR_COMMONDBTM", "resource not found"]
        return answer

    def _new_session(self, headers):
        if headers["Authorization"] != f"user_token {USER_TOKEN}":
            given = headers["Authorization"]
            return 401, {}, ["ERROR_GLPI_LOGIN_USER_TOKEN", f"{given} seems invalid"]
        token = f"session-{len(self.requests)}"
        self.sessions.add(token)
        return 200, {}, {"session_token": token}

    def _answer_about(self, number, method, parts, body):
        ticket = self.tickets.get(number)
        if ticket is None:
            return 404, {}, ["ERROR_ITEM_NOT_FOUND", "Item not found"]
        users = [{"tickets_id": number, "users_id": CUSTOMER, "type": 1}]
        match method, parts:
            case "GET", []:
                answer = 200, {}, ticket
            case "GET", ["Group_Ticket"]:
                answer = 200, {}, self.groups[number]
            case "GET", ["Ticket_User"]:
                answer = 200, {}, users
            case "GET", ["Log"]:
                answer = 200, {}, self.logs[number]
            case "PUT", []:
                self.happens_before_write()
                if body["input"].get("itilcategories_id", 0) not in CATEGORIES:
                    return 200, {}, [{str(number): False, "message": "Item not found"}]
                self.set_fields(number, OURS, **body["input"])
                answer = 200, {}, [{str(number): True, "message": ""}]
            case _:
                answer = 400, {}, ["ERROR_METHOD_NOT_ALLOWED", ""]
        return answer

    def _search(self, query):
        assert (query["criteria[0][field]"], query["criteria[0][searchtype]"]) == ("19", "morethan")
        assert (query["sort"], query["order"]) == ("19", "ASC")
        found = [
            {"2": item["id"], "19": item["date_mod"]}
            for item in self.tickets.values()
            if item["date_mod"] > query["criteria[0][value]"]
        ]
        found.sort(key=lambda row: row["19"])
        first, last = map(int, query["range"].split("-"))
        if not found:
            return 200, {}, {"totalcount": 0, "count": 0}
        if first >= len(found):
            return 400, {}, ["ERROR_RANGE_EXCEED_TOTAL", "Provided range exceed total count"]
        rows = found[first : last + 1]
        return 200, {}, {"totalcount": len(found), "count": len(rows), "data": rows}

    def _tick(self):
        self.now = max(self.now, datetime.now(UTC) + OFFSET)
        return f"{self.now:%Y-%m-%d %H:%M:%S}"

    def _log(self, ticket, user, moment, **entry):
        self.entries += 1
        self.logs[ticket].append(
            {
                "id": self.entries,
                "itemtype": "Ticket",
                "items_id": ticket,
                "itemtype_link": "",
                "linked_action": 0,
                "user_name": f"{USERS[user]} ({user})" if user else "cron_mailgate",
                "date_mod": moment,
                "id_search_option": 0,
                "old_value": "",
                "new_value": "",
                **entry,
            }
        )


def _text(name, value):
    return f"{CATEGORIES[value]} ({value})" if name == "itilcategories_id" else str(value)


class GlpiServer(DeskSystemServer):
    module = "tests.services.glpi"


@pytest.fixture(scope="session")
def glpi_server():
    server = GlpiServer()
    yield server
    server.stop()


@pytest.fixture
def glpi(glpi_server):
    """The server, without a ticket."""
    glpi_server.reset()
    return glpi_server


@pytest.fixture
def glpi_settings(glpi, tmp_path):
    """The settings of a desk that has it, as keywords."""
    routing, user, app = (tmp_path / name for name in ("routing.yaml", "user", "app"))
    routing.write_text(ROUTING)
    user.write_text(f"{USER_TOKEN}\n")
    app.write_text(f"{APP_TOKEN}\n")
    return {
        "routing": routing,
        "glpi_url": f"{glpi.url}/apirest.php",
        "glpi_user_token_file": user,
        "glpi_app_token_file": app,
    }


if __name__ == "__main__":
    serve(Glpi(), int(sys.argv[1]))
