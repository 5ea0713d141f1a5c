"""Fuse two arrays.

python examples/fuse_arrays.py ir.png vis.png fused.png
"""

import argparse

import cv2

import tdfusion_edge


def main() -> None:
    """Read two pictures, fuse them, write the result and list what was found."""
    parser = argparse.ArgumentParser(description="Fuse two arrays.")
    parser.add_argument("infrared", help="8 or 16 bits, grey")
    parser.add_argument("visible", help="8 bits, colour or grey")
    parser.add_argument("output", help="the fused picture")
    args = parser.parse_args()

    infrared = cv2.imread(args.infrared, cv2.IMREAD_UNCHANGED)  # unchanged: 16 bits stay 16 bits
    visible = cv2.imread(args.visible)
    if infrared is None or visible is None:
        parser.error("one of the pictures cannot be read")

    # Opening loads the networks. Keep a Fuser open for as many pairs as you have.
    with tdfusion_edge.Fuser("edge") as fuse:
        result = fuse(infrared, visible)

    if not cv2.imwrite(args.output, result.picture):
        parser.error(f"{args.output} cannot be written")
    found = result.detections
    for (left, top, right, bottom), score, class_id in zip(
        found.boxes, found.scores, found.class_ids, strict=True
    ):
        name = found.names[class_id]
        print(f"{name} {score:.2f}: x {left:.0f} to {right:.0f}, y {top:.0f} to {bottom:.0f}")


if __name__ == "__main__":
    main()
