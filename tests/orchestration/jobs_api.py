"""The part of Kubernetes' API that runs and their Jobs need, for what the product itself asks."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import parse_qs, urlsplit

NAMESPACE = "desk"
JOBS = f"/apis/batch/v1/namespaces/{NAMESPACE}/jobs"


class JobsApi:
    """Jobs by name, and the requests that were made.

    `answer` is the status of all answers; a list has `page` Jobs at most.
    """

    stop: Callable[[], None]

    def __init__(self, address: str, folder: Path) -> None:
        self.jobs: dict[str, dict] = {}
        self.requests: list[str] = []
        self.answer = 200
        self.page = 500
        self.configuration = folder / "kubeconfig"
        self.configuration.write_text(
            json.dumps(
                {
                    "clusters": [{"name": "c", "cluster": {"server": address}}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                    "current-context": "x",
                }
            )
        )

    def add(self, run_id: str, created: datetime, condition: str | None = None, **labels: str):
        """A Job of a run; without a condition it is at work. Returns its name."""
        name = f"dagster-run-{run_id}"
        conditions = [{"type": condition, "status": "True"}] if condition else []
        self.jobs[name] = {
            "metadata": {
                "name": name,
                "creationTimestamp": created.isoformat(),
                "labels": {"dagster/run-id": run_id, **labels},
            },
            "status": {"active": 0 if condition else 1, "conditions": conditions},
        }
        return name

    def answer_to(self, method: str, path: str) -> tuple[int, dict]:
        self.requests.append(f"{method} {path}")
        if self.answer != 200:
            return self.answer, {"message": "as the test wants it"}
        parts = urlsplit(path)
        name = parts.path.removeprefix(JOBS).removeprefix("/").removesuffix("/status")
        if not name:
            query = parse_qs(parts.query)
            selector = query["labelSelector"][0].split(",")
            first = int(query.get("continue", ["0"])[0])
            jobs = [job for job in self.jobs.values() if selected(job, selector)]
            following = first + self.page
            more = {"continue": str(following)} if following < len(jobs) else {}
            return 200, {"items": jobs[first:following], "metadata": more}
        if name not in self.jobs:
            return 404, {"message": f"{name} is not there"}
        return 200, self.jobs.pop(name) if method == "DELETE" else self.jobs[name]


def selected(job: dict, selector: list[str]) -> bool:
    labels = job["metadata"]["labels"]
    pairs = [term.partition("=") for term in selector]
    return all(
        name in labels and (not sign or labels[name] == value) for name, sign, value in pairs
    )


@contextmanager
def jobs_api(folder: Path) -> Iterator[JobsApi]:
    """A server on the loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            status, body = api.answer_to(self.command, self.path)
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_DELETE = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api = JobsApi(f"http://127.0.0.1:{server.server_port}", folder)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()

        def stop() -> None:
            server.shutdown()
            server.server_close()

        api.stop = stop
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
