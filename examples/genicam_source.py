"""GenICam cameras (GigE Vision, USB3 Vision) as a source, through harvesters and the maker's GenTL producer.

A package of yours names GenICamSource as entry point (docs/cameras.md) for genicam:///opt/maker.cti?serial=1234,
with &size=640x512&fps=30, or size and fps of the rig file, where the camera lets them be set.
Alone, this lists the cameras:  python examples/genicam_source.py /opt/maker.cti
"""

import sys

import cv2
from harvesters.core import Harvester  # pip install harvesters

from tdfusion_edge.errors import RequestError, SourceError
from tdfusion_edge.frames import Frame

FORMATS = ("Mono8", "Mono16", "BGR8", "RGB8")
DRIFT = 1e-4  # the clocks of camera and computer drift apart by less


def set_up(nodes, uri) -> None:  # noqa: ANN001
    """Set size and rate by the names of the SFNC; a camera that has no such node is refused."""
    asked = dict(zip(("Width", "Height"), uri.size() or (), strict=False))
    if uri.fps() is not None:
        if nodes.has_node("AcquisitionFrameRateEnable"):  # not every camera has to be told
            nodes.AcquisitionFrameRateEnable.value = True
        asked["AcquisitionFrameRate"] = uri.fps()
    for node, value in asked.items():
        if not nodes.has_node(node):
            raise RequestError(f"{uri}: this camera has no {node}", expected="no size or fps that needs it")
        getattr(nodes, node).value = value


class GenICamSource:  # noqa: D101
    live = True

    def __init__(self, name, uri, *, epoch_ns, clock) -> None:  # noqa: ANN001
        uri.refuse_unknown(("serial", "size", "fps"))
        self.name, self.clock, self.ahead, self.last = name, clock, None, 0
        self.harvester = Harvester()
        self.harvester.add_file(uri.path)
        self.harvester.update()
        serial = uri.query.get("serial")
        self.camera = self.harvester.create({"serial_number": serial} if serial else 0)
        set_up(self.camera.remote_device.node_map, uri)
        self.camera.start()

    def read(self) -> Frame:  # noqa: D102
        buffer = self.camera.try_fetch(timeout=5.0)
        if buffer is None:
            raise SourceError(f"{self.name} is silent", expected="a frame within 5 s", got="none")
        with buffer:  # afterwards its memory is the camera's again
            part, stamp = buffer.payload.components[0], buffer.timestamp_ns
            if part.data_format not in FORMATS:
                raise SourceError(f"{self.name} gives {part.data_format}", expected=", ".join(FORMATS))
            # How far our clock is ahead of the camera's, by the frame that came the quickest.
            now, drift = self.clock() - stamp, int((stamp - self.last) * DRIFT)
            self.ahead = now if self.ahead is None else min(now, self.ahead + drift)
            image, self.last = part.data.reshape(part.height, part.width, -1).squeeze().copy(), stamp
        if part.data_format == "RGB8":
            image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
        return Frame(image, stamp + self.ahead, buffer.frame_id, self.name)

    def close(self) -> None:  # noqa: D102
        self.harvester.reset()  # which stops the camera, too


if __name__ == "__main__":
    with Harvester() as harvester:
        harvester.add_file(sys.argv[1])
        harvester.update()
        print(*(f"{one.serial_number}: {one.model}" for one in harvester.device_info_list), sep="\n")
