"""Addresses with passwords, in every place where an address can stand: the secret comes out nowhere."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from hostile.case import SECRET, Case, cases
from hostile.families.rigs import rig
from hostile.made.bundles import manifest, write_bundle
from hostile.made.commands import bundle, fuse, picture_folder, run
from hostile.made.pictures import encoded

USUAL = f"rtsp://admin:{SECRET}@127.0.0.1:9/live"
ADDRESSES = {
    "a user and a password": USUAL,
    "a password of signs": f"rtsp://admin:p@ss/w%rd#{SECRET}:x@127.0.0.1:9/live",
    "a password alone": f"rtsp://:{SECRET}@127.0.0.1:9/live",
    "a token as user": f"https://{SECRET}@127.0.0.1:9/a.mp4",
    "no scheme": f"admin:{SECRET}@127.0.0.1:/live",
    "percent signs": f"rtsp%3A%2F%2Fadmin%3A{SECRET}%40host%2Flive",
    "capitals": f"RTSP://ADMIN:{SECRET}@HOST/live",
    "loginpas": f"http://127.0.0.1:9/videostream.cgi?loginuse=admin&loginpas={SECRET}",
    "access_key": f"http://127.0.0.1:9/live?access_key={SECRET}",
    "authbasic": f"http://127.0.0.1:9/mjpg?authbasic={SECRET}",
    "u and p": f"http://127.0.0.1:9/tmpfs/snap.jpg?u=admin&p={SECRET}",
    "usr and pwd": f"http://127.0.0.1:9/snap.cgi?usr=admin&pwd={SECRET}",
    "user=admin_password=": f"rtsp://127.0.0.1:9/user=admin_password={SECRET}_channel=1_stream=0.sdp",
    "user=admin&password=": f"rtsp://127.0.0.1:9/user=admin&password={SECRET}&channel=1",
    "a token": f"rtsp://127.0.0.1:9/live?token={SECRET}&fps=30",
    "a signature": f"https://127.0.0.1:9/a.mp4?X-Amz-Signature={SECRET}",
    "a passphrase": f"srt://127.0.0.1:9?passphrase={SECRET}",
    "a pipeline": f"gst:rtspsrc location=rtsp://127.0.0.1:9/live user-id=admin user-pw={SECRET} ! decodebin",
    "a header": f"Authorization: Basic {SECRET}",
    "a header without a colon": f"Authorization Basic {SECRET}",
    "a bearer": f"Bearer {SECRET}",
    "a camera's option": f"v4l2:///dev/video0?password={SECRET}",
    "a network option of two words": f"http://127.0.0.1:9/live?password=top {SECRET}",
    "a camera's option of two words": f"v4l2:///dev/video0?password=top {SECRET}",
    "a simulation's option": f"sim://ir?password={SECRET}",
    "a file's host": f"file://admin:{SECRET}@host/a.mp4",
    "two addresses": f"rtsp://127.0.0.1:9/a|rtsp://admin:{SECRET}@127.0.0.1:9/b",
}

CAMERAS = [
    Case(f"run on {what}", lambda folder, text=text: ["run", "--camera", f"{text},vis0", "-o", "o.jsonl", "--policy", "drop"], says=r"\S",
         quick=what in ("loginpas", "a header without a colon", "user=admin_password="))
    for what, text in ADDRESSES.items()
] + [
    Case(f"run -v on {what}, the second camera", lambda folder, text=text: ["run", "-v", "--camera", f"ir0,{text}", "-o", "o.jsonl", "--policy", "drop"], says=r"\S")
    for what, text in ADDRESSES.items()
]  # fmt: skip


def in_rig(text: str, command: str = "run") -> Callable[[Path], Sequence[object]]:
    """A maker of a command whose rig names such an address."""

    def make(folder: Path) -> list[str]:
        (folder / "rig.toml").write_text(rig().replace('uri = "ir"', f"uri = {json.dumps(text)}"))
        picture_folder(folder, "visible", 1)
        if command != "run":
            return [command, "--rig", "rig.toml"]
        return [
            "run",
            "--rig",
            "rig.toml",
            "--camera",
            "ir0,vis0",
            "-o",
            "o.jsonl",
            "--bundle",
            str(bundle(folder)),
        ]

    return make


RIGS = [
    Case("run with a rig of a user and a password", in_rig(USUAL), says=r"\S"),
    *(    Case(f"cameras with a rig of {what}", in_rig(text, "cameras"), ("right", "error"), says=r"\S")
    for what, text in ADDRESSES.items()),
    Case("doctor with a rig of a user and a password", in_rig(USUAL, "doctor"), ("right", "error", "degraded"), says=r"\S", limit=60),
]  # fmt: skip


def _rig_line(line: str) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> list[str]:
        (folder / "rig.toml").write_text(rig() + line)
        return ["run", "--rig", "rig.toml", "--camera", "ir0,vis0", "-o", "o.jsonl"]

    return make


def _named(**changes: object) -> Callable[[Path], Sequence[object]]:
    """``fuse`` with a bundle whose manifest holds an address."""

    def make(folder: Path) -> list[str]:
        (folder / "vis.png").write_bytes(encoded("png"))
        write_bundle(folder / "mean", **changes)
        return fuse(folder)

    return make


def _fuse(*more: str) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> list[str]:
        (folder / "vis.png").write_bytes(encoded("png"))
        return [*fuse(folder), *more]

    return make


def _run(*more: str) -> Callable[[Path], Sequence[object]]:
    return lambda folder: [*run(folder), *more]


def _data(command: str, *more: str) -> Callable[[Path], Sequence[object]]:
    def make(folder: Path) -> list[str]:
        for what in ("infrared", "visible"):
            picture_folder(folder, what, 1)
        words = {"dataset": ["dataset", "check", "."], "eval": ["eval", str(bundle(folder)), "--data", "."]}[
            command
        ]
        return [*words, *more]

    return make


PLACES: dict[str, Callable[[Path], Sequence[object]]] = {
    "as the first word": lambda folder: [USUAL],
    "as a word too many": lambda folder: ["run", "--camera", "a.mp4", USUAL],
    "as an option's name": lambda folder: ["run", f"--{USUAL}"],
    "behind an option that nobody knows": lambda folder: ["run", "--camera", "ir0,vis0", f"--url={USUAL}"],
    "as --camera alone": lambda folder: ["run", "--camera", USUAL],
    "as three cameras": lambda folder: ["run", "--camera", f"{USUAL},{USUAL},a"],
    "twice as camera": lambda folder: ["run", "--camera", f"{USUAL},{USUAL}"],
    "as -o": _run("-o", USUAL),
    "as -o with a suffix": _run("-o", f"{USUAL}.mp4"),
    "as fuse's -o": lambda folder: [word if word != "out.png" else USUAL for word in _fuse()(folder)],
    "as --rig": _run("--rig", USUAL),
    "as --bundle": _run("--bundle", USUAL),
    "as --backend": _run("--backend", USUAL),
    "as --precision": _run("--precision", USUAL),
    "as --policy": _run("--policy", USUAL),
    "as --mode": _run("--mode", USUAL),
    "as --seconds": _run("--seconds", USUAL),
    "as --threads": _run("--threads", USUAL),
    "as --range": _fuse("--range", USUAL),
    "as --detector": _fuse("--boxes", "--detector", USUAL),
    "as --detector-classes": _fuse("--detector-classes", f"{USUAL},,"),
    "as --detections": _fuse("--detections", USUAL),
    "as infrared": lambda folder: ["fuse", USUAL, "vis.png", "-o", "o.png"],
    "as visible": lambda folder: [*_fuse()(folder)[:2], USUAL, *_fuse()(folder)[3:]],
    "as --data": lambda folder: ["eval", "--data", USUAL],
    "as --names": _data("dataset", "--names", USUAL),
    "as --labels": _data("dataset", "--labels", USUAL),
    "as --classes": _data("dataset", "--labels", "yolo:lab", "--classes", f"{USUAL},{USUAL}"),
    "as --colours": _data("dataset", "--labels", "mask:lab", "--classes", "a", "--colours", USUAL),
    "as dataset's -o": _data("dataset", "-o", USUAL),
    "as --compare": _data("eval", "--compare", USUAL),
    "as a folder of --compare": _data("eval", "--compare", f"mine={USUAL}"),
    "as --groups": _data("eval", "--groups", USUAL),
    "as a network": _data("eval", "--network", USUAL, "--names", "gone"),
    "as a recipe": lambda folder: ["train", USUAL, "--data", "."],
    "as train's --data": lambda folder: ["train", "edge_fixed", "--data", USUAL],
    "as --set": lambda folder: ["train", "edge_fixed", "--data", ".", "--set", USUAL],
    "as a value of --set": lambda folder: [
        "train",
        "edge_fixed",
        "--data",
        ".",
        "--set",
        f"network='{USUAL}'",
    ],
    "as --device": lambda folder: ["train", "edge_fixed", "--data", ".", "--device", USUAL],
    "as a checkpoint": lambda folder: ["export", USUAL, "-o", "out"],
    "as export's -o": lambda folder: ["export", "gone.safetensors", "-o", USUAL],
    "as engines' bundle": lambda folder: ["engines", USUAL, "--backend", "tensorrt"],
    "as --size": lambda folder: ["engines", "--backend", "tensorrt", "--size", USUAL],
    "as --target": lambda folder: ["engines", "--backend", "tensorrt-rtx", "--target", USUAL],
    "as verify's bundle": lambda folder: ["verify", USUAL],
    "as bench's bundle": lambda folder: ["bench", USUAL],
    "as bench's back end": lambda folder: ["bench", "--backend", USUAL],
    "as a shell": lambda folder: ["completion", USUAL],
    "as a key of a rig": _rig_line(f'\n["{USUAL}"]\na = 1\n'),
    "as a key of a rig's table": _rig_line(f'\n[cameras.b]\nuri = "a"\n"{USUAL}" = 1\n'),
    "as a camera's name in a rig": _rig_line(f'\n[cameras."{USUAL}"]\nuri = 1\n'),
    "as a role in a rig": _rig_line(f'\n[cameras.b]\nuri = "a"\nrole = "{USUAL}"\n'),
    "as a line of a rig that is no TOML": _rig_line(f"\nuri = {USUAL}\n"),
    "as a file of a bundle": _named(sha256=manifest()["sha256"] | {USUAL: "0" * 64}),
    "as a graph of a bundle": _named(graphs=manifest()["graphs"] | {USUAL: manifest()["graphs"]["fusion"]}),
    "as a key of a bundle": _named(**{USUAL: 1}),
}
ELSEWHERE = [
    # A stream is pushed to an address as -o: what came beside it stays, whether or not there is a server.
    Case(
        f"an address {what}", make, ("degraded", "error") if what.startswith("as -o") else ("error",), says=r"\S",
        quick=what in ("as a word too many", "as --backend", "as -o", "as a key of a rig"),
    )
    for what, make in PLACES.items()
] + [
    Case("an address as --engine-cache", lambda folder: ["engines", "--list", "--engine-cache", USUAL], ("right", "error")),
    Case(
        "an address as a folder of --labels", _data("dataset", "--labels", f"yolo:{USUAL}", "--classes", "a"),
        ("degraded", "error"), says="labels",
    ),
    Case("an address as a bundle's name", _named(name=USUAL), ("right", "error")),
    *(
        Case(f"TDFUSION_RIG is {what}", lambda folder: ["run", "--camera", "ir0,vis0"], says="rig", env={"TDFUSION_RIG": text})
        for what, text in ADDRESSES.items()
        if what in ("a user and a password", "loginpas", "user=admin_password=", "a header without a colon", "percent signs")
    ),
]  # fmt: skip

CASES = cases(CAMERAS, RIGS, ELSEWHERE)
