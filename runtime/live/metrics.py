"""A run's figures for Prometheus, read from its snapshot whenever they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tdfusion_edge.runtime.pairing.health import CameraState, State
from tdfusion_edge.runtime.pipeline.monitor import Snapshot

QUANTILES = {"p50": "0.5", "p95": "0.95", "p99": "0.99", "max": "1"}


def exposition(snapshot: Callable[[], Snapshot], viewers: Callable[[], int]) -> bytes:
    """All metrics in Prometheus' text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_OfRun(snapshot, viewers))
    return generate_latest(registry)


class _OfRun(Collector):
    def __init__(self, snapshot: Callable[[], Snapshot], viewers: Callable[[], int]) -> None:
        self._snapshot, self._viewers = snapshot, viewers

    def describe(self) -> Iterable[Metric]:
        return ()

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot()
        yield _gauge("tdfusion_running", "1 while the loop runs.", float(snapshot.running))
        yield CounterMetricFamily("tdfusion_pictures", "Fused pictures.", value=snapshot.pictures)
        yield _gauge("tdfusion_picture_rate_hertz", "Pictures a second, over two seconds.", snapshot.rate_hz)
        if snapshot.age_s is not None:
            yield _gauge("tdfusion_picture_age_seconds", "Since the newest picture.", snapshot.age_s)
        if snapshot.loop_age_s is not None:
            yield _gauge("tdfusion_loop_age_seconds", "Since the loop last turned.", snapshot.loop_age_s)
        yield _gauge("tdfusion_page_viewers", "Who look at the live page.", self._viewers())
        yield from _of_cameras(snapshot)
        yield from _of_figures(snapshot)


def _of_cameras(snapshot: Snapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily("tdfusion_camera_state", "1 for its state.", labels=("camera", "state"))
    rate = GaugeMetricFamily("tdfusion_camera_rate_hertz", "Fresh frames a second.", labels=("camera",))
    age = GaugeMetricFamily("tdfusion_camera_age_seconds", "Since its newest frame.", labels=("camera",))
    failures = CounterMetricFamily("tdfusion_camera_failures", "Reads that failed.", labels=("camera",))
    camera: CameraState
    for role, camera in snapshot.cameras.items():
        for name in get_args(State):
            state.add_metric((role, name), float(camera.state == name))
        rate.add_metric((role,), camera.rate_hz)
        if camera.age_s is not None:
            age.add_metric((role,), camera.age_s)
        failures.add_metric((role,), camera.failures)
    yield from (state, rate, age, failures)


def _of_figures(snapshot: Snapshot) -> Iterator[Metric]:
    figures = snapshot.figures
    frames = CounterMetricFamily(
        "tdfusion_camera_frames", "Frames by what became of them.", labels=("camera", "fate")
    )
    for role, counts in figures.get("cameras", {}).items():
        for fate, count in counts.items():
            if fate != "failures":
                frames.add_metric((role, fate), count)
    yield frames
    for key, name, label, what in (
        ("degraded", "tdfusion_degraded_pictures", "reason", "Pictures not fused from two fresh frames."),
        ("detections", "tdfusion_detections", "name", "What was found, by its class."),
    ):
        family = CounterMetricFamily(name, what, labels=(label,))
        for value, count in figures.get(key, {}).items():
            family.add_metric((str(value),), count)
        yield family
    latency = GaugeMetricFamily(
        "tdfusion_latency_seconds", "Since the run began, by stage.", labels=("stage", "quantile")
    )
    for stage, summary in figures.get("latency_ms", {}).items():
        for name, milliseconds in summary.items():
            latency.add_metric((stage, QUANTILES[name]), milliseconds / 1e3)
    yield latency
    skew_ms = figures.get("skew", {}).get("median_ms")
    if skew_ms is not None:
        yield _gauge("tdfusion_skew_seconds", "Infrared less visible capture time, median.", skew_ms / 1e3)
    for key in ("written", "sink_dropped", "failed_sinks"):
        if key in figures:
            what = f"Of the outputs: {key.replace('_', ' ')}."
            yield CounterMetricFamily(f"tdfusion_outputs_{key}", what, value=figures[key])


def _gauge(name: str, what: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, value=value)
