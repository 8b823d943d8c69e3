"""What a Kubernetes API stores: objects with versions, found by labels and fields."""

from __future__ import annotations

import copy
import itertools
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

Object = dict[str, Any]

GROUPS = {
    "pods": "",
    "events": "",
    "configmaps": "",
    "secrets": "",
    "services": "",
    "serviceaccounts": "",
    "jobs": "batch",
    "deployments": "apps",
    "roles": "rbac.authorization.k8s.io",
    "rolebindings": "rbac.authorization.k8s.io",
}
"""The API group of each kind of object that is stored."""


class ApiError(Exception):
    """What the API answers instead of an object: the `Status` of Kubernetes."""

    def __init__(self, code: int, reason: str, message: str) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message

    @property
    def status(self) -> Object:
        return {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "code": self.code,
            "reason": self.reason,
            "message": self.message,
        }


def plural(kind: str) -> str:
    """The name of a kind in an address: Job is jobs."""
    return f"{kind.lower()}s"


def timestamp() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"


def name_of(stored: Object) -> str:
    return str(stored["metadata"]["name"])


class ObjectStore:
    """The objects, by resource, namespace and name. Whoever reads gets copies."""

    def __init__(self) -> None:
        self._objects: dict[tuple[str, str, str], Object] = {}
        self._versions = itertools.count(1)
        self._lock = threading.RLock()

    def create(self, resource: str, namespace: str, new: Object) -> Object:
        """The object as stored.

        Raises:
            ApiError: there is one of that name.
        """
        with self._lock:
            stored = copy.deepcopy(new)
            metadata = stored.setdefault("metadata", {})
            if "name" not in metadata:
                metadata["name"] = metadata.pop("generateName") + uuid4().hex[:5]
            key = (resource, namespace, metadata["name"])
            if key in self._objects:
                raise ApiError(
                    409, "AlreadyExists", f'{qualified(resource)} "{key[2]}" already exists'
                )
            metadata.update(
                namespace=namespace,
                uid=str(uuid4()),
                creationTimestamp=timestamp(),
                resourceVersion=str(next(self._versions)),
            )
            self._objects[key] = stored
            return copy.deepcopy(stored)

    def get(self, resource: str, namespace: str, name: str) -> Object:
        """The object.

        Raises:
            ApiError: there is none of that name.
        """
        with self._lock:
            try:
                return copy.deepcopy(self._objects[resource, namespace, name])
            except KeyError:
                raise ApiError(
                    404, "NotFound", f'{qualified(resource)} "{name}" not found'
                ) from None

    def find(self, resource: str, namespace: str, name: str) -> Object | None:
        with self._lock:
            return copy.deepcopy(self._objects.get((resource, namespace, name)))

    def list(
        self, resource: str, namespace: str | None = None, labels: str = "", fields: str = ""
    ) -> list[Object]:
        """The objects of a namespace, or of all, that both selectors take."""
        with self._lock:
            return [
                copy.deepcopy(stored)
                for (of_resource, of_namespace, _), stored in sorted(self._objects.items())
                if of_resource == resource
                and namespace in {None, of_namespace}
                and has_labels(stored, labels)
                and has_fields(stored, fields)
            ]

    def change(
        self, resource: str, namespace: str, name: str, change: Callable[[Object], None]
    ) -> Object:
        """The object after `change` has been made to it.

        Raises:
            ApiError: there is none of that name.
        """
        with self._lock:
            stored = self.get(resource, namespace, name)
            change(stored)
            stored["metadata"]["resourceVersion"] = str(next(self._versions))
            self._objects[resource, namespace, name] = stored
            return copy.deepcopy(stored)

    def remove(self, resource: str, namespace: str, name: str) -> None:
        with self._lock:
            self._objects.pop((resource, namespace, name), None)


def qualified(resource: str) -> str:
    """A resource as messages name it: jobs.batch, pods."""
    group = GROUPS.get(resource.partition("/")[0], "")
    return f"{resource}.{group}" if group else resource


def owned_by(owner: Object, objects: Iterable[Object]) -> list[Object]:
    """Those of the objects that the owner has made."""
    uid = owner["metadata"]["uid"]
    return [
        owned
        for owned in objects
        if any(
            reference["uid"] == uid for reference in owned["metadata"].get("ownerReferences") or []
        )
    ]


def has_labels(stored: Object, selector: str) -> bool:
    """Whether a label selector takes the object: `a=b`, `a!=b`, `a`, `!a`, joined by commas."""
    labels = stored["metadata"].get("labels") or {}
    for term in filter(None, selector.split(",")):
        if " in " in term or "(" in term:
            raise ApiError(400, "BadRequest", f"sets are not supported in selectors: {term}")
        name, operator, value = _parts(term)
        if operator == "exists":
            holds = name in labels
        elif operator == "!":
            holds = name not in labels
        else:
            holds = (labels.get(name) == value) == (operator == "=")
        if not holds:
            return False
    return True


def has_fields(stored: Object, selector: str) -> bool:
    """Whether a field selector takes the object: `metadata.name=a`, joined by commas."""
    for term in filter(None, selector.split(",")):
        path, operator, value = _parts(term)
        found: Any = stored
        for name in path.split("."):
            found = (found or {}).get(name)
        if ((found or "") == value) != (operator == "="):
            return False
    return True


def _parts(term: str) -> tuple[str, str, str]:
    if term.startswith("!"):
        return term[1:].strip(), "!", ""
    if "!=" in term:
        name, _, value = term.partition("!=")
        return name.strip(), "!=", value.strip()
    if "=" in term:
        name, _, value = term.replace("==", "=").partition("=")
        return name.strip(), "=", value.strip()
    return term.strip(), "exists", ""
