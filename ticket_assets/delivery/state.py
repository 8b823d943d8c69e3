"""What a desk remembers of its deliveries beside the ledger: its id, the switch, the first days."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from uuid import UUID, uuid4

from ticket_assets.errors import TicketAssetsError
from ticket_assets.storage.blobs import BlobChangedError, BlobNotFoundError, Blobs

NAME = "delivery.json"


class DeliveryError(TicketAssetsError):
    """Decisions cannot be delivered."""


@dataclass(frozen=True)
class DeliveryState:
    """The state of a desk's deliveries."""

    desk: str
    """UUID of the desk, which its idempotency keys are made of."""
    stopped_at: str | None = None
    """When a person stopped all delivery (ISO, UTC); None: nobody did."""
    first_days: Mapping[str, str] = field(default_factory=dict)
    """By receiver the first day (ISO, UTC) whose tickets it is told of: that on which it was set,
    unless a person asked for earlier ones."""
    configurations: Mapping[str, str] = field(default_factory=dict)
    """By receiver a salted digest of the settings with which it was told last."""

    def first_day(self, receiver: str) -> date | None:
        """The first day that the receiver is told of; None before delivery to it has begun."""
        day = self.first_days.get(receiver)
        return date.fromisoformat(day) if day else None


def read_state(cursors: Blobs) -> DeliveryState | None:
    """The state; None where nothing was ever delivered or stopped.

    Raises:
        DeliveryError: it is damaged, so that nobody knows whether delivery was stopped.
    """
    return _read(cursors)[0]


def change_state(cursors: Blobs, change: Callable[[DeliveryState], DeliveryState]) -> DeliveryState:
    """Change the state and return it; of a desk without one, a new one.

    Raises:
        DeliveryError: it is damaged.
    """
    while True:
        state, version = _read(cursors)
        present = state or DeliveryState(str(uuid4()))
        changed = change(present)
        if changed == state:
            return changed
        content = json.dumps(asdict(changed), indent=1).encode()
        try:
            if version is not None:
                cursors.replace(NAME, content, version)
                return changed
            if cursors.create(NAME, content):
                return changed
        except BlobChangedError:
            continue


def begin(state: DeliveryState, receivers: Mapping[str, date]) -> DeliveryState:
    """The state in which exactly these receivers are told, each that is new from that day on."""
    return replace(
        state,
        first_days={
            name: state.first_days.get(name, day.isoformat()) for name, day in receivers.items()
        },
    )


def _read(cursors: Blobs) -> tuple[DeliveryState | None, str | None]:
    try:
        content, version = cursors.read_version(NAME)
    except BlobNotFoundError:
        return None, None
    try:
        state = DeliveryState(**json.loads(content))
        UUID(state.desk)
        for name in state.first_days:
            state.first_day(name)
    except (ValueError, TypeError, AttributeError):
        raise DeliveryError(
            f"{NAME} in {cursors.location} is damaged: it says whether delivery is stopped. Restore"
            " it from a backup; or remove it: delivery then goes on from today's tickets."
        ) from None
    return state, version
