from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.hostile_names import NAMES, OBEYED
from ticket_assets.desk import Desk
from ticket_assets.routing import Routing, RoutingError, load_routing, merged_text, renamed_text
from ticket_assets.settings import Settings

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


def test_in_shadow_mode_every_category_stays_in_the_review_queue(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    routing = Desk(settings).routing
    in_shadow = Desk(settings.model_copy(update={"shadow_mode": True})).routing

    assert routing.destinations == routing.queues == in_shadow.queues
    assert in_shadow.destinations == dict.fromkeys(routing.categories, routing.review_queue)


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


ALLOWED = {
    *("script", "image", "entity", "markup that closes", "markup", "style", "emoji code"),
    *("markdown image", "markdown link", "address", "markdown", "table", "mathematics", "formats"),
    *("quotes", "Arabic", "Hindi", "Chinese", "accents", "underscore", "script in capitals"),
}
"""Of the hostile names those of letters, punctuation and signs alone, which surfaces escape."""


@pytest.mark.parametrize("kind", NAMES)
def test_a_name_of_whatever_is_seen_is_allowed_and_any_other_refused_by_name(
    kind: str, path: Path
) -> None:
    name = NAMES[kind]
    content = {"categories": {name: "it", "vpn": name}, "priorities": ["low", "high"]}
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), "utf-8")

    if kind in ALLOWED and kind != "markup":
        assert load_routing(path).categories == (name, "vpn")
    else:
        message = message_of_loading(path)
        assert len(message) < 400
        assert not OBEYED.intersection(message)


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("x" * 101, "has 101 characters; 100 are allowed"),
        ("a\u202eb", "holds a character that is not seen"),
        ("?!", "needs a letter or a digit"),
        ("=1+1", "begins with =, which a spreadsheet takes for a formula"),
        (" vpn", "has blanks at an end"),
    ],
)
def test_names_that_cannot_be_are_told_wherever_they_stand(
    name: str, problem: str, path: Path
) -> None:
    for content in (
        {"categories": {name: "a", "b": "b"}, "priorities": ["low", "high"]},
        {"categories": {"a": name, "b": "b"}, "priorities": ["low", "high"]},
        {"categories": {"a": "a", "b": "b"}, "priorities": ["low", name]},
        {"categories": {"a": "a", "b": "b"}, "priorities": ["l", "h"], "review_queue": name},
    ):
        path.write_text(yaml.safe_dump(content, allow_unicode=True), "utf-8")

        assert problem in message_of_loading(path)


@pytest.mark.parametrize("names", [("C", "C++"), ("Réseau", "reseau"), ("[vpn]", "VPN")])
def test_names_by_which_labels_are_not_told_apart_are_refused(
    names: tuple[str, str], path: Path
) -> None:
    content = {"categories": dict.fromkeys(names, "it"), "priorities": ["low", "high"]}
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), "utf-8")

    assert f"{names[0]!r} and {names[1]!r} differ in" in message_of_loading(path)


def test_words_that_differ_in_vowel_signs_are_told_apart(path: Path) -> None:
    content = {"categories": {"कि": "a", "का": "b"}, "priorities": ["low", "high"]}
    path.write_text(yaml.safe_dump(content, allow_unicode=True, sort_keys=False), "utf-8")

    assert load_routing(path).categories == ("कि", "का")


STYLES = {
    "flow": "  {name}: {{queue: {queue}, description: d}}  # of {queue}\n",
    "plain": "  {name}: {queue}  # of {queue}\n",
    "block": "  {name}:\n    # its own\n    queue: {queue}  # of {queue}\n    lines:\n      - a\n",
    "quoted": "  '{name}': {queue}\n",
    "folded": "  {name}:\n    queue: {queue}\n    description: >\n      several\n\n      lines\n",
}


@pytest.mark.slow
@given(
    styles=st.lists(st.sampled_from(sorted(STYLES)), min_size=4, max_size=4),
    place=st.integers(0, 3),
    ending=st.sampled_from(["\n", "\r\n"]),
    name=st.sampled_from(["mail", "a: b", "#1", "yes", "1.5", "it's", 'say "x"', "é", "null"]),
)
def test_of_a_routing_file_one_name_or_one_entry_is_changed_and_no_comment(
    styles: list[str], place: int, ending: str, name: str
) -> None:
    names, queues = "abcd", dict(zip("abcd", "qrst", strict=True))
    entries = [
        f"  # {one}, by itself\n{STYLES[style].format(name=one, queue=queues[one])}"
        for one, style in zip(names, styles, strict=True)
    ]
    text = f"# Ours\ncategories:\n{''.join(entries)}# then\npriorities: [low, high]\n"
    text = text.replace("\n", ending)
    former = names[place]

    renamed = renamed_text(
        text, former, name, {name if one == former else one: queues[one] for one in names}
    )
    merged = merged_text(
        text, [former], {one: queue for one, queue in queues.items() if one != former}
    )

    written = (name, json.dumps(name, ensure_ascii=False))
    keys = (f"  {former}:", f"  '{former}':")
    assert renamed in {text.replace(key, f"  {one}:") for key in keys for one in written}
    kept = [*entries]
    kept[place] = f"  # {former}, by itself\n"
    former_lines, kept_lines = ("".join(part).replace("\n", ending) for part in (entries, kept))
    assert merged == text.replace(former_lines, kept_lines)
