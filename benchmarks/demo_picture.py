"""The README's picture: one moment of the simulated rig in infrared, visible and fused, with what is found.

python -m benchmarks.demo_picture
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np

from tdfusion_edge import bundle
from tdfusion_edge.color import U8
from tdfusion_edge.frames import Frame, Pair
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.engines import open_graph
from tdfusion_edge.runtime.heads.boxes import open_detector
from tdfusion_edge.runtime.picture.draw import with_boxes
from tdfusion_edge.runtime.picture.fusion import Fusion
from tdfusion_edge.runtime.picture.stretch import Stretch
from tdfusion_edge.runtime.show import show
from tdfusion_edge.runtime.simulation.scene import Scene
from tdfusion_edge.runtime.sinks.base import Result
from tdfusion_edge.runtime.sinks.folder import write_picture

DEFAULT = Path(__file__).resolve().parent.parent / "runtime" / "simulation" / "demo.jpg"
GAP = 8
"""White pixels between the pictures."""


def demo_picture(seed: int, time_s: float) -> U8:
    """Infrared, visible and fused with boxes side by side, uint8 (H, 3 W + gaps, 3) BGR."""
    scene = Scene(seed)
    infrared, visible = scene.infrared(time_s), scene.visible(time_s)
    shipped = bundle.read(bundle.default_path())
    engine = open_graph(shipped, "fusion").engine
    fusion = Fusion(shipped, engine, rig.SIMULATED.cameras["ir0"], None, Stretch("temporal"))
    pair = Pair(Frame(infrared, 0, 0, "ir0"), Frame(visible, 0, 0, "vis0"))
    aligned = fusion.align(pair)
    assert aligned is not None
    with closing(engine), ExitStack() as stack:
        detector = open_detector(shipped)
        if detector is not None:
            stack.callback(detector.close)
        picture, found, _ = show(aligned, fusion, detector)
    fused = with_boxes(Result(0, pair, picture, found))
    gap = np.full((len(visible), GAP, 3), 255, np.uint8)
    return np.hstack([np.dstack([infrared] * 3), gap, visible, gap, fused])


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--time", type=float, default=2.0, help="moment in the scene's 28 s cycle, seconds")
    parser.add_argument("-o", "--output", type=Path, default=DEFAULT)
    args = parser.parse_args()
    write_picture(args.output, demo_picture(args.seed, args.time))


if __name__ == "__main__":
    main()
