"""The desk's label set: its categories with their queues, and its priorities in order."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ticket_assets.errors import TicketAssetsError


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

    @property
    def categories(self) -> tuple[str, ...]:
        return tuple(self.queues)


def load_routing(path: Path | None) -> Routing:
    """The routing in `path`, or the packaged one when it is None.

    Raises:
        RoutingError: the file is missing, is not YAML, or lacks categories, queues or priorities.
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
    review_queue = content.get("review_queue", "triage")
    if not isinstance(review_queue, str) or not review_queue.strip():
        raise RoutingError(f"{file_name}: `review_queue` must be a queue's name.")
    return Routing(queues=queues, priorities=tuple(priorities), review_queue=review_queue)
