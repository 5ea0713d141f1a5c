"""Opened sets: what is read when, in which colours, and what a command line may say of labels."""

from __future__ import annotations

import argparse
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from tdfusion_edge.errors import ConfigError, InputMissing, RequestError, SourceError
from tdfusion_edge.pairs import Labels, PairSource, open_pairs
from tdfusion_edge.pairs.reader import pair_names
from tdfusion_edge.pairs.source import add_label_arguments, labels_of

HEIGHT, WIDTH = 48, 64


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A pair in colour, one whose visible picture is stored in three equal channels, and a grey one."""
    random = np.random.default_rng(0)
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        for name in ("colour", "equal", "grey"):
            picture = random.integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)
            if name == "colour" and side == "vi":
                picture = random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
            elif name == "equal":
                picture = cv2.merge([picture] * 3)
            cv2.imwrite(str(tmp_path / side / f"{name}.png"), picture)
    return tmp_path


def test_colour_is_kept_where_it_is_asked_for_and_there(folder: Path) -> None:
    plain, kept = (
        {pair.name: pair for pair in open_pairs(folder, PairSource(), colour=c)} for c in (False, True)
    )
    assert {name: pair.colour for name, pair in plain.items()} == dict.fromkeys(("colour", "equal", "grey"))
    stored = cv2.imread(str(folder / "vi" / "colour.png"))
    assert np.array_equal(kept["colour"].colour, stored)
    assert kept["equal"].colour is kept["grey"].colour is None
    for name, pair in plain.items():
        assert pair.infrared.ndim == pair.visible.ndim == 2
        assert np.array_equal(pair.visible, kept[name].visible)
    # BT.601, by its formula.
    wanted = stored @ np.array([0.114, 0.587, 0.299])
    assert abs(plain["colour"].visible - wanted).max() <= 0.51


def test_the_frames_of_a_video_have_colours_too(tmp_path: Path) -> None:
    for side in ("ir", "vi"):
        (tmp_path / side).mkdir()
        with av.open(str(tmp_path / side / "film.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=30)
            stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "bgr0"
            for level in (10, 90):
                picture = np.full((HEIGHT, WIDTH, 3), (level, 20, 40), np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
            container.mux(stream.encode(None))
    pairs = open_pairs(tmp_path, PairSource(), colour=True)
    assert pairs.names == ["film#0", "film#1"]
    assert [int(pair.colour[0, 0, 0]) for pair in pairs if pair.colour is not None] == [10, 90]
    assert open_pairs(tmp_path, PairSource())[1].colour is None


def test_a_picture_is_read_each_time_and_what_is_wrong_is_said_as_it_is(folder: Path) -> None:
    pairs = open_pairs(folder, PairSource(names=("grey", "equal")))
    assert pairs.names == ["grey", "equal"]
    assert pairs[-1].name == "equal"
    cv2.imwrite(str(folder / "vi" / "grey.png"), np.zeros((HEIGHT, 60), np.uint8))
    with pytest.raises(RequestError, match="pair 'grey': the infrared picture has another size"):
        pairs[0]
    cv2.imwrite(str(folder / "vi" / "grey.png"), np.zeros((HEIGHT, WIDTH), np.uint16))
    with pytest.raises(RequestError, match=r"grey\.png is a uint16 picture: expected 8 bits"):
        pairs[0]
    (folder / "vi" / "grey.png").write_bytes(b"no picture")
    with pytest.raises(SourceError, match="is no image"):
        pairs[0]
    assert [pair.name for pair in pairs[1:]] == ["equal"]


def test_several_threads_read_at_once(folder: Path) -> None:
    pairs = open_pairs(folder, PairSource(), colour=True)
    wanted = np.random.default_rng(0).integers(0, 3, 60).tolist()
    with ThreadPoolExecutor(4) as pool:
        assert [pair.name for pair in pool.map(pairs.__getitem__, wanted)] == [pairs.names[k] for k in wanted]


def test_labels_are_checked_before_any_picture_is_read(folder: Path) -> None:
    (folder / "boxes").mkdir()
    for name in ("colour", "equal", "grey"):
        (folder / "boxes" / f"{name}.txt").write_text("0 0.5 0.5 0.5 0.5\n")
        (folder / "vi" / f"{name}.png").write_bytes(b"no picture")
    source = PairSource(labels=Labels(format="yolo", path="boxes", classes=("dog", "cat")))
    with pytest.raises(
        RequestError, match="have no class of the bundle's detector: expected car, got dog, cat"
    ):
        open_pairs(folder, source, ("car",), whose="the bundle's detector")
    opened = open_pairs(folder, source, ("car", "CAT"))
    assert opened.labels is not None
    assert opened.labels.note() is not None
    assert "left out dog, which the task (car, CAT) does not know; not scored car, for" in str(
        opened.labels.note(scored=True)
    )
    with pytest.raises(RequestError, match=r"no object of the task in 3 pairs: expected labels of car, CAT"):
        opened.labels.require_some()
    (folder / "boxes" / "grey.txt").write_text("7 0.5 0.5 0.5 0.5\n")
    with pytest.raises(RequestError, match=r"grey\.txt has a class without a name: expected 0 to 1"):
        open_pairs(folder, source, ("cat",))


def test_masks_in_which_nothing_counts_are_refused_where_they_are_to_be_scored(folder: Path) -> None:
    (folder / "masks").mkdir()
    for name in ("colour", "equal", "grey"):
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), np.full((HEIGHT, WIDTH), 255, np.uint8))
    source = PairSource(labels=Labels(format="mask", path="masks", classes=("soil", "weed")))
    opened = open_pairs(folder, source, ("soil", "weed"))
    assert opened.labels is not None
    with pytest.raises(RequestError, match="no pixel of the task in 3 pairs"):
        opened.labels.require_some()
    cv2.imwrite(str(folder / "masks" / "grey.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    opened.labels.require_some()


def test_names_are_those_of_the_pairs_before_any_are_left_out(folder: Path) -> None:
    assert pair_names(folder, PairSource(every=2)) == ["colour", "equal", "grey"]
    with pytest.raises(InputMissing, match=r"lacks the pair 'x': .* got 2 pairs lacking: x, y"):
        pair_names(folder, PairSource(names=("x", "grey", "y")))
    with pytest.raises(InputMissing, match=r"there is no folder .*nowhere"):
        open_pairs(folder, PairSource(folder="nowhere"))


def said(*arguments: str) -> Labels | None:
    parser = argparse.ArgumentParser()
    add_label_arguments(parser)
    return labels_of(parser.parse_args(arguments))


def test_a_command_line_names_labels_of_every_format() -> None:
    assert said() is None
    assert said("--labels", "coco:sub/all.json") == Labels(format="coco", path="sub/all.json")
    assert said("--labels", "voc:a:b") == Labels(format="voc", path="a:b")
    yolo = said("--labels", "yolo:boxes", "--classes", "person, car")
    assert yolo == Labels(format="yolo", path="boxes", classes=("person", "car"))
    assert (str(yolo), yolo and yolo.kind) == ("yolo:boxes", "boxes")
    mask = said("--labels", "mask:m", "--classes", "a,b", "--colours", "#000000,#ff00ff", "--ignore", "9")
    assert mask is not None
    assert (mask.kind, mask.colours, mask.ignore) == ("mask", ("#000000", "#ff00ff"), 9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--labels", "boxes"), "--labels boxes: expected FORMAT:PATH"),
        (("--labels", "yolo:"), "expected FORMAT:PATH"),
        (("--labels", "pascal:boxes"), "expected FORMAT:PATH"),
        (("--classes", "car"), "--classes car: expected --labels as well"),
        (("--labels", "voc:boxes", "--colours", "#000000"), "--colours: expected --labels mask:FOLDER"),
        (("--labels", "mask:m", "--ignore", "256"), "<= 255"),
        (("--labels", "mask:m", "--colours", "red"), "colours"),
    ],
)
def test_a_command_line_that_names_none_is_refused(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        said(*arguments)
