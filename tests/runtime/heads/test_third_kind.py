"""A third kind of head is a folder and a row: what a class and an entry in the table make of it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import cv2
import msgspec
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from tdfusion_edge import Fuser, bundle
from tdfusion_edge.bundle import Graph, HeadInfo
from tdfusion_edge.cli import main
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime import heads
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.heads.base import Comparison, Kind, Seen

LEVELS = ("night", "day")


class Brightness(NamedTuple):
    """Whether a picture was taken by night or by day."""

    mean: float

    @property
    def name(self) -> str:
        return LEVELS[self.mean > 0.5]


class Meter:
    """The head at work."""

    def __init__(self, engine: Engine, names: tuple[str, ...]) -> None:
        self._engine, self.names = engine, names

    def find(self, luma: Any, chroma: Any = None, infrared: Any = None) -> Brightness:
        unit = luma if luma.dtype == np.float32 else luma / np.float32(255)
        seen = cv2.resize(unit, (32, 24), interpolation=cv2.INTER_AREA)[None, None]
        return Brightness(float(self._engine.run({"luma": seen})["mean"][0]))

    def close(self) -> None:
        self._engine.close()


class BrightnessKind(Kind):
    """What the program has to know of it."""

    stage = "meter"
    title = "light meter"
    verb = "tells"

    def open(self, graph: Graph, engine: Engine, info: HeadInfo, threshold: float | None = None) -> Meter:
        return Meter(engine, info.classes)

    def draw(self, picture: Image, found: Brightness) -> Image:
        drawn = picture.copy()
        drawn[:4] = 255 if found.name == "day" else 0
        return drawn

    def record(self, found: Brightness) -> Mapping[str, Any]:
        return {"brightness": found.name}

    def counts(self, found: Brightness) -> Iterable[str]:
        return (found.name,)

    def tally(self, seen: Seen) -> None:
        return None

    def score(self, tallies: Sequence[Any]) -> None:
        return None

    def comparison(self, threshold: float) -> Comparison:
        raise NotImplementedError


def mean_of_luma() -> bytes:
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["luma", "axes"], ["mean"], keepdims=0)],
        "brightness",
        [helper.make_tensor_value_info("luma", TensorProto.FLOAT, (1, 1, 24, 32))],
        [helper.make_tensor_value_info("mean", TensorProto.FLOAT, (1,))],
        [helper.make_tensor("axes", TensorProto.INT64, (3,), [1, 2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    raw: bytes = model.SerializeToString()
    return raw


def tensor(name: str, shape: tuple[int, ...]) -> bundle.TensorInfo:
    return bundle.TensorInfo(name=name, dtype="float32", shape=shape, content=name)


@pytest.fixture
def metering(mean_bundle: bundle.Bundle, monkeypatch: pytest.MonkeyPatch) -> bundle.Bundle:
    """The bundle that averages, with a head of the new kind, which the table knows."""
    row = {"brightness": f"{__name__}:{BrightnessKind.__name__}"}
    monkeypatch.setattr(heads, "HEADS", MappingProxyType({**heads.HEADS, **row}))
    graph = bundle.Graph(
        files={"fp32": "meter.onnx"},
        inputs=(tensor("luma", (1, 1, 24, 32)),),
        outputs=(tensor("mean", (1,)),),
        minimum_size=24,
        opset=18,
    )
    manifest = msgspec.structs.asdict(mean_bundle.manifest)
    del manifest["format"], manifest["sha256"]
    manifest["graphs"] = {**manifest["graphs"], "meter": graph}
    manifest["heads"] = {"meter": HeadInfo(kind="brightness", network="mean", classes=LEVELS)}
    return bundle.assembled(manifest, {**mean_bundle.files, "meter.onnx": mean_of_luma()})


def test_it_is_in_every_result(metering: bundle.Bundle) -> None:
    with Fuser(metering, threads=1, stretch="none") as fuse:
        assert fuse.stages == ("align", "network", "meter", "compose")
        assert str(fuse).endswith(", tells night, day")
        for level, name in ((40, "night"), (200, "day")):
            picture = np.full((48, 64), level, np.uint8)
            result = fuse(picture, picture)
            assert result.findings["brightness"].name == name
            assert (heads.annotated(result)[0] == (255 if name == "day" else 0)).all()
            assert (len(result.detections), result.mask) == (0, None)


def test_it_reaches_files_and_the_report(
    metering: bundle.Bundle, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle.write(
        tmp_path / "bundle",
        {k: v for k, v in msgspec.structs.asdict(metering.manifest).items() if k not in ("format", "sha256")},
        metering.files,
    )
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for number, level in enumerate((40, 200, 220)):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), np.full((48, 64), level, np.uint8))
    command = ["run", "--camera", f"{tmp_path}/ir,{tmp_path}/vi", "--bundle", str(tmp_path / "bundle")]
    lines = tmp_path / "out.jsonl"
    assert main([*command, "-o", str(lines), "-o", str(tmp_path / "out"), "--range", "camera", "--json"]) == 0
    assert [json.loads(line)["brightness"] for line in lines.read_text().splitlines()] == [
        "night",
        "day",
        "day",
    ]
    report = json.loads(capsys.readouterr().out)
    assert report["detections"] == {"night": 1, "day": 2}
    assert report["latency_ms"]["meter"]["p50"] > 0
    drawn = [cv2.imread(str(path))[0, 0, 0] for path in sorted((tmp_path / "out").iterdir())]
    assert drawn == [0, 255, 255]
