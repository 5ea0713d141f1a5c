"""What a detector finds on the pairs of one fold, kept in a file so that it need not look twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

from benchmarks.training.cross_validation.matches import Matches, joined, load, match, save
from benchmarks.training.cross_validation.recipes import FOLDER
from benchmarks.training.runs import digests
from tdfusion_edge import checkpoint
from tdfusion_edge.color import U8
from tdfusion_edge.config import convert
from tdfusion_edge.console import watched
from tdfusion_edge.detection_scores import THRESHOLD
from tdfusion_edge.detections import Detections
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.export.networks import load_network
from tdfusion_edge.images import by_stem, read_luma8
from tdfusion_edge.pairs import Boxes, LabelledPair, Labels, PairSource, open_pairs
from tdfusion_edge.plain import GREY, OF_ONE, PLAIN
from tdfusion_edge.runtime.heads.boxes.foreign.run import open_detector
from tdfusion_edge.train.fusing import load_fusion
from tdfusion_edge.train.models.task import TaskNetwork
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.validation import detect

FORMAT = 1
"""Of the kept files: another one makes them anew."""
CLASSES = ("person", "bicycle", "car")
LABELS = Labels(format="yolo", path="labels/fusion", classes=CLASSES)

Fuse: TypeAlias = Callable[[LabelledPair], U8]
Find: TypeAlias = Callable[[U8, LabelledPair], Detections]
"""What is found in a picture of a pair, in whose colours it is seen."""


class Picture(NamedTuple):
    """How a row's pictures are made."""

    row: str
    checkpoint: Path | None = None
    """Of a row with a network."""

    @property
    def grey(self) -> bool:
        """Whether it is seen without the visible picture's colours."""
        return self.row in GREY

    def beside(self, pair: LabelledPair, made: U8) -> LabelledPair:
        """The pair as a detector may see it beside the picture that was made of it."""
        pair = pair._replace(colour=None) if self.grey else pair
        return pair._replace(infrared=made) if self.row in OF_ONE else pair


class Look(NamedTuple):
    """One detector on one row's pictures of one fold."""

    name: str
    """Begins the kept file's name."""
    picture: Picture
    detector: Path
    """An ONNX file that is used as it is, or the checkpoint of a task network."""
    names: tuple[str, ...]
    """Stems of the pairs."""


def matches_of(look: Look, data: Path, work: Path) -> Matches:
    """Matches of one fold's pairs, from the file if the same detector has looked at the same pictures.

    Raises:
        InputMissing: a checkpoint, the detector, a picture or a label is not there.
        RequestError: a network is none of this package's, or tells other classes apart.
        EngineError: the detector cannot be run.
    """
    path = work / "scores" / f"{look.name}_{_digest(look, data)[:16]}.npz"
    if path.is_file():
        return load(path)
    pairs = open_pairs(
        data, PairSource(folder=FOLDER, names=look.names, labels=LABELS), CLASSES, colour=True, videos=False
    )
    fuse, find = _fuse(look.picture, data), _find(look.detector)
    parts = []
    for pair in watched(pairs, len(pairs), look.name):
        made = fuse(pair)
        found = find(made, look.picture.beside(pair, made))
        parts.append(match(found, pair.boxes or Boxes.none(), len(CLASSES)))
    matches = joined(parts)
    save(path, matches)
    return matches


def peers_of(data: Path, row: str) -> Path:
    """Folder of a published network's pictures."""
    return data / FOLDER / "peers" / row


def _fuse(picture: Picture, data: Path) -> Fuse:
    if picture.checkpoint is not None:
        return load_fusion(picture.checkpoint)
    if picture.row in PLAIN:
        plain = PLAIN[picture.row]
        return lambda pair: plain(pair.infrared, pair.visible)
    folder = peers_of(data, picture.row)
    pictures = by_stem(folder)

    def from_folder(pair: LabelledPair) -> U8:
        if pair.name not in pictures:
            raise InputMissing(f"{folder} has no picture '{pair.name}'")
        return read_luma8(pictures[pair.name])

    return from_folder


def _find(path: Path) -> Find:
    if path.suffix == ".onnx":
        detector = open_detector(path, CLASSES, threshold=THRESHOLD)
        return lambda luma, pair: detector.find(luma, pair.chroma)
    header, weights = checkpoint.read(path)
    recipe = convert(header.settings, Recipe, name=f"{path} (settings)")
    if recipe.task is None or recipe.task.classes != CLASSES or "task" not in header.networks:
        raise RequestError(f"{path} holds no detector of these classes", expected=", ".join(CLASSES))
    network = load_network(path, header, weights, "task")
    assert isinstance(network, TaskNetwork)  # what that role loads
    task = recipe.task
    return lambda luma, pair: detect(network, luma, pair, task)


def _digest(look: Look, data: Path) -> str:
    """Of everything that the matches follow from, beside the code."""
    inputs = {"detector": look.detector}
    if look.picture.checkpoint is not None:
        inputs["fusion"] = look.picture.checkpoint
    root = data / FOLDER
    folders = [by_stem(root / "ir"), by_stem(root / "vi"), by_stem(root / LABELS.path, (".txt",))]
    if look.picture.checkpoint is None and look.picture.row not in PLAIN:
        folders.append(by_stem(peers_of(data, look.picture.row)))
    whole = hashlib.sha256(json.dumps([FORMAT, look.picture.row, look.names, digests(inputs)]).encode())
    for files in folders:
        for name in look.names:
            whole.update(hashlib.sha256(files[name].read_bytes() if name in files else b"").digest())
    return whole.hexdigest()
