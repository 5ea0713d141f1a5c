"""The command lines that a bundle says it was made by."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdfusion_edge import checkpoint
from tdfusion_edge.export.provenance import export_command, portable, training_command
from tdfusion_edge.pairs import Labels

CHANGES = ("seed=3", "task.start=/home/me/a b/last.safetensors", "limits=['x y']")


def header(changes: tuple[str, ...] | None, steps: int = 7) -> checkpoint.Header:
    return checkpoint.Header(
        format=checkpoint.FORMAT,
        recipe="edge_fixed",
        networks={},
        strategy="fixed",
        seed=3,
        step=steps,
        steps=steps,
        settings={"optimiser": {"steps": 7}},
        changes=changes,
        training_data=(),
    )


def test_a_training_is_said_by_its_command_without_folders_of_the_machine() -> None:
    said = training_command(header(CHANGES))
    assert said is not None
    assert said.startswith("tdfusion-edge train edge_fixed --data DIR --set seed=3 --set ")
    assert said.endswith(""" --set 'limits=['"'"'x y'"'"']'""")
    assert "/home" not in said
    assert training_command(header((), steps=5)) == "tdfusion-edge train edge_fixed --data DIR --steps 5"
    assert training_command(header(None)) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a.b=/x/y/z.onnx", "a.b=z.onnx"),
        ('a.b="/x/y/z.onnx"', 'a.b="z.onnx"'),
        ("a.b=~/x/z.onnx", "a.b=z.onnx"),
        ("a.b=runs/x/last.safetensors", "a.b=runs/x/last.safetensors"),
        ("a.b=../x/last.safetensors", "a.b=../x/last.safetensors"),
        ("a=0.5", "a=0.5"),
    ],
)
def test_a_relative_path_stays_and_of_an_absolute_one_the_name(text: str, kept: str) -> None:
    assert portable(text) == kept


def test_an_export_is_said_with_what_was_asked_for(tmp_path: Path) -> None:
    paths = [tmp_path / "runs" / "f" / "last.safetensors", Path("d/best.safetensors")]
    labels = Labels(format="yolo", path="labels", classes=("a", "b"))
    said = export_command(paths, "mine", ("fp16", "fp32"), None, data=tmp_path, names="v.txt", labels=labels)
    assert said == (
        "tdfusion-edge export f/last.safetensors d/best.safetensors -o mine --name mine "
        f"--precision fp32,fp16 --no-onepass --data {tmp_path.name} --names v.txt "
        "--labels yolo:labels --classes a,b"
    )
    assert " --size 320x240" in export_command(paths, "mine", ("fp32",), (320, 240))
