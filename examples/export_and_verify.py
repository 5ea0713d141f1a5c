"""Export a checkpoint to a bundle, and compare what its float16 gives with its float32.

python examples/export_and_verify.py runs/mine/best.safetensors my_bundle ir.png vis.png
"""

import argparse
from pathlib import Path

import cv2
import numpy as np

import tdfusion_edge
from tdfusion_edge.export.assemble import export


def main() -> None:
    """Export, list what the export measured, and measure one pair of your own."""
    parser = argparse.ArgumentParser(description="Export a checkpoint and compare its precisions.")
    parser.add_argument("checkpoint", type=Path, help="best.safetensors of a training")
    parser.add_argument("bundle", type=Path, help="folder to write")
    parser.add_argument("infrared", help="a pair to compare on")
    parser.add_argument("visible")
    args = parser.parse_args()
    infrared, visible = cv2.imread(args.infrared, cv2.IMREAD_UNCHANGED), cv2.imread(args.visible)
    if infrared is None or visible is None:
        parser.error("one of the pictures cannot be read")

    # Nothing is written if a precision gives other pictures than PyTorch does.
    manifest = export([args.checkpoint], args.bundle)
    for row in manifest.parity:
        print(f"{row.graph} in {row.precision} against {row.against}: largest error {row.max_error:.1e}")

    fused = []
    for precision in ("fp32", "fp16"):
        with tdfusion_edge.Fuser(args.bundle, precision=precision, stretch="none") as fuse:
            fused.append(fuse(infrared, visible).picture.astype(int))
    print(f"on your pair: {np.abs(fused[0] - fused[1]).max()} grey levels at most")


if __name__ == "__main__":
    main()
