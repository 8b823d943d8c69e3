"""The saved models, the name of the champion, and the converted encoders."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import nullcontext
from typing import TYPE_CHECKING

from ticket_assets.doctor.findings import REPAIR, Finding

if TYPE_CHECKING:
    from ticket_assets.desk import Desk


def examine_models(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """Each saved model has the bytes that were saved, and the champion is one of them."""
    if not desk.has_models:
        return
    from ticket_assets.classification.model_store import CHAMPION, ModelError

    store = desk.models
    with desk.changing_models() if repair else nullcontext():
        if repair:
            store.finish_replacements()
        try:
            champion = store.champion_name()
        except ModelError:
            champion = None
            if repair:
                store.blobs.delete([CHAMPION])
            yield Finding(
                "the champion's name cannot be read, nor which models were rolled back",
                f"{store.blobs.location}/{CHAMPION}",
                f"{'removed' if repair else REPAIR}; `tickets run` chooses a champion anew",
                repair,
            )
        for version in sorted({*store.names(), *filter(None, [champion])}):
            try:
                store.require_sound(version)
            except ModelError:
                is_champion = version == champion
                if repair:
                    store.remove([version])
                if repair and is_champion:
                    # A candidate would be compared with it, and is of another version where labels
                    # have come in.
                    store.forget_champions()
                yield Finding(
                    f"{'the champion' if is_champion else 'a model'} is half written or damaged",
                    f"{store.blobs.location}/{version}",
                    f"{'removed, and forgotten with those before it' if repair else REPAIR};"
                    " `tickets run` trains one anew"
                    if is_champion
                    else f"{'removed: it is not in use' if repair else f'{REPAIR} removes it'}",
                    repair,
                )


def examine_encoder(desk: Desk, *, repair: bool) -> Iterator[Finding]:
    """The converted encoder has the bytes that were written, and so has the one that reads
    passwords."""
    from ticket_assets.embedding.conversion import folder_of, is_damaged

    encoder, secrets = desk.encoder, desk.secrets_in_context
    folders = {folder_of(encoder.model, name) for name in encoder.precisions}
    if secrets is not None:
        folders.add(secrets.converted)
    for folder in sorted(folders):
        if is_damaged(folder):
            if repair:
                shutil.rmtree(folder)
            yield Finding(
                "the converted encoder is half written or damaged",
                str(folder),
                f"{'removed' if repair else f'{REPAIR} removes it'}: the next use converts it anew",
                repair,
            )
