"""What a desk's own system calls the desk's categories, priorities and queues."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Target = Literal["category", "priority", "queue"]
SYSTEMS = ("glpi", "imap", "zammad")
"""Those whose names the routing file may hold."""
NUMBERED = ("glpi",)
"""Those whose API knows what they hold by numbers alone."""
_PLURALS: dict[Target, str] = {
    "category": "categories",
    "priority": "priorities",
    "queue": "queues",
}


class SystemNamesError(ValueError):
    """The names of a system cannot be used; the text is the end of a sentence about the file."""


@dataclass(frozen=True)
class SystemNames:
    """The names in one system, of each category, priority and queue that has one there."""

    category: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The first name of each is the one that is written; all are understood."""
    priority: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    queue: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    category_field: str | None = None
    """The ticket's field that holds the category, where the system leaves that to the desk."""

    def written(self, target: Target, name: str) -> str | None:
        """What a label or queue of the desk is called there; None: it has no name there."""
        names: Mapping[str, tuple[str, ...]] = getattr(self, target)
        return names[name][0] if name in names else None

    def meant(self, target: Target, value: str) -> str | None:
        """The desk's label or queue that a name there means, the first in the file where it stands
        for several; None: it means none."""
        names: Mapping[str, tuple[str, ...]] = getattr(self, target)
        return next((name for name, there in names.items() if value in there), None)


def system_names(
    content: Mapping[str, Any], labels: Mapping[Target, Iterable[str]]
) -> dict[str, SystemNames]:
    """The names in each system that a routing file has some for.

    A category's stand at the category, so that they go with it when it is renamed; those of
    priorities and queues under `systems`.

    Args:
        content: the routing file.
        labels: the desk's categories, priorities and queues.

    Raises:
        SystemNamesError: something else stands where a name is expected, or a name is given to
            what the desk does not have.
    """
    sections = content.get("systems") or {}
    if not isinstance(sections, dict) or not all(isinstance(x, dict) for x in sections.values()):
        raise SystemNamesError("`systems` must map a system to its names")
    if unknown := sections.keys() - set(SYSTEMS):
        raise SystemNamesError(
            f"`systems` holds {', '.join(sorted(map(repr, unknown)))}; known are"
            f" {', '.join(SYSTEMS)}"
        )
    systems = {}
    for system in SYSTEMS:
        section = sections.get(system, {})
        allowed = {"category_field", "priorities", "queues"}
        if unknown := section.keys() - allowed:
            raise SystemNamesError(
                f"`systems: {system}` holds {', '.join(sorted(map(repr, unknown)))}; known are"
                f" {', '.join(sorted(allowed))}"
            )
        category_field = section.get("category_field")
        if category_field is not None and not _is_name(category_field):
            raise SystemNamesError(f"`systems: {system}: category_field` must be a field's name")
        names: dict[Target, dict[str, tuple[str, ...]]] = {
            "category": {
                name: _names(entry[system], f"category {name!r}: {system}", system)
                for name, entry in content["categories"].items()
                if isinstance(entry, dict) and system in entry
            }
        }
        targets: tuple[Target, ...] = ("priority", "queue")
        for target in targets:
            given = section.get(_PLURALS[target]) or {}
            where = f"systems: {system}: {_PLURALS[target]}"
            if not isinstance(given, dict):
                raise SystemNamesError(f"`{where}` must map names to names")
            if unknown := given.keys() - set(labels[target]):
                raise SystemNamesError(
                    f"`{where}` names {', '.join(sorted(map(repr, unknown)))}, which the desk does"
                    f" not have as a {target}"
                )
            names[target] = {
                name: _names(there, f"{where}: {name}", system) for name, there in given.items()
            }
        if section or names["category"]:
            systems[system] = SystemNames(**names, category_field=category_field)
    return systems


def _names(value: Any, where: str, system: str) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    if not given or not all(map(_is_name, given)):
        raise SystemNamesError(f"`{where}` must be a name there, or a list of names")
    names = tuple(dict.fromkeys(str(name).strip() for name in given))
    if system in NUMBERED and not all(name.isascii() and name.isdecimal() for name in names):
        raise SystemNamesError(f"`{where}` must be a number, by which its API knows it, or several")
    return names


def _is_name(value: Any) -> bool:
    """Whether it is a text or a number; YAML makes truth values of `no` and `on`."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return bool(str(value).strip()) and str(value).isprintable()
