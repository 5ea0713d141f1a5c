"""The README's picture: one moment of the simulated rig in infrared, visible and fused, with what is found.

python -m benchmarks.demo_picture
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.runtime.fuser import Fuser
from tdfusion_edge.runtime.heads import annotated
from tdfusion_edge.runtime.simulation.scene import Scene
from tdfusion_edge.runtime.sinks.folder import write_picture

DEFAULT = Path(__file__).resolve().parent.parent / "runtime" / "simulation" / "demo.jpg"
GAP = 8
"""White pixels between the pictures."""


def demo_picture(seed: int, time_s: float) -> U8:
    """Infrared, visible and fused with boxes side by side, uint8 (H, 3 W + gaps, 3) BGR."""
    scene = Scene(seed)
    infrared, visible = scene.infrared(time_s), scene.visible(time_s)
    with Fuser("edge", stretch="temporal") as fuse:
        fused = annotated(fuse(infrared, visible))
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
