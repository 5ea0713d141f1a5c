"""A bundle with a pipeline graph: one pass shows and finds what the networks one by one do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import msgspec
import numpy as np
import onnx
import pytest
import torch
from checkpoints import save
from tiny_task import TinyDetector

from tdfusion_edge import bundle, cli
from tdfusion_edge.bundle import Bundle, Precision
from tdfusion_edge.checkpoint import TaskView
from tdfusion_edge.color import luma
from tdfusion_edge.errors import BundleError, ConfigError, ExportError, RequestError
from tdfusion_edge.export import onepass_graph
from tdfusion_edge.export.assemble import export
from tdfusion_edge.export.gate import passed
from tdfusion_edge.export.onepass import OnePass
from tdfusion_edge.export.pairs import Pairs
from tdfusion_edge.frames import Frame, Image, Pair
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.result import Result
from tdfusion_edge.runtime.engines import Choice, open_graph
from tdfusion_edge.runtime.engines.onnxruntime import OnnxRuntimeEngine
from tdfusion_edge.runtime.executors.onepass import OnePass as Executor
from tdfusion_edge.runtime.executors.staged import Staged
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads.boxes.compare import match
from tdfusion_edge.runtime.simulation.scene import Scene
from tdfusion_edge.train.models.edge import Edge

SIZE = (160, 120)
VIEW = TaskView(classes=("a", "b"), height=48, width=64)
TINY = "tiny_task:TinyDetector"
STEP_NS = 40_000_000


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(3)
    networks = {
        "fusion": (Edge(4, 1), "edge", {"width": 4, "depth": 1}),
        "task": (TinyDetector(2), TINY, {"classes": 2}),
    }
    made = save(folder / "both.safetensors", networks, task=VIEW)
    export([made], folder / "bundle", allowed=[TINY], threshold=0.5, size=SIZE)
    return folder / "bundle"


@pytest.fixture(scope="module")
def opened(path: Path) -> Bundle:
    return bundle.read(path)


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


def result(fuser: Fuser, pair: Pair) -> Result:
    made = fuser.fuse(pair)
    assert made is not None
    return made


@pytest.fixture
def staged(opened: Bundle) -> Iterator[Fuser]:
    with Fuser(opened, threads=1, graphs="staged", stretch="none") as fuser:
        yield fuser


@pytest.fixture(params=["fp32", "fp16"])
def precision(request: pytest.FixtureRequest) -> Precision:
    asked: Precision = request.param
    return asked


@pytest.fixture
def onepass(opened: Bundle, precision: Precision) -> Iterator[Fuser]:
    with Fuser(opened, threads=1, precision=precision, graphs="onepass", stretch="none") as fuser:
        yield fuser


def apart(one: Image, other: Image) -> tuple[int, float]:
    assert one.shape == other.shape
    difference = np.abs(one.astype(int) - other)
    return int(difference.max()), float(difference.mean())


@pytest.mark.parametrize("size", [SIZE, (130, 98), (256, 192)])
def test_one_pass_shows_and_finds_the_same(staged: Fuser, onepass: Fuser, size: tuple[int, int]) -> None:
    for pair in pairs_of(size):
        want, got = result(staged, pair), result(onepass, pair)
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
        assert want.fused is not None
        assert got.fused is None, "it stays on its device"


def test_a_grey_picture_stays_grey(onepass: Fuser) -> None:
    (pair,) = pairs_of(SIZE, 1, grey=True)
    assert result(onepass, pair).picture.shape == SIZE[::-1]


def test_the_limits_follow_a_picture_behind(opened: Bundle, precision: Precision) -> None:
    ways = ("staged", "onepass")
    with ExitStack() as stack:
        staged, onepass = (
            stack.enter_context(Fuser(opened, threads=1, precision=one, graphs=way, stretch="temporal"))
            for one, way in zip(("fp32", precision), ways, strict=True)
        )
        before = []
        for pair in pairs_of(SIZE, 4, step_ns=400_000_000):
            before.append(onepass._stretch.limits)
            want, got = result(staged, pair), result(onepass, pair)
            # Both have seen the same pictures, and so want the same limits next.
            assert onepass._stretch.limits == pytest.approx(staged._stretch.limits, abs=2e-3)
            if len(before) == 1:
                assert apart(got.picture, want.picture)[1] < 0.7  # the first one is shown with its own
        assert before[1] != before[2] != before[3]


def test_one_sensor_alone_goes_network_by_network(staged: Fuser, opened: Bundle) -> None:
    (pair,) = pairs_of(SIZE, 1)
    alone = Pair(None, pair.visible)
    with Fuser(opened, threads=1, graphs="onepass", stretch="none") as onepass:
        assert np.array_equal(result(onepass, alone).picture, result(staged, alone).picture)


def test_what_does_not_fit_goes_the_other_way_unless_demanded(opened: Bundle, staged: Fuser) -> None:
    """The executor as a back end that gains by it chooses it, and as it is demanded."""
    (pair,) = pairs_of((120, 90), 1)
    graph, engine = opened.manifest.graphs["onepass"], open_graph(opened, "onepass", Choice(threads=1)).engine
    assert isinstance(staged._executor, Staged)
    with closing(engine), Fuser(opened, threads=1, stretch="none") as chosen:
        for demanded in (False, True):
            chosen._executor = Executor(
                graph, engine, VIEW.classes, threshold=0.5, staged=chosen._staged, demanded=demanded
            )
            if not demanded:
                assert np.array_equal(result(chosen, pair).picture, result(staged, pair).picture)
                continue
            with pytest.raises(
                RequestError, match=r"pictures of 130 to 256 in steps of 2 by 98 to 192.*got .*120x90"
            ):
                chosen.fuse(pair)


def test_the_stretch_of_single_pictures_is_not_in_the_graph(opened: Bundle) -> None:
    with pytest.raises(RequestError, match="--stretch image"):
        Fuser(opened, graphs="onepass", stretch="image")


def test_run_goes_through_it_on_demand(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cameras = ",".join(f"sim://{name}?realtime=0&fps=10&size=160x120{extra}" for name, extra in KINDS)
    command = ["run", "--bundle", str(path), "--camera", cameras, "--seconds", "1", "--json"]
    output = tmp_path / "out.jsonl"
    rows = {}
    for graphs in ("staged", "onepass"):
        assert cli.main([*command, "--graphs", graphs, "-o", str(output)]) == 0
        said = capsys.readouterr()
        report = json.loads(said.out)
        assert ("in one pass" in said.err) == (graphs == "onepass")
        assert (
            report["latency_ms"]["compose"] == {} if graphs == "onepass" else report["latency_ms"]["compose"]
        )
        rows[graphs] = [json.loads(line) for line in output.read_text().splitlines()]
    counts = [[len(row.get("detections", ())) for row in rows[graphs]] for graphs in rows]
    assert np.abs(np.subtract(*counts)).max() <= 1
    assert sum(counts[0]) > 0


KINDS = (("ir", "&view=160x120"), ("vis", ""))


def test_the_gate_has_measured_it(opened: Bundle) -> None:
    rows = {(row.graph, row.precision, row.against): row for row in opened.manifest.parity}
    low = rows["onepass", "fp16", "fp32"]
    assert low.pictures == "8 simulated pairs"
    assert low.figures["boxes_kept"] > 0.97
    assert low.max_error <= 2 / 255
    assert rows["onepass", "fp32", "pytorch"].max_error <= 1 / 255


def test_verify_measures_both_ways(path: Path, street: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["verify", str(path), "--precision", "fp16", "--data", str(street)]
    assert cli.main([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["onepass"]["offences"] == []
    assert told["onepass"]["gap"]["pairs"] == told["gap"]["pairs"] == 2
    assert told["onepass"]["gap"]["boxes"] == pytest.approx(told["gap"]["boxes"], abs=2)
    assert 0 < told["onepass"]["gap"]["mean_error"] < 1e-3
    assert cli.main(command) == 0
    assert "all in one pass:\nfused luma in 8 bits: PSNR" in capsys.readouterr().out


@pytest.fixture
def street(tmp_path: Path) -> Path:
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
    for number, pair in enumerate(pairs_of(SIZE, 2, grey=True)):
        for side, frame in (("ir", pair.infrared), ("vi", pair.visible)):
            assert frame is not None
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), frame.image)
    return tmp_path


def test_a_one_pass_graph_that_shows_something_else_leaves_no_bundle(opened: Bundle) -> None:
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
        told = {row.graph: row.pictures for row in rows}
        assert told == {"fusion": "one pair", "onepass": "one pair" if size == SIZE else "8 simulated pairs"}


def test_verify_says_why_it_was_not_measured(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        cv2.imwrite(str(tmp_path / side / "0.png"), pair_of_noise()[0])
    assert cli.main(["verify", str(path), "--data", str(tmp_path)]) == 0
    assert "all in one pass: not measured, it takes 130 to 256 in steps of 2 by" in capsys.readouterr().out


def pair_of_noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (1, 60, 80), dtype=np.uint8)


def test_pictures_of_their_own_stretch_cannot_go_in_one_pass(
    path: Path, street: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["fuse", str(street / "ir"), str(street / "vi"), "-o", str(tmp_path / "out")]
    assert cli.main([*command, "--bundle", str(path), "--graphs", "onepass"]) == 2
    assert (
        "--graphs onepass: expected --stretch temporal or none, got --stretch image"
        in capsys.readouterr().err
    )
    assert not (tmp_path / "out").exists()
    assert cli.main([*command, "--bundle", str(path), "--graphs", "onepass", "--stretch", "none"]) == 0
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


def test_a_graph_of_other_shapes_is_refused(opened: Bundle, staged: Fuser) -> None:
    graph = opened.manifest.graphs["onepass"]
    fused, measured, *rest = graph.outputs
    wrong = msgspec.structs.replace(
        graph, outputs=(fused, msgspec.structs.replace(measured, shape=("n",)), *rest)
    )
    engine = open_graph(opened, "onepass", Choice(threads=1)).engine
    with closing(engine), pytest.raises(BundleError, match="other inputs or outputs than such a graph"):
        Executor(wrong, engine, VIEW.classes, threshold=0.5, staged=staged._staged)


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


def test_another_graph_in_its_place_is_refused(opened: Bundle, staged: Fuser) -> None:
    graph = opened.manifest.graphs["onepass"]
    engine = open_graph(opened, "detector", Choice(threads=1)).engine
    with (
        closing(engine),
        pytest.raises(BundleError, match="the onepass graph is not what the manifest says"),
    ):
        Executor(graph, engine, VIEW.classes, threshold=0.5, staged=staged._staged)


def test_a_graph_of_other_weights_is_refused(opened: Bundle) -> None:
    torch.manual_seed(4)
    other = OnePass(Edge(4, 1), TinyDetector(2), VIEW, SIZE).eval()
    with pytest.raises(ExportError, match="the one-pass graph differs from PyTorch"):
        onepass_graph.onepass_parity(other, opened.graph("onepass")[1], SIZE)


@pytest.mark.parametrize(("size", "view"), [((161, 120), VIEW), ((8, 120), VIEW), ((8, 120), None)])
def test_a_size_that_it_cannot_take_is_refused(size: tuple[int, int], view: TaskView | None) -> None:
    with pytest.raises(
        RequestError, match=r"does not take this size: expected multiples of \d and \d pixels"
    ):
        onepass_graph.sizes_of(size, view)


@pytest.mark.parametrize("size", [(64, 48), (640, 480)])
def test_without_a_detector_half_and_double_sizes_fit(size: tuple[int, int]) -> None:
    sizes = onepass_graph.sizes_of(size, None)
    raw = onepass_graph.onepass_onnx(OnePass(Edge(4, 1), None, None, size).eval(), size, sizes)
    with closing(OnnxRuntimeEngine(raw, threads=1)) as engine:
        for rows, columns in (
            (sizes[0].smallest, sizes[1].smallest),
            (size[1], size[0]),
            (sizes[0].largest, sizes[1].largest),
        ):
            infrared, visible = onepass_graph.coloured((columns, rows), 0)
            limits = np.array([0.0, 1.0], np.float32)
            output = engine.run({"infrared": infrared, "visible": visible, "limits": limits})
            assert output["fused"].shape == (rows, columns, 3)
            low, high = output["measured"]
            assert 0 <= low < high <= 1
