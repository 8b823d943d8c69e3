"""Writes beside each image's tag the digest that its registry gives: `python pin.py FILE...`.

In a Dockerfile, a compose file and a chart's values; the product's own image has none. Nothing is
changed unless all registries have answered.
"""

import hashlib
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

DIGEST = r"sha256:[0-9a-f]{64}"
LINE = re.compile(
    rf"^(?P<before>ARG BASE=|\s*image: )(?P<name>[\w./:-]+:[\w.-]+)(?:@{DIGEST})?$", re.MULTILINE
)
"""An image as Dockerfiles and compose files name it."""
VALUES = re.compile(
    r"(?P<before>repository: (?P<name>\S+)\n\s+tag: (?P<tag>\S+)\n\s+digest: )\S+$", re.MULTILINE
)
"""An image as a chart's values name it."""


def pinned(text: str) -> str:
    """The text with the digests of its images.

    Raises:
        subprocess.CalledProcessError: a registry has not answered.
    """
    return VALUES.sub(_pinned_values, LINE.sub(_pinned_line, text))


def _pinned_line(found: re.Match[str]) -> str:
    return f"{found['before']}{found['name']}@{_digest(found['name'])}"


def _pinned_values(found: re.Match[str]) -> str:
    name = f"{found['name']}:{found['tag']}"
    return f'{found["before"]}"{_digest(name)}"'


@cache
def _digest(name: str) -> str:
    # Behind a tag there may be a list of images, one for each platform: the digest is of its bytes.
    command = ["skopeo", "inspect", "--raw", f"docker://{name}"]
    manifest = subprocess.run(command, capture_output=True, check=True).stdout  # noqa: S603
    digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
    print(name, digest)
    return digest


if __name__ == "__main__":
    try:
        contents = {path: pinned(path.read_text("utf-8")) for path in map(Path, sys.argv[1:])}
    except FileNotFoundError as error:
        sys.exit(f"{error.filename} is missing. To ask registries, skopeo is needed.")
    except subprocess.CalledProcessError as error:
        said = error.stderr.decode(errors="replace").strip().splitlines()
        sys.exit(f"{error.cmd[-1]} cannot be asked: {said[-1] if said else error.returncode}")
    for path, content in contents.items():
        path.write_text(content, "utf-8")
