"""A whole bundle: its detector is the network, and one pass gives what the networks one by one give."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from checkpoints import MADE_UP
from small_bundle import FINDS, LABELLED, SIZE, VIEW, Small
from tiny_task import TinyDetector

from tdfusion_edge import bundle, cli
from tdfusion_edge.bundle import ONE_PASS, Bundle, Precision
from tdfusion_edge.color import luma
from tdfusion_edge.errors import BundleError, ConfigError, ExportError, RequestError
from tdfusion_edge.export import onepass_graph
from tdfusion_edge.export.gate import passed
from tdfusion_edge.export.heads import boxes
from tdfusion_edge.export.onepass import OnePass
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.pairs import Boxes, LabelledPair
from tdfusion_edge.runtime import engines, rig
from tdfusion_edge.runtime.engines import Choice, open_graph
from tdfusion_edge.runtime.evaluation.pairs import simulated
from tdfusion_edge.runtime.executors.base import untimed
from tdfusion_edge.runtime.executors.onepass import OnePass as Executor
from tdfusion_edge.runtime.executors.staged import Staged
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads.boxes.compare import match
from tdfusion_edge.runtime.picture.alignment import Aligner
from tdfusion_edge.runtime.picture.stretch import Stretch
from tdfusion_edge.runtime.simulation.scene import Scene
from tdfusion_edge.train.models.edge import Edge

STEP_NS = 40_000_000
Open = Callable[..., Fuser]


@pytest.fixture(scope="module")
def opened(small: Small) -> Bundle:
    return small.opened


def pairs_of(
    size: tuple[int, int], count: int = 3, step_ns: int = STEP_NS, *, grey: bool = False
) -> list[Pair]:
    scene = Scene(0, size)
    pairs = []
    for number in range(count):
        infrared, visible = (draw(number * 1.5) for draw in (scene.infrared, scene.visible))
        visible = luma(visible) if grey else visible
        frames = [Frame(image, number * step_ns, number, "x") for image in (luma(infrared), visible)]
        pairs.append(Pair(*frames))
    return pairs


@pytest.fixture
def staged(opened: Bundle) -> Iterator[Fuser]:
    with Fuser(opened, threads=1, precision="fp32", graphs="staged", stretch="none") as fuse:
        yield fuse


@pytest.fixture(params=["fp32", "fp16"])
def one_pass(opened: Bundle, request: pytest.FixtureRequest) -> Iterator[Fuser]:
    with Fuser(opened, threads=1, precision=request.param, graphs="onepass", stretch="none") as fuse:
        yield fuse


def apart(one: Image, other: Image) -> tuple[int, float]:
    assert one.shape == other.shape
    difference = np.abs(one.astype(int) - other)
    return int(difference.max()), float(difference.mean())


@pytest.mark.parametrize("size", [SIZE, (130, 98), (256, 192)])
def test_one_pass_shows_and_finds_the_same(staged: Fuser, one_pass: Fuser, size: tuple[int, int]) -> None:
    for pair in pairs_of(size):
        want, got = staged.fuse(pair), one_pass.fuse(pair)
        assert want is not None
        assert got is not None
        # Chroma is rounded to 8 bits on its way through OpenCV, and FP16 moves a luma by a level.
        largest, mean = apart(got.picture, want.picture)
        assert largest <= 4
        assert mean < 0.6
        # Weights that were never trained put many scores about the threshold.
        same = match(want.detections, got.detections, 0.5)
        assert same.boxes > 5
        assert same.kept + 2 >= same.boxes
        assert same.added <= 2
        assert same.score_error < 0.01
        assert got.detections.names == want.detections.names


def test_boxes_that_nobody_wants_are_not_in_the_result(
    small: Small, opened: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (pair,) = pairs_of(SIZE, 1)
    with Fuser(opened, threads=1, graphs="onepass", stretch="none", detect=False) as fuse:
        result = fuse.fuse(pair)
        assert result is not None
        assert result.findings == {}
        assert fuse.stages == ("align", "network", "compose")
    cameras = ",".join(f"sim://{name}?realtime=0&fps=10&size=160x120{extra}" for name, extra in KINDS)
    command = ["run", "--bundle", str(small.path), "--camera", cameras, "--seconds", "0.5", "--json"]
    assert cli.main([*command, "--graphs", "onepass", "--no-detect", "-o", str(tmp_path / "o.jsonl")]) == 0
    assert "detect" not in json.loads(capsys.readouterr().out)["latency_ms"]


def test_a_grey_picture_stays_grey(one_pass: Fuser) -> None:
    (pair,) = pairs_of(SIZE, 1, grey=True)
    result = one_pass.fuse(pair)
    assert result is not None
    assert result.picture.shape == SIZE[::-1]


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_limits_follow_a_picture_behind(opened: Bundle, precision: Precision) -> None:
    names = ("fusion", ONE_PASS)
    fusion, graph = (
        open_graph(opened, name, Choice(precision=precision, threads=1)).engine for name in names
    )
    with closing(fusion), closing(graph):
        staged = Staged(fusion, {})
        info = opened.manifest.graphs[ONE_PASS]
        one = Executor(info, graph, VIEW.classes, threshold=0.5, staged=staged, demanded=True)
        plain, behind, aligner = Stretch("temporal"), Stretch("temporal"), Aligner(rig.ThermalRange())
        before = []
        for pair in pairs_of(SIZE, 4, step_ns=400_000_000):
            aligned = aligner.align(pair)
            assert aligned is not None
            before.append(behind.limits)
            want, got = (
                way.fuse(aligned, stretch, untimed) for way, stretch in ((staged, plain), (one, behind))
            )
            # Both have seen the same pictures, and so want the same limits next.
            assert behind.limits == pytest.approx(plain.limits, abs=2e-3)
            if len(before) == 1:
                assert apart(got.picture, want.picture)[1] < 0.7  # the first one is shown with its own
        assert before[1] != before[2] != before[3]


def test_one_sensor_alone_goes_network_by_network(staged: Fuser, one_pass: Fuser) -> None:
    (pair,) = pairs_of(SIZE, 1)
    results = [fuse.fuse(Pair(None, pair.visible)) for fuse in (staged, one_pass)]
    assert np.array_equal(*(result.picture for result in results if result is not None))


def test_what_does_not_fit_goes_the_other_way_unless_demanded(
    opened: Bundle, staged: Fuser, one_pass: Fuser, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pair,) = pairs_of((120, 90), 1)
    want = staged.fuse(pair)
    assert want is not None
    gains = engines.BACKENDS["onnxruntime"]._replace(one_pass=True)
    monkeypatch.setattr(engines, "BACKENDS", {**engines.BACKENDS, "onnxruntime": gains})
    with Fuser(opened, threads=1, precision="fp32", graphs="auto", stretch="none") as fuse:
        assert "in one pass" in str(fuse)
        got = fuse.fuse(pair)
        assert got is not None
        assert np.array_equal(got.picture, want.picture)
    with pytest.raises(RequestError, match=r"pictures of 130 to 256 in steps of 2 by 98 to 192.*got 120x90"):
        one_pass.fuse(pair)


def test_the_stretch_of_single_pictures_cannot_be_inside(opened: Bundle) -> None:
    with pytest.raises(RequestError, match="--stretch image"):
        Fuser(opened, graphs="onepass", stretch="image")


KINDS = (("ir", "&view=160x120"), ("vis", ""))


def test_run_goes_through_it_on_demand(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = ",".join(f"sim://{name}?realtime=0&fps=10&size=160x120{extra}" for name, extra in KINDS)
    command = ["run", "--bundle", str(small.path), "--camera", cameras, "--seconds", "1", "--json"]
    output = tmp_path / "out.jsonl"
    rows = {}
    for graphs in ("staged", "onepass"):
        assert cli.main([*command, "--graphs", graphs, "-o", str(output)]) == 0
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert ("in one pass" in said.err) == (graphs == "onepass")
        assert (report["latency_ms"]["compose"] == {}) == (graphs == "onepass")
        rows[graphs] = [json.loads(line) for line in output.read_text().splitlines()]
    counts = [[len(row.get("detections", ())) for row in rows[graphs]] for graphs in rows]
    assert np.abs(np.subtract(*counts)).max() <= 1
    assert sum(counts[0]) > 0


def test_the_gate_has_measured_it(opened: Bundle) -> None:
    rows = {(row.graph, row.precision, row.against): row for row in opened.manifest.parity}
    low = rows["onepass", "fp16", "fp32"]
    assert rows["onepass", "fp32", "fp32"].figures["colour_levels"] <= 3
    assert low.pictures == "8 simulated pairs"
    assert low.figures["boxes_kept"] > 0.97
    assert low.max_error <= 2 / 255
    assert rows["onepass", "fp32", "pytorch"].max_error <= 1 / 255


def test_verify_measures_both_ways(small: Small, street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(small.path), "--precision", "fp16", "--data", str(street)]
    assert cli.main([*command, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["onepass"]["offences"] == []
    assert said["onepass"]["gap"]["pairs"] == said["gap"]["pairs"] == 2
    assert said["onepass"]["gap"]["boxes"] == pytest.approx(said["gap"]["boxes"], abs=2)
    assert 0 < said["onepass"]["gap"]["mean_error"] < 1e-3
    assert cli.main(command) == 0
    assert "fused luma in 8 bits: PSNR" in capsys.readouterr().out


@pytest.fixture
def street(tmp_path: Path) -> Path:
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
    for number, pair in enumerate(pairs_of(SIZE, 2, grey=True)):
        for side, frame in (("ir", pair.infrared), ("vi", pair.visible)):
            assert frame is not None
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), frame.image)
    return tmp_path


def test_a_graph_that_gives_something_else_leaves_no_bundle(opened: Bundle) -> None:
    """Whatever the pairs' size; where none is served, simulated ones are."""
    manifest = msgspec.to_builtins(opened.manifest)
    model = onnx.load_from_string(opened.graph("onepass", "fp16")[1])
    for tensor in model.graph.initializer:
        if len(tensor.dims) == 4:
            zeros = np.zeros_like(onnx.numpy_helper.to_array(tensor))
            tensor.CopyFrom(onnx.numpy_helper.from_array(zeros, tensor.name))
    files = {**opened.files, "onepass.fp16.onnx": model.SerializeToString()}
    fields = {key: value for key, value in manifest.items() if key not in ("format", "sha256")}
    for size in (SIZE, (96, 80)):
        pairs = tuple(
            LabelledPair("x", pair.infrared.image, pair.visible.image)  # type: ignore[union-attr]
            for pair in pairs_of(size, 1, grey=True)
        )
        with pytest.raises(ExportError, match="the one-pass graph: fp16 is too far from float32"):
            passed(fields, files, Pairs(pairs, (), "one pair"), SIZE)
        rows = passed(fields, opened.files, Pairs(pairs, (), "one pair"), SIZE)
        said = {row.graph: row.pictures for row in rows}
        there = "one pair" if size == SIZE else "8 simulated pairs"
        assert said == {"fusion": "one pair", "onepass": there}


def test_scores_of_a_part_of_the_pairs_are_not_in_a_row(opened: Bundle) -> None:
    """They could not be held against those of the networks, which saw all pairs."""
    boxes = Boxes(np.array([[20, 20, 90, 90]], np.float32), np.array([0]))
    labelled = tuple(pair._replace(boxes=boxes) for pair in simulated(2, SIZE))
    fields = {
        key: value
        for key, value in msgspec.to_builtins(opened.manifest).items()
        if key not in ("format", "sha256")
    }
    whole = {row.graph: row for row in passed(fields, opened.files, Pairs(labelled, (), "2 pairs"), SIZE)}
    assert all("map50_change" in row.figures for row in whole.values())
    other = next(iter(simulated(1, (96, 80))))._replace(boxes=boxes)
    some = Pairs((*labelled, other), (), "3 pairs")
    part = {row.graph: row for row in passed(fields, opened.files, some, SIZE)}
    assert part["onepass"].pictures == "2 of 3 pairs"
    assert "map50_change" not in part["onepass"].figures
    assert "map50_change" in part["fusion"].figures


def test_swapped_colours_leave_no_bundle(opened: Bundle) -> None:
    """In pictures without colour nobody would see it, so the gate looks at such as have some."""
    model = onnx.load_from_string(opened.graph("onepass", "fp16")[1])
    (last,) = [node for node in model.graph.node if "fused" in node.output]
    last.output[list(last.output).index("fused")] = "bgr"
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "swap"))
    model.graph.node.append(onnx.helper.make_node("Gather", ["bgr", "swap"], ["fused"], axis=2))
    files = {**opened.files, "onepass.fp16.onnx": model.SerializeToString()}
    fields = {
        key: value
        for key, value in msgspec.to_builtins(opened.manifest).items()
        if key not in ("format", "sha256")
    }
    pairs = tuple(simulated(2, SIZE))
    assert all(pair.colour is not None for pair in pairs)
    with pytest.raises(ExportError, match="the one-pass graph: fp16 is too far from float32: largest error"):
        passed(fields, files, Pairs(pairs, (), "two pairs"), SIZE)


def test_verify_takes_simulated_pairs_where_none_is_of_a_size_that_is_served(
    small: Small, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80), dtype=np.uint8)
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "0.png"), noise)
    assert cli.main(["verify", str(small.path), "--data", str(tmp_path)]) == 0
    assert "all in one pass, 2 pairs:" in capsys.readouterr().out


def test_pictures_of_their_own_stretch_cannot_go_in_one_pass(
    small: Small, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fuse", str(street / "ir"), str(street / "vi"), "-o", str(tmp_path / "out")]
    command += ["--bundle", str(small.path), "--graphs", "onepass"]
    assert cli.main(command) == 2
    assert (
        "--graphs onepass: expected --stretch temporal or none, got --stretch image"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
    assert cli.main([*command, "--stretch", "none"]) == 0
    assert "in one pass for 130 to 256 in steps of 2 by 98 to 192" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 2


@pytest.mark.parametrize("change", [{"multiple_of": 0}, {"smallest": -4}])
def test_sizes_that_are_none_are_refused(opened: Bundle, change: dict[str, int]) -> None:
    manifest = msgspec.to_builtins(opened.manifest)
    rows, columns = manifest["graphs"]["onepass"]["sizes"]
    manifest["graphs"]["onepass"]["sizes"] = (rows | change, columns)
    fields = {key: value for key, value in manifest.items() if key not in ("format", "sha256")}
    with pytest.raises(ConfigError, match="sizes"):
        bundle.assembled(fields, opened.files)


def executor(opened: Bundle, engine_of: str, graph: bundle.Graph) -> Executor:
    fusion = open_graph(opened, "fusion", Choice(threads=1)).engine
    engine = open_graph(opened, engine_of, Choice(threads=1)).engine
    with closing(fusion), closing(engine):
        return Executor(graph, engine, VIEW.classes, threshold=0.5, staged=Staged(fusion, {}))


def test_a_graph_of_other_shapes_is_refused(opened: Bundle) -> None:
    graph = opened.manifest.graphs["onepass"]
    fused, measured, *rest = graph.outputs
    wrong = msgspec.structs.replace(
        graph, outputs=(fused, msgspec.structs.replace(measured, shape=("n",)), *rest)
    )
    with pytest.raises(BundleError, match="other inputs or outputs than such a graph"):
        executor(opened, "onepass", wrong)


def test_another_graph_in_its_place_is_refused(opened: Bundle) -> None:
    with pytest.raises(BundleError, match="the onepass graph is not what the manifest says"):
        executor(opened, "detector", opened.manifest.graphs["onepass"])


def test_a_bundle_without_it_says_so(mean_bundle_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["run", "--bundle", str(mean_bundle_path), "--camera", "ir0,vis0", "--graphs", "onepass"]
    assert cli.main(arguments) == 2
    assert "expected a bundle with a one-pass graph in fp32" in capsys.readouterr().err


def test_the_manifest_says_what_it_takes(opened: Bundle) -> None:
    graph = opened.manifest.graphs["onepass"]
    assert graph.sizes is not None
    rows, columns = graph.sizes
    assert (rows.smallest, rows.largest, rows.multiple_of) == (98, 192, 2)
    assert (columns.smallest, columns.largest, columns.multiple_of) == (130, 256, 2)
    assert graph.inputs[1].shape == ("height", "width", 3)
    assert [one.dtype for one in (*graph.inputs, *graph.outputs)] == [
        "uint8", "uint8", "float32", "uint8", "float32", "float32", "float32",
    ]  # fmt: skip
    assert set(graph.files) == {"fp32", "fp16"}
    half = onnx.load_from_string(opened.graph("onepass", "fp16")[1])
    assert onnx.TensorProto.FLOAT16 in {tensor.data_type for tensor in half.graph.initializer}


def test_a_graph_of_other_weights_is_refused(opened: Bundle) -> None:
    torch.manual_seed(4)
    other = OnePass(Edge(4, 1), TinyDetector(3), VIEW, SIZE).eval()
    with pytest.raises(ExportError, match="the one-pass graph differs from PyTorch"):
        onepass_graph.onepass_parity(other, opened.graph("onepass")[1], SIZE)


def test_the_detector_of_the_last_checkpoint_is_in_the_bundle(small: Small) -> None:
    made = small.detector
    luma = np.random.default_rng(0).random((48, 64), np.float32)
    with torch.inference_mode():
        boxes, scores = made.decode(made(torch.from_numpy(luma)[None, None]))
    with Fuser(small.opened, precision="fp32", threads=1, score_threshold=0.0) as fuse:
        found = fuse.find(luma)["boxes"]
    assert set(found.class_ids.tolist()) <= {0, 1, 2}
    best = np.unravel_index(int(scores.argmax()), scores.shape)
    assert found.scores[0] == pytest.approx(float(scores.max()), abs=1e-5)
    assert found.class_ids[0] == best[2]
    np.testing.assert_allclose(
        found.boxes[0], boxes[0, best[1]].clamp(min=0).numpy().clip(0, (64, 48, 64, 48)), atol=1e-3
    )


def test_the_graph_is_what_the_manifest_says(small: Small) -> None:
    manifest = small.opened.manifest
    graph, raw = small.opened.graph("detector")
    model = onnx.load_from_string(raw)
    said = {tensor.name: tensor.shape for tensor in (*graph.inputs, *graph.outputs)}
    cells = 48 * 64 // 8**2
    assert said == {"luma": (1, 1, 48, 64), "boxes": (1, cells, 4), "scores": (1, cells, 3)}
    for value in (*model.graph.input, *model.graph.output):
        assert tuple(axis.dim_value for axis in value.type.tensor_type.shape.dim) == said[value.name]
    assert [opset.version for opset in model.opset_import] == [graph.opset]
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    assert (manifest.network, manifest.heads["detector"].network) == ("edge", FINDS)
    assert manifest.classes("boxes") == VIEW.classes
    assert manifest.score_threshold == 0.5
    assert manifest.metrics == {"qabf": 0.5, "map50": 0.75, "map50_95": 0.5}
    assert manifest.training_data == (MADE_UP, LABELLED)
    row = next(row for row in manifest.parity if row.graph == "detector")
    assert 0 <= row.figures["box_error_px"] <= boxes.BOX_TOLERANCE
    assert 0 <= row.max_error <= boxes.SCORE_TOLERANCE
    graphs = {f"{name}{part}.onnx" for name in ("fusion", "detector", "onepass") for part in ("", ".fp16")}
    assert set(small.opened.files) == {*graphs, "MODEL_CARD.md"}


def test_the_card_tells_of_both_networks(small: Small) -> None:
    card = small.opened.files["MODEL_CARD.md"].decode()
    for said in (
        "Fusion network `edge`, strategy `tdfusion`",
        f"Detector `{FINDS}`, strategy `task`, recipe `det`",
        "64x48 pixels",
        "person, car, lamp",
        "above 0.5",
        "| made up | 1 | fusion, detector | public domain |",
        "| labelled | 7 | detector | research |",
        "| map50 | map50_95 |\n|---|---|\n| 0.750 | 0.500 |",
        "| Qabf |\n|---|\n| 0.500 |",
        "| optimiser | steps 5 |",
        "- Only by day.",
    ):
        assert said in card, said
    assert card.count("- Only a ") == 1
    graphs = small.opened.manifest.graphs
    assert graphs["detector"].parameters, "of the network with its batch normalisation"
    assert f"| detector | {graphs['detector'].parameters:,} | " in card
    assert graphs["onepass"].parameters is None
    for left_out in ("0.125", "0.875"):  # of the first checkpoint's detector, and the last one's fusion
        assert left_out not in card
