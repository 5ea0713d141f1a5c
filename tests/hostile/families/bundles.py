"""Bundles that are damaged, forged, enormous, or no bundles, as folders and zips, and graphs that misbehave."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hostile.case import Case, cases
from hostile.made.archives import zip_bomb, zip_crowd
from hostile.made.bundles import GRAPH, endless_graph, graph, manifest, mean_graph, write_bundle
from hostile.made.commands import PLAIN
from hostile.made.pictures import encoded, mean_is

MANIFEST = "manifest.json"
BUNDLE = r"bad(\.zip)?|bundle|manifest"


def use(make: Callable[[Path], object], *command: str, name: str = "bad") -> Callable[[Path], list[str]]:
    """A maker of a command on the bundle that ``make`` puts at the path it is given; ``fuse`` by default."""

    def made(folder: Path) -> list[str]:
        make(folder / name)
        if command:
            return [name if word == "BUNDLE" else word for word in command]
        (folder / "ir.png").write_bytes(encoded("png", "infrared"))
        (folder / "vis.png").write_bytes(encoded("png"))
        return ["fuse", "ir.png", "vis.png", "-o", "out.png", "--bundle", name, *PLAIN]

    return made


def changed(**changes: Any) -> Callable[[Path], object]:
    """A bundle whose manifest says otherwise."""
    return lambda path: write_bundle(path, **changes)


def raw(content: bytes) -> Callable[[Path], object]:
    """A bundle whose manifest is these bytes."""

    def make(path: Path) -> None:
        write_bundle(path)
        (path / MANIFEST).write_bytes(content)

    return make


def graph_of(**changes: Any) -> dict[str, Any]:
    """The manifest's graphs, but for changes of the only one."""
    return {"fusion": manifest()["graphs"]["fusion"] | changes}


def outputs(**changes: Any) -> dict[str, Any]:
    """The same, but for changes of what the graph gives."""
    given = manifest()["graphs"]["fusion"]["outputs"][0] | changes
    return graph_of(outputs=[given])


ESCAPES = "mean\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"
MANIFESTS: dict[str, Callable[[Path], object]] = {
    "is empty": raw(b""),
    "is no JSON": raw(b"{ this is none"),
    "is cut": raw(json.dumps(manifest()).encode()[:200]),
    "is UTF-16": raw(json.dumps(manifest()).encode("utf-16")),
    "is binary": raw(bytes(range(256)) * 20),
    "is a list": raw(b"[]"),
    "is null": raw(b"null"),
    "is a number": raw(b"1e400"),
    "is deep": raw(b"[" * 100_000),
    "is deep in a table": raw(b'{"a":' * 100_000),
    "has 100,000 metrics": changed(metrics={f"metric {n}": 1.0 for n in range(100_000)}, format=99),
    "has a NaN": raw(json.dumps(manifest(metrics={"a": float("nan")})).encode()),
    "has 1e999": raw(json.dumps(manifest()).replace('"opset": 18', '"opset": 1e999').encode()),
    "has a number of 5,000 digits": raw(
        json.dumps(manifest()).replace('"opset": 18', '"opset": ' + "9" * 5000).encode()
    ),
    "has format 99": changed(format=99),
    "has format -1": changed(format=-1),
    "has format true": changed(format=True),
    "has format text": changed(format="3"),
    "has an unknown key": changed(surprise=1),
    "has a key of escape codes": raw(
        json.dumps(manifest() | {"\x1b[31m\u202e": 1}, ensure_ascii=False).encode()
    ),
    "has no graph": changed(graphs={}),
    "has a graph of escape codes": changed(graphs=graph_of() | {"\x1b[31m": graph_of()["fusion"]}),
    "has a name of a list": changed(name=["mean"]),
    "has a wrong sha256": changed(sha256={GRAPH: "0" * 64}),
    "has a short sha256": changed(sha256={GRAPH: "0"}),
    "has no sha256": changed(sha256={}),
    "names a file that is not there": changed(sha256=manifest()["sha256"] | {"more.onnx": "0" * 64}),
    "names ../ir.png": changed(sha256={"../ir.png": "0" * 64}, graphs=graph_of(files={"fp32": "../ir.png"})),
    "names /etc/passwd": changed(
        sha256={"/etc/passwd": "0" * 64}, graphs=graph_of(files={"fp32": "/etc/passwd"})
    ),
    "names an escape code": changed(sha256=manifest()["sha256"] | {"\x1b[31m.onnx": "0" * 64}),
    "names 200,000 files": changed(sha256={f"file {n}": "0" * 64 for n in range(200_000)}),
    "has a smallest size of 0": changed(graphs=graph_of(minimum_size=0)),
    "has a smallest size of -1": changed(graphs=graph_of(minimum_size=-1)),
    "has a smallest size of 10**12": changed(graphs=graph_of(minimum_size=10**12)),
    "has a head without graph": changed(
        heads={"detector": {"kind": "boxes", "network": "n", "classes": ["a"]}}
    ),
    "has a head of no known kind": changed(
        heads={"fusion": {"kind": "\x1b[31mwhat", "network": "n", "classes": ["a"]}}
    ),
    "promises another output": changed(graphs=outputs(name="other")),
    "promises uint8": changed(graphs=outputs(dtype="uint8")),
    "promises no dtype": changed(graphs=outputs(dtype="\x1b[31m")),
    "promises a shape of three": changed(graphs=outputs(shape=[1, "height", "width"])),
}
RIGHT_OR_ERROR = ("right", "error")
FORGED = [
    Case(f"manifest {what}", use(make), ("error",), says=BUNDLE, quick=what in ("is deep", "has a wrong sha256", "names ../ir.png"))
    if not what.startswith(("has a smallest size of 0", "has a smallest size of -1", "has a head of no known kind"))
    else Case(f"manifest {what}", use(make), RIGHT_OR_ERROR, check=mean_is(), says=BUNDLE)
    for what, make in MANIFESTS.items()
] + [
    Case("manifest whose name is escape codes", use(changed(name=ESCAPES)), RIGHT_OR_ERROR, check=mean_is(), says=BUNDLE, quick=True),
    Case("manifest whose name is 1 MB", use(changed(name="n" * 1_000_000)), RIGHT_OR_ERROR, check=mean_is(), says=BUNDLE),
    Case("verify a name of escape codes", use(changed(name=ESCAPES), "verify", "BUNDLE", "--data", "gone"), says="gone|data"),
    Case("bundles lists a name of escape codes", use(changed(name=ESCAPES, network=ESCAPES), "bundles", "BUNDLE"), ("right",)),
    Case("bundles beside a forged one", use(changed(sha256={GRAPH: "0" * 64}), "bundles", "."), says="1 of [0-9]+ bundles cannot be used.*bad", quick=True),
    Case("bundles of a folder without any", use(lambda path: path.mkdir(), "bundles", "BUNDLE"), says="bad holds no bundle"),
    Case("doctor has no word for a forged bundle", use(changed(name=ESCAPES, sha256={}), "eval", "BUNDLE", "--data", "gone"), says="gone"),
]  # fmt: skip


# Folders that are none ---------------------------------------------------------------------------------------


def _without(name: str) -> Callable[[Path], object]:
    return lambda path: (write_bundle(path) / name).unlink()


def _linked(path: Path) -> None:
    write_bundle(path)
    (path / GRAPH).rename(path.parent / "elsewhere")
    (path / GRAPH).symlink_to("../elsewhere")


def _replaced(make: Callable[[Path], object]) -> Callable[[Path], object]:
    def made(path: Path) -> None:
        write_bundle(path)
        (path / GRAPH).unlink()
        make(path / GRAPH)

    return made


def _crowded(path: Path) -> None:
    write_bundle(path)
    for number in range(3000):
        (path / f"{number}.txt").touch()


def _deep(path: Path) -> None:
    write_bundle(path)
    below = path
    for _ in range(300):
        below = below / "d"
        below.mkdir()


FOLDERS: dict[str, Callable[[Path], object]] = {
    "is empty": lambda path: path.mkdir(),
    "has no manifest": _without(MANIFEST),
    "has no graph": _without(GRAPH),
    "has a graph that is a link": _linked,
    "has a pipe as graph": _replaced(os.mkfifo),
    "has a link to /dev/zero as graph": _replaced(lambda path: path.symlink_to("/dev/zero")),
    "has a folder as graph": _replaced(lambda path: path.mkdir()),
    "has a pipe beside": lambda path: os.mkfifo(write_bundle(path) / "pipe"),
    "has an escape code beside": lambda path: (write_bundle(path) / "\x1b[31m\u202e").touch(),
    "has a file more": lambda path: (write_bundle(path) / "more.txt").touch(),
    "has 3,000 files": _crowded,
    "is a link to itself": lambda path: path.symlink_to(path.name),
    "is a pipe": os.mkfifo,
    "is /dev/zero": lambda path: path.symlink_to("/dev/zero"),
    "is /dev/null": lambda path: path.symlink_to("/dev/null"),
    "is text": lambda path: path.write_text("a bundle, honestly"),
    "is a picture": lambda path: path.write_bytes(encoded("png")),
    "may not be read": lambda path: write_bundle(path).chmod(0),
    "has a graph that may not be read": lambda path: (write_bundle(path) / GRAPH).chmod(0),
    "is not there": lambda path: None,
}
PLACES = [
    Case(f"folder {what}", use(make), says=BUNDLE, quick=what == "is a pipe")
    for what, make in FOLDERS.items()
]
PLACES += [
    Case("folder called bad.zip", use(lambda path: write_bundle(path), name="bad.zip"), RIGHT_OR_ERROR, check=mean_is(), says=BUNDLE),
    Case("folder has 300 folders inside each other", use(_deep), RIGHT_OR_ERROR, check=mean_is(), says=BUNDLE),
    Case("a bundle's name that is misspelt", use(lambda path: None, "fuse", "ir.png", "vis.png", "-o", "out.png", "--bundle", "egde"), says="ir.png|edge"),
    Case("run with a bundle's name misspelt", use(lambda path: None, "run", "--camera", "ir0,vis0", "-o", "o.mp4", "--bundle", "egde"), says=r"[^g]edge"),
    Case("a bundle's name of 300 bytes", use(lambda path: None, "run", "--camera", "ir0,vis0", "--bundle", "b" * 300), says="b{20}"),
    Case("an empty name of a bundle", use(lambda path: None, "run", "--camera", "ir0,vis0", "--bundle", ""), says="bundle"),
]  # fmt: skip


# Zips --------------------------------------------------------------------------------------------------------


def zipped(
    files: dict[str, bytes] | None = None, change: Callable[[zipfile.ZipFile], object] = lambda archive: None
) -> bytes:
    """A bundle as zip, with other files and whatever ``change`` adds."""
    buffer = io.BytesIO()
    usual = {MANIFEST: json.dumps(manifest()).encode(), GRAPH: mean_graph()}
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (usual if files is None else files).items():
            archive.writestr(name, content)
        change(archive)
    return buffer.getvalue()


def zip_case(what: str, content: Callable[[], bytes], wanted: Any = ("error",), **more: Any) -> Case:
    """A bundle of these bytes."""
    make = use(lambda path: path.write_bytes(content()), name="bad.zip")
    return Case(f"zip {what}", make, wanted, says=BUNDLE, check=mean_is(), **more)


def bomb(name: str) -> Callable[[], bytes]:
    """A zip of some megabytes, one of whose files has 1 GB."""
    return lambda: zip_bomb(name, json.dumps(manifest()).encode() if name == GRAPH else b"")


def crowd() -> bytes:
    """200,000 names."""
    return zip_crowd(json.dumps(manifest()).encode(), 200_000)


def _twice() -> bytes:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return zipped(change=lambda archive: archive.writestr(MANIFEST, b"{}"))


def _with(name: str) -> Callable[[], bytes]:
    return lambda: zipped(change=lambda archive: archive.writestr(name, b"x"))


def _as_link() -> bytes:
    link = zipfile.ZipInfo(GRAPH)
    link.create_system, link.external_attr = 3, 0o120777 << 16
    return zipped(
        {MANIFEST: json.dumps(manifest()).encode()}, lambda archive: archive.writestr(link, "/etc/passwd")
    )


def _other_method() -> bytes:
    def change(archive: zipfile.ZipFile) -> None:
        archive.writestr(GRAPH, mean_graph(), zipfile.ZIP_LZMA)

    return zipped({MANIFEST: json.dumps(manifest()).encode()}, change)


def _lying_size() -> bytes:
    made = bytearray(zipped())
    at = made.index(b"PK\x01\x02")
    made[at + 24 : at + 28] = (1 << 31).to_bytes(4, "little")
    return bytes(made)


def _encrypted() -> bytes:
    made = bytearray(zipped())
    for sign, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = made.index(sign)
        made[at + offset] |= 1
    return bytes(made)


ZIPS = [
    zip_case("whole", zipped, ("right",)),
    zip_case("with bytes before it", lambda: b"#!/bin/sh\nexit\n" + zipped(), RIGHT_OR_ERROR),
    zip_case("empty", lambda: b""),
    zip_case("of nothing", lambda: zipped({})),
    zip_case("of text", lambda: b"PK\x03\x04 no zip" * 20),
    *(zip_case(f"cut at {share} %", lambda share=share: zipped()[: len(zipped()) * share // 100]) for share in (10, 50, 90)),
    zip_case("cut by a byte", lambda: zipped()[:-1], RIGHT_OR_ERROR),
    zip_case("damaged in the middle", lambda: zipped()[:400] + b"!" * 40 + zipped()[440:]),
    zip_case("with a manifest of 1 GB", bomb(MANIFEST), quick=True),
    zip_case("with a graph of 1 GB", bomb(GRAPH)),
    zip_case("with 200,000 entries", crowd),
    zip_case("with its manifest twice", _twice),
    zip_case("with ../ in a name", _with("../out.png")),
    zip_case("with an absolute name", _with("/tmp/out.png")),
    zip_case("with a drive in a name", _with("C:\\out.png")),
    zip_case("with escape codes in a name", _with("\x1b[31m\u202e\x9b")),
    zip_case("with a name of 60,000 bytes", _with("n" * 60_000)),
    zip_case("with a link", _as_link),
    zip_case("with another compression", _other_method),
    zip_case("that lies about a size", _lying_size, RIGHT_OR_ERROR),
    zip_case("encrypted", _encrypted),
]  # fmt: skip


# Graphs ------------------------------------------------------------------------------------------------------


def with_graph(make: Callable[[], bytes], **changes: Any) -> Callable[[Path], list[str]]:
    """A maker of ``fuse`` with a bundle of this graph, whose digest is right."""
    return use(lambda path: write_bundle(path, make(), **changes))


def _scaled(factor: float) -> Callable[[], bytes]:
    return lambda: graph([("Mul", ["visible", "factor"], "fused")], factor=factor)


def _padded() -> bytes:
    return graph([("Pad", ["visible", "pads"], "fused")], pads=[0, 0, 0, 0, 0, 0, 8, 8])


def _doubled() -> bytes:
    nodes = [("Concat", ["infrared", "visible"], "fused", {"axis": 1})]
    return graph(nodes, shape=(1, "channels", "height", "width"))


def _not_a_number() -> bytes:
    return graph([("Sub", ["visible", "visible"], "zero"), ("Div", ["zero", "zero"], "fused")])


def _of_kind(kind: str, inputs: list[str], **more: Any) -> Callable[[], bytes]:
    return lambda: graph([(kind, inputs, "fused", more)])


def _outside() -> bytes:
    """Weights that lie in another file."""
    import onnx
    from onnx import TensorProto

    model = onnx.load_model_from_string(mean_graph())
    weights = TensorProto(name="half", data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    weights.external_data.extend([onnx.StringStringEntryProto(key="location", value="../ir.png")])
    del model.graph.initializer[:]
    model.graph.initializer.append(weights)
    return bytes(model.SerializeToString())


def _square() -> bytes:
    """A graph that gives 64 numbers too many, whatever came in."""
    return graph([("Transpose", ["visible"], "fused", {"perm": [0, 1, 3, 2]})])


GRAPHS = {
    "that is no graph": lambda: b"no graph at all",
    "that is empty": lambda: b"",
    "that is cut": lambda: mean_graph()[:60],
    "whose picture has another size": _padded,
    "whose picture lies on its side": _square,
    "of two channels": _doubled,
    "of NaN": _not_a_number,
    "of 1e30": _scaled(1e30),
    "of -1e30": _scaled(-1e30),
    "of infinity": _scaled(float("inf")),
    "of an operator that nobody knows": _of_kind("Nonsense", ["visible"]),
    "of an operator of another library": _of_kind("Evil", ["visible"], domain="com.example"),
    "with weights in another file": _outside,
    "of a reshape that fails": lambda: graph(
        [("Reshape", ["visible", "sides"], "fused")], sides=[1, 1, 7, 7]
    ),
    "that asks for 40 GB": lambda: graph(
        [("Tile", ["visible", "times"], "large"), ("ReduceMax", ["large"], "fused")], times=[1, 1, 2000, 2000]
    ),
}
NETWORKS = [
    Case(f"graph {what}", with_graph(make), ("error",), says=r"bad|graph|network|fusion|finite|NaN|mean|picture",
         quick=what in ("of NaN", "whose picture has another size", "of two channels"))
    for what, make in GRAPHS.items()
] + [
    Case("graph without an end, and Ctrl-C", with_graph(endless_graph), ("stopped", "error"), interrupts=(1.5, 2.0), limit=12),
    Case("graph without an end in run, and two Ctrl-C", use(
        lambda path: write_bundle(path, endless_graph()), "run", "--camera", "a.png,b.png", "-o", "o.jsonl", "--bundle", "BUNDLE"),
        ("error",), says="a.png"),
]  # fmt: skip


def _endless_run(folder: Path) -> list[str]:
    write_bundle(folder / "bad", endless_graph())
    for name, what in (("ir.png", "infrared"), ("vis.png", "visible")):
        (folder / name).write_bytes(encoded("png", what))
    return ["run", "--camera", "ir.png,vis.png", "-o", "out.mp4", "--bundle", "bad"]


NETWORKS[-1] = Case(
    "graph without an end in run, and two Ctrl-C", _endless_run, ("stopped", "error"), interrupts=(1.5, 2.0),
    limit=12, leaves=("*",), quick=True,
)  # fmt: skip

CASES = cases(FORGED, PLACES, ZIPS, NETWORKS)
