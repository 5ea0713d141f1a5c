"""The part of harvesters that the example needs, and a camera with a frame every 20 ms of its own clock.

Installed as ``harvesters/core.py`` by the test.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np

PERIOD_NS, BEGAN_NS = 20_000_000, 5_000


class Buffer:
    def __init__(self, number: int, form: str) -> None:
        dtype = np.uint16 if form == "Mono16" else np.uint8
        self.memory = np.full(3 * 4 * (3 if form == "RGB8" else 1), 1000 + number, np.int64).astype(dtype)
        if form == "RGB8":
            self.memory[:] = np.tile((10, 20, 30), 12)
        self.frame_id, self.timestamp_ns = number, BEGAN_NS + number * PERIOD_NS
        part = SimpleNamespace(width=4, height=3, data_format=form, data=self.memory)
        self.payload = SimpleNamespace(components=[part])

    def __enter__(self) -> Buffer:
        return self

    def __exit__(self, *_: object) -> None:
        self.memory[:] = 0  # the camera fills it anew


class Node:
    """An integer or a float with limits, or a switch."""

    def __init__(self, value: float, least: float, most: float) -> None:
        self._value, self._least, self._most = value, least, most

    @property
    def value(self) -> float:
        return self._value

    @value.setter
    def value(self, value: float) -> None:
        if not self._least <= value <= self._most:
            raise ValueError(f"{value} is out of range {self._least} to {self._most}")
        self._value = value


class NodeMap:
    def __init__(self, names: dict[str, Node]) -> None:
        self.__dict__.update(names)

    def has_node(self, name: str) -> bool:
        return hasattr(self, name)


class Camera:
    def __init__(self, serial: str) -> None:
        nodes = {"Width": Node(8, 2, 8), "Height": Node(6, 2, 6), "AcquisitionFrameRate": Node(9, 1, 60)}
        if serial == "16":
            nodes["AcquisitionFrameRateEnable"] = Node(False, False, True)
        self.remote_device = SimpleNamespace(node_map=NodeMap({} if serial == "rgb" else nodes))
        self.form = {"16": "Mono16", "rgb": "RGB8", "bayer": "BayerRG8", "none": ""}[serial]
        self.number, self.started = 6, False

    def start(self) -> None:
        self.started = True

    def try_fetch(self, *, timeout: float) -> Buffer | None:
        assert self.started
        self.number += 2 if self.number == 8 else 1  # number 9 is lost on the way
        return Buffer(self.number, self.form) if self.form else None


CREATED: list[Camera] = []
"""Every camera that was opened."""


class Harvester:
    device_info_list = [SimpleNamespace(serial_number="16", model="Thermal 16")]

    def __enter__(self) -> Harvester:
        return self

    def __exit__(self, *_: object) -> None:
        self.reset()

    def add_file(self, path: str) -> None:
        if not path.endswith(".cti"):
            raise FileNotFoundError(path)

    def update(self) -> None:
        self.found = True

    def create(self, search: Any) -> Camera:
        assert self.found
        CREATED.append(Camera(search["serial_number"] if search else "16"))
        return CREATED[-1]

    def reset(self) -> None:
        self.found = False
