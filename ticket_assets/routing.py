"""The desk's label set: its categories with their queues, and its priorities in order."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from ticket_assets.errors import TicketAssetsError
from ticket_assets.mail.exports import fold
from ticket_assets.system_names import SystemNames, SystemNamesError, system_names
from ticket_assets.text.characters import visible

NAME_CHARACTERS = 100
REVIEW_QUEUE = "triage"
"""Where the routing file names none."""
FORMULA_SIGNS = tuple("=+-@")
"""A cell that begins with one of them is a formula to spreadsheets."""


class RoutingError(TicketAssetsError):
    """The routing file cannot be used."""


@dataclass(frozen=True)
class Routing:
    """The labels a ticket may have and the queue each category goes to."""

    queues: dict[str, str]
    """Queue of each category."""
    priorities: tuple[str, ...]
    """Priorities from least to most urgent."""
    review_queue: str
    """Queue of the tickets that a person should look at."""
    is_shadow: bool = False
    """Shadow mode: tickets are decided, counted and reported as ever, and none is handed on."""
    systems: Mapping[str, SystemNames] = field(default_factory=dict)
    """What the desk's own systems call all these."""

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.queues)

    @property
    def destinations(self) -> dict[str, str]:
        """The queue to which a decided ticket of each category is handed on.

        Here alone it is decided what shadow mode does: all stay in the review queue. What hands a
        ticket on reads its queue from here, or from the rows of ticket_predictions, which do.
        """
        return dict.fromkeys(self.queues, self.review_queue) if self.is_shadow else self.queues


def name_problem(name: str) -> str | None:
    """Why a category, priority or queue cannot have this name, as the end of a sentence; None if it
    can.

    Letters, digits, punctuation and signs of every script are allowed, and single blanks.
    """
    if len(name) > NAME_CHARACTERS:
        return f"has {len(name):,} characters; {NAME_CHARACTERS} are allowed"
    if visible(name) != name:
        return "holds a character that is not seen, such as a control or a mark of direction"
    if not fold(name):
        return "needs a letter or a digit"
    if name.startswith(FORMULA_SIGNS):
        return f"begins with {name[0]}, which a spreadsheet takes for a formula"
    if " ".join(name.split()) != name:
        return "has blanks at an end, or several in a row"
    return None


def names_alike(names: Iterable[str]) -> tuple[str, str] | None:
    """Two names that differ in case, accents and punctuation alone, by which labels are not told
    apart; None if there are none."""
    folded: dict[str, str] = {}
    for name in names:
        if (other := folded.setdefault(fold(name), name)) is not name:
            return other, name
    return None


def load_routing(path: Path | None) -> Routing:
    """The routing in `path`, or the packaged one when it is None.

    Raises:
        RoutingError: the file is missing, is not YAML, or lacks categories, queues or priorities,
            or one of them cannot be called so.
    """
    import yaml

    file_name = str(path) if path else "the packaged routing.yaml"
    file = path or resources.files("ticket_assets").joinpath("routing.yaml")
    try:
        content = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise RoutingError(
            f"Cannot read the routing file {file_name}: {error.strerror}. Check TICKETS_ROUTING."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise RoutingError(f"The routing file {file_name} is not valid YAML: {reason}.") from None
    return _routing(content, file_name)


def renamed_text(text: str, former: str, name: str, queues: dict[str, str]) -> str | None:
    """The text of a routing file in which a category has another name and all else, comments too,
    is as it was; None where that cannot be done by replacing the one name.

    Args:
        queues: queue of each category afterwards.
    """
    for key, _ in _category_nodes(text):
        if key.value == former:
            before, after = text[: key.start_mark.index], text[key.end_mark.index :]
            for written in (name, json.dumps(name, ensure_ascii=False)):
                changed = f"{before}{written}{after}"
                if _queues_in(changed) == queues:
                    return changed
    return None


def merged_text(text: str, former: Collection[str], queues: dict[str, str]) -> str | None:
    """The same without the lines of some categories, and without what systems call the queues that
    went with them; None where the categories do not stand in lines of their own."""
    lines = text.splitlines(keepends=True)
    for key, value in _category_nodes(text):
        if key.value in former:
            for line in range(key.start_mark.line, _last_line(value) + 1):
                lines[line] = ""
    changed = _without_names_of_gone_queues("".join(lines), set(queues.values()))
    return changed if _queues_in(changed) == queues else None


def _without_names_of_gone_queues(text: str, queues: set[str]) -> str:
    """One name after the other: each cut moves all that stands behind it."""
    review_queue = [node.value for node in _nodes(text, "review_queue")] or [REVIEW_QUEUE]
    for mapping in _nodes(text, "systems", "*", "queues"):
        pairs = mapping.value if isinstance(mapping.value, list) else []
        for number, (key, value) in enumerate(pairs):
            if key.value in {*queues, *review_queue}:
                continue
            start, end = key.start_mark.index, value.end_mark.index
            if not mapping.flow_style:
                lines = text.splitlines(keepends=True)
                start = len("".join(lines[: key.start_mark.line]))
                end = len("".join(lines[: _last_line(value) + 1]))
            elif number + 1 < len(pairs):
                end = pairs[number + 1][0].start_mark.index
            elif number:
                start = pairs[number - 1][1].end_mark.index
            return _without_names_of_gone_queues(f"{text[:start]}{text[end:]}", queues)
    return text


def _category_nodes(text: str) -> Iterator[tuple[Any, Any]]:
    """The YAML nodes of the categories' names and of what stands at them."""
    for categories in _nodes(text, "categories"):
        yield from categories.value


def _nodes(text: str, *path: str) -> list[Any]:
    """The YAML nodes at a path of keys, of which `*` is any."""
    import yaml

    nodes: list[Any] = [yaml.compose(text, yaml.SafeLoader)]
    for name in path:
        nodes = [
            value
            for node in nodes
            if isinstance(node, yaml.MappingNode)
            for key, value in node.value
            if name in ("*", key.value)
        ]
    return nodes


def _last_line(node: Any) -> int:
    """The last line of a YAML node. A block ends where the next one begins."""
    if isinstance(node.value, list) and node.value and not node.flow_style:
        last = node.value[-1]
        return _last_line(last[1] if isinstance(last, tuple) else last)
    return int(node.end_mark.line - (node.end_mark.column == 0))


def _queues_in(text: str) -> dict[str, str] | None:
    import yaml

    try:
        return _routing(yaml.safe_load(text), "").queues
    except (yaml.YAMLError, RoutingError):
        return None


def _routing(content: Any, file_name: str) -> Routing:
    if not isinstance(content, dict):
        raise RoutingError(f"{file_name}: expected a mapping with `categories` and `priorities`.")
    categories = content.get("categories")
    if not isinstance(categories, dict) or len(categories) < 2:
        raise RoutingError(
            f"{file_name}: `categories` must map at least two categories to a queue."
        )
    queues = {}
    for name, entry in categories.items():
        queue = entry.get("queue") if isinstance(entry, dict) else entry
        if not isinstance(name, str) or not isinstance(queue, str) or not queue.strip():
            raise RoutingError(f"{file_name}: category {name!r} needs a queue, as in `{name}: it`.")
        queues[name] = queue
    priorities = content.get("priorities")
    if (
        not isinstance(priorities, list)
        or len(priorities) < 2
        or not all(isinstance(priority, str) for priority in priorities)
        or len(set(priorities)) != len(priorities)
    ):
        raise RoutingError(
            f"{file_name}: `priorities` must list at least two different names, least urgent first."
        )
    review_queue = content.get("review_queue", REVIEW_QUEUE)
    if not isinstance(review_queue, str) or not review_queue.strip():
        raise RoutingError(f"{file_name}: `review_queue` must be a queue's name.")
    for kind, names in (
        ("category", queues),
        ("priority", priorities),
        ("queue", {*queues.values(), review_queue}),
    ):
        for name in names:
            if problem := name_problem(name):
                raise RoutingError(f"{file_name}: the {kind} {_short(name)} {problem}. Rename it.")
        if kind != "queue" and (pair := names_alike(names)):
            raise RoutingError(
                f"{file_name}: {pair[0]!r} and {pair[1]!r} differ in case, accents and punctuation"
                " alone, by which labels are not told apart. Rename one."
            )
    try:
        systems = system_names(
            content,
            {
                "category": queues,
                "priority": priorities,
                "queue": {*queues.values(), review_queue},
            },
        )
    except SystemNamesError as error:
        raise RoutingError(f"{file_name}: {error}.") from None
    return Routing(
        queues=queues, priorities=tuple(priorities), review_queue=review_queue, systems=systems
    )


def _short(name: str) -> str:
    return repr(name if len(name) <= NAME_CHARACTERS else f"{name[:20]}…")
