"""A real ``yolox`` that sees colours, from its checkpoint through the export to both ways of the runtime."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import pytest
import torch
from checkpoints import save
from colour_pairs import SIZE, saved, scene
from telling import telling

from tdfusion_edge import bundle, checkpoint
from tdfusion_edge.bundle import ONE_PASS, Bundle, Precision
from tdfusion_edge.cli import main
from tdfusion_edge.color import luma, split
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.graph import LEGACY
from tdfusion_edge.export.heads import boxes
from tdfusion_edge.export.heads.graph import example_folded, head_onnx
from tdfusion_edge.export.networks import choose
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.resize import resized, resized_planes
from tdfusion_edge.runtime.engines import Engine
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.train.data.tensors import chroma_tensor
from tdfusion_edge.train.models.edge import Edge
from tdfusion_edge.train.models.yolox.network import YOLOX

pytestmark = pytest.mark.slow

VIEW = checkpoint.TaskView(classes=("person", "car"), height=64, width=96)
EDGE = {"width": 4, "depth": 1}
TOLERANCES = {"boxes": boxes.BOX_TOLERANCE, "scores": boxes.SCORE_TOLERANCE}
RED, BLUE = (20, 30, 230), (230, 97, 20)
"""BGR of one luma."""


class Made(NamedTuple):
    """Bundles of one set of weights, and what went into them."""

    checkpoint: Path
    """Of the network that sees colours."""
    coloured: Path
    plain: Path
    """The bundle of the same weights that sees luma alone, in float32 without one pass."""
    network: YOLOX
    data: Path
    """Three pairs with colours, which were measured on."""


def yolox(*, colour: bool) -> YOLOX:
    """Never trained."""
    torch.manual_seed(0)
    return telling(YOLOX(len(VIEW.classes), colour=colour, norm=False))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("colour")
    data = saved(folder / "pairs", 3)
    torch.manual_seed(0)
    fusion = Edge(**EDGE)
    for colour in (True, False):
        networks: dict[str, Any] = {
            "fusion": (fusion, "edge", EDGE),
            "task": (yolox(colour=colour), "yolox", {"colour": colour, "norm": False}),
        }
        path = save(folder / f"{colour}.safetensors", networks, task=VIEW)
        precisions: tuple[Precision, ...] = ("fp32", "fp16") if colour else ("fp32",)
        export(
            [path],
            folder / f"{colour}",
            precisions=precisions,
            size=SIZE if colour else None,
            data=data if colour else None,
            threshold=0.2,
        )
    return Made(
        folder / "True.safetensors",
        folder / "True",
        folder / "False",
        yolox(colour=True),
        data,
    )


@pytest.fixture(scope="module")
def opened(made: Made) -> Bundle:
    return bundle.read(made.coloured)


class Watched:
    """An engine whose last output is kept; it stands in for none of it."""

    def __init__(self, engine: Engine, kept: dict[str, Any], name: str) -> None:
        self._engine, self._kept, self._name = engine, kept, name
        self.inputs, self.outputs = engine.inputs, engine.outputs

    def run(self, given: Mapping[str, Any]) -> dict[str, Any]:
        output = self._engine.run(given)
        self._kept[self._name] = {name: value.copy() for name, value in output.items()}
        return output

    def close(self) -> None:
        self._engine.close()


def looked(
    source: Bundle | Path, infrared: Any, visible: Any, *, graphs: str = "staged", precision: str = "fp32"
) -> dict[str, Any]:
    """What the graph with the boxes gave for a pair of arrays, boxes and scores as they left it."""
    kept: dict[str, Any] = {}
    options = {"threads": 1, "precision": precision, "graphs": graphs, "stretch": "none"}
    with Fuser(source, **options, instrument=lambda name, engine: Watched(engine, kept, name)) as fuse:  # type: ignore[arg-type]
        fuse.look(infrared, visible)
    output: dict[str, Any] = kept[ONE_PASS if graphs == "onepass" else "detector"]
    return output


def by_torch(made: Made, infrared: Any, visible: Any) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores of the PyTorch network on the fused luma and the colours, as a training shows them."""
    with Fuser(made.coloured, threads=1, precision="fp32", detect=False) as fuse:
        fused = fuse.luma(infrared, luma(visible))
    size = VIEW.width, VIEW.height
    chroma = split(visible)[1]
    colours = None if chroma is None else chroma_tensor([resized_planes(chroma, *size)])
    with torch.inference_mode():
        seen = torch.from_numpy(resized(fused, *size)[None, None])
        found = made.network.graph_output(seen, colours)
    return found.boxes.numpy(), found.scores.numpy()


@pytest.mark.parametrize("size", [SIZE, (101, 77), (96, 64)])
def test_the_runtime_gives_what_the_network_gives(made: Made, size: tuple[int, int]) -> None:
    infrared, visible = scene(7, size)
    want_boxes, want_scores = by_torch(made, infrared, visible)
    got = looked(made.coloured, infrared, visible)
    assert np.abs(got["boxes"] - want_boxes).max() <= boxes.BOX_TOLERANCE
    assert np.abs(got["scores"] - want_scores).max() <= boxes.SCORE_TOLERANCE
    grey = looked(made.coloured, infrared, luma(visible))
    assert np.abs(grey["scores"] - want_scores).max() > 100 * boxes.SCORE_TOLERANCE, "colours matter to it"


@pytest.mark.parametrize("grey", [False, True])
def test_one_pass_finds_what_the_staged_way_finds(made: Made, grey: bool) -> None:
    infrared, visible = scene(7)
    without = looked(made.coloured, infrared, luma(visible))
    visible = luma(visible) if grey else visible
    staged = looked(made.coloured, infrared, visible)
    one = looked(made.coloured, infrared, visible, graphs="onepass")
    scale = {"scores": 1, "boxes": np.array([SIZE[0] / VIEW.width, SIZE[1] / VIEW.height] * 2, np.float32)}
    for name, factor in scale.items():
        apart = np.abs(one[name] - staged[name] * factor).mean()
        by_colour = np.abs((without[name] - staged[name]) * factor).mean()
        # Smaller colours are rounded to 8 bits outside of the graph, and are not inside of it.
        assert apart <= (TOLERANCES[name] if grey else by_colour / 20)
        assert (by_colour == 0) == grey


def test_red_and_blue_of_one_luma_differ_to_a_head_that_sees_colours_alone(made: Made) -> None:
    infrared, visible = scene(7)
    pictures = []
    for colour in (RED, BLUE):
        pictures.append(visible.copy())
        pictures[-1][48:144, 64:192] = colour
    assert np.array_equal(luma(pictures[0]), luma(pictures[1]))
    for path, differ in ((made.coloured, True), (made.plain, False)):
        red, blue = (looked(path, infrared, picture) for picture in pictures)
        for name in ("boxes", "scores"):
            assert np.array_equal(red[name], blue[name]) != differ
        assert np.abs(red["scores"] - blue["scores"]).max() > 0.02 or not differ


def test_grey_in_three_channels_is_grey_in_one(made: Made) -> None:
    infrared, visible = scene(7)
    one = luma(visible)
    three = np.repeat(one[..., None], 3, axis=2)
    for graphs in ("staged", "onepass"):
        first, second = (looked(made.coloured, infrared, picture, graphs=graphs) for picture in (one, three))
        assert all(np.array_equal(first[name], second[name]) for name in ("boxes", "scores"))
    want_boxes, want_scores = by_torch(made, infrared, one)
    got = looked(made.coloured, infrared, one)
    assert np.abs(got["scores"] - want_scores).max() <= boxes.SCORE_TOLERANCE
    assert np.abs(got["boxes"] - want_boxes).max() <= boxes.BOX_TOLERANCE


@pytest.mark.parametrize("graphs", ["staged", "onepass"])
def test_a_sensor_that_is_missing_leaves_the_colours_of_what_is_there(made: Made, graphs: str) -> None:
    infrared, visible = scene(7)
    warm = Frame(infrared.astype(np.uint16) * 16 + 1000, 0, 0, "ir")
    with Fuser(made.coloured, threads=1, graphs=graphs, stretch="none", score_threshold=0.3) as fuse:
        whole = fuse.fuse(Pair(warm, Frame(visible, 0, 0, "vis")))
        assert whole is not None
        assert whole.degraded is None
        assert len(whole.detections) > 0
        dark = fuse.fuse(Pair(warm, None))
        seen = fuse.fuse(Pair(None, Frame(visible, 0, 1, "vis")))
        assert dark is not None
        assert seen is not None
        chroma = split(visible)[1]
        for got, want in ((dark, fuse.find(dark.picture)), (seen, fuse.find(luma(visible), chroma))):
            assert got.degraded is not None
            assert np.array_equal(got.detections.boxes, want["boxes"].boxes)
            assert np.array_equal(got.detections.scores, want["boxes"].scores)
        grey = fuse.find(luma(visible))["boxes"]
        assert not np.array_equal(grey.scores, seen.detections.scores)


def test_the_manifest_says_that_it_takes_chroma(made: Made, opened: Bundle) -> None:
    graph = opened.manifest.graphs["detector"]
    assert [(one.name, one.dtype, one.shape) for one in graph.inputs] == [
        ("luma", "float32", (1, 1, VIEW.height, VIEW.width)),
        ("chroma", "float32", (1, 2, VIEW.height, VIEW.width)),
    ]
    assert opened.manifest.sees_colours("boxes")
    assert not opened.manifest.sees_colours("mask")
    assert not bundle.read(made.plain).manifest.sees_colours("boxes")
    card, plain = ((path / "MODEL_CARD.md").read_text() for path in (made.coloured, made.plain))
    assert "Sees the fused luma in the visible picture's colours, not stretched" in card
    assert "Sees the fused luma, not stretched" in plain


def test_float16_takes_chroma_and_keeps_to_float32(made: Made, opened: Bundle) -> None:
    assert set(opened.manifest.graphs["detector"].files) == {"fp32", "fp16"}
    infrared, visible = scene(7)
    want = looked(made.coloured, infrared, visible)["scores"]
    without = looked(made.coloured, infrared, luma(visible))["scores"]
    got = looked(made.coloured, infrared, visible, precision="fp16")["scores"]
    error = np.abs(got - want).mean()
    assert 0 < error < np.abs(without - want).mean() / 10


def test_the_legacy_exporter_writes_it_too(made: Made) -> None:
    raw = head_onnx(example_folded(choose([made.checkpoint]).heads["detector"]), VIEW, LEGACY)
    infrared, visible = scene(8, (VIEW.width, VIEW.height))
    chroma = split(visible)[1]
    assert chroma is not None
    given = {
        "luma": infrared[None, None] / np.float32(255),
        "chroma": chroma[None] / np.float32(255),
    }
    got = OnnxRuntimeEngine(raw, threads=1).run(given)
    with torch.inference_mode():
        want = made.network.graph_output(*map(torch.from_numpy, given.values()))
    assert np.abs(got["scores"] - want.scores.numpy()).max() <= boxes.SCORE_TOLERANCE


def test_verify_measures_both_ways_in_colours(made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(made.coloured), "--precision", "fp16", "--data", str(made.data)]
    assert main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    for way in (said["gap"], said["onepass"]["gap"]):
        assert way["pairs"] == 3
        assert way["boxes"] > 0


def test_run_and_fuse_find_the_same_in_the_same_pictures(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All four ways of two commands; a run of grey pictures finds something else."""
    found: dict[str, list[list[float]]] = {}
    (tmp_path / "grey").mkdir()
    for path in (made.data / "vi").iterdir():
        cv2.imwrite(str(tmp_path / "grey" / path.name), luma(cv2.imread(str(path))))
    infrared, visible = made.data / "ir", made.data / "vi"
    rows = tmp_path / "rows.jsonl"
    common = ["--bundle", str(made.coloured), "--stretch", "none", "--range", "camera"]
    common += ["--score-threshold", "0.26"]
    for name, folder, options in (
        ("staged", visible, ["--graphs", "staged"]),
        ("onepass", visible, ["--graphs", "onepass"]),
        ("grey", tmp_path / "grey", ["--graphs", "staged"]),
    ):
        assert main(["run", "--camera", f"{infrared},{folder}", "-o", str(rows), *common, *options]) == 0
        found[name] = scores_in(rows)
        rows.unlink()
    output = ["-o", str(tmp_path / "fused"), "--detections", str(rows)]
    assert main(["fuse", str(infrared), str(visible), *output, *common]) == 0
    capsys.readouterr()
    assert scores_in(rows) == found["staged"]
    assert found["grey"] != found["staged"]
    assert len(found["staged"]) == 3
    for staged, one in zip(found["staged"], found["onepass"], strict=True):
        assert len(staged) > 0
        assert abs(len(staged) - len(one)) <= 2
        assert staged[0] == pytest.approx(one[0], abs=0.01)


def scores_in(rows: Path) -> list[list[float]]:
    """Of each picture, the largest first."""
    lines = [json.loads(line) for line in rows.read_text().splitlines()]
    return [sorted((one["score"] for one in line.get("detections", ())), reverse=True) for line in lines]
