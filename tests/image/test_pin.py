"""`make pin`: the digests that registries give, beside the tags."""

from __future__ import annotations

import hashlib
import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from tests.loopback import LoopbackServer
from tests.services import skip_without
from tests.services.containers import PROJECT

SCRIPT = PROJECT / "image" / "pin.py"
MANIFEST = b'{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json"}'
DIGEST = f"sha256:{hashlib.sha256(MANIFEST).hexdigest()}"
FORMER = f"sha256:{'0' * 64}"


class Registry(BaseHTTPRequestHandler):
    """A registry with one image, `desk/tool:1.2`."""

    def do_GET(self) -> None:
        known = {"/v2/": b"{}", "/v2/desk/tool/manifests/1.2": MANIFEST}
        content = known.get(self.path)
        self.send_response(200 if content else 404)
        self.send_header("Content-Type", "application/vnd.oci.image.index.v1+json")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    skip_without(shutil.which("skopeo") is not None, "skopeo")
    server = LoopbackServer(Registry)
    address = f"127.0.0.1:{server.port}"
    settings = tmp_path / ".config" / "containers" / "registries.conf"
    settings.parent.mkdir(parents=True)
    settings.write_text(f'[[registry]]\nlocation = "{address}"\ninsecure = true\n')
    monkeypatch.setenv("HOME", str(tmp_path))
    yield address
    server.close()


pin = partial(subprocess.run, capture_output=True, check=False, text=True)


def files(folder: Path, registry: str, tag: str = "1.2", digest: str = "") -> list[Path]:
    pinned = f"@{digest}" if digest else ""
    contents = {
        "Dockerfile": f"ARG BASE={registry}/desk/tool:{tag}{pinned}\nFROM ${{BASE}} AS base\n",
        "compose.yml": "services:\n  own:\n    image: ${IMAGE:-ticket-assets:0.1.0}\n"
        f"  tool:\n    image: {registry}/desk/tool:{tag}{pinned}\n    restart: always\n",
        "values.yaml": 'image:\n  repository: ticket-assets\n  # own\n  tag: ""\n  digest: ""\n'
        f'tool:\n  image:\n    repository: {registry}/desk/tool\n    tag: "{tag}"\n'
        f'    digest: "{digest}"\n    pullPolicy: IfNotPresent\n',
    }
    contents["values.yaml"] = contents["values.yaml"].replace(f'"{tag}"', tag)
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / name).write_text(content)
    return [folder / name for name in contents]


@pytest.mark.parametrize("digest", ["", FORMER])
def test_the_digests_stand_beside_the_tags(registry: str, tmp_path: Path, digest: str) -> None:
    pinned = files(tmp_path / "pinned", registry, digest=digest)
    expected = files(tmp_path / "expected", registry, digest=DIGEST)

    done = pin([sys.executable, SCRIPT, *pinned])

    assert (done.returncode, done.stderr) == (0, "")
    for path, other in zip(pinned, expected, strict=True):
        assert path.read_text() == other.read_text()


def test_nothing_is_invented_where_a_registry_does_not_know_the_tag(
    registry: str, tmp_path: Path
) -> None:
    paths = files(tmp_path / "known", registry)[:1] + files(tmp_path / "other", registry, "9")
    before = [path.read_text() for path in paths]

    done = pin([sys.executable, SCRIPT, *paths])

    assert done.returncode == 1
    assert done.stderr.startswith(f"docker://{registry}/desk/tool:9 cannot be asked: ")
    assert len(done.stderr.splitlines()) == 1
    assert [path.read_text() for path in paths] == before


def test_without_skopeo_one_line_says_so(tmp_path: Path) -> None:
    paths = files(tmp_path / "files", "registry.example.org")

    done = pin([sys.executable, SCRIPT, *paths], env={**os.environ, "PATH": str(tmp_path)})

    assert done.returncode == 1
    assert "skopeo is needed" in done.stderr


def test_the_projects_own_files_have_images_to_pin() -> None:
    script = runpy.run_path(str(SCRIPT))
    found = {
        name: [match["name"] for match in pattern.finditer((PROJECT / name).read_text())]
        for name, pattern in {
            "Dockerfile": script["LINE"],
            "docker-compose.yml": script["LINE"],
            "helm/ticket-assets/values.yaml": script["VALUES"],
        }.items()
    }

    assert len(found["Dockerfile"]) == 1
    assert any(name.startswith("postgres:") for name in found["docker-compose.yml"])
    assert "postgres" in found["helm/ticket-assets/values.yaml"]
    assert not [name for names in found.values() for name in names if "ticket-assets" in name]
