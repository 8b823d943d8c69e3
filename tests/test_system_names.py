"""What a desk's own system calls the desk's labels, as the routing file has it."""

from pathlib import Path

import pytest
import yaml

from ticket_assets.routing import RoutingError, load_routing, merged_text, renamed_text
from ticket_assets.system_names import SystemNames

ROUTING = """\
categories:
  access: {queue: identity, zammad: [accounts, "accounts::password"], glpi: 12}
  network:
    queue: infrastructure
    zammad: network  # theirs
  printing: workstations
priorities: [low, high, urgent]
systems:
  zammad:
    category_field: topic
    priorities: {low: 1 low, high: 3 high, urgent: 3 high}
    queues: {identity: Accounts, triage: Users}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routing.yaml"


def test_names_stand_at_the_category_and_under_the_system(path: Path) -> None:
    path.write_text(ROUTING)

    systems = load_routing(path).systems

    assert systems == {
        "glpi": SystemNames(category={"access": ("12",)}),
        "zammad": SystemNames(
            category={"access": ("accounts", "accounts::password"), "network": ("network",)},
            priority={"low": ("1 low",), "high": ("3 high",), "urgent": ("3 high",)},
            queue={"identity": ("Accounts",), "triage": ("Users",)},
            category_field="topic",
        ),
    }
    assert load_routing(None).systems == {}


def test_the_first_name_is_written_and_each_is_understood(path: Path) -> None:
    path.write_text(ROUTING)
    names = load_routing(path).systems["zammad"]

    assert names.written("category", "access") == "accounts"
    assert names.written("category", "printing") is None
    assert names.meant("category", "accounts::password") == "access"
    assert names.meant("priority", "3 high") == "high"
    assert names.meant("queue", "Elsewhere") is None


def test_a_category_has_a_keyword_instead_of_a_folder(path: Path) -> None:
    path.write_text(
        "categories:\n  vpn: {queue: it, imap: {keyword: $vpn}}\n"
        "  mail: {queue: it, imap: Mail}\npriorities: [low, high]\n"
    )

    assert load_routing(path).systems == {
        "imap": SystemNames(category={"mail": ("Mail",)}, keyword={"vpn": "$vpn"})
    }


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"keyword": "two words"},
        {"keyword": "Réseau"},
        {"keyword": "\\Seen"},
        {"keyword": "ticket-assets-network"},
        {"keyword": ["vpn"]},
        {"keyword": True},
        {"keyword": "vpn", "folder": "VPN"},
    ],
)
def test_what_is_no_keyword_is_told(value: object, path: Path) -> None:
    categories = {"vpn": {"queue": "it", "imap": value}, "mail": "it"}
    path.write_text(yaml.safe_dump({"categories": categories, "priorities": ["low", "high"]}))

    with pytest.raises(
        RoutingError, match="'vpn': imap` must be a folder, a list of folders, or a"
    ):
        load_routing(path)


def test_two_categories_of_one_keyword_are_refused(path: Path) -> None:
    path.write_text(
        "categories:\n  vpn: {queue: it, imap: {keyword: Net}}\n"
        "  lan: {queue: it, imap: {keyword: net}}\npriorities: [low, high]\n"
    )

    with pytest.raises(RoutingError, match="'vpn' and 'lan' have the same keyword in IMAP"):
        load_routing(path)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"systems": ["zammad"]}, "`systems` must map a system to its names"),
        ({"systems": {"zammad": "x"}}, "`systems` must map a system to its names"),
        ({"systems": {"jira": {}}}, "`systems` holds 'jira'; known are glpi, imap, zammad"),
        (
            {"systems": {"zammad": {"states": {}}}},
            "`systems: zammad` holds 'states'; known are category_field, priorities, queues",
        ),
        (
            {"systems": {"zammad": {"category_field": ["a"]}}},
            "`systems: zammad: category_field` must be a field's name",
        ),
        (
            {"systems": {"zammad": {"queues": ["Users"]}}},
            "`systems: zammad: queues` must map names to names",
        ),
        (
            {"systems": {"zammad": {"priorities": {"normal": "2"}}}},
            "`systems: zammad: priorities` names 'normal', which the desk does not have as a"
            " priority",
        ),
        (
            {"systems": {"glpi": {"priorities": {"low": True}}}},
            "`systems: glpi: priorities: low` must be a name there, or a list of names",
        ),
        (
            {"systems": {"glpi": {"priorities": {"low": "2 low"}}}},
            "`systems: glpi: priorities: low` must be a number, by which its API knows it, or"
            " several",
        ),
        (
            {"categories": {"vpn": {"queue": "it", "glpi": [12, "VPN"]}, "mail": "it"}},
            "`category 'vpn': glpi` must be a number, by which its API knows it, or several",
        ),
        (
            {"categories": {"vpn": {"queue": "it", "zammad": []}, "mail": "it"}},
            "`category 'vpn': zammad` must be a name there, or a list of names",
        ),
        (
            {"categories": {"vpn": {"queue": "it", "imap": "a\nb"}, "mail": "it"}},
            "`category 'vpn': imap` must be a name there, or a list of names",
        ),
    ],
)
def test_what_is_no_name_is_told(change: dict[str, object], problem: str, path: Path) -> None:
    content = {"categories": {"vpn": "it", "mail": "it"}, "priorities": ["low", "high"], **change}
    path.write_text(yaml.safe_dump(content, sort_keys=False))

    with pytest.raises(RoutingError) as error:
        load_routing(path)

    assert str(error.value) == f"{path}: {problem}."


def test_a_renamed_category_keeps_its_names_and_a_merged_one_goes_with_them(path: Path) -> None:
    path.write_text(ROUTING)
    queues = {"access": "identity", "lan": "infrastructure", "printing": "workstations"}

    path.write_text(renamed_text(ROUTING, "network", "lan", queues) or "")
    renamed = load_routing(path).systems["zammad"].category
    del queues["lan"]
    merged = merged_text(ROUTING, ["network"], queues)
    path.write_text(merged or "")

    assert renamed["lan"] == ("network",)
    assert load_routing(path).systems["zammad"].category == {
        "access": ("accounts", "accounts::password")
    }


QUEUES = """\
categories:
  access: identity
  network: infrastructure
  printing: workstations
  mail: collaboration
  hardware: triage
priorities: [low, high]
systems:
  zammad:
    priorities: {low: 1 low}
    queues: {identity: Accounts, workstations: "PCs, printers", infrastructure: Net, triage: Users}
  glpi:
    queues:
      infrastructure: 21  # theirs
      workstations: 22
      collaboration:
        - 23
        - 24
"""


@pytest.mark.parametrize(
    ("former", "names"),
    [
        (["printing"], ["identity", "infrastructure", "triage", "infrastructure", "collaboration"]),
        (["network", "printing"], ["identity", "triage", "collaboration"]),
        (["printing", "mail"], ["identity", "infrastructure", "triage", "infrastructure"]),
        (["network", "printing", "mail"], ["identity", "triage"]),
        (["access", "printing"], ["infrastructure", "triage", "infrastructure", "collaboration"]),
    ],
)
def test_what_systems_call_a_queue_goes_with_its_last_category(
    former: list[str], names: list[str], path: Path
) -> None:
    queues = yaml.safe_load(QUEUES)["categories"]
    for name in former:
        del queues[name]

    merged = merged_text(QUEUES, former, queues) or ""

    path.write_text(merged)
    routing = load_routing(path)
    assert [
        name for system in ("zammad", "glpi") for name in routing.systems[system].queue
    ] == names
    assert set(merged.splitlines()) - set(QUEUES.splitlines()) == {
        line for line in merged.splitlines() if line.startswith("    queues: {")
    }


def test_a_queue_that_other_categories_have_keeps_its_names(path: Path) -> None:
    text = QUEUES.replace("mail: collaboration", "mail: workstations").partition("  glpi:")[0]
    queues = yaml.safe_load(text)["categories"]
    del queues["printing"]

    assert merged_text(text, ["printing"], queues) == text.replace("  printing: workstations\n", "")
