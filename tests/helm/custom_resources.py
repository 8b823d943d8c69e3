"""Schemas of the Prometheus operator's objects, as far as the chart uses them: strict."""

from __future__ import annotations

from typing import Any


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


_TEXT = {"type": "string", "minLength": 1}
_TEXTS = {"type": "object", "additionalProperties": {"type": "string"}}
_DURATION = {"type": "string", "pattern": r"^\d+(ms|s|m|h|d|w|y)$"}
_METADATA = _object(["name", "namespace"], name=_TEXT, namespace=_TEXT, labels=_TEXTS)

_SERVICE_MONITOR = _object(
    ["selector", "endpoints"],
    selector=_object([], matchLabels=_TEXTS),
    namespaceSelector=_object([], matchNames={"type": "array", "items": _TEXT}),
    endpoints={
        "type": "array",
        "minItems": 1,
        "items": _object(
            ["port"],
            port=_TEXT,
            path={"type": "string", "pattern": "^/"},
            interval=_DURATION,
            relabelings={
                "type": "array",
                "items": _object(
                    ["action", "targetLabel", "replacement"],
                    action={"enum": ["replace"]},
                    targetLabel=_TEXT,
                    replacement=_TEXT,
                ),
            },
        ),
    },
)
_RULE = {
    "oneOf": [
        _object(["record", "expr"], record=_TEXT, expr=_TEXT, labels=_TEXTS),
        {
            **_object(
                ["alert", "expr", "labels", "annotations"],
                alert=_TEXT,
                expr=_TEXT,
                labels=_TEXTS,
                annotations=_TEXTS,
                **{"for": _DURATION},
            )
        },
    ]
}
_PROMETHEUS_RULE = _object(
    ["groups"],
    groups={
        "type": "array",
        "minItems": 1,
        "items": _object(
            ["name", "rules"], name=_TEXT, rules={"type": "array", "minItems": 1, "items": _RULE}
        ),
    },
)


def _resource(kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return _object(
        ["apiVersion", "kind", "metadata", "spec"],
        apiVersion={"const": "monitoring.coreos.com/v1"},
        kind={"const": kind},
        metadata=_METADATA,
        spec=spec,
    )


SCHEMAS = {
    "ServiceMonitor": _resource("ServiceMonitor", _SERVICE_MONITOR),
    "PrometheusRule": _resource("PrometheusRule", _PROMETHEUS_RULE),
}
"""By kind."""
