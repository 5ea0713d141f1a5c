"""Checkpoints: round trip, refusals, and that a failed write leaves the old one."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest

from tdfusion_edge import checkpoint
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError

HEADER = checkpoint.Header(
    format=checkpoint.FORMAT,
    recipe="r",
    networks={
        "fusion": checkpoint.Network(name="edge", options={"width": 8}),
        "task": checkpoint.Network(name="yolo"),
    },
    task=checkpoint.TaskView(classes=("person", "car"), height=240, width=320),
    strategy="fixed",
    seed=3,
    step=7,
    steps=9,
    training_data=(),
)
WEIGHTS = {
    "fusion.a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "fusion.task.b": np.array(4.5, np.float32),
    "task.a": np.array(7, np.int64),
}


def test_round_trip(tmp_path: Path) -> None:
    checkpoint.write(tmp_path / "runs" / "c.safetensors", WEIGHTS, HEADER)
    header, weights = checkpoint.read(tmp_path / "runs" / "c.safetensors")
    assert header == HEADER
    assert weights.keys() == WEIGHTS.keys()
    for name, array in WEIGHTS.items():
        np.testing.assert_array_equal(weights[name], array)
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["c.safetensors"]


def test_each_role_has_its_own_weights() -> None:
    assert set(checkpoint.of_role(WEIGHTS, "fusion")) == {"a", "task.b"}
    assert checkpoint.of_role(WEIGHTS, "fusion")["a"] is WEIGHTS["fusion.a"]
    assert set(checkpoint.of_role(WEIGHTS, "task")) == {"a"}
    assert checkpoint.of_role(WEIGHTS, "task")["a"] is WEIGHTS["task.a"]
    assert checkpoint.of_role(WEIGHTS, "loss") == {}


def test_weights_are_known_by_their_digest() -> None:
    a, b = np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(3, np.float32)
    digest = checkpoint.weights_sha256({"a": a, "b": b})
    assert digest == checkpoint.weights_sha256({"b": b.copy(), "a": np.asfortranarray(a)})
    others = (
        {"a": a},
        {"a": a, "c": b},
        {"a": a.reshape(3, 2), "b": b},
        {"a": a, "b": b.view(np.int32)},
        {"a": a, "b": b + np.float32(1e-6)},
    )
    assert len({digest, *map(checkpoint.weights_sha256, others)}) == 6


def test_the_users_umask_holds(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        checkpoint.write(tmp_path / "c.safetensors", WEIGHTS, HEADER)
    finally:
        os.umask(before)
    assert (tmp_path / "c.safetensors").stat().st_mode & 0o777 == 0o600


def test_a_failed_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, WEIGHTS, HEADER)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.write(path, {"fusion.a": WEIGHTS["fusion.a"] + 1}, HEADER)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["c.safetensors"]


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(InputMissing, match="tdfusion-edge train"):
        checkpoint.read(tmp_path / "none.safetensors")


def test_a_cut_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c.safetensors"
    checkpoint.write(path, WEIGHTS, HEADER)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(RequestError, match="no whole checkpoint"):
        checkpoint.read(path)


def rewritten(path: Path, metadata: dict[str, str]) -> Path:
    """An empty safetensors file with this metadata, byte by byte as the format says."""
    head = json.dumps({"__metadata__": metadata}).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head)
    return path


def test_foreign_and_newer_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no checkpoint of tdfusion-edge"):
        checkpoint.read(rewritten(tmp_path / "foreign.safetensors", {"format": "pt"}))
    header = {
        "recipe": "r",
        "networks": {"fusion": {"name": "edge"}},
        "strategy": "fixed",
        "seed": 0,
        "step": 1,
        "steps": 1,
        "training_data": [],
    }
    newer = rewritten(tmp_path / "newer.safetensors", {checkpoint.KEY: json.dumps({**header, "format": 99})})
    with pytest.raises(RequestError, match=rf"another format: expected {checkpoint.FORMAT}, got 99"):
        checkpoint.read(newer)
    misspelt = {**header, "format": checkpoint.FORMAT, "sed": 0}
    odd = rewritten(tmp_path / "odd.safetensors", {checkpoint.KEY: json.dumps(misspelt)})
    with pytest.raises(ConfigError, match=r"unknown key 'sed'(?s:.*)'seed'"):
        checkpoint.read(odd)
