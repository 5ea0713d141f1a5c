"""Fuse a pair of pictures, two folders of pictures, or two videos.

  tdfusion-edge fuse ir.png vis.png -o fused.png
  tdfusion-edge fuse ir/ vis/ -o fused/
  tdfusion-edge fuse ir.mp4 vis.mp4 -o fused.mp4

Folders are matched by stem, and what has no partner is listed. Videos are matched by their
timestamps, which the output keeps; the first picture of each counts as taken at one moment, unless
offset_ms of the rig's cameras says otherwise. The output has the size of the visible picture. Pictures stay
clean unless --boxes is given.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from tdfusion_edge.clashes import refuse_clashes
from tdfusion_edge.console import say
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.images import IMAGE_SUFFIXES
from tdfusion_edge.locks import claimed
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.cameras import require_positive
from tdfusion_edge.runtime.commands.networks import add_network_arguments, open_fuser, read_files
from tdfusion_edge.runtime.picture import parallax
from tdfusion_edge.runtime.picture.stretch import StretchName
from tdfusion_edge.runtime.picture.watch import watch_of
from tdfusion_edge.runtime.pipeline.files import (
    PLAIN,
    Pairing,
    Summary,
    Wanted,
    fuse_folders,
    fuse_pictures,
    fuse_videos,
)
from tdfusion_edge.video.times import is_recording


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
        help="rig file whose [registration] aligns the two, whose infrared camera gives the range, and whose "
        "[sync] and offset_ms pair the frames of videos",
    )
    parser.add_argument(
        "--tolerance-ms", type=float, metavar="MS",
        help="largest time difference in a pair of videos' frames (default: the rig's, else 20)",
    )  # fmt: skip
    parallax.add_distance_argument(parser)
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
        if is_recording(path):
            raise RequestError(
                f"{path} holds the pieces of a recording",
                expected="two pictures, two videos, or folders of pictures",
                hint=f"Play it: tdfusion-edge run --camera {args.infrared},{args.visible} -o fused.mp4",
            )
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
    registration = parallax.chosen(None if described is None else described.registration, args.distance)
    work: Callable[..., Summary] = fuse_folders if kinds[0] == "folder" else fuse_pictures
    if kinds[0] == "video":
        work = partial(fuse_videos, pairing=_pairing(described, args.tolerance_ms))
    elif args.tolerance_ms is not None:
        raise RequestError("--tolerance-ms", expected="two videos", got=f"two {kinds[0]}s")
    camera = None if described is None else rig.by_role(described).get("infrared")
    if args.range == "linear" and camera is None:
        raise RequestError(
            "--range linear needs low and high in counts",
            expected="--rig FILE with one infrared camera",
            hint='Set role = "infrared" in [cameras.NAME] and low and high in [cameras.NAME.range] there.',
        )
    table = rig.thermal(args.range, None if camera is None else camera.range)
    watch = watch_of(rig.Sync() if described is None else described.sync, recorded=True)
    detect = wanted != PLAIN
    stretch: StretchName = "temporal" if kinds[0] == "video" else "image"
    with (
        claimed(written.values()),
        open_fuser(args, table, registration, detect=detect, stretch=stretch, watch=watch) as fuser,
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


def _pairing(described: rig.Rig | None, tolerance_ms: float | None) -> Pairing:
    """How a rig and the command line pair the frames of videos.

    Raises:
        RequestError: a tolerance that is none, or an offset of a camera that is neither of the two for sure.
    """
    require_positive("--tolerance-ms", tolerance_ms, most=rig.DAY_MS)
    sync = rig.Sync() if described is None else described.sync
    if tolerance_ms is not None:
        sync = replace(sync, tolerance_ms=tolerance_ms)
    if described is None:
        return Pairing(sync)
    cameras = rig.by_role(described)
    offsets = {role: camera.offset_ms for role, camera in cameras.items()}
    unclear = [
        name
        for name, camera in described.cameras.items()
        if camera.offset_ms and camera not in cameras.values()
    ]
    if unclear:
        raise RequestError(
            f"the rig's camera {unclear[0]} has offset_ms, but stands for no video",
            expected="one infrared and one visible camera",
            hint='Set role = "infrared" and role = "visible" in the [cameras.NAME] of the two.',
        )
    return Pairing(sync, offsets, described.registration)


def _kind(path: Path) -> str:
    if path.is_dir():
        return "folder"
    return "picture" if path.suffix.lower() in IMAGE_SUFFIXES else "video"
