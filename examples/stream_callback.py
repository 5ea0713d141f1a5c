"""Call a function with every picture of a stream, and keep those that show a person.

python examples/stream_callback.py ir0,vis0 people/ --seconds 10
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import cv2

import tdfusion_edge


def run(cameras: str, seconds: float | None, callback: Callable[[tdfusion_edge.Result], None]) -> None:
    """Call ``callback`` with every result. It must be quick: pictures that come meanwhile are dropped."""
    for result in tdfusion_edge.stream(cameras, seconds=seconds):
        callback(result)


def main() -> None:
    """Write a picture to the folder whenever a person is in it."""
    parser = argparse.ArgumentParser(description="Keep the pictures that show a person.")
    parser.add_argument("cameras", help="two names of the rig or two addresses: ir0,vis0")
    parser.add_argument("folder", type=Path, help="where the pictures go")
    parser.add_argument("--seconds", type=float, help="how long (default: until Ctrl-C)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)

    def keep(result: tdfusion_edge.Result) -> None:
        found = result.detections
        people = sum(found.names[class_id] == "person" for class_id in found.class_ids)
        print(f"picture {result.index}: {people} people")
        if people and not cv2.imwrite(str(args.folder / f"{result.index:06d}.png"), result.picture):
            raise OSError(f"{args.folder} cannot be written")

    run(args.cameras, args.seconds, keep)


if __name__ == "__main__":
    main()
