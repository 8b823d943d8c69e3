"""What people have made of a ticket in a desk's own system, in this desk's labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from ticket_assets.delivery.receivers import PersonsValue
from ticket_assets.system_names import SystemNames, Target

if TYPE_CHECKING:
    from ticket_assets.delivery.fields import Field


def persons_values(
    place: str, ticket_ids: Sequence[str], fields: Mapping[Target, Field], names: SystemNames
) -> tuple[list[PersonsValue], list[str]]:
    """The last word of people for category and priority, and those that mean none here, told.

    A queue says nothing of the category: work is handed on for many reasons.

    Args:
        place: the ticket there, for people.
        ticket_ids: this desk's tickets of it: a message that came in several forms is several.
    """
    values, nameless = [], []
    targets: tuple[Target, ...] = ("category", "priority")
    for target in targets:
        change = fields[target].persons
        if not change or not change.value or not getattr(names, target):
            continue
        label = names.meant(target, change.value)
        if label is None:
            nameless.append(
                f"{place}: {change.by} has set the {target} {change.value!r}, which is the name of"
                " none in the routing file."
            )
            continue
        values += [
            PersonsValue(
                ticket_id,
                category=label if target == "category" else None,
                priority=label if target == "priority" else None,
                set_at=change.at,
                set_by=change.by,
            )
            for ticket_id in ticket_ids
        ]
    return values, nameless
