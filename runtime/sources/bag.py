"""Image topics of ROS 2 bags, MCAP files and ROS 1 bags."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from tdfusion_edge.errors import FrameLost, InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Frame, Image
from tdfusion_edge.install import imported
from tdfusion_edge.runtime.sources.uri import SourceUri
from tdfusion_edge.text import few

_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Encoding(NamedTuple):
    """How the bytes of a ``sensor_msgs/Image`` become a picture."""

    dtype: str
    channels: int
    to_bgr: int | None = None
    """OpenCV's code of the conversion; None where the bytes are grey or BGR already."""


ENCODINGS: Mapping[str, Encoding] = {
    **dict.fromkeys(("mono8", "8UC1"), Encoding("u1", 1)),
    **dict.fromkeys(("mono16", "16UC1"), Encoding("u2", 1)),
    **dict.fromkeys(("bgr8", "8UC3"), Encoding("u1", 3)),
    "rgb8": Encoding("u1", 3, cv2.COLOR_RGB2BGR),
    "bgra8": Encoding("u1", 4, cv2.COLOR_BGRA2BGR),
    "rgba8": Encoding("u1", 4, cv2.COLOR_RGBA2BGR),
}
"""By the names of ``sensor_msgs/image_encodings.hpp``."""


class BagSource:
    """One image topic of a bag, every frame at its own time.

    A frame's time is the stamp in its header, or where that is zero the moment at which it was recorded: the
    clock of the machine that recorded, which all topics and all bags of it share. What a
    ``sensor_msgs/CompressedImage`` holds is decoded by OpenCV.

    Args:
        name: Name for messages and frames, without credentials.
        path: ``.mcap``, ``.db3`` or ``.bag``, or the folder of a ROS 2 bag.
        topic: The topic; None takes the only one with images.

    Raises:
        InputMissing: there is no such file.
        RequestError: rosbags is not installed, or the bag has no such topic, or several and none is named.
        SourceError: it is no bag, or damaged at its beginning.
    """

    live = False

    def __init__(self, name: str, path: Path, topic: str | None = None) -> None:
        self.name = name
        self._path, self._sequence = path, 0
        if not path.exists():
            raise InputMissing(f"{path} does not exist", expected="a bag")
        ros1 = path.suffix.lower() == ".bag"
        need = "reading bags needs rosbags"
        reading = imported(f"rosbags.rosbag{1 if ros1 else 2}", "bags", need, RequestError)
        types = imported("rosbags.typesys", "bags", need, RequestError)
        # The image messages are the same in all releases. What a bag says of its types is not needed, so that
        # a message of another topic that nobody knows stops nothing.
        store = types.get_typestore(types.Stores.ROS1_NOETIC if ros1 else types.Stores.ROS2_HUMBLE)
        self._decode: Callable[[bytes, str], Any] = store.deserialize_ros1 if ros1 else store.deserialize_cdr
        self._reader: Any = None
        try:
            self._reader = reader = reading.Reader(path)
            reader.open()
            self.topic = self._chosen(topic)
            """What is read."""
            wanted = [one for one in reader.connections if one.topic == self.topic]
            self._messages: Iterator[tuple[Any, int, bytes]] = reader.messages(connections=wanted)
        except RequestError:
            self.close()
            raise
        except Exception as error:  # a damaged file meets whatever parser stands in its way
            self.close()
            raise self._damaged(error, "it cannot be opened") from error

    def read(self) -> Frame | None:
        """The next frame, None after the last.

        Raises:
            FrameLost: this message is no picture that can be decoded; the next one can be read.
            SourceError: the file is damaged from here on.
        """
        if self._reader is None:
            return None
        try:
            found = next(self._messages, None)
        except Exception as error:  # as above
            raise self._damaged(error, f"it is damaged behind frame {self._sequence - 1}") from error
        if found is None:
            return None
        connection, recorded_ns, raw = found
        number, self._sequence = self._sequence, self._sequence + 1
        told = f"{self.name}: frame {number} of {self.topic}"
        try:
            message = self._decode(raw, connection.msgtype)
        except Exception as error:  # as above
            raise FrameLost(f"{told} cannot be decoded: {error}") from error
        image = _compressed(message, told) if connection.msgtype == _COMPRESSED else _picture(message, told)
        stamp = message.header.stamp
        stamped_ns = int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)
        return Frame(image, stamped_ns or int(recorded_ns), number, self.name)

    def close(self) -> None:
        """Release the file; safe to call twice."""
        reader, self._reader = self._reader, None
        if reader is not None:
            with suppress(Exception):  # one that could not be opened cannot be closed either
                reader.close()

    def _chosen(self, topic: str | None) -> str:
        """The topic to read."""
        kinds: dict[str, str] = {one.topic: one.msgtype for one in self._reader.connections}
        images = sorted(name for name, kind in kinds.items() if kind in (_IMAGE, _COMPRESSED))
        hint = f"Name one: file://{self._path}?topic={images[0]}" if images else None
        if topic is None and len(images) == 1:
            return images[0]
        if topic in images:
            return str(topic)
        if topic in kinds:
            got = f"{topic} of {kinds[topic]}"
        else:
            got = "no images" if not images else f"no {topic}" if topic else f"{len(images)} of them"
        expected = f"one of {few(images)}" if images else f"a topic of {_IMAGE} or {_COMPRESSED}"
        raise RequestError(
            f"{self._path}: which topic is {self.name}?", expected=expected, got=got, hint=hint
        )

    def _damaged(self, error: Exception, what: str) -> SourceError:
        return SourceError(
            f"{self._path}: {what}: {error or type(error).__name__}",
            hint="What is whole can be kept: mcap recover FILE, or ros2 bag reindex FOLDER",
        )


def _picture(message: Any, told: str) -> Image:
    """A ``sensor_msgs/Image``: uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR."""
    encoding = ENCODINGS.get(message.encoding)
    if encoding is None:
        raise SourceError(
            f"{told} has an encoding that is not taken",
            expected=f"one of {', '.join(ENCODINGS)}",
            got=f"'{message.encoding}'",
        )
    height, width, step = int(message.height), int(message.width), int(message.step)
    dtype = np.dtype(encoding.dtype).newbyteorder(">" if message.is_bigendian else "<")
    used = width * encoding.channels * dtype.itemsize
    data = np.ascontiguousarray(message.data, np.uint8)
    if not (0 < used <= step and height and len(data) >= step * height):
        raise FrameLost(
            f"{told} is not whole",
            expected=f"{height} rows of {max(step, used)} bytes",
            got=f"{len(data)} bytes",
        )
    rows = np.ascontiguousarray(data[: step * height].reshape(height, step)[:, :used]).view(dtype)
    pixels = rows.astype(dtype.newbyteorder("="))
    if encoding.channels == 1:
        return pixels
    colour = pixels.reshape(height, width, encoding.channels)
    return colour if encoding.to_bgr is None else cv2.cvtColor(colour, encoding.to_bgr)


def _compressed(message: Any, told: str) -> Image:
    """A ``sensor_msgs/CompressedImage``, likewise."""
    if "compressedDepth" in message.format:
        raise SourceError(f"{told} is of compressedDepth", expected="JPEG or PNG", got=f"'{message.format}'")
    data = np.ascontiguousarray(message.data, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    if image is None:
        raise FrameLost(f"{told} cannot be decoded", expected="JPEG or PNG", got=f"'{message.format:.40}'")
    if image.ndim == 3 and image.shape[2] == 4:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    return image


def from_uri(
    name: str, uri: SourceUri, *, epoch_ns: int, clock: Callable[[], int] = time.monotonic_ns
) -> BagSource:
    """The source for an address; takes the option ``topic``. Times are the bag's own."""
    uri.refuse_unknown(("topic",))
    return BagSource(name, uri.local_path(), uri.query.get("topic"))
