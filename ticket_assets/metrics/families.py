"""Metric families of prometheus-client, made in one line each."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from ticket_assets.metrics.counters import Histogram
from ticket_assets.text.characters import visible

Labels = tuple[str, ...]


def gauge(name: str, text: str, value: float) -> Metric:
    """A gauge without labels."""
    return GaugeMetricFamily(name, text, value=value)


def gauges(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    """A gauge with a value for each combination of labels."""
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(_shown(key), value)
    return family


def counter(name: str, text: str, labels: Labels, values: Mapping[Labels, float]) -> Metric:
    """A counter; its name ends in `_total`."""
    family = CounterMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(_shown(key), value)
    return family


def histogram(name: str, text: str, labels: Labels, values: Mapping[Labels, Histogram]) -> Metric:
    """A histogram for each combination of labels."""
    family = HistogramMetricFamily(name, text, labels=labels)
    for key, value in sorted(values.items()):
        family.add_metric(_shown(key), value.buckets(), value.total)
    return family


def _shown(labels: Labels) -> Labels:
    """Labels' values as text: a folder's name need not be UTF-8, which Prometheus requires."""
    return tuple(map(visible, labels))
