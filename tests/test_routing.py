from __future__ import annotations

from pathlib import Path

import pytest

from ticket_assets.routing import Routing, RoutingError, load_routing

CATEGORIES = "categories: {mail: messaging, vpn: network}\n"
PRIORITIES = "priorities: [low, high]\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "routing.yaml"


def message_of_loading(path: Path) -> str:
    with pytest.raises(RoutingError) as error:
        load_routing(path)
    message = str(error.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_the_packaged_routing_has_a_queue_for_every_category() -> None:
    routing = load_routing(None)

    assert len(routing.categories) >= 2
    assert all(routing.queues.values())
    assert routing.review_queue == "triage"


def test_a_desk_has_its_own_labels(path: Path) -> None:
    path.write_text(
        "categories:\n"
        "  réseau: {queue: network}\n"
        "  mail: messaging\n"
        "priorities: [basse, haute]\n"
        "review_queue: dispatch\n",
        "utf-8",
    )

    routing = load_routing(path)

    assert routing == Routing(
        queues={"réseau": "network", "mail": "messaging"},
        priorities=("basse", "haute"),
        review_queue="dispatch",
    )
    assert routing.categories == ("réseau", "mail")


def test_without_a_review_queue_it_is_triage(path: Path) -> None:
    path.write_text(CATEGORIES + PRIORITIES)

    assert load_routing(path).review_queue == "triage"


def test_a_missing_file_names_the_setting(path: Path) -> None:
    assert message_of_loading(path) == (
        f"Cannot read the routing file {path}: No such file or directory. Check TICKETS_ROUTING."
    )


def test_a_folder_is_not_a_routing_file(tmp_path: Path) -> None:
    assert message_of_loading(tmp_path).endswith(": Is a directory. Check TICKETS_ROUTING.")


@pytest.mark.parametrize("content", [b"categories: [mail", b"a: b: c", b"mail: caf\xe9"])
def test_a_file_that_is_not_yaml_is_named_in_one_line(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert message_of_loading(path).startswith(f"The routing file {path} is not valid YAML: ")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "expected a mapping with `categories` and `priorities`"),
        ("[mail, vpn]", "expected a mapping with `categories` and `priorities`"),
        (PRIORITIES, "`categories` must map at least two categories to a queue"),
        ("categories: {mail: it}\n" + PRIORITIES, "`categories` must map at least two"),
        ("categories: [mail, vpn]\n" + PRIORITIES, "`categories` must map at least two"),
        ("categories: {mail: it, vpn: }\n" + PRIORITIES, "category 'vpn' needs a queue"),
        ("categories: {mail: it, vpn: ' '}\n" + PRIORITIES, "category 'vpn' needs a queue"),
        ("categories: {mail: it, vpn: {to: it}}\n" + PRIORITIES, "category 'vpn' needs a queue"),
        ("categories: {mail: it, 2: it}\n" + PRIORITIES, "category 2 needs a queue"),
        (CATEGORIES, "`priorities` must list at least two different names"),
        (CATEGORIES + "priorities: [low]", "`priorities` must list at least two"),
        (CATEGORIES + "priorities: [low, low]", "`priorities` must list at least two different"),
        (CATEGORIES + "priorities: [1, 2]", "`priorities` must list at least two"),
        (CATEGORIES + "priorities: [[low], [high]]", "`priorities` must list at least two"),
        (CATEGORIES + PRIORITIES + "review_queue: [a]", "`review_queue` must be a queue's name"),
        (CATEGORIES + PRIORITIES + "review_queue: ' '", "`review_queue` must be a queue's name"),
    ],
)
def test_what_is_missing_is_told(path: Path, content: str, expected: str) -> None:
    path.write_text(content)

    assert expected in message_of_loading(path)


def test_a_yes_or_no_category_says_what_yaml_made_of_it(path: Path) -> None:
    path.write_text("categories: {mail: it, no: it}\n" + PRIORITIES)

    assert "category False needs" in message_of_loading(path)
