"""Pipelines of the real GStreamer."""

from __future__ import annotations

import itertools
import json
import threading
import time
from contextlib import ExitStack, closing
from pathlib import Path

import cv2
import numpy as np
import pytest
from gstreamer_here import missing

from tdfusion_edge.cli import main
from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.rig import Camera, Rig
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.gstreamer.source import GStreamerSource
from tdfusion_edge.runtime.sources.listing import cameras

pytestmark = pytest.mark.slow

LIVE = "videotestsrc is-live=true pattern=ball"
GREY16 = "video/x-raw,format=GRAY16_LE,width=65,height=47,framerate=50/1"


@pytest.fixture(autouse=True)
def gstreamer(tmp_path_factory: pytest.TempPathFactory) -> None:
    reason = missing(tmp_path_factory.mktemp("gi"))
    if reason is not None:
        pytest.skip(reason)


def opened(pipeline: str, **options: float) -> GStreamerSource:
    return GStreamerSource("cam0", pipeline, epoch_ns=7, **options)  # type: ignore[arg-type]


def read(source: GStreamerSource) -> Frame:
    frame = source.read()
    assert frame is not None
    return frame


def test_a_live_pipeline_gives_counts_at_their_time() -> None:
    before = time.monotonic_ns()
    with closing(opened(f"{LIVE} ! {GREY16}")) as source:
        frames = [read(source) for _ in range(10)]
        assert source.live is True
        # Whoever is late gets the newest.
        sink = source._pipeline.sink  # type: ignore[union-attr]
        assert (sink.get_property("drop"), sink.get_property("max-buffers")) == (True, 1)
    after = time.monotonic_ns()
    for frame in frames:
        assert frame.image.dtype == np.uint16
        assert frame.image.shape == (47, 65)
        assert frame.image.max() > 255
    times = [frame.time_ns for frame in frames]
    assert before < times[0]
    assert times == sorted(set(times))
    assert times[-1] < after
    # The source's own stamps: a period apart for each number, however late they were read.
    for first, second in itertools.pairwise(frames):
        steps = second.sequence - first.sequence
        assert steps >= 1
        assert abs(second.time_ns - first.time_ns - steps * 20_000_000) < 1_000_000


def test_frames_that_are_lost_on_the_way_are_gaps() -> None:
    with closing(opened(f"{LIVE} ! {GREY16} ! identity drop-probability=0.6")) as source:
        frames = [read(source) for _ in range(12)]
    steps = np.diff([frame.sequence for frame in frames])
    periods = np.diff([frame.time_ns for frame in frames]) / 20_000_000
    assert steps.max() > 1
    assert np.array_equal(steps, np.round(periods))


PICTURES = np.random.default_rng(3).integers(0, 1 << 16, (4, 5, 7)).astype(np.uint16)
"""Four pictures of an odd width: rows end in padding."""


def raw(folder: Path, form: str, pictures: Image) -> str:
    """A file of pictures, and the pipeline that reads it at 25 a second."""
    path = folder / "pictures.raw"
    rows = np.ascontiguousarray(pictures).view(np.uint8).reshape(4, 5, -1)
    # GStreamer's rows end at a multiple of four bytes.
    path.write_bytes(np.pad(rows, ((0, 0), (0, 0), (0, -rows.shape[2] % 4))).tobytes())
    parser = f"rawvideoparse format={form} width=7 height=5 framerate=25/1"
    return f"filesrc location={path} blocksize=4096 ! {parser}"


def until_it_fails(source: GStreamerSource) -> None:
    with closing(source):
        for _ in range(5):
            source.read()


COLOURS = np.stack([PICTURES % 256, PICTURES // 256, PICTURES % 251], axis=-1).astype(np.uint8)


@pytest.mark.parametrize(
    ("form", "stored", "expected"),
    [
        ("gray16-le", PICTURES.astype("<u2"), PICTURES),
        ("gray16-be", PICTURES.astype(">u2"), PICTURES),
        ("gray8", COLOURS[..., 0], COLOURS[..., 0]),
        ("bgr", COLOURS, COLOURS),
        ("rgb", COLOURS[..., ::-1], COLOURS),
        ("bgrx", np.concatenate([COLOURS, COLOURS[..., :1]], axis=-1), COLOURS),
        ("rgba", np.concatenate([COLOURS[..., ::-1], COLOURS[..., :1]], axis=-1), COLOURS),
    ],
)
def test_a_file_keeps_every_bit_and_ends(tmp_path: Path, form: str, stored: Image, expected: Image) -> None:
    with closing(opened(raw(tmp_path, form, stored))) as source:
        frames = list(iter(source.read, None))
        assert source.live is False
    assert len(frames) == 4
    for n, frame in enumerate(frames):
        assert frame.image.dtype == expected.dtype
        assert np.array_equal(frame.image, expected[n])
        assert frame.time_ns == 7 + n * 40_000_000
        assert frame.sequence == n


@pytest.mark.parametrize("form", ["NV12", "YUY2", "I420", "AYUV"])
def test_other_formats_become_bgr(form: str) -> None:
    caps = f"video/x-raw,format={form},width=64,height=48,framerate=25/1"
    with closing(opened(f"videotestsrc num-buffers=2 pattern=red ! {caps} ! appsink")) as source:
        frames = list(iter(source.read, None))
    assert [frame.image.shape for frame in frames] == [(48, 64, 3)] * 2
    assert np.abs(frames[0].image.astype(int) - (0, 0, 255)).max() <= 3


def test_the_end_of_a_live_pipeline_is_a_failure() -> None:
    source = opened(f"videotestsrc is-live=true num-buffers=3 ! {GREY16}")
    with pytest.raises(SourceError, match="cam0: the stream has ended") as caught:
        until_it_fails(source)
    assert caught.value.kind == "ended"


@pytest.mark.parametrize(
    ("pipeline", "kind", "says"),
    [
        ("videotestsrc ! nosuchelement", RequestError, 'no element "nosuchelement"'),
        ("nvarguscamerasrc ! nvvidconv", RequestError, "comes with JetPack"),
        ("videotestsrc ! ! identity", RequestError, "syntax error"),
        ("videotestsrc patten=ball", RequestError, "gst-inspect-1.0 videotestsrc"),
        ("videotestsrc pattern=nonsense", RequestError, "could not set property"),
        ("videotestsrc ! pngenc", RequestError, "It must end in raw video"),
        ("audiotestsrc", RequestError, "It must end in raw video"),
        (
            "v4l2src device=/dev/video99",
            SourceError,
            r"element v4l2src\d+ \(v4l2src\) failed: Cannot identify",
        ),
        ("filesrc location=/nope ! decodebin", SourceError, 'No such file "/nope"'),
        ("filesrc location=/etc/passwd ! decodebin", SourceError, "plain text|decodebin|cannot decode"),
        ("filesrc location=/dev/null ! pngdec", SourceError, "cam0: the pipeline ended without a frame"),
    ],
)
def test_what_fails_is_named(pipeline: str, kind: type[Exception], says: str) -> None:
    with pytest.raises(kind, match=says):
        opened(pipeline, open_s=5.0)


def test_no_password_is_told() -> None:
    # Nobody listens on the discard port.
    pipeline = "rtspsrc location=rtsp://me:hunter2@127.0.0.1:9/live user-pw=xyzzy ! decodebin"
    with pytest.raises(SourceError, match="rtspsrc") as caught:
        opened(pipeline, open_s=5.0)
    told = f"{caught.value}{caught.value.__cause__}"
    assert not any(secret in told for secret in ("hunter2", "xyzzy", "me:"))


@pytest.mark.parametrize(
    "pipeline",
    [
        'filesrc location=/nope/hunter2 ! decodebin name="rtsp://me:hunter2@cam"',
        'videotestsrc pattern=hunter2 name="rtsp://me:hunter2@cam"',
    ],
)
def test_what_is_a_secret_elsewhere_is_hidden_in_messages(pipeline: str) -> None:
    with pytest.raises((SourceError, RequestError)) as caught:
        opened(pipeline)
    assert "hunter2" not in str(caught.value)
    assert "***" in str(caught.value)


def test_a_silent_pipeline_fails_in_time() -> None:
    source = opened(f"{LIVE} ! {GREY16} ! valve name=tap", timeout_s=0.2)
    read(source)
    source._pipeline._pipeline.get_by_name("tap").set_property("drop", True)  # type: ignore[union-attr]
    with pytest.raises(SourceError, match=r"cam0: the pipeline is silent: expected a frame within 0\.2 s"):
        until_it_fails(source)


def test_one_that_never_starts_fails_in_time() -> None:
    with pytest.raises(SourceError, match="cam0: the pipeline is silent") as caught:
        opened(f"{LIVE} ! {GREY16} ! valve drop=true", open_s=0.2, timeout_s=0.2)
    assert caught.value.kind == "timeout"


@pytest.mark.parametrize(
    ("pipeline", "kind"),
    [
        ("filesrc location=/nope ! decodebin", "not-found"),
        ("v4l2src device=/dev/video99", "not-found"),
        ("filesrc location=/etc/passwd ! decodebin", "format"),
        ("rtspsrc location=rtsp://127.0.0.1:9/live ! decodebin", "unreachable"),
        ("filesrc location=/etc/passwd ! rawvideoparse width=4 height=4 ! video/x-raw,width=5", "format"),
    ],
)
def test_failures_are_classified(pipeline: str, kind: str) -> None:
    with pytest.raises(SourceError) as caught:
        opened(pipeline, open_s=5.0)
    assert caught.value.kind == kind


def test_a_live_pipeline_that_ends_is_opened_anew() -> None:
    camera = Camera(uri=f"gst:videotestsrc is-live=true num-buffers=3 ! {GREY16}")
    with closing(open_source("ir0", camera, "infrared", epoch_ns=0)) as source:
        frames, failures = [], []
        while len(frames) < 7:
            try:
                frames.append(source.read())
            except SourceError as error:
                failures.append(error.kind)
    assert failures == ["ended", "ended"]
    assert source.live is True
    numbers = [frame.sequence for frame in frames if frame]
    assert numbers == sorted(set(numbers))
    times = [frame.time_ns for frame in frames if frame]
    assert times == sorted(set(times))


def test_a_file_needs_nobody_to_open_it_anew(tmp_path: Path) -> None:
    source = open_source(
        "ir0", Camera(uri=f"gst:{raw(tmp_path, 'gray8', COLOURS[..., 0])}"), "infrared", epoch_ns=0
    )
    with closing(source):
        assert source.live is False
        assert len(list(iter(source.read, None))) == 4


def test_closing_ends_a_read_that_waits() -> None:
    source = opened(f"{LIVE} ! {GREY16} ! valve name=tap", timeout_s=60.0)
    read(source)
    source._pipeline._pipeline.get_by_name("tap").set_property("drop", True)  # type: ignore[union-attr]
    answers: list[Frame | None] = []

    def wait() -> None:
        while (frame := source.read()) is not None:
            answers.append(frame)
        answers.append(None)

    reader = threading.Thread(target=wait)
    reader.start()
    source.close()
    reader.join(10)
    assert answers[-1] is None
    source.close()
    assert source.read() is None


def test_opening_again_and_again_leaves_nothing() -> None:
    import psutil

    def cycle() -> None:
        with closing(opened(f"{LIVE} ! {GREY16}")) as source:
            read(source)

    for _ in range(3):
        cycle()
    process = psutil.Process()
    before = process.num_fds(), process.num_threads()
    for _ in range(10):
        cycle()
    assert process.num_fds() <= before[0]
    # GStreamer keeps some idle threads for the next pipeline, and not one a pipeline.
    assert process.num_threads() <= before[1] + 3


def test_cameras_says_what_is_wrong_with_a_pipeline() -> None:
    uris = {"a": f"gst:{LIVE}", "b": "gst:nosuchelement", "c": "csi://0"}
    rig = Rig(cameras={name: Camera(uri=uri) for name, uri in uris.items()})
    problems = {info.name: info.problem for info in cameras(rig) if info.in_rig}
    assert problems["a"] is None
    assert 'no element "nosuchelement"' in (problems["b"] or "")
    assert 'no element "nvarguscamerasrc"' in (problems["c"] or "")


def test_a_rig_of_pipelines_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ir, vis = ("GRAY16_LE", "num-buffers=6"), ("NV12", "num-buffers=6 pattern=smpte")
    tables = [
        f'[cameras.{name}]\nuri = "gst:videotestsrc {options} ! '
        f'video/x-raw,format={form},width=160,height=120,framerate=10/1"\n'
        for name, (form, options) in {"ir0": ir, "vis0": vis}.items()
    ]
    Path("rig.toml").write_text("".join(tables))
    assert main(["run", "--camera", "ir0,vis0", "-o", "out.jsonl"]) == 0
    rows = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    pictures = [row for row in rows if "infrared_sequence" in row]
    assert [row["infrared_sequence"] for row in pictures] == [row["visible_sequence"] for row in pictures]
    assert len(pictures) == 6


def test_a_pipeline_of_a_file_goes_with_files_and_not_with_cameras(tmp_path: Path) -> None:
    (tmp_path / "vis").mkdir()
    cv2.imwrite(str(tmp_path / "vis" / "0.png"), COLOURS[0])
    text = '[cameras.ir0]\nuri = "gst:{}"\n[cameras.vis0]\nuri = "{}"\n'
    for pipeline, fits in [(raw(tmp_path, "gray8", COLOURS[..., 0]), True), (f"{LIVE} ! {GREY16}", False)]:
        (tmp_path / "rig.toml").write_text(text.format(pipeline, tmp_path / "vis"))
        with ExitStack() as stack:
            chosen = choose_cameras("ir0,vis0", tmp_path / "rig.toml")
            if fits:
                assert [source.live for source in chosen.open(stack).values()] == [False, False]
            else:
                with pytest.raises(RequestError, match="two live or two recorded, got live and recorded"):
                    chosen.open(stack)
