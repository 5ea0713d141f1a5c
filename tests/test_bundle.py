from __future__ import annotations

import hashlib
import os
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdfusion_edge import archive, bundle
from tdfusion_edge.bundle import FORMAT, MANIFEST, Graph, HeadInfo, Manifest, TensorInfo
from tdfusion_edge.errors import BundleError, ConfigError, InputMissing, RequestError, SinkError

FILES = {"fusion.onnx": bytes(range(256)) * 8, "MODEL_CARD.md": b"# edge\n", "more/notes.txt": b""}


def graph(file: str = "fusion.onnx") -> Graph:
    tensor = TensorInfo(name="fused", dtype="float32", shape=(1, 1, "height", "width"), content="luma")
    return Graph(files={"fp32": file}, inputs=(), outputs=(tensor,), minimum_size=32, opset=18)


def fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "edge",
        "network": "tdfusion",
        "strategy": "fixed",
        "created": "2026-01-02",
        "graphs": {"fusion": graph()},
        "metrics": {"qabf": 0.61},
    } | changes


@pytest.fixture(params=["folder", "zip"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def whole(tmp_path: Path, kind: str) -> Path:
    """A good bundle."""
    path = tmp_path / ("edge.zip" if kind == "zip" else "edge")
    bundle.write(path, fields(), FILES)
    return path


def contents(path: Path) -> dict[str, bytes]:
    if path.is_file():
        with zipfile.ZipFile(path) as opened:
            return {name: opened.read(name) for name in opened.namelist()}
    return {str(file.relative_to(path)): file.read_bytes() for file in path.rglob("*") if file.is_file()}


def replace(path: Path, content: dict[str, bytes]) -> None:
    """The same kind of container with other content, as someone else's tool would write it."""
    if path.is_file():
        with zipfile.ZipFile(path, "w") as opened:
            for name, data in content.items():
                opened.writestr(name, data)
    else:
        shutil.rmtree(path)
        for name, data in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)


def edited(raw: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    manifest = msgspec.json.decode(raw)
    edit(manifest)
    return msgspec.json.encode(manifest)


def everything_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# --- reading -------------------------------------------------------------------------------------


def test_what_is_written_is_read_back(whole: Path) -> None:
    opened = bundle.read(whole)
    assert opened.files == FILES
    assert opened.manifest.format == 3
    assert opened.manifest.metrics == {"qabf": 0.61}
    assert opened.graph("fusion") == (graph(), FILES["fusion.onnx"])


def test_write_returns_the_manifest_that_read_finds(tmp_path: Path) -> None:
    written = bundle.write(tmp_path / "edge", fields(), FILES)
    assert isinstance(written, Manifest)
    assert written == bundle.read(tmp_path / "edge").manifest


def test_a_precision_that_is_not_there_is_named(whole: Path) -> None:
    with pytest.raises(BundleError, match=r"(?s)no fusion graph in fp16: got fp32.*--precision fp16"):
        bundle.read(whole).graph("fusion", "fp16")


def test_a_graph_without_its_reference_is_refused(tmp_path: Path) -> None:
    low = graph().__class__(files={"fp16": "fusion.onnx"}, inputs=(), outputs=(), minimum_size=32, opset=18)
    with pytest.raises(BundleError, match="the fusion graph has no reference: expected fp32, got fp16"):
        bundle.write(tmp_path / "edge", {**fields(), "graphs": {"fusion": low}}, FILES)
    assert not (tmp_path / "edge").exists()


def test_a_graph_that_is_not_there_is_named(whole: Path) -> None:
    with pytest.raises(BundleError, match="bundle 'edge' has no detector graph: got fusion"):
        bundle.read(whole).graph("detector")


def test_the_bundle_that_ships_with_the_package_is_whole() -> None:
    opened = bundle.read(bundle.default_path())
    graphs = opened.manifest.graphs
    assert set(graphs) == {"fusion", "detector", "onepass"}
    assert all(set(graph.files) == {"fp32", "fp16"} for graph in graphs.values())
    assert (opened.manifest.strategy, opened.manifest.classes("boxes")) == (
        "bdlfusion",
        ("person", "bicycle", "car"),
    )
    assert "MODEL_CARD.md" in opened.files
    assert opened.manifest.sees_colours("boxes")


def test_a_shipped_bundle_may_be_called_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert bundle.place("edge") == bundle.default_path()
    assert bundle.place("nothing") == Path("nothing")
    assert bundle.place("./edge") == Path("edge")
    assert bundle.place("..") == Path("..")
    Path("edge").mkdir()
    assert bundle.place("edge") == Path("edge")
    assert bundle.place(str(whole)) == whole


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(st.sampled_from(["fusion.onnx", "MODEL_CARD.md"]), st.integers(0, 2047), st.integers(1, 255))
def test_one_changed_byte_is_found(whole: Path, name: str, position: int, change: int) -> None:
    content = contents(whole)
    data = bytearray(FILES[name])
    data[position % len(data)] ^= change
    replace(whole, content | {name: bytes(data)})
    with pytest.raises(BundleError, match=f"'{name}' was changed after export"):
        bundle.read(whole)
    replace(whole, content)  # for the next example


def test_a_missing_file_is_found(whole: Path) -> None:
    content = contents(whole)
    del content["MODEL_CARD.md"]
    replace(whole, content)
    with pytest.raises(BundleError, match=r"lacks 'MODEL_CARD\.md', which its manifest names"):
        bundle.read(whole)


@pytest.mark.parametrize("name", ["fusion.engine", ".hidden", "more/extra"])
def test_a_file_that_nobody_named_is_found(whole: Path, name: str) -> None:
    replace(whole, contents(whole) | {name: b"x"})
    with pytest.raises(BundleError, match=f"does not name: {name}"):
        bundle.read(whole)


def test_a_graph_without_a_file_is_found(whole: Path) -> None:
    content = contents(whole)
    content[MANIFEST] = edited(
        content[MANIFEST], lambda m: m["graphs"]["fusion"].update(files={"fp32": "other.onnx"})
    )
    replace(whole, content)
    with pytest.raises(BundleError, match=r"lacks the graph 'other\.onnx'"):
        bundle.read(whole)


def test_a_manifest_with_an_unknown_key_is_refused(whole: Path) -> None:
    content = contents(whole)
    content[MANIFEST] = edited(content[MANIFEST], lambda m: m.update(metric={}))
    replace(whole, content)
    with pytest.raises(ConfigError, match="unknown key 'metric'\n  Did you mean 'metrics'"):
        bundle.read(whole)


def test_a_later_format_is_told_from_a_damaged_manifest(whole: Path) -> None:
    content = contents(whole)
    content[MANIFEST] = edited(content[MANIFEST], lambda m: m.update(format=4, new_key=1))
    replace(whole, content)
    with pytest.raises(
        BundleError, match="another version of tdfusion-edge: expected format 2 to 3, got format 4"
    ):
        bundle.read(whole)


def of_format_2(manifest: dict[str, Any]) -> None:
    """The manifest as the version before wrote it: with a detector, masks and the graph ``pipeline``."""
    manifest["graphs"] |= dict.fromkeys(
        ("detector", "segmentation", "pipeline"), manifest["graphs"]["fusion"]
    )
    row = {"graph": "pipeline", "precision": "fp16", "against": "fp32", "pictures": "1", "max_error": 0.5}
    manifest |= {
        "format": 2,
        "detector": "yolo",
        "classes": ["person"],
        "score_threshold": 0.5,
        "segmentation": "segformer",
        "segmentation_classes": ["soil", "crop"],
        "parity": [row | {"psnr_db": 60.0, "boxes_kept": None}],
    }


def test_a_bundle_of_the_format_before_is_read_as_todays(whole: Path) -> None:
    content = contents(whole)
    content[MANIFEST] = edited(content[MANIFEST], of_format_2)
    replace(whole, content)
    manifest = bundle.read(whole).manifest
    assert manifest.format == FORMAT
    assert set(manifest.graphs) == {"fusion", "detector", "segmentation", "onepass"}
    assert manifest.heads == {
        "detector": HeadInfo(kind="boxes", network="yolo", classes=("person",), score_threshold=0.5),
        "segmentation": HeadInfo(kind="mask", network="segformer", classes=("soil", "crop")),
    }
    assert not any(manifest.sees_colours(kind) for kind in ("boxes", "mask"))
    (row,) = manifest.parity
    assert (row.graph, row.max_error, row.figures) == ("onepass", 0.5, {"psnr_db": 60.0})


def test_an_unknown_key_of_the_format_before_is_refused_too(whole: Path) -> None:
    content = contents(whole)
    content[MANIFEST] = edited(content[MANIFEST], lambda m: m.update(format=2, strateggy="x"))
    replace(whole, content)
    with pytest.raises(ConfigError, match="unknown key 'strateggy'"):
        bundle.read(whole)


@pytest.mark.parametrize("raw", [b"", b"[]", b"\xff\x00", b"{" * 100_000], ids=repr)
def test_a_manifest_that_is_none_is_refused(whole: Path, raw: bytes) -> None:
    replace(whole, contents(whole) | {MANIFEST: raw})
    with pytest.raises(ConfigError):
        bundle.read(whole)


def test_something_else_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="tdfusion-edge export CHECKPOINT -o BUNDLE"):
        bundle.read(tmp_path / "nothing")
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(BundleError, match=r"is no bundle: expected manifest\.json, got a\.txt"):
        bundle.read(tmp_path)
    with pytest.raises(BundleError, match=r"a\.txt is no readable zip"):
        bundle.read(tmp_path / "a.txt")


def test_a_large_folder_is_not_walked_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_FILES", 5)
    for index in range(7):
        (tmp_path / str(index)).touch()
    with pytest.raises(BundleError, match="too many files: expected at most 5"):
        bundle.read(tmp_path)


# --- hostile bundles -----------------------------------------------------------------------------

BAD_NAMES = [
    "../x",
    "/etc/x",
    "a/../../x",
    "..",
    "a\\..\\x",
    "C:x",
    "./x",
    "a//x",
    "a/",
    "x\0y",
    "",
    MANIFEST,
]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_a_manifest_names_nothing_outside(whole: Path, name: str) -> None:
    content = contents(whole)
    content[MANIFEST] = edited(content[MANIFEST], lambda m: m["sha256"].update({name: "0" * 64}))
    replace(whole, content)
    with pytest.raises(BundleError):
        bundle.read(whole)


@pytest.mark.parametrize("name", BAD_NAMES)
def test_nothing_is_written_outside(tmp_path: Path, kind: str, name: str) -> None:
    place = tmp_path / "deep" / ("edge.zip" if kind == "zip" else "edge")
    with pytest.raises(BundleError):
        bundle.write(place, fields(), FILES | {name: b"x"})
    assert everything_in(tmp_path) == set()


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a\\..\\x"])
def test_a_zip_holds_nothing_that_leads_out(tmp_path: Path, name: str) -> None:
    path = tmp_path / "edge.zip"
    bundle.write(path, fields(), FILES)
    content = contents(path)
    digest = hashlib.sha256(b"x").hexdigest()
    content[MANIFEST] = edited(content[MANIFEST], lambda m: m["sha256"].update({name: digest}))
    replace(path, content | {name: b"x"})
    with pytest.raises(BundleError, match="is no name for a file"):
        bundle.read(path)


@pytest.mark.parametrize("target", ["../secret", "/etc/hostname", "fusion.onnx", "nowhere", "link"])
def test_a_folder_holds_no_links(tmp_path: Path, target: str) -> None:
    (tmp_path / "secret").write_text("x")
    bundle.write(tmp_path / "edge", fields(), FILES)
    (tmp_path / "edge" / "link").symlink_to(target)
    with pytest.raises(BundleError, match="'link' is no plain file"):
        bundle.read(tmp_path / "edge")


def test_a_folder_may_be_reached_through_a_link(tmp_path: Path) -> None:
    bundle.write(tmp_path / "edge", fields(), FILES)
    (tmp_path / "default").symlink_to("edge")
    assert bundle.read(tmp_path / "default").files == FILES


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    bundle.write(tmp_path / "edge", fields(), FILES)
    (tmp_path / "edge" / "MODEL_CARD.md").unlink()
    os.mkfifo(tmp_path / "edge" / "MODEL_CARD.md")
    with pytest.raises(BundleError, match="is no plain file"):
        bundle.read(tmp_path / "edge")


def test_more_than_the_limit_is_refused(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    total = sum(map(len, FILES.values()))
    monkeypatch.setattr(bundle, "MAX_BYTES", total)
    assert bundle.read(whole).files == FILES
    monkeypatch.setattr(bundle, "MAX_BYTES", total - 1)
    with pytest.raises(BundleError, match=f"too large: expected at most {total - 1} bytes"):
        bundle.read(whole)


def test_a_zip_bomb_is_not_unpacked(tmp_path: Path) -> None:
    """40 MiB of zeros in a small file: reading stops at the limit."""
    path = tmp_path / "bomb.zip"
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as opened,
        opened.open(MANIFEST, "w") as stream,
    ):
        for _ in range(40):
            stream.write(bytes(1 << 20))
    with pytest.raises(BundleError, match="too large"):
        archive.read(path, [MANIFEST], limit=8 << 20)


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "liar.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(MANIFEST, bytes(1 << 20))
    raw = path.read_bytes()
    path.write_bytes(raw.replace((1 << 20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    with pytest.raises(BundleError, match="no readable zip: Bad CRC-32"):
        bundle.read(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compression_that_unpacks_without_bound_is_refused(tmp_path: Path, method: int) -> None:
    path = tmp_path / "edge.zip"
    bundle.write(path, fields(), FILES)
    content = contents(path)
    with zipfile.ZipFile(path, "w", method) as opened:
        for name, data in content.items():
            opened.writestr(name, data)
    with pytest.raises(BundleError, match="neither stored nor deflated"):
        bundle.read(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "edge.zip"
    bundle.write(path, fields(), FILES)
    with zipfile.ZipFile(path, "a") as opened:
        opened.writestr("MODEL_CARD.md", b"another")
    with pytest.raises(BundleError, match=r"holds 'MODEL_CARD\.md' twice"):
        bundle.read(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.data())
def test_a_damaged_zip_is_an_error_or_the_same_bundle(tmp_path: Path, data: st.DataObject) -> None:
    """Cut anywhere, or any byte changed: never another exception, never other content."""
    path = tmp_path / "edge.zip"
    bundle.write(path, fields(), FILES)
    raw = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        del raw[place:]
    else:
        raw[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(raw)
    try:
        assert bundle.read(path).files == FILES
    except (BundleError, ConfigError):
        pass
    finally:
        path.unlink()


# --- writing -------------------------------------------------------------------------------------


def test_the_same_content_gives_the_same_zip(tmp_path: Path) -> None:
    bundle.write(tmp_path / "a.zip", fields(), FILES)
    bundle.write(tmp_path / "b.zip", fields(), FILES)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_an_older_bundle_is_replaced_whole(whole: Path) -> None:
    bundle.write(whole, fields(name="newer"), {"fusion.onnx": b"new"})
    opened = bundle.read(whole)
    assert (opened.manifest.name, opened.files) == ("newer", {"fusion.onnx": b"new"})
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]


def test_a_link_to_a_bundle_stays_a_link(tmp_path: Path) -> None:
    bundle.write(tmp_path / "edge", fields(), FILES)
    (tmp_path / "default").symlink_to("edge")
    bundle.write(tmp_path / "default", fields(name="newer"), FILES)
    assert (tmp_path / "default").is_symlink()
    assert bundle.read(tmp_path / "edge").manifest.name == "newer"


@contextmanager
def files_limited_to(size: int) -> Iterator[None]:
    """As on a full disk: the operating system refuses what goes beyond ``size`` bytes in a file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


LARGE = {"fusion.onnx": os.urandom(50_000)}
"""Does not compress, so that the limit strikes a zip as well."""


@pytest.mark.parametrize("before", [True, False], ids=["over an older one", "new"])
def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, kind: str, before: bool) -> None:
    path = tmp_path / ("edge.zip" if kind == "zip" else "edge")
    if before:
        bundle.write(path, fields(), FILES)
    there = everything_in(tmp_path)
    with files_limited_to(20_000), pytest.raises(SinkError, match="cannot be written: File too large"):
        bundle.write(path, fields(name="newer"), LARGE)
    assert everything_in(tmp_path) == there
    if before:
        assert bundle.read(path).files == FILES


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failing_rename_puts_the_older_bundle_back(
    whole: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def refuse(move: Callable[[Path, Path], Path]) -> Callable[[Path, Path], Path]:
        def moving(self: Path, target: Path) -> Path:
            if self.name.endswith(".new"):
                raise error
            return move(self, target)

        return moving

    monkeypatch.setattr(Path, "rename", refuse(Path.rename))
    monkeypatch.setattr(Path, "replace", refuse(Path.replace))
    with pytest.raises((SinkError, KeyboardInterrupt)):
        bundle.write(whole, fields(name="newer"), FILES)
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]
    assert bundle.read(whole).manifest.name == "edge"


BAD_FIELDS: list[dict[str, Any]] = [
    {"metric": {}},
    {"graphs": {"fusion": {"files": {"fp32": "fusion.onnx"}}}},
    {"metrics": {"psnr": float("nan")}},
    {"metrics": {"psnr": float("inf")}},
    {"created": 2026},
    {"graphs": {"fusion": graph(), "other": graph()}},
    {"heads": {"detector": {"kind": "boxes", "network": "n", "classes": ["a"]}}},
    {"heads": {"detector": {"kind": "boxes", "network": "n"}}},
    {"heads": {"detector": {"kind": "boxes", "network": "n", "classes": ["a"], "score_threshold": 1.5}}},
]


@pytest.mark.parametrize("changes", BAD_FIELDS, ids=repr)
def test_what_could_not_be_read_back_is_not_written(
    tmp_path: Path, kind: str, changes: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        bundle.write(tmp_path / ("edge.zip" if kind == "zip" else "edge"), fields(**changes), FILES)
    assert everything_in(tmp_path) == set()


def test_a_graph_needs_its_file_at_writing_too(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="lacks the graph"):
        bundle.write(tmp_path / "edge", fields(), {"other.onnx": b"x"})
    assert everything_in(tmp_path) == set()


def foreign_folder(place: Path) -> None:
    place.mkdir()
    (place / "thesis.txt").write_text("x")


def foreign_zip(place: Path) -> None:
    with zipfile.ZipFile(place, "w") as opened:
        opened.writestr("thesis.txt", "x")


def web_extension(place: Path) -> None:
    """Someone else's folder, which happens to hold a file of that name."""
    place.mkdir()
    (place / MANIFEST).write_text('{"manifest_version": 3, "name": "mine"}')


def zipped_web_extension(place: Path) -> None:
    with zipfile.ZipFile(place, "w") as opened:
        opened.writestr(MANIFEST, '{"manifest_version": 3, "name": "mine"}')


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("edge", web_extension),
        ("edge.zip", zipped_web_extension),
        ("edge", foreign_folder),
        ("edge", lambda place: place.write_text("x")),
        ("edge.zip", foreign_zip),
        ("edge.zip", lambda place: place.write_text("x")),
        ("edge.zip", foreign_folder),
    ],
)
def test_what_is_no_bundle_is_not_replaced(tmp_path: Path, name: str, make: Callable[[Path], object]) -> None:
    place = tmp_path / name
    make(place)
    before = contents(place) if place.is_dir() else place.read_bytes()
    with pytest.raises(RequestError, match="exists and is no bundle"):
        bundle.write(place, fields(), FILES)
    assert (contents(place) if place.is_dir() else place.read_bytes()) == before
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["notes.txt", "more/own.txt", ".hidden"])
def test_a_bundle_with_someone_s_notes_is_not_replaced(whole: Path, name: str) -> None:
    replace(whole, contents(whole) | {name: b"mine"})
    before = contents(whole)
    with pytest.raises(RequestError, match=f"is no bundle(?s:.*)one that also holds '{name}'"):
        bundle.write(whole, fields(name="newer"), FILES)
    assert contents(whole) == before
    assert [path.name for path in whole.parent.iterdir()] == [whole.name]


def test_what_lacks_a_file_of_its_manifest_is_not_replaced(whole: Path) -> None:
    content = contents(whole)
    del content["MODEL_CARD.md"]
    replace(whole, content)
    with pytest.raises(RequestError, match=r"one without 'MODEL_CARD\.md', which its manifest names"):
        bundle.write(whole, fields(name="newer"), FILES)
    assert contents(whole) == content


def test_a_folder_with_a_link_is_not_replaced(tmp_path: Path) -> None:
    bundle.write(tmp_path / "edge", fields(), FILES)
    (tmp_path / "edge" / "link").symlink_to("nowhere")
    with pytest.raises(RequestError, match="'link' is no plain file"):
        bundle.write(tmp_path / "edge", fields(name="newer"), FILES)
    assert (tmp_path / "edge" / "link").is_symlink()


def test_a_changed_bundle_is_replaced(whole: Path) -> None:
    replace(whole, contents(whole) | {"MODEL_CARD.md": b"damaged"})
    bundle.write(whole, fields(name="newer"), FILES)
    assert bundle.read(whole).manifest.name == "newer"


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "edge").mkdir()
    bundle.write(tmp_path / "edge", fields(), FILES)
    assert bundle.read(tmp_path / "edge").files == FILES
