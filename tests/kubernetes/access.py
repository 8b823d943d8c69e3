"""Who may do what in the cluster: service accounts, their roles, and Kubernetes' own refusal."""

from __future__ import annotations

import secrets
import threading

from tests.kubernetes.objects import GROUPS, ApiError, Object, ObjectStore

USER = "system:serviceaccount:"


class Access:
    """Tokens of service accounts, and what their roles let them do."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._users: dict[str, str] = {}
        self._lock = threading.Lock()

    def token(self, namespace: str, account: str) -> str:
        """A new token of the service account, which has to exist."""
        self._store.get("serviceaccounts", namespace, account)
        token = secrets.token_urlsafe(24)
        with self._lock:
            self._users[token] = f"{USER}{namespace}:{account}"
        return token

    def user(self, authorization: str) -> str:
        """The user whose token this header holds.

        Raises:
            ApiError: nobody's.
        """
        with self._lock:
            user = self._users.get(authorization.removeprefix("Bearer "))
        if user is None:
            raise ApiError(401, "Unauthorized", "Unauthorized")
        return user

    def require(self, user: str, verb: str, resource: str, namespace: str, name: str) -> None:
        """Does nothing when the user may do this.

        Raises:
            ApiError: the user may not.
        """
        group = GROUPS.get(resource.partition("/")[0], "")
        if any(_allows(rule, verb, group, resource, name) for rule in self._rules(user, namespace)):
            return
        target = f"{resource}.{group}" if group else resource
        raise ApiError(
            403,
            "Forbidden",
            f'{target}{f" {chr(34)}{name}{chr(34)}" if name else ""} is forbidden: User "{user}"'
            f' cannot {verb} resource "{resource}" in API group "{group}" in the namespace'
            f' "{namespace}"',
        )

    def _rules(self, user: str, namespace: str) -> list[Object]:
        rules: list[Object] = []
        for binding in self._store.list("rolebindings", namespace):
            subjects = {
                f"{USER}{subject.get('namespace', namespace)}:{subject['name']}"
                for subject in binding.get("subjects") or []
                if subject["kind"] == "ServiceAccount"
            }
            role = self._store.find("roles", namespace, binding["roleRef"]["name"])
            if user in subjects and role is not None:
                rules += role.get("rules") or []
        return rules


def _allows(rule: Object, verb: str, group: str, resource: str, name: str) -> bool:
    return (
        bool({verb, "*"} & set(rule["verbs"]))
        and bool({group, "*"} & set(rule["apiGroups"]))
        and bool({resource, "*"} & set(rule["resources"]))
        and (not rule.get("resourceNames") or name in rule["resourceNames"])
    )
