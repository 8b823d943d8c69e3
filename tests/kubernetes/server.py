"""The HTTP side of the cluster: requests are authenticated, authorised, validated and answered."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import kubernetes_validate

from tests.kubernetes.access import Access
from tests.kubernetes.objects import ApiError, Object, ObjectStore, owned_by, timestamp
from tests.loopback import LoopbackServer

VERSION = "1.36"
GRACE_SECONDS = 30
ROUTE = re.compile(
    r"/(?:api|apis/[^/]+)/[^/]+/namespaces/(?P<namespace>[^/]+)/(?P<resource>[^/]+)"
    r"(?:/(?P<name>[^/]+))?(?:/(?P<part>[^/]+))?"
)
VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class RequestFault:
    """What the API answers instead, to as many requests of this kind as `times` says."""

    verb: str
    resource: str
    code: int | None = None
    """None leaves the answer as it is."""
    headers: dict[str, str] = field(default_factory=dict)
    seconds: float = 0
    """How long the answer takes."""
    is_done: bool = False
    """Whether the request is carried out all the same: its answer alone is lost."""
    times: int = 1


@dataclass(frozen=True)
class Request:
    """A request as the log keeps it."""

    user: str
    verb: str
    resource: str
    code: int


@dataclass(frozen=True)
class Call:
    """What a request asks for."""

    verb: str
    namespace: str
    resource: str
    name: str
    part: str
    """Of the object, like `status`; mostly empty."""
    options: dict[str, str]
    body: Object

    @property
    def target(self) -> str:
        """The resource as roles name it."""
        return f"{self.resource}/{self.part}" if self.part else self.resource


class ApiServer(LoopbackServer):
    """The API on the loopback, as much of it as pods, Jobs and their like need.

    Nobody can watch: whoever wants to know asks again.
    """

    def __init__(
        self,
        store: ObjectStore,
        access: Access,
        pod_log: Callable[[str, str], str],
        unlocated: Callable[[str], str],
    ) -> None:
        self._store, self._access, self._pod_log = store, access, pod_log
        self._unlocated = unlocated
        self._faults: list[RequestFault] = []
        self._lock = threading.Lock()
        self.requests: list[Request] = []
        super().__init__(_handler(self))

    def fail(self, fault: RequestFault) -> None:
        """Has the next requests of a kind answered otherwise."""
        with self._lock:
            self._faults.append(fault)

    def heal(self) -> None:
        """Answers every request as it should be again."""
        with self._lock:
            self._faults.clear()

    def answer(
        self, method: str, address: str, authorization: str, body: Any
    ) -> tuple[int, dict[str, str], Object | str]:
        """Status code, headers and content of the answer."""
        url = urlsplit(address)
        if url.path == "/version":
            major, minor = VERSION.split(".")
            return 200, {}, {"major": major, "minor": minor, "gitVersion": f"v{VERSION}.0"}
        route = ROUTE.fullmatch(unquote(url.path))
        options = {name: values[-1] for name, values in parse_qs(url.query).items()}
        if route is None:
            return _failed(404, "NotFound", "the server could not find the requested resource")
        verb = VERBS[method]
        if not route["name"] and verb in {"get", "delete"}:
            verb = {"get": "list", "delete": "deletecollection"}[verb]
        parts = (route[group] or "" for group in ("namespace", "resource", "name", "part"))
        call = Call(verb, *parts, options, body or {})
        fault = self._fault(call)
        user = "?"
        content: Object | str
        try:
            user = self._access.user(authorization)
            if fault and fault.seconds:
                time.sleep(fault.seconds)
            if fault and fault.code and not fault.is_done:
                raise ApiError(fault.code, "Fault", "the API has trouble")
            self._access.require(user, verb, call.target, call.namespace, call.name)
            content = self._carried_out(call)
            if fault and fault.code:
                raise ApiError(fault.code, "Fault", "the answer is lost")
            code = 201 if verb == "create" else 200
        except ApiError as error:
            content, code = error.status, error.code
        with self._lock:
            self.requests.append(Request(user, verb, call.target, code))
        return code, (fault.headers if fault else {}), content

    def _fault(self, call: Call) -> RequestFault | None:
        with self._lock:
            for fault in self._faults:
                if (fault.verb, fault.resource) == (call.verb, call.target) and fault.times > 0:
                    fault.times -= 1
                    return fault
        return None

    def _carried_out(self, call: Call) -> Object | str:
        place = (call.resource, call.namespace, call.name)
        if "watch" in call.options:
            raise ApiError(405, "MethodNotAllowed", "nobody can watch here")
        if call.verb == "list":
            selectors = (call.options.get(f"{kind}Selector", "") for kind in ("label", "field"))
            return {
                "kind": "List",
                "apiVersion": "v1",
                "metadata": {"resourceVersion": "1"},
                "items": self._store.list(call.resource, call.namespace, *selectors),
            }
        if call.verb == "create":
            body = json.loads(self._unlocated(json.dumps(call.body)))
            validate(body)
            # Whoever makes an object says nothing about how it is.
            return self._store.create(call.resource, call.namespace, body | {"status": {}})
        if call.verb == "get" and call.part == "log":
            self._store.get(*place)
            lines = self._pod_log(call.namespace, call.name).splitlines(keepends=True)
            return "".join(lines[-int(call.options.get("tailLines", len(lines) or 1)) :])
        if call.verb == "get":
            return self._store.get(*place)
        if call.verb == "delete":
            self.delete(*place, call.options | call.body)
            return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}
        raise ApiError(405, "MethodNotAllowed", f"nobody can {call.verb} {call.target} here")

    def delete(
        self, resource: str, namespace: str, name: str, options: Object | None = None
    ) -> None:
        """Deletes an object: a pod ends first, a Job leaves its pods unless it is told otherwise.

        Raises:
            ApiError: there is none of that name.
        """
        deleted, options = self._store.get(resource, namespace, name), options or {}
        ended = {"Succeeded", "Failed"}
        if resource == "pods" and (deleted.get("status") or {}).get("phase") not in ended:
            grace = options.get("gracePeriodSeconds")
            if grace is None:
                grace = deleted["spec"].get("terminationGracePeriodSeconds", GRACE_SECONDS)
            self._store.change(resource, namespace, name, lambda pod: _mark_deleted(pod, grace))
            return
        self._store.remove(resource, namespace, name)
        # The default of batch/v1, for the sake of old clients, is to orphan the pods.
        default = "Orphan" if resource == "jobs" else "Background"
        for pod in owned_by(deleted, self._store.list("pods", namespace)):
            if options.get("propagationPolicy", default) == "Orphan":
                self._store.change(
                    *("pods", namespace, pod["metadata"]["name"]),
                    lambda orphan: orphan["metadata"].update(ownerReferences=[]),
                )
            else:
                self.delete("pods", namespace, pod["metadata"]["name"])


def validate(new: Object) -> None:
    """Does nothing for an object that is right by the schema of its kind.

    Raises:
        ApiError: it is not.
    """
    kind = new.get("kind", "object")
    try:
        kubernetes_validate.validate(new, VERSION, strict=True)
    except kubernetes_validate.ValidationError as error:
        path = ".".join(map(str, error.path))
        raise ApiError(422, "Invalid", f"{kind} is invalid: {path}: {error.message}") from None
    name = new["metadata"].get("name", "x")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", name):
        raise ApiError(422, "Invalid", f"{kind} is invalid: metadata.name: {name!r} is no name")


def _mark_deleted(pod: Object, grace: object) -> None:
    seconds = int(str(grace))
    former = pod["metadata"].get("deletionGracePeriodSeconds")
    pod["metadata"].setdefault("deletionTimestamp", timestamp())
    pod["metadata"]["deletionGracePeriodSeconds"] = (
        seconds if former is None else min(seconds, former)
    )


def _failed(code: int, reason: str, message: str) -> tuple[int, dict[str, str], Object]:
    return code, {}, ApiError(code, reason, message).status


def _handler(server: ApiServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing: the server keeps its own log."""

        def _do(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            code, headers, content = server.answer(
                self.command, self.path, self.headers.get("Authorization", ""), body
            )
            is_text = isinstance(content, str)
            data = (content if isinstance(content, str) else json.dumps(content)).encode()
            self.send_response(code)
            self.send_header("Content-Type", "text/plain" if is_text else "application/json")
            self.send_header("Content-Length", str(len(data)))
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815

    return Handler
