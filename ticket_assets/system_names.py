"""What a desk's own system calls the desk's categories, priorities and queues."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeGuard

Target = Literal["category", "priority", "queue"]
SYSTEMS = ("glpi", "imap", "zammad")
"""Those whose names the routing file may hold."""
NUMBERED = ("glpi",)
"""Those whose API knows what they hold by numbers alone."""
OWN_KEYWORDS = "ticket-assets-"
"""So begin the IMAP keywords by which a desk knows what it has done itself."""
_KEYWORD = re.compile(r"[A-Za-z0-9$_.-]{1,60}")
"""Of an atom (RFC 9051, section 9) what every server and mail program takes."""
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
    keyword: Mapping[str, str] = field(default_factory=dict)
    """The IMAP keyword of each category that has one instead of a folder."""

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
        given = {
            name: entry[system]
            for name, entry in content["categories"].items()
            if isinstance(entry, dict) and system in entry
        }
        keywords = _keywords(given) if system == "imap" else {}
        names: dict[Target, dict[str, tuple[str, ...]]] = {
            "category": {
                name: _names(value, f"category {name!r}: {system}", system)
                for name, value in given.items()
                if name not in keywords
            }
        }
        targets: tuple[Target, ...] = ("priority", "queue")
        for target in targets:
            section_names = section.get(_PLURALS[target]) or {}
            where = f"systems: {system}: {_PLURALS[target]}"
            if not isinstance(section_names, dict):
                raise SystemNamesError(f"`{where}` must map names to names")
            if unknown := section_names.keys() - set(labels[target]):
                raise SystemNamesError(
                    f"`{where}` names {', '.join(sorted(map(repr, unknown)))}, which the desk does"
                    f" not have as a {target}"
                )
            names[target] = {
                name: _names(value, f"{where}: {name}", system)
                for name, value in section_names.items()
            }
        if section or given:
            systems[system] = SystemNames(**names, category_field=category_field, keyword=keywords)
    return systems


def _names(value: Any, where: str, system: str) -> tuple[str, ...]:
    given = value if isinstance(value, list) else [value]
    if not given or not all(map(_is_name, given)):
        raise SystemNamesError(f"`{where}` must be a name there, or a list of names")
    names = tuple(dict.fromkeys(str(name).strip() for name in given))
    if system in NUMBERED and not all(name.isascii() and name.isdecimal() for name in names):
        raise SystemNamesError(f"`{where}` must be a number, by which its API knows it, or several")
    return names


def _keywords(given: Mapping[str, Any]) -> dict[str, str]:
    """The keyword of each category that has one; keywords differ by more than case."""
    keywords: dict[str, str] = {}
    categories: dict[str, str] = {}
    for name, value in given.items():
        if not isinstance(value, dict):
            continue
        keyword = value.get("keyword")
        if value.keys() != {"keyword"} or not _is_keyword(keyword):
            raise SystemNamesError(
                f"`category {name!r}: imap` must be a folder, a list of folders, or a keyword as in"
                " `imap: {keyword: vpn}`: of letters and digits of ASCII and of `$_.-`"
            )
        keywords[name] = keyword
        if (other := categories.setdefault(keyword.lower(), name)) != name:
            raise SystemNamesError(f"{other!r} and {name!r} have the same keyword in IMAP")
    return keywords


def _is_keyword(value: Any) -> TypeGuard[str]:
    if not isinstance(value, str) or value.lower().startswith(OWN_KEYWORDS):
        return False
    return bool(_KEYWORD.fullmatch(value))


def _is_name(value: Any) -> bool:
    """Whether it is a text or a number; YAML makes truth values of `no` and `on`."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return bool(str(value).strip()) and str(value).isprintable()
