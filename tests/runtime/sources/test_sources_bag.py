"""Bags that rosbags writes, in each of its containers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import FrameLost, InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.runtime.cameras import choose_cameras
from tdfusion_edge.runtime.rig import Camera
from tdfusion_edge.runtime.sources import open_source
from tdfusion_edge.runtime.sources.bag import BagSource

rosbag2 = pytest.importorskip("rosbags.rosbag2", reason="no rosbags: pip install rosbags")
rosbag1 = pytest.importorskip("rosbags.rosbag1")
typesys = pytest.importorskip("rosbags.typesys")

SECOND = 1_000_000_000
STORE = typesys.get_typestore(typesys.Stores.ROS2_HUMBLE)
OLD_STORE = typesys.get_typestore(typesys.Stores.ROS1_NOETIC)
GREY = np.arange(6 * 10, dtype=np.uint16).reshape(6, 10) + 3000
COLOUR = np.arange(6 * 10 * 3, dtype=np.uint8).reshape(6, 10, 3)
Messages = list[tuple[str, int, Any]]
"""Topic, time of recording, message."""


def header(time_ns: int, store: Any = STORE) -> Any:
    stamp = store.types["builtin_interfaces/msg/Time"](time_ns // SECOND, time_ns % SECOND)
    fields = {"stamp": stamp, "frame_id": "camera"}
    return store.types["std_msgs/msg/Header"](**({"seq": 0, **fields} if store is OLD_STORE else fields))


def picture(encoding: str, pixels: Image, time_ns: int, **other: Any) -> Any:
    """A ``sensor_msgs/Image``; rows end in 4 bytes of padding."""
    store = other.pop("store", STORE)
    height, width = pixels.shape[:2]
    rows = np.pad(np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8), ((0, 0), (0, 4)))
    fields = {
        "header": header(time_ns, store), "height": height, "width": width, "encoding": encoding,
        "is_bigendian": 0, "step": rows.shape[1], "data": rows.reshape(-1),
    }  # fmt: skip
    return store.types["sensor_msgs/msg/Image"](**{**fields, **other})


def compressed(form: str, data: bytes, time_ns: int) -> Any:
    return STORE.types["sensor_msgs/msg/CompressedImage"](
        header(time_ns), form, np.frombuffer(data, np.uint8)
    )


@pytest.fixture
def bag(tmp_path: Path) -> Callable[..., Path]:
    def write(messages: Messages, container: str = "MCAP") -> Path:
        folder = tmp_path / f"bag{len(list(tmp_path.iterdir()))}"
        plugin = rosbag2.StoragePlugin[container]
        with rosbag2.Writer(folder, version=9, storage_plugin=plugin) as writer:
            topics: dict[str, Any] = {}
            for topic, recorded_ns, message in messages:
                kind = message.__msgtype__
                if topic not in topics:
                    topics[topic] = writer.add_connection(topic, kind, typestore=STORE)
                writer.write(topics[topic], recorded_ns, STORE.serialize_cdr(message, kind))
        return folder

    return write


def frames(source: Any) -> list[Frame]:
    with closing(source):
        return list(iter(source.read, None))


def of(folder: Path, suffix: str) -> Path:
    (path,) = folder.glob(f"*{suffix}")
    return path


@pytest.mark.parametrize(("container", "suffix"), [("MCAP", ".mcap"), ("SQLITE3", ".db3")])
def test_counts_come_with_the_time_of_their_header(
    bag: Callable[..., Path], container: str, suffix: str
) -> None:
    stamps = [1_700_000_000 * SECOND + n * 111_111_111 for n in range(4)]
    told = [
        ("/thermal/image_raw", stamp + 5_000_000, picture("mono16", GREY + n, stamp))
        for n, stamp in enumerate(stamps)
    ]
    other = STORE.types["std_msgs/msg/String"]("not a picture")
    folder = bag([*told, ("/chatter", stamps[0], other)], container)
    for path in (folder, of(folder, suffix)):
        source = open_source("ir0", Camera(uri=f"file://{path}"), "infrared", epoch_ns=99)
        found = frames(source)
        assert source.live is False
        assert [frame.time_ns for frame in found] == stamps
        assert [frame.sequence for frame in found] == [0, 1, 2, 3]
        for n, frame in enumerate(found):
            assert frame.image.dtype == np.uint16
            assert np.array_equal(frame.image, GREY + n)
        source.close()
        source.close()
        assert source.read() is None


@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("mono8", COLOUR[..., 0], COLOUR[..., 0]),
        ("8UC1", COLOUR[..., 0], COLOUR[..., 0]),
        ("16UC1", GREY, GREY),
        ("bgr8", COLOUR, COLOUR),
        ("rgb8", COLOUR[..., ::-1], COLOUR),
        ("bgra8", np.dstack([COLOUR, COLOUR[..., 0]]), COLOUR),
        ("rgba8", np.dstack([COLOUR[..., ::-1], COLOUR[..., 0]]), COLOUR),
    ],
)
def test_every_encoding_keeps_its_pixels(
    bag: Callable[..., Path], encoding: str, pixels: Image, expected: Image
) -> None:
    folder = bag([("/camera", 1, picture(encoding, pixels, 5))])
    (frame,) = frames(BagSource("cam", folder))
    assert np.array_equal(frame.image, expected)


def test_big_endian_counts_are_swapped_and_a_missing_stamp_is_that_of_the_recording(
    bag: Callable[..., Path],
) -> None:
    swapped = GREY.astype(">u2")
    folder = bag([("/ir", 77, picture("mono16", swapped, 0, is_bigendian=1))])
    (frame,) = frames(BagSource("ir0", folder))
    assert np.array_equal(frame.image, GREY)
    assert frame.image.dtype == np.uint16
    assert frame.time_ns == 77


def test_compressed_pictures_are_decoded(bag: Callable[..., Path]) -> None:
    def encoded(suffix: str, pixels: Image) -> bytes:
        return bytes(cv2.imencode(suffix, pixels)[1].tobytes())

    smooth = np.full((16, 16, 3), (30, 160, 90), np.uint8)
    folder = bag(
        [
            ("/ir/compressed", 1, compressed("mono16; png compressed ", encoded(".png", GREY), 1)),
            ("/vis/compressed", 2, compressed("bgr8; jpeg compressed bgr8", encoded(".jpg", smooth), 2)),
        ]
    )
    (ir,) = frames(BagSource("ir0", folder, "/ir/compressed"))
    assert np.array_equal(ir.image, GREY)
    (vis,) = frames(BagSource("vis0", folder, "/vis/compressed"))
    assert np.abs(vis.image.astype(int) - smooth).max() <= 3


def test_two_topics_of_one_bag_are_a_pair_of_cameras(bag: Callable[..., Path]) -> None:
    ir, vis = picture("mono16", GREY, 1 * SECOND), picture("bgr8", COLOUR, SECOND + 4_000_000)
    path = of(bag([("/ir", 1, ir), ("/vis", 2, vis)]), ".mcap")
    cameras = choose_cameras(f"{path}?topic=/ir,{path}?topic=/vis")
    pair = (("ir0", *cameras.infrared[1:], "infrared"), ("vis0", *cameras.visible[1:], "visible"))
    times = []
    for name, camera, role in pair:
        (frame,) = frames(open_source(name, camera, role, epoch_ns=0))
        times.append(frame.time_ns)
    assert times == [SECOND, SECOND + 4_000_000]
    with pytest.raises(RequestError, match="are one file"):
        choose_cameras(f"{path}?topic=/ir,file://{path}?topic=/ir")
    with pytest.raises(RequestError, match="do not share a clock"):
        choose_cameras(f"{path}?topic=/ir,{path.parent / 'metadata.yaml'}")


def test_a_bag_of_ros_1_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "walk.bag"
    message = picture("mono16", GREY, 3 * SECOND, store=OLD_STORE)
    with rosbag1.Writer(path) as writer:
        topic = writer.add_connection("/ir", message.__msgtype__, typestore=OLD_STORE)
        writer.write(topic, 1, OLD_STORE.serialize_ros1(message, message.__msgtype__))
    (frame,) = frames(BagSource("ir0", path))
    assert np.array_equal(frame.image, GREY)
    assert frame.time_ns == 3 * SECOND


def test_a_topic_that_is_not_told_or_not_there_names_those_that_are(bag: Callable[..., Path]) -> None:
    text = STORE.types["std_msgs/msg/String"]("words")
    grey = picture("mono8", GREY.astype(np.uint8), 1)
    folder = bag([("/a", 1, grey), ("/b", 1, picture("mono16", GREY, 1)), ("/text", 1, text)])
    for topic, got in [(None, "2 of them"), ("/c", "no /c"), ("/text", "/text of std_msgs/msg/String")]:
        with pytest.raises(RequestError, match=f"which topic is ir0.: expected one of /a, /b, got {got}"):
            BagSource("ir0", folder, topic)
    with pytest.raises(RequestError, match="unknown option 'topc'"):
        open_source("ir0", Camera(uri=f"file://{folder}?topc=/a"), "infrared", epoch_ns=0)
    with pytest.raises(RequestError, match="got no images"):
        BagSource("ir0", bag([("/text", 1, text)]))


def test_a_frame_that_is_damaged_is_lost_and_the_next_one_comes(bag: Callable[..., Path]) -> None:
    short = picture("mono16", GREY, 2)
    short.data = short.data[:-5]
    folder = bag(
        [
            ("/ir", 1, picture("mono16", GREY, 1)),
            ("/ir", 2, short),
            ("/ir", 3, picture("mono16", GREY + 2, 3)),
        ]
    )
    with closing(BagSource("ir0", folder)) as source:
        assert source.read() is not None
        with pytest.raises(FrameLost, match="frame 1 of /ir is not whole"):
            source.read()
        frame = source.read()
    assert frame is not None
    assert frame.sequence == 2
    none = [("/vis", 1, compressed("jpeg", b"no picture", 1)), ("/vis", 2, compressed("jpeg", b"", 1))]
    with closing(BagSource("vis0", bag(none))) as source:
        for _ in range(2):
            with pytest.raises(FrameLost, match="cannot be decoded"):
                source.read()


def test_what_cannot_be_a_picture_says_so(bag: Callable[..., Path]) -> None:
    bayer = bag([("/vis", 1, picture("bayer_rggb8", COLOUR[..., 0], 1))])
    with pytest.raises(SourceError, match="an encoding that is not taken: expected one of mono8") as caught:
        frames(BagSource("vis0", bayer))
    assert not isinstance(caught.value, FrameLost)
    depth = bag([("/depth", 1, compressed("16UC1; compressedDepth", b"x", 1))])
    with pytest.raises(SourceError, match="compressedDepth"):
        frames(BagSource("ir0", depth))


@pytest.mark.parametrize("keep", [0, 7, 40, 300])
def test_a_bag_that_is_cut_off_is_an_error(bag: Callable[..., Path], keep: int) -> None:
    path = of(bag([("/ir", n, picture("mono16", GREY, n)) for n in range(9)]), ".mcap")
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(SourceError, match=r"walk|bag"):
        frames(BagSource("ir0", path))
    path.unlink()
    with pytest.raises(InputMissing):
        open_source("ir0", Camera(uri=str(path)), "infrared", epoch_ns=0)


def test_without_rosbags_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "walk.mcap").write_bytes(b"")
    monkeypatch.setitem(__import__("sys").modules, "rosbags.rosbag2", None)
    with pytest.raises(RequestError, match="reading bags needs rosbags") as caught:
        BagSource("ir0", tmp_path / "walk.mcap")
    assert "[bags]" in str(caught.value)
