"""Desk: a data folder and its settings, and the one place where its stores are made."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ticket_assets.desk_record import (
    DeskRecord,
    adopted_record,
    merged,
    present_record,
    read_record,
    refuse_differences,
    refuse_unknown_labels,
    settings_in_use,
    write_record,
)
from ticket_assets.half_restored import refuse_half_restored
from ticket_assets.mail.category_changes import CategoryChanges
from ticket_assets.routing import Routing, load_routing
from ticket_assets.storage.blobs import BlobChangedError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from datetime import date

    from ticket_assets.classification.model_store import ModelStore
    from ticket_assets.drift.store import ReportStore
    from ticket_assets.embedding.configured import ConfiguredEncoder
    from ticket_assets.mail.landing import LandingZone
    from ticket_assets.mail.sources import Source
    from ticket_assets.settings import Settings
    from ticket_assets.storage.blobs import Blobs
    from ticket_assets.storage.collection import TicketCollection
    from ticket_assets.storage.leases import Leases
    from ticket_assets.storage.warehouse import Warehouse
    from ticket_assets.text.secrets_in_context import SecretsInContext

TICK_PATIENCE_SECONDS = 5.0
"""Dagster gives a tick 60 seconds, and it may open the warehouse several times."""


class Desk:
    """The stores of one data folder.

    Each is made, and its libraries imported, when it is first used: a command pays only for the
    stores that it needs.
    """

    def __init__(self, settings: Settings, patience: float | None = None) -> None:
        """The desk of these settings; its warehouse waits `patience` seconds for a writer."""
        self.settings = settings
        self.folder = settings.data_dir
        self._patience = patience
        self._encodes_with: Settings | None = None
        """The settings of `encoder`, once it was made."""

    @cached_property
    def for_ticks(self) -> Desk:
        """The same desk for the tick of a sensor or schedule, which must not wait for a run."""
        return Desk(self.settings, TICK_PATIENCE_SECONDS)

    def require_same_settings(self) -> None:
        """Refuse settings that differ from those the desk was made with.

        Raises:
            DeskRecordError: a setting differs; the message names it and says what to do.
            RoutingError: the routing file is missing or cannot be used.
            BackupError: a restore of the desk was interrupted.
            CategoryChangeError: a change of its categories was interrupted, or is under way.
        """
        self._refuse_unfinished()
        recorded = self._recorded()
        present = self._present(recorded)
        if recorded:
            refuse_differences(recorded, present)

    def record_settings(self, *, accept: bool = False) -> None:
        """Record the settings that the desk is made with, before anything is written to it.

        Args:
            accept: record settings that differ from the recorded ones instead of refusing them.

        Raises:
            DeskRecordError: a setting differs, and the change was not accepted.
            RoutingError: the routing file is missing or cannot be used.
            BackupError: a restore of the desk was interrupted.
            CategoryChangeError: a change of its categories was interrupted, or is under way.
            WarehouseError: without a record, its tables cannot be asked either.
        """
        self._refuse_unfinished()
        # In this order: a record that another process writes meanwhile is compared with.
        written, version = read_record(self.files)
        recorded = self._recorded(accept=accept)
        present = self._present(recorded)
        if accept:
            recorded = written
        elif recorded:
            refuse_differences(recorded, present)
        record = merged(recorded, present)
        if record != written:
            try:
                write_record(self.files, record, version)
            except BlobChangedError:
                self.record_settings(accept=accept)  # which now compares with the other's

    def record_precision(self) -> None:
        """Record the number format of the encoder, before its first vectors are written.

        Raises:
            DeskRecordError: another process has recorded another encoder since this one's was made.
        """
        recorded, version = read_record(self.files)
        present = self._present(recorded or self._recorded())
        recorded = recorded or present
        if recorded.encoder != present.encoder:
            refuse_differences(recorded, present)
        if recorded.encoder_precision != self.encoder.precision:
            changed = replace(recorded, encoder_precision=self.encoder.precision)
            try:
                write_record(self.files, changed, version)
            except BlobChangedError:
                self.record_precision()

    def _refuse_unfinished(self) -> None:
        refuse_half_restored(self.files)
        CategoryChanges(self.files.under("landing")).refuse_pending()

    @property
    def settings_in_use(self) -> Settings:
        """The settings, with the encoder that the desk keeps where nobody has chosen one.

        Once `encoder` was made its settings stay, whatever another process records: the recipe of a
        run's rows names what has made their vectors.
        """
        return self._encodes_with or settings_in_use(self.settings, self._recorded())

    def _present(self, recorded: DeskRecord | None) -> DeskRecord:
        settings = self._encodes_with or settings_in_use(self.settings, recorded)
        return present_record(settings, self.routing)

    def _recorded(self, *, accept: bool = False) -> DeskRecord | None:
        """What is recorded, or what the tables of a desk without a record say; None of a new one.

        Args:
            accept: the tables may have labels that the routing file lacks.
        """
        recorded, _ = read_record(self.files)
        if recorded is not None or not self.warehouse.exists:
            return recorded
        present = present_record(self.settings, self.routing)
        if not accept:
            refuse_unknown_labels(self.warehouse, present)
        return adopted_record(self.warehouse, present)

    def remove_unfinished(self, *, dry_run: bool = False) -> list[Path]:
        """Remove the files that writers which died, or filled the disk, have left unfinished;
        returns them. Those of living writers stay.

        Raises:
            BlobStoreError: one cannot be removed.
        """
        from ticket_assets.storage.folder_blobs import FolderBlobs
        from ticket_assets.storage.unfinished import remove_scratch

        return [
            *map(Path, FolderBlobs(self.folder).remove_unfinished(dry_run=dry_run)),
            *remove_scratch(dry_run=dry_run),
        ]

    @cached_property
    def leases(self) -> Leases:
        """The locks that keep two processes from the same work."""
        from ticket_assets.storage.leases import FileLeases, PostgresLeases

        if self.settings.warehouse:
            from ticket_assets.storage.ducklake import lake_access

            return PostgresLeases(lake_access(self.settings).dsn)
        return FileLeases(self.folder)

    @cached_property
    def files(self) -> Blobs:
        """Original mail, models, reports and cursors, in the folder or in a bucket.

        Raises:
            SettingsError: the access to the bucket is set in part.
        """
        return self.blobs_at(self.settings.files or self.folder)

    def blobs_at(self, location: str | Path) -> Blobs:
        """The blobs in a folder, or in a bucket with this desk's access to it; raises as `files`.

        Args:
            location: a folder's path, or `s3://bucket/prefix`.
        """
        from ticket_assets.storage.blob_location import blobs_at
        from ticket_assets.storage.s3_access import s3_access

        return blobs_at(location, s3_access(self.settings))

    @cached_property
    def cursors(self) -> Blobs:
        """What sensors and sources remember of their last look."""
        return self.files.under("cursors")

    @cached_property
    def landing(self) -> LandingZone:
        """The original messages and the labels that people gave."""
        from ticket_assets.mail.landing import LandingZone

        return LandingZone(self.files.under("landing"), self.leases)

    @cached_property
    def warehouse(self) -> Warehouse:
        """The tables."""
        from ticket_assets.storage.warehouse import LOCK_PATIENCE_SECONDS, DuckDBFile

        patience = LOCK_PATIENCE_SECONDS if self._patience is None else self._patience
        if self.settings.warehouse:
            from ticket_assets.storage.ducklake import DuckLake, lake_access

            return DuckLake(lake_access(self.settings), patience)
        return DuckDBFile(self.settings.warehouse_path, patience)

    @cached_property
    def models(self) -> ModelStore:
        """The trained models, the champion among them."""
        from ticket_assets.classification.model_store import ModelStore

        return ModelStore(self.files.under("models"))

    @property
    def has_models(self) -> bool:
        """Whether there is a model; asking `models` costs the import of scikit-learn."""
        return any(True for _ in self.files.list("models"))

    @property
    def champion(self) -> str | None:
        """The version of the model in use; None before the first promotion."""
        return self.models.champion_name() if self.has_models else None

    def changing_models(self) -> AbstractContextManager[None]:
        """One process at a time saves, promotes, rewrites and removes models; others wait."""
        return self.leases.hold("models/.lock", wait=True)

    @cached_property
    def reports(self) -> ReportStore:
        """The drift reports."""
        from ticket_assets.drift.store import ReportStore

        return ReportStore(self.files.under("reports"))

    @cached_property
    def encoder(self) -> ConfiguredEncoder:
        """The encoder; its weights are loaded when a text needs them.

        Raises:
            EncoderError: there is no such encoder here, or it is not one that can be used.
        """
        from ticket_assets.embedding.configured import configured_encoder

        recorded = self._recorded()
        self._encodes_with = settings_in_use(self.settings, recorded)
        return configured_encoder(
            self._encodes_with,
            recorded.encoder_precision if recorded else None,
        )

    @cached_property
    def secrets_in_context(self) -> SecretsInContext | None:
        """What finds the passwords that no rule knows; None where the desk does without.

        Raises:
            EncoderError: the encoder that it reads with is not on this machine.
        """
        if not self.settings.secrets_in_context:
            return None
        from ticket_assets.embedding.token_scores import packaged_reader
        from ticket_assets.text.secrets_in_context import SecretsInContext, weights

        learnt = weights()
        return SecretsInContext(
            packaged_reader(
                learnt.encoder,
                learnt.states,
                learnt.adapters,
                encoders_dir=self.settings.unpacked_encoders_dir,
                threads=self.settings.encoder_threads,
            )
        )

    @property
    def routing(self) -> Routing:
        """The label set, read anew each time: a long-lived process sees an edited file.

        Raises:
            RoutingError: the file is missing or cannot be used.
        """
        return replace(load_routing(self.settings.routing), is_shadow=self.settings.shadow_mode)

    @property
    def sources(self) -> tuple[Source, ...]:
        """The mail sources that are polled, and the systems in which people change what they get.

        Raises:
            SettingsError: a mail account or a system is set in part.
        """
        from ticket_assets.delivery.reading_back import read_back_sources
        from ticket_assets.mail.sources import configured_sources

        return (*configured_sources(self.settings), *read_back_sources(self))

    @property
    def first_day(self) -> date | None:
        """The first processed day: the setting, else the first import's; None before that."""
        return self.settings.first_day or self.landing.first_day()

    def collection(self, encoder: str) -> AbstractContextManager[TicketCollection]:
        """The Chroma collection of the vectors of `encoder` (its model id), created when absent.

        Raises:
            CollectionError: the server does not answer or refuses, or the folder is not Chroma's.
            SettingsError: the settings of the server do not fit together.
        """
        from ticket_assets.storage.collection import TicketCollection, chroma_server

        return TicketCollection.open(
            encoder,
            folder=self.settings.collection_dir,
            server=chroma_server(self.settings),
        )

    def lost_tickets(self) -> int:
        """How many tickets the collection has held and holds no longer.

        Raises:
            CollectionError: as for `collection`.
            WarehouseError: the warehouse stays locked, or is not readable.
        """
        from ticket_assets.storage.collected_tickets import lost_tickets
        from ticket_assets.storage.collection import chroma_server

        return lost_tickets(
            self.warehouse,
            folder=self.settings.collection_dir,
            server=chroma_server(self.settings),
        )
