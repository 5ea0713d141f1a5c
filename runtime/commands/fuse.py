"""Fuse a pair of pictures, two folders of pictures, or two videos.

  tdfusion-edge fuse ir.png vis.png -o fused.png
  tdfusion-edge fuse ir/ vis/ -o fused/
  tdfusion-edge fuse ir.mp4 vis.mp4 -o fused.mp4

Folders are matched by stem, and what has no partner is listed. Videos are matched by their
timestamps, which the output keeps. The output has the size of the visible picture. Pictures stay
clean unless --boxes is given.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tdfusion_edge.clashes import refuse_clashes
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import IMAGE_SUFFIXES
from tdfusion_edge.locks import claimed
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.commands.networks import add_network_arguments, open_fuser, read_files
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.pipeline.files import PLAIN, Wanted, fuse_folders, fuse_pictures, fuse_videos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("infrared", type=Path, metavar="IR", help="infrared picture, folder or video")
    parser.add_argument("visible", type=Path, metavar="VIS", help="visible picture, folder or video")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="OUT", help="picture, folder or video"
    )
    parser.add_argument(
        "--rig",
        type=Path,
        metavar="FILE",
        help="rig file whose [registration] aligns the two, and whose infrared camera gives the range",
    )
    parser.add_argument("--boxes", action="store_true", help="draw what the bundle finds: boxes and masks")
    parser.add_argument(
        "--detections", type=Path, metavar="OUT.jsonl", help="tell what it finds, a line a picture"
    )
    add_network_arguments(parser)


def main(args: argparse.Namespace) -> int:
    """Fuse and say what was written; 1 where a picture could not be read."""
    for path in (args.infrared, args.visible):
        if not path.exists():
            raise InputMissing(f"there is no {path}")
    kinds = _kind(args.infrared), _kind(args.visible)
    if kinds[0] != kinds[1]:
        raise RequestError(
            "the two inputs are of different kinds",
            expected="two pictures, folders or videos",
            got=" and ".join(kinds),
        )
    outputs = {"--output": args.output, "--detections": args.detections}
    written = {option: path for option, path in outputs.items() if path is not None}
    refuse_clashes(written.items(), (args.infrared, args.visible, *read_files(args)))
    wanted = Wanted(args.boxes, args.detections)
    if args.detections is not None and args.detections.suffix.lower() != ".jsonl":
        raise RequestError(f"--detections {args.detections}", expected="a name that ends in .jsonl")
    # A rig that merely lies around must not warp pictures that are aligned already.
    described = None if args.rig is None else rig.read(rig.find(args.rig))
    registration = None if described is None else described.registration
    work = {"picture": fuse_pictures, "folder": fuse_folders, "video": fuse_videos}[kinds[0]]
    camera = _infrared_camera(described)
    if args.range == "linear" and camera is None:
        raise RequestError(
            "--range linear needs low and high in counts",
            expected="--rig FILE with one infrared camera",
            hint='Set role = "infrared" in [cameras.NAME] and low and high in [cameras.NAME.range] there.',
        )
    table = rig.thermal(args.range, None if camera is None else camera.range)
    detect = wanted != PLAIN
    stretch: StretchName = "temporal" if kinds[0] == "video" else "image"
    with (
        claimed(written.values()),
        open_fuser(args, table, registration, detect=detect, stretch=stretch) as fuser,
    ):
        if detect and not fuser.heads:
            raise RequestError(
                f"{args.bundle} has no detector",
                expected="a bundle with one for --boxes and --detections",
                hint="Make one: tdfusion-edge export FUSION.safetensors DETECTOR.safetensors -o BUNDLE",
            )
        summary = work(fuser, args.infrared, args.visible, args.output, wanted)
    for line in summary.notes:
        say(line, error=True)
    say(f"{summary.pictures} fused, written to {args.output}")
    return 1 if summary.failed else 0


def _infrared_camera(described: rig.Rig | None) -> rig.Camera | None:
    """The rig's infrared camera, for its thermal range; None where the rig has not just one."""
    cameras = [] if described is None else list(described.cameras.values())
    infrared = [camera for camera in cameras if camera.role == "infrared"]
    return infrared[0] if len(infrared) == 1 else None


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return "picture" if path.suffix.lower() in IMAGE_SUFFIXES else "video"
