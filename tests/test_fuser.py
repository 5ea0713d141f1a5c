"""The front door: what ``import tdfusion_edge`` offers, and what two arrays become."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import supervision
from finder import CLASSES
from hypothesis import given, settings
from hypothesis import strategies as st
from sink_results import record

import tdfusion_edge
from tdfusion_edge import Detections, Fuser, bundle
from tdfusion_edge.errors import BundleError, InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.runtime import engines, rig
from tdfusion_edge.runtime.executors import why_not_one_pass
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.sources.simulated import SimulatedSource

PUBLIC = {
    "Detections",
    "Frame",
    "Fuser",
    "Mask",
    "Pair",
    "Result",
    "TdfusionError",
    "__version__",
    "stream",
}


def test_the_public_names() -> None:
    assert set(tdfusion_edge.__all__) == PUBLIC
    assert set(dir(tdfusion_edge)) >= PUBLIC
    assert all(getattr(tdfusion_edge, name) is not None for name in PUBLIC)
    with pytest.raises(AttributeError, match="has no attribute 'Fusor'"):
        tdfusion_edge.Fusor  # noqa: B018


def test_importing_the_front_door_loads_no_library() -> None:
    script = (
        "import sys, tdfusion_edge\n"
        "bad = {'numpy', 'cv2', 'av', 'onnxruntime', 'torch', 'msgspec'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def flat(level: int, shape: tuple[int, ...] = (48, 64), dtype: type = np.uint8) -> Image:
    return np.full(shape, level, dtype)


@given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.tuples(st.integers(32, 90), st.integers(32, 90)),
    st.booleans(),
    st.booleans(),
)
@settings(max_examples=25)
def test_two_arrays_of_any_size_become_one_picture_of_the_visible_size(
    mean_bundle: bundle.Bundle,
    infrared: tuple[int, int],
    visible: tuple[int, int],
    deep: bool,
    colour: bool,
) -> None:
    random = np.random.default_rng(0)
    hot = random.integers(0, 4000 if deep else 256, infrared).astype(np.uint16 if deep else np.uint8)
    seen = random.integers(0, 256, (*visible, 3) if colour else visible, np.uint8)
    with Fuser(mean_bundle, threads=1, stretch="none") as fuse:
        result = fuse(hot, seen)
    assert result.picture.dtype == np.uint8
    assert result.picture.shape == seen.shape
    assert result.fused is not None
    assert (result.fused.dtype, result.fused.shape) == (np.float32, visible)
    assert 0 <= result.fused.min() <= result.fused.max() <= 1
    assert (len(result.detections), result.mask, result.degraded, result.index) == (0, None, None, 0)


def test_a_pair_without_a_time_stands_alone(mean_bundle: bundle.Bundle) -> None:
    ramp = np.linspace(0, 200, 48 * 64).reshape(48, 64).astype(np.uint8)
    with Fuser(mean_bundle, threads=1, stretch="temporal") as fuse:
        first = fuse(ramp, ramp)
        fuse(ramp // 4, ramp // 4)
        again = fuse(ramp, ramp)
        assert (again.index, first.index) == (0, 0)
        np.testing.assert_array_equal(again.picture, first.picture)


def test_pairs_with_times_are_a_stream(mean_bundle: bundle.Bundle) -> None:
    ramp = np.linspace(0, 200, 48 * 64).reshape(48, 64).astype(np.uint8)
    with Fuser(mean_bundle, threads=1, stretch="temporal") as fuse:
        alone = fuse(ramp // 2, ramp // 2).picture
        fuse.forget()
        shown = [fuse(part, part, time_ns=n * 10_000_000) for n, part in enumerate((ramp, ramp // 2))]
    assert [result.index for result in shown] == [0, 1]
    assert [result.pair.time_ns for result in shown] == [0, 10_000_000]
    assert shown[1].picture.max() < alone.max() - 50, "the limits have hardly moved in 10 ms"


def test_a_stream_after_a_plain_call_or_after_its_own_end_begins_anew(mean_bundle: bundle.Bundle) -> None:
    ramp = np.linspace(0, 200, 48 * 64).reshape(48, 64).astype(np.uint8)
    with Fuser(mean_bundle, threads=1, stretch="temporal") as fuse:
        first = fuse(ramp, ramp, time_ns=5_000_000_000)
        fuse(ramp // 4, ramp // 4)
        for time_ns in (6_000_000_000, 0):  # behind a plain call, and a second recording
            again = fuse(ramp, ramp, time_ns=time_ns)
            assert again.index == 0
            np.testing.assert_array_equal(again.picture, first.picture)
            fuse(ramp // 2, ramp // 2, time_ns=time_ns + 10_000_000)


def test_a_buffer_that_is_used_again_is_no_frozen_camera(mean_bundle: bundle.Bundle) -> None:
    random, buffer = np.random.default_rng(0), np.empty((48, 64), np.uint8)
    with Fuser(mean_bundle, threads=1) as fuse:
        for number in range(12):
            buffer[:] = random.integers(0, 256, buffer.shape)
            assert fuse(buffer, flat(90), time_ns=number * 33_333_333).degraded is None


def test_a_result_says_what_it_is_in_a_line(finder_bundle: bundle.Bundle) -> None:
    with Fuser(finder_bundle, threads=1) as fuse:
        assert repr(fuse(flat(9), flat(9))) == "Result(0: 64x48, 0 detections (boxes))"


def test_what_is_found_is_in_the_result(finder_bundle: bundle.Bundle) -> None:
    picture = flat(20)
    picture[10:30, 8:20] = 240
    with Fuser(finder_bundle, threads=1) as fuse:
        (row,) = fuse(picture, picture).detections.to_rows()
    assert (row["class"], row["box"]) == (CLASSES[0], [8, 10, 20, 30])
    with Fuser(finder_bundle, threads=1, detect=False) as fuse:
        assert len(fuse(picture, picture).detections) == 0
    with Fuser(finder_bundle, threads=1, score_threshold=0.99) as fuse:
        assert len(fuse(picture, picture).detections) == 0


def test_look_and_find_show_the_networks_alone(finder_bundle: bundle.Bundle) -> None:
    dim, bright = flat(20), flat(20)
    bright[10:30, 8:20] = 250
    with Fuser(finder_bundle, threads=1, stretch="image", range="percentile") as fuse:
        looked = fuse.look(bright, bright)
        np.testing.assert_allclose(looked.fused, bright / np.float32(255), atol=1e-6)
        assert len(looked.findings["boxes"]) == 1
        assert len(fuse.find(bright)["boxes"]) == 1
        assert len(fuse.find(dim)["boxes"]) == 0


def test_what_it_says_of_itself(finder_bundle: bundle.Bundle, mean_bundle: bundle.Bundle) -> None:
    with Fuser(finder_bundle, threads=1) as fuse:
        assert str(fuse) == "bundle finder, back end onnxruntime, fp32, detects bright, dim"
        assert fuse.stages == ("align", "network", "detect", "compose")
        assert (fuse.backend, fuse.precision) == ("onnxruntime", "fp32")
    with Fuser(mean_bundle, threads=1) as fuse:
        assert fuse.stages == ("align", "network", "compose")


def test_it_opens_names_paths_and_bundles(mean_bundle_path: Path, mean_bundle: bundle.Bundle) -> None:
    for source in (mean_bundle_path, str(mean_bundle_path), mean_bundle):
        with Fuser(source) as fuse:
            assert fuse.manifest.name == "mean"
    with Fuser("edge", detect=False) as fuse:
        assert fuse.manifest.name == "edge"
    with pytest.raises(InputMissing, match="there is no bundle at nowhere"):
        Fuser("nowhere")
    for bad in ("", None):
        with pytest.raises(RequestError, match="bundle: expected a name, a path or a Bundle"):
            Fuser(bad)  # type: ignore[arg-type]


def test_closed_twice_and_used_no_more(mean_bundle: bundle.Bundle) -> None:
    fuse = Fuser(mean_bundle)
    fuse.close()
    fuse.close()
    with pytest.raises(tdfusion_edge.TdfusionError, match="closed"):
        fuse(flat(1), flat(1))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backend": "openvino"}, "unknown back end 'openvino'"),
        ({"graphs": "folded"}, "--graphs: expected auto, staged, onepass, got folded"),
        ({"graphs": "onepass", "stretch": "none"}, "has no such graph"),
        ({"graphs": "onepass"}, "expected --stretch temporal or none, got --stretch image"),
        ({"score_threshold": 1.5}, "--score-threshold: expected 0 to 1, got 1.5"),
        ({"score_threshold": 0.5}, "but nothing is detected: expected a bundle with a detector"),
        ({"threads": -1}, "--threads: expected 0 or more, at most 1024, got -1"),
        ({"range": "wide"}, "--range: expected auto, percentile"),
        ({"range": "linear"}, "--range linear: .* needs low and high in counts"),
        ({"threads": 1.5}, "--threads: expected 0 or more"),
        ({"threads": 1_000_000}, "--threads: expected 0 or more, at most 1024"),
        ({"registration": np.eye(3)}, "registration: expected a tdfusion_edge.runtime.rig.Registration"),
        ({"stretch": "wide"}, "output stretch: expected none"),
    ],
)
def test_options_that_are_none_are_refused(
    mean_bundle: bundle.Bundle, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        Fuser(mean_bundle, **options)  # type: ignore[arg-type]


def test_a_range_of_its_own_counts(mean_bundle: bundle.Bundle) -> None:
    thermal = rig.ThermalRange(mode="linear", low=1000.0, high=2000.0)
    with Fuser(mean_bundle, threads=1, range=thermal, stretch="none") as fuse:
        result = fuse(flat(2000, dtype=np.uint16), flat(0))
    assert set(np.unique(result.picture)) <= {127, 128}


@pytest.mark.parametrize(
    ("infrared", "visible", "error", "message"),
    [
        (flat(1, dtype=np.float32), flat(1), SourceError, "expected uint8 or uint16"),
        (None, flat(1), SourceError, "expected a NumPy array, got NoneType\n  cv2.imread gives None"),
        (flat(1), [[1, 2]], SourceError, "visible: .* expected a NumPy array, got list"),
        (flat(1), flat(1, (48, 64, 4)), SourceError, r"got uint8 \(48, 64, 4\)"),
        (flat(1), flat(1, dtype=np.uint16), RequestError, "the visible picture has 16 bits"),
        (flat(1), flat(1, (8, 64)), RequestError, "too small for the network"),
    ],
)
def test_arrays_that_are_no_pictures_are_refused(
    mean_bundle: bundle.Bundle, infrared: Image, visible: Image, error: type[Exception], message: str
) -> None:
    with Fuser(mean_bundle) as fuse, pytest.raises(error, match=message):
        fuse(infrared, visible)


def test_a_head_of_an_unknown_kind_is_refused_by_name(finder_bundle: bundle.Bundle) -> None:
    info = msgspec.structs.replace(finder_bundle.manifest.heads["detector"], kind="depth")
    manifest = msgspec.structs.replace(finder_bundle.manifest, heads={"detector": info})
    newer = bundle.Bundle(manifest, finder_bundle.files)
    with pytest.raises(BundleError, match=r"a head of an unknown kind: expected mask, boxes, got depth"):
        Fuser(newer)
    with Fuser(newer, detect=False) as fuse:
        assert fuse.heads == {}


def test_two_heads_of_one_kind_are_refused(finder_bundle: bundle.Bundle) -> None:
    manifest, files = finder_bundle.manifest, finder_bundle.files
    twice = msgspec.structs.replace(
        manifest,
        heads={**manifest.heads, "again": manifest.heads["detector"]},
        graphs={**manifest.graphs, "again": manifest.graphs["detector"]},
    )
    with pytest.raises(BundleError, match="two heads of one kind: expected one, got boxes twice"):
        Fuser(bundle.Bundle(twice, files))


FOUND = Detections(
    np.array([[1, 2, 11, 22], [30, 40, 35, 41]], np.float32),
    np.array([0.75, 0.5], np.float32),
    np.array([1, 0]),
    ("person", "car"),
)


def test_detections_for_supervision() -> None:
    given = FOUND.to_supervision()
    assert isinstance(given, supervision.Detections)
    np.testing.assert_array_equal(given.xyxy, FOUND.boxes)
    np.testing.assert_array_equal(given.confidence, FOUND.scores)
    assert given.class_id.tolist() == [1, 0]
    assert given.data["class_name"].tolist() == ["car", "person"]
    assert len(Detections.empty(("a",)).to_supervision()) == 0


def test_detections_for_coco() -> None:
    first, second = FOUND.to_coco(image_id=7)
    assert first == {"image_id": 7, "category_id": 2, "bbox": [1, 2, 10, 20], "score": 0.75}
    assert second["category_id"] == 1
    assert [row["category_id"] for row in FOUND.to_coco(category_ids=(1, 3))] == [3, 1]
    with pytest.raises(ValueError, match="2 numbers, got 1"):
        FOUND.to_coco(category_ids=(1,))


SMALL = "sim://ir?realtime=0&fps=10&size=160x120&view=160x120,sim://vis?realtime=0&fps=10&size=160x120"
"""Two simulated cameras whose street is quickly drawn."""


def test_stream_gives_the_loop_of_run_as_an_iterator(mean_bundle: bundle.Bundle) -> None:
    results = list(tdfusion_edge.stream(SMALL, bundle=mean_bundle, seconds=0.5, threads=1))
    assert [result.index for result in results] == list(range(5))
    assert {result.picture.shape for result in results} == {(120, 160, 3)}
    assert all(result.pair.infrared and result.pair.visible for result in results)


def test_a_stream_that_nobody_reads_on_is_closed(mean_bundle: bundle.Bundle) -> None:
    import threading

    stream = tdfusion_edge.stream(SMALL, bundle=mean_bundle, threads=1)
    assert next(stream).index == 0
    stream.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("read") for thread in threading.enumerate())


@pytest.mark.parametrize(
    ("camera", "options", "message"),
    [
        ("ir0", {}, "expected two names or addresses"),
        ("ir0,ir0", {}, "twice"),
        ("ir0,vis0", {"seconds": -1}, "seconds: expected more than 0"),
        ("ir0,vis0", {"stretch": "wide"}, "output stretch"),
        ("ir0,vis0", {"range": "wide"}, "--range: expected auto, percentile"),
        ("ir0,vis0", {"range": "linear"}, "--range linear: .* needs low and high in counts"),
        ("ir0,vis0", {"policy": "wait"}, "--policy: expected drop, hold-last, nearest, single, got 'wait'"),
        ("ir0,vis0", {"tolerance_ms": float("nan")}, "--tolerance-ms: expected more than 0"),
        (SMALL, {"mode": "all"}, "--mode: expected latest, every, got 'all'"),
        ("ir0,vis0", {"threads": -1}, "--threads: expected 0 or more"),
        ("rtsp://u:geheim@h/x", {}, r"--camera rtsp://\*\*\*@h/x: expected two names"),
        (SMALL, {"mode": "latest"}, "--mode latest is for live"),
    ],
)
def test_streams_that_cannot_be_are_refused(
    mean_bundle: bundle.Bundle, camera: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        next(tdfusion_edge.stream(camera, bundle=mean_bundle, **options))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("graphs", "gains", "detect", "stretch", "taken"),
    [
        ("auto", True, True, "temporal", True),
        ("auto", True, True, "none", True),
        ("auto", True, True, "image", False),
        ("auto", True, False, "temporal", False),
        ("auto", False, True, "temporal", False),
        ("auto", None, True, "temporal", False),
        ("staged", True, True, "temporal", False),
        ("onepass", False, False, "temporal", True),
    ],
)
def test_when_the_one_pass_graph_is_taken(
    monkeypatch: pytest.MonkeyPatch,
    graphs: str,
    gains: bool | None,
    detect: bool,
    stretch: StretchName,
    taken: bool,
) -> None:
    row = engines.BACKENDS["onnxruntime"]._replace(one_pass=gains)
    monkeypatch.setattr(engines, "BACKENDS", {"onnxruntime": row})
    with Fuser("edge", graphs=graphs, detect=detect, stretch=stretch) as fuse:
        assert ("in one pass" in str(fuse)) is taken


def test_a_bundle_with_masks_does_not_go_in_one_pass() -> None:
    opened = bundle.read(bundle.default_path())
    manifest, graph = opened.manifest, opened.manifest.graphs["detector"]
    mask = bundle.HeadInfo(kind="mask", network="n", classes=("a", "b"))
    masked = msgspec.structs.replace(
        manifest,
        heads={**manifest.heads, "segmentation": mask},
        graphs={**manifest.graphs, "segmentation": graph},
    )
    reason = why_not_one_pass(masked, "onnxruntime", "fp32")
    assert reason == "the graph leaves out the bundle's segmentation"
    assert why_not_one_pass(manifest, "onnxruntime", "fp32") is None


def test_a_boxes_head_that_names_no_threshold_has_the_usual_one(finder_bundle: bundle.Bundle) -> None:
    info = msgspec.structs.replace(finder_bundle.manifest.heads["detector"], score_threshold=None)
    silent = bundle.Bundle(
        msgspec.structs.replace(finder_bundle.manifest, heads={"detector": info}), finder_bundle.files
    )
    assert silent.manifest.score_threshold == 0.25
    with Fuser(silent, threads=1) as fuse:
        assert fuse.heads["boxes"].threshold == 0.25  # type: ignore[attr-defined]


def test_a_stream_goes_on_without_a_damaged_picture(
    mean_bundle: bundle.Bundle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for number in range(3):
            cv2.imwrite(str(tmp_path / side / f"{number}.png"), flat(50))
    (tmp_path / "ir" / "1.png").write_bytes(b"no picture")
    camera = f"{tmp_path}/ir,{tmp_path}/vi"
    stream = tdfusion_edge.stream(camera, bundle=mean_bundle, threads=1, policy="drop")
    first, last = (result.pair.time_ns for result in stream)
    assert last - first > 50_000_000  # a picture at 30 a second lay between them
    assert "1.png is no image" in caplog.text


def test_a_damaged_recording_ends_a_stream_with_its_error(mean_bundle: bundle.Bundle, tmp_path: Path) -> None:
    for name in ("ir.mkv", "vis.mkv"):
        record(tmp_path / name, 20)
    whole = (tmp_path / "vis.mkv").read_bytes()
    (tmp_path / "vis.mkv").write_bytes(whole[: len(whole) * 3 // 4])
    shown: list[int] = []
    stream = tdfusion_edge.stream(f"{tmp_path}/ir.mkv,{tmp_path}/vis.mkv", bundle=mean_bundle, threads=1)
    with pytest.raises(SourceError, match=r"vis\.mkv"):
        shown.extend(result.index for result in stream)
    assert shown == list(range(len(shown)))
    assert 0 < len(shown) < 20


def test_the_sources_of_a_stream_are_closed(
    mean_bundle: bundle.Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[str] = []

    class Watched(SimulatedSource):
        def close(self) -> None:
            closed.append(self.name)
            super().close()

    monkeypatch.setattr("tdfusion_edge.runtime.sources.simulated.SimulatedSource", Watched)
    stream = tdfusion_edge.stream(SMALL, bundle=mean_bundle, threads=1)
    next(stream)
    assert closed == []
    stream.close()  # type: ignore[attr-defined]
    assert len(set(closed)) == 2
