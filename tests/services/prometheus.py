"""Prometheus, Alertmanager and Node Exporter, with the product's own rules and routes."""

import json
import shutil
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.loopback import free_port
from tests.services import skip_without, wait_until

MONITORING = Path(__file__).parents[2] / "monitoring"


def rules(name: str) -> list[dict[str, Any]]:
    """The rules of a file, one after the other."""
    groups = yaml.safe_load((MONITORING / name).read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}


def program(*names: str) -> str:
    """Path of the first of these programs that is installed: Debian renames Alertmanager's."""
    path = next((path for path in map(shutil.which, names) if path), None)
    packages = "prometheus, prometheus-alertmanager, prometheus-node-exporter"
    skip_without(path is not None, f"{names[0]} (Debian: {packages})")
    return str(path)


def checked(*arguments: object) -> str:
    """What one of the tools says; it has to succeed."""
    done = subprocess.run(
        [program(str(arguments[0])), *map(str, arguments[1:])],
        cwd=MONITORING,
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


class Server:
    """One of the three on the loopback, until it is stopped."""

    def __init__(self, folder: Path, ready: str, *command: str, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.url = f"http://{self.address}"
        self._log = folder / f"{Path(command[0]).name}.log"
        with self._log.open("w") as log:
            self._process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log)
        wait_until(lambda: self._answers(ready), command[0])

    def get(self, path: str, **parameters: str) -> Any:
        """The JSON of an answer."""
        address = f"{self.url}{path}?{urlencode(parameters)}"
        with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310
            return json.load(answer)

    def post(self, path: str, body: object) -> None:
        request = urllib.request.Request(  # noqa: S310
            f"{self.url}{path}", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        urllib.request.urlopen(request, timeout=30).close()  # noqa: S310

    def stop(self) -> None:
        self._process.terminate()
        self._process.wait(30)

    def _answers(self, path: str) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        with suppress(urllib.error.URLError, ConnectionError):
            urllib.request.urlopen(f"{self.url}{path}", timeout=5).close()  # noqa: S310
            return True
        return False


class Prometheus(Server):
    """Prometheus with a copy of the product's files, which looks and judges every second."""

    def __init__(self, folder: Path, targets: dict[str, str], changes: dict[str, str]) -> None:
        port = free_port()
        for name in ("prometheus.yml", "thresholds.yml", "rules.yml", "alerts.yml"):
            text = (MONITORING / name).read_text().replace(": 15s", ": 1s")
            for former, changed in changes.items():
                text = text.replace(former, changed)
            (folder / name).write_text(text)
        entries = [
            {"labels": {"job": job}, "targets": [address]}
            for job, address in {**targets, "prometheus": f"127.0.0.1:{port}"}.items()
        ]
        (folder / "targets.yml").write_text(yaml.safe_dump(entries))
        super().__init__(
            folder,
            "/-/ready",
            *(program("prometheus"), "--config.file=prometheus.yml", "--storage.tsdb.path=data"),
            f"--web.listen-address=127.0.0.1:{port}",
            port=port,
        )

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series that an expression gives now.

        Raises:
            urllib.error.HTTPError: Prometheus cannot evaluate it.
        """
        result: list[dict[str, Any]] = self.get("/api/v1/query", query=expression)["data"]["result"]
        return result

    def firing(self) -> set[str]:
        """The alerts that fire now."""
        alerts = self.get("/api/v1/alerts")["data"]["alerts"]
        return {alert["labels"]["alertname"] for alert in alerts if alert["state"] == "firing"}


class AlertReceiver(ThreadingHTTPServer):
    """Where Alertmanager's webhooks lead: keeps what it is told, by the receiver's name."""

    daemon_threads = True

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, Any]]] = []
        super().__init__(("127.0.0.1", 0), _Webhook)
        self.url = f"http://127.0.0.1:{self.server_port}"
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    def firing(self, name: str) -> list[str]:
        """The receivers that were told that an alert fires, once for each message."""
        return [
            receiver
            for receiver, message in self.told
            for alert in message["alerts"]
            if (alert["labels"]["alertname"], alert["status"]) == (name, "firing")
        ]

    def stop(self) -> None:
        self.shutdown()
        self.server_close()


class _Webhook(BaseHTTPRequestHandler):
    server: AlertReceiver

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.told.append((self.path.strip("/"), message))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


class Alertmanager(Server):
    """Alertmanager with a copy of the product's file, which tells `webhook` within a second."""

    def __init__(self, folder: Path, webhook: str) -> None:
        text = (MONITORING / "alertmanager.yml").read_text()
        text = text.replace("http://127.0.0.1:9480", webhook)
        text = text.replace("group_wait: 30s", "group_wait: 1s")
        text = text.replace("group_interval: 5m", "group_interval: 1s")
        (folder / "alertmanager.yml").write_text(text)
        port = free_port()
        super().__init__(
            folder,
            "/-/ready",
            program("prometheus-alertmanager", "alertmanager"),
            *("--config.file=alertmanager.yml", "--storage.path=alertmanager"),
            *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
            port=port,
        )


@pytest.fixture(scope="session")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """What tells of this machine."""
    port = free_port()
    server = Server(
        tmp_path_factory.mktemp("node"),
        "/metrics",
        program("prometheus-node-exporter", "node_exporter"),
        f"--web.listen-address=127.0.0.1:{port}",
        port=port,
    )
    yield server
    server.stop()


@pytest.fixture(scope="session")
def start_alertmanager(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Alertmanager]]:
    """Starts one that tells a webhook."""
    servers: list[Alertmanager] = []

    def start(webhook: str) -> Alertmanager:
        servers.append(Alertmanager(tmp_path_factory.mktemp("alertmanager"), webhook))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def start_prometheus(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[..., Prometheus]]:
    """Starts one, given the address of each job and what is changed in the product's files."""
    servers: list[Prometheus] = []

    def start(targets: dict[str, str], changes: dict[str, str] | None = None) -> Prometheus:
        servers.append(Prometheus(tmp_path_factory.mktemp("prometheus"), targets, changes or {}))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
