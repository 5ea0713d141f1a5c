"""Bundles made to do harm: each is refused at once, in little memory, and says why."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hostile_graphs import TAILS, write_bundle

from tdfusion_edge import archive, bundle
from tdfusion_edge.errors import BundleError, ConfigError, EngineError, InputMissing
from tdfusion_edge.runtime.commands import checkup
from tdfusion_edge.runtime.fuser import Fuser

MIB = 1 << 20


def manifest_bomb(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("manifest.json", "w") as file:
        for _ in range(256):
            file.write(b" " * MIB)


def graph_bomb(path: Path) -> None:
    """A manifest that names it, so that only its size speaks against it."""
    write_bundle(path.with_name("good"), "whole")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.write(path.with_name("good") / "manifest.json", "manifest.json")
        with made.open("fusion.onnx", "w") as file:
            for _ in range(256):
                file.write(bytes(MIB))


def many_entries(path: Path) -> None:
    """A list of 200,000 names; the files are not there."""
    entry = struct.pack("<4s4B4HL2L5H2L", b"PK\1\2", 20, 3, 20, 0, 0, 0, 0, 33, 0, 0, 0, 8, 0, 0, 0, 0, 0, 0)
    names = b"".join(entry + b"%08d" % number for number in range(200_000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(names), 0, 0)
    path.write_bytes(names + end)


def some_more_entries(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as made:
        for number in range(archive.MAX_FILES + 1):
            made.writestr(f"{number}", b"")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (manifest_bomb, "is too large: expected at most 1048576 bytes"),
        (graph_bomb, "is too large"),
        (many_entries, "its list of files is longer than 1048576 bytes"),
        (some_more_entries, "holds too many files"),
    ],
    ids=lambda part: getattr(part, "__name__", ""),
)
def test_a_zip_is_not_unpacked_beyond_measure(
    tmp_path: Path, make: Callable[[Path], None], says: str
) -> None:
    make(tmp_path / "x.zip")
    tracemalloc.start()
    try:
        with pytest.raises(BundleError, match=says):
            bundle.read(tmp_path / "x.zip")
        assert tracemalloc.get_traced_memory()[1] < 3 * archive.ALWAYS_BYTES
    finally:
        tracemalloc.stop()


def test_a_zip_of_folders_alone_is_not_walked_either(tmp_path: Path) -> None:
    for number in range(archive.MAX_FILES + 1):
        (tmp_path / "x" / str(number)).mkdir(parents=True)
    with pytest.raises(BundleError, match="holds too many files"):
        bundle.read(tmp_path / "x")


def test_weights_that_shrink_much_are_read(tmp_path: Path) -> None:
    """Of 30 MiB of zeros a zip keeps 30 kB."""
    path = tmp_path / "x.zip"
    write_bundle(tmp_path / "good", "whole")
    manifest = {
        name: getattr(bundle.read(tmp_path / "good").manifest, name)
        for name in ("name", "network", "strategy", "created", "graphs")
    }
    files = {"fusion.onnx": b"x", "weights.bin": bytes(30 * MIB)}
    bundle.write(path, manifest, files)
    assert path.stat().st_size < 100_000
    assert bundle.read(path).files == files


@pytest.mark.parametrize("kind", ["pipe", "/dev/zero"])
def test_what_is_neither_folder_nor_file_is_not_waited_for(tmp_path: Path, kind: str) -> None:
    path = Path(kind)
    if kind == "pipe":
        path = tmp_path / "pipe.zip"
        os.mkfifo(path)
    done = subprocess.run(
        [sys.executable, "-m", "tdfusion_edge", "verify", str(path)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {path} is no bundle: expected a folder or a .zip")


def test_a_misspelt_name_hints_at_the_near_one(tmp_path: Path) -> None:
    write_bundle(tmp_path / "street", "whole")
    for path, near in ((Path("egde"), "'edge'"), (tmp_path / "sreet", f"'{tmp_path / 'street'}'")):
        with pytest.raises(InputMissing, match=f"Did you mean {near}"):
            bundle.read(path)
    for path in (Path("zzz"), tmp_path / "no" / "street"):
        with pytest.raises(InputMissing, match="tdfusion-edge export"):
            bundle.read(path)


# --- graphs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", TAILS)
def test_what_a_fusion_graph_gives_is_a_picture_or_an_error_that_names_it(tmp_path: Path, wrong: str) -> None:
    picture = np.full((48, 64), 100, np.uint8)
    with Fuser(write_bundle(tmp_path / "x", wrong), threads=1) as fuse:
        if wrong == "whole":
            assert fuse(picture, picture).picture.shape == (48, 64)
            return
        for give in (fuse, fuse.look):
            with pytest.raises(EngineError, match="the fusion graph's output cannot be used"):
                give(picture, picture)


@pytest.mark.parametrize("size", [0, -5, 1 << 17])
def test_a_minimum_that_no_picture_has_is_refused(tmp_path: Path, size: int) -> None:
    write_bundle(tmp_path / "x", "whole")
    path = tmp_path / "x" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"minimum_size": 32', b'"minimum_size": %d' % size))
    with pytest.raises(ConfigError, match="minimum_size"):
        bundle.read(tmp_path / "x")


def test_doctor_tries_no_picture_that_takes_all_memory(tmp_path: Path) -> None:
    write_bundle(tmp_path / "x", "whole")
    path = tmp_path / "x" / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"minimum_size": 32', b'"minimum_size": 60000'))
    row = checkup.network(tmp_path / "x")
    assert (row.status, row.found) == ("broken", "its network takes no pictures below 60000x60000")
