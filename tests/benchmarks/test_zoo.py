"""The zoo: its plots, its tables, and a small run of the whole."""

from __future__ import annotations

import argparse
import itertools
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch")
pytest.importorskip("onnx")

from benchmarks import plot, script
from benchmarks.detector_rows import detector_score
from benchmarks.plot import FRAME, Box, Panel, Point, decades, figure, front, labels, ticks
from benchmarks.schema import Figure, Metadata, ResultFile, Results, Score, read
from benchmarks.zoo.__main__ import BENCHMARK, PICTURE
from benchmarks.zoo.costs import cost_of, with_sizes
from benchmarks.zoo.picture import draw
from benchmarks.zoo.quality import quality_of_folder
from benchmarks.zoo.table import as_markdown, main
from tdfusion_edge import bundle
from tdfusion_edge.errors import RequestError
from tdfusion_edge.runtime.measuring.timing import ratio, timing

ROOT = Path(__file__).parents[2]
SVG = "{http://www.w3.org/2000/svg}"

inside = st.tuples(st.floats(FRAME.left, FRAME.right), st.floats(FRAME.top, FRAME.bottom))
points = st.lists(
    st.builds(Point, st.text("abc_1", min_size=1, max_size=9), st.floats(0.5, 5e4), st.floats(0, 1)),
    min_size=1,
    max_size=12,
)


@given(st.lists(inside, min_size=1, max_size=12), st.data())
def test_no_label_lies_on_a_point_on_another_label_or_outside(
    centres: list[tuple[float, float]], data: st.DataObject
) -> None:
    texts = [data.draw(st.text("abc", min_size=1, max_size=14)) for _ in centres]
    found = labels(centres, texts, centres)
    placed = [box for box in found if box is not None]
    for one, other in itertools.combinations(placed, 2):
        assert not one.meets(other)
    for box in placed:
        assert box.within(FRAME)
        assert not any(box.left < x < box.right and box.top < y < box.bottom for x, y in centres)
    assert found[0] is not None or len(centres) > 1, "a point alone always has its label"


def test_a_label_keeps_off_the_line_where_there_is_room() -> None:
    middle = (FRAME.left + 150, FRAME.top + 150)
    line = [middle, (middle[0] + 150, middle[1])]
    (beside,), (off,) = labels([middle], ["name"]), labels([middle], ["name"], line)
    assert beside is not None
    assert off is not None
    assert beside.meets(Box(middle[0] + 20, middle[1] - 1, middle[0] + 22, middle[1] + 1))
    assert off.right < middle[0]


@given(points)
def test_the_front_is_what_nothing_cheaper_beats(some: list[Point]) -> None:
    best, ours = front(some), [point for point in some if point.ours]
    for point in ours:
        assert any(kept.x <= point.x and kept.y >= point.y for kept in best)
    for kept in best:
        assert not any(other.x <= kept.x and other.y > kept.y for other in ours)
    assert [point.x for point in best] == sorted(point.x for point in best)
    assert front([point._replace(ours=False) for point in some]) == []


@given(st.floats(-10, 10), st.floats(1e-4, 100))
def test_ticks_are_round_and_few(low: float, span: float) -> None:
    found = ticks(low, low + span)
    assert 1 <= len(found) <= 8
    assert all(low - 1e-6 <= value <= low + span + 1e-6 for value in found)
    for value in decades(span, span * 50):
        mantissa = value / 10 ** math.floor(math.log10(value) + 1e-9)
        assert min(abs(mantissa - one) for one in (1, 2, 5)) < 1e-6


@given(points)
def test_a_figure_is_xml_with_a_circle_for_every_point(some: list[Point]) -> None:
    drawn = ET.fromstring(figure([Panel("a < b & c", "x", "y", tuple(some)), Panel("empty", "x", "y", ())]))
    circles = list(drawn.iter(f"{SVG}circle"))
    assert len(circles) == len(some)
    for circle in circles:
        assert FRAME.left <= float(circle.attrib["cx"]) <= FRAME.right
        assert FRAME.top <= float(circle.attrib["cy"]) <= FRAME.bottom
    texts = [text.text for text in drawn.iter(f"{SVG}text")]
    assert "a < b & c" in texts
    assert "empty" not in texts
    assert drawn.attrib["width"] == str(plot.WIDTH)


def results() -> Results:
    """Two members and a peer; the smaller one has no detector of its own, and masks."""
    samples = {
        f"{name}, {threads}": {0: value, 1: value}
        for threads in ("2 threads", "1 thread")
        for name, value in (("edge", 6.0), ("small", 2.0), ("mmdrfuse", 6.5), ("tdfusion", 960.0))
    }
    costs = {"edge": (4978, 389.53), "small": (1200, 25.4), "mmdrfuse": (113, 33.1776)}
    metrics = {"scd": 1.8, "vif": 0.47, "qabf": 0.65, "ssim": 0.69}
    own = {"map50": 0.6, "map50 person": 0.6}
    return Results(
        timings=tuple(timing(name, values) for name, values in samples.items()),
        ratios=(
            ratio(samples, "tdfusion, 2 threads", "small, 2 threads"),
            ratio(samples, "small, 2 threads", "edge, 2 threads"),
        ),
        figures=(
            *(Figure(name=f"{n}: parameters", value=one, unit="weights") for n, (one, _) in costs.items()),
            *(
                Figure(name=f"{n}: multiply-adds", value=two, unit="millions")
                for n, (_, two) in costs.items()
            ),
            Figure(name="small: fusion graph, fp32", value=7.25, unit="kB"),
            Figure(name="small: mIoU", value=0.41, unit="share"),
        ),
        scores=tuple(
            Score(method=name, stretch="none", pairs=60, metrics=metrics | {"qabf": value})
            for name, value in (("edge", 0.65), ("small", 0.64), ("mmdrfuse", 0.57))
        ),
        detectors=(
            detector_score("fine-tuned", "yolox", "edge", ("person",), 60, (), [own]),
            *(
                detector_score("unchanged", "nano", name, ("person",), 60, (), [own])
                for name in ("edge", "small", "mmdrfuse")
            ),
        ),
    )


def result_file(published: ResultFile | None = None) -> ResultFile:
    metadata = (published or read(script.RESULTS / "quality.json")).metadata
    facts = {
        "small: trained by": "strategy distill",
        "small: trained on msrs": "242 pairs, research use | cite",
        "small: command of fusion": "tdfusion-edge train small --data DIR",
    }
    whole = {name: getattr(metadata, name) for name in Metadata.__struct_fields__}
    return ResultFile(metadata=Metadata(**(whole | {"facts": facts, "benchmark": "zoo"})), results=results())


def test_the_tables_hold_every_figure_and_leave_what_was_not_measured_empty() -> None:
    cost, quality, origin = as_markdown(result_file()).split("\n\n")
    assert "| `small` | 1,200 | 25.4 | 2 | 2 | 0.33 | 480 times as long | 7.2 |  |  |" in cost
    assert "| `edge` | 4,978 | 389.5 | 6 | 6 | 1 |  |" in cost
    assert quality.splitlines()[0].endswith("| mAP50, nano | mAP50, the bundle's detector | mIoU |")
    assert "| `small` | 1.800 | 0.470 | 0.640 | 0.690 | 0.600 |  | 0.410 |" in quality
    assert "| `edge` | 1.800 | 0.470 | 0.650 | 0.690 | 0.600 | 0.600 |  |" in quality
    assert r"| `small` | strategy distill | msrs: 242 pairs, research use \| cite | `tdfusion-edge" in origin


def test_the_drawing_shows_who_is_ours_and_what_was_measured() -> None:
    drawn = ET.fromstring(draw(results()))
    groups = list(drawn.iter(f"{SVG}g"))
    titles = [next(group.iter(f"{SVG}text")).text for group in groups]
    assert titles == [
        "Qabf against operations",
        "Qabf against time",
        "mAP50 of nano against operations",
        "mAP50 of the bundle's detector against operations",
    ]
    assert [len(list(group.iter(f"{SVG}circle"))) for group in groups] == [3, 3, 3, 1]
    colours = [circle.attrib["fill"] for circle in groups[0].iter(f"{SVG}circle")]
    assert colours == [plot.OURS, plot.OURS, plot.OTHERS]


def test_the_document_shows_the_published_result(capsys: pytest.CaptureFixture[str]) -> None:
    published = script.RESULTS / "zoo.json"
    result = read(published)
    document = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert [line for line in as_markdown(result).splitlines() if line not in document] == []
    assert PICTURE.read_text(encoding="utf-8") == draw(result.results)
    assert main([str(published)]) == 0
    assert as_markdown(result) in capsys.readouterr().out


def test_two_bundles_of_one_name_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--bundle", "edge", "--bundle", "edge", "--picture", str(tmp_path / "zoo.svg")]
    assert script.main(BENCHMARK, [*options, "--output", str(tmp_path / "zoo.json")]) == 2
    assert "there is a row 'edge' already" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_member_is_counted_timed_and_scored(data: Path, tmp_path: Path) -> None:
    nano = data / "weights" / "yolox_nano" / "yolox_nano.onnx"
    options = ["--data", str(data / "msrs"), "--first", "2", "--peer", "mmdrfuse", "--detector", str(nano)]
    options += ["--size", "64x48", "--rounds", "2", "--slow-every", "2", "--picture", str(tmp_path / "z.svg")]
    path = tmp_path / "zoo.json"
    assert script.main(BENCHMARK, [*options, "--bundle", "edge", "--output", str(path)]) == 0
    whole = read(path).results
    figures = {one.name: one.value for one in whole.figures}
    assert figures["mmdrfuse: parameters"] == 113
    assert figures["mmdrfuse: multiply-adds"] == pytest.approx(64 * 48 * (2 * 9 * 4 + 4 * 9) / 1e6, abs=1e-4)
    assert figures["tdfusion: parameters"] == 59_856
    assert {one.name for one in whole.timings} == {
        f"{name}, {threads}"
        for name in ("edge", "mmdrfuse", "tdfusion")
        for threads in ("2 threads", "1 thread")
    }
    assert {(one.protocol, one.row) for one in whole.detectors} == {
        ("fine-tuned", "edge"),
        ("unchanged", "edge"),
        ("unchanged", "mmdrfuse"),
    }
    raw = bundle.read(bundle.place("edge")).graph("fusion", "fp16")[1]
    assert figures["edge: fusion graph, fp16"] == len(raw) / 1e3
    assert (tmp_path / "z.svg").read_text() == draw(whole)


def test_masks_of_another_bundle_judge_pictures_as_they_are(tmp_path: Path, bands_bundle_path: Path) -> None:
    picture = np.repeat(np.array([10, 120, 240], np.uint8), 16)[None].repeat(48, axis=0)
    for folder, image in (("ir", picture), ("vi", cv2.merge([picture] * 3)), ("masks", picture // 100)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), image)
    (tmp_path / "labels" / "fusion").mkdir(parents=True)
    (tmp_path / "labels" / "fusion" / "a.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    (tmp_path / "names.txt").write_text("a\n")
    asked = argparse.Namespace(
        data=tmp_path, names="names.txt", first=None, detector=[], masks=bands_bundle_path
    )
    figure = quality_of_folder("peer", tmp_path / "vi", asked).figures[-1]
    assert (figure.name, figure.unit) == ("peer: mIoU", "share")
    assert figure.value > 0.9  # but for the edges between the bands
    with pytest.raises(RequestError, match="expected one that gives masks"):
        quality_of_folder(
            "peer", tmp_path / "vi", argparse.Namespace(**vars(asked) | {"masks": bundle.place("edge")})
        )


def test_sizes_come_from_the_same_network_alone(mean_bundle: bundle.Bundle) -> None:
    named = mean_bundle.manifest.name
    member = cost_of(named, mean_bundle)
    assert with_sizes([member._replace(sizes={"fp32": 1})], mean_bundle) == [member]
    other = [member._replace(name="other"), member._replace(graph=b"")]
    with pytest.raises(RequestError, match=f"float32 graph of one of other, {named}, got another graph"):
        with_sizes(other, mean_bundle)
    with pytest.raises(RequestError, match="got none of them"):
        with_sizes(other[:1], mean_bundle)
