"""The settings that a desk was made with; a start with other labels or encoder is refused.

Predictions, vectors and models of a desk belong together only while its labels, its encoder and the
encoder's precision stay the same. A forgotten TICKETS_ROUTING would rewrite good queues.
"""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ticket_assets.errors import TicketAssetsError
from ticket_assets.settings import variable_of
from ticket_assets.storage.blobs import BlobChangedError, BlobNotFoundError, Blobs

if TYPE_CHECKING:
    from ticket_assets.routing import Routing
    from ticket_assets.settings import Settings
    from ticket_assets.storage.warehouse import Warehouse

FILE = "desk.json"
ACCEPT = "--accept-settings"
FORMER_ENCODER = "multilingual-e5-small"
"""The default of TICKETS_ENCODER before multilingual-e5-small-tickets."""


class DeskRecordError(TicketAssetsError):
    """The settings differ from those the desk was made with, or its record cannot be read."""


@dataclass(frozen=True)
class DeskRecord:
    """The settings that must not change unnoticed."""

    queues: dict[str, str]
    """Queue of each category."""
    priorities: tuple[str, ...]
    review_queue: str
    encoder: str
    encoder_max_tokens: int
    encoder_dimension: int | None
    encoder_precision: Literal["int8", "bf16", "fp32"] | None = None
    """The number format of the vectors; None before the first ones."""


def present_record(settings: Settings, routing: Routing) -> DeskRecord:
    """The record of the present settings; `auto` leaves the precision open."""
    folder = Path(settings.encoder).expanduser()
    precision = settings.encoder_precision
    return DeskRecord(
        queues=dict(routing.queues),
        priorities=routing.priorities,
        review_queue=routing.review_queue,
        encoder=str(folder.resolve()) if folder.is_dir() else settings.encoder.lower(),
        encoder_max_tokens=settings.encoder_max_tokens,
        encoder_dimension=settings.encoder_dimension,
        encoder_precision=None if precision == "auto" else precision,
    )


def read_record(files: Blobs) -> tuple[DeskRecord | None, str | None]:
    """The record and the version of its blob; None where nothing was recorded yet.

    Raises:
        DeskRecordError: it cannot be read, or another version of the product wrote it.
    """
    try:
        content, version = files.read_version(FILE)
        record = DeskRecord(**json.loads(content))
    except BlobNotFoundError:
        return None, None
    except (ValueError, TypeError) as error:
        raise DeskRecordError(
            f"{FILE} in {files.location} says what this desk was made with and cannot be read:"
            f" {error}. Restore it, or remove it: the next start takes the encoder from the tables,"
            " and the rest from the present settings."
        ) from None
    return replace(record, priorities=tuple(record.priorities)), version


def write_record(files: Blobs, record: DeskRecord, version: str | None) -> None:
    """Write the record in place of that version of it, or of none.

    Raises:
        BlobChangedError: another process has recorded its settings meanwhile.
    """
    content = f"{json.dumps(asdict(record), ensure_ascii=False, indent=2)}\n".encode()
    if version is not None:
        files.replace(FILE, content, version)
    elif not files.create(FILE, content):
        raise BlobChangedError(
            f"Another process has recorded the settings of {files.location} meanwhile. Do the same"
            " again."
        )


def refuse_unknown_labels(warehouse: Warehouse, present: DeskRecord) -> None:
    """Refuse a routing file that lacks labels of a desk without a record.

    Raises:
        DeskRecordError: the desk has labels that the routing file lacks.
    """
    if "ticket_labels" not in warehouse.tables():
        return
    rows = warehouse.rows(
        "select distinct category from ticket_labels where category is not null order by all"
    )
    unknown = [category for (category,) in rows if category not in present.queues]
    if unknown:
        raise DeskRecordError(
            f"The labels of this desk are not those of the routing file: {', '.join(unknown)}. Set"
            " TICKETS_ROUTING to the file that it was made with, or accept the change: tickets run"
            f" {ACCEPT}"
        )


def adopted_record(warehouse: Warehouse, present: DeskRecord) -> DeskRecord:
    """The record of a desk without one, from its tables: its vectors name their encoder and
    precision."""
    if "ticket_embeddings" not in warehouse.tables():
        return present
    models = warehouse.rows(
        "select model from ticket_embeddings where model like '%@%'"
        " order by received_at desc limit 1"
    )
    if not models:
        return present
    # Like multilingual-e5-small@1571fc982750/bf16/256, and /128 where vectors are cut.
    name, _, rest = models[0][0].rpartition("@")
    _, precision, max_tokens, *dimension = rest.split("/")
    # A folder's vectors name only its last part.
    is_same = Path(present.encoder).name.lower() == name.lower() or present.encoder == name.lower()
    return replace(
        present,
        encoder=present.encoder if is_same else name,
        # An encoder that takes fewer tokens cuts the setting.
        encoder_max_tokens=max(present.encoder_max_tokens, int(max_tokens)),
        encoder_dimension=int(dimension[0]) if dimension else None,
        encoder_precision=precision,
    )


def differences(recorded: DeskRecord, present: DeskRecord) -> dict[str, str]:
    """The difference of each setting that differs, by its variable: the new and the old value."""
    descriptions = {}
    if routing := _routing_differences(recorded, present):
        descriptions["TICKETS_ROUTING"] = routing
    for field in fields(DeskRecord):
        if not field.name.startswith("encoder"):
            continue
        former, value = getattr(recorded, field.name), getattr(present, field.name)
        is_open = field.name == "encoder_precision" and None in (former, value)
        if former != value and not is_open:
            descriptions[variable_of(field.name)] = f"{_shown(value)}, was {_shown(former)}"
    return descriptions


def merged(recorded: DeskRecord | None, present: DeskRecord) -> DeskRecord:
    """The present settings; the same encoder keeps its recorded precision where they leave it
    open."""
    if recorded and recorded.encoder == present.encoder and present.encoder_precision is None:
        return replace(present, encoder_precision=recorded.encoder_precision)
    return present


def settings_in_use(settings: Settings, recorded: DeskRecord | None) -> Settings:
    """The settings, in which a desk that was made with the default encoder of before keeps it until
    somebody chooses another: it goes on by itself after an upgrade."""
    is_chosen = "encoder" in settings.model_fields_set
    if recorded and recorded.encoder == FORMER_ENCODER and not is_chosen:
        return settings.model_copy(update={"encoder": FORMER_ENCODER})
    return settings


def refuse_differences(recorded: DeskRecord, present: DeskRecord) -> None:
    """Refuse present settings that differ from the recorded ones.

    Raises:
        DeskRecordError: they differ; the message names each setting and says what to do.
    """
    if descriptions := differences(recorded, present):
        listed = "; ".join(f"{name}: {text}" for name, text in descriptions.items())
        raise DeskRecordError(
            f"The settings are not those that this desk was made with. {listed}. Nothing was"
            f" changed. Set them back, or accept the change: tickets run {ACCEPT}"
            f"{_renaming(recorded, present)}"
        )


def _routing_differences(recorded: DeskRecord, present: DeskRecord) -> str:
    parts = []
    removed = [name for name in recorded.queues if name not in present.queues]
    added = [name for name in present.queues if name not in recorded.queues]
    if removed:
        parts.append(f"without the categories {', '.join(removed)}")
    if added:
        parts.append(f"with the new categories {', '.join(added)}")
    parts += [
        f"queue of {name} {queue}, was {recorded.queues[name]}"
        for name, queue in present.queues.items()
        if recorded.queues.get(name, queue) != queue
    ]
    if recorded.priorities != present.priorities:
        priorities, former = ", ".join(present.priorities), ", ".join(recorded.priorities)
        parts.append(f"priorities {priorities}, were {former}")
    if recorded.review_queue != present.review_queue:
        parts.append(f"review queue {present.review_queue}, was {recorded.review_queue}")
    return ", ".join(parts)


def _renaming(recorded: DeskRecord, present: DeskRecord) -> str:
    """What to do if a category only got another name; empty where that cannot be."""
    removed = recorded.queues.keys() - present.queues.keys()
    added = present.queues.keys() - recorded.queues.keys()
    if len(removed) != 1 or len(added) != 1:
        return ""
    command = shlex.join(["tickets", "categories", "rename", *removed, *added])
    return f". If it is only called otherwise now, keep what was learnt: {command}"


def _shown(value: Any) -> str:
    return "unset" if value is None else str(value)
