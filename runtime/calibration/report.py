"""What a calibration found, for people and for programs."""

from __future__ import annotations

from msgspec import field

from tdfusion_edge.config import Table
from tdfusion_edge.runtime import rig
from tdfusion_edge.runtime.calibration.fit import Errors
from tdfusion_edge.runtime.calibration.points import Pointed
from tdfusion_edge.runtime.calibration.targetless import Targetless
from tdfusion_edge.runtime.calibration.views import Patterned


class Block(Table, frozen=True, kw_only=True):
    """One block of the residual map, in visible pixels."""

    x: float
    y: float
    dx: float
    dy: float
    """How far visible's match lies from where the homography puts the block."""
    score: float
    """Correlation there, -1 to 1."""


class Report(Table, frozen=True, kw_only=True):
    """A whole calibration."""

    method: str
    """``pattern``, ``edges``, ``matches``, ``points`` or ``time``."""
    pairs: int
    """Pairs of pictures that it rests on, views of a pattern, or points."""
    unreadable: int = 0
    """Pairs of picture files that were left out, for one of the two cannot be read."""
    registration: rig.Registration | None = None
    points: int | None = None
    """Points, or blocks, that count."""
    rms_px: float | None = None
    median_px: float | None = None
    maximum_px: float | None = None
    """Reprojection errors of these, visible pixels."""
    held_out_rms_px: float | None = None
    held_out_median_px: float | None = None
    """Of each view of a pattern by the others."""
    repeatability_px: float | None = None
    """Of edges: median distance between what two halves of the pairs give."""
    agreeing: float | None = None
    """Of edges: share of the blocks that agree. Of matches and points: of those given."""
    coverage: float | None = None
    """Share of infrared's view, in 24 cells, that points were in."""
    residuals_px: tuple[float, ...] = ()
    """Of points by hand: how far each is off, in their order, visible pixels."""
    blocks: tuple[Block, ...] = ()
    """Of edges: the residual map."""
    offset_ms: float | None = None
    """Of time: what the infrared camera's ``offset_ms`` is now."""
    offset_error_ms: float | None = None
    remarks: tuple[str, ...] = field(default=())
    """What a user should know, a line each."""


def of_pattern(found: Patterned, registration: rig.Registration) -> Report:
    """Of views of a pattern."""
    remarks = []
    if found.coverage < 0.5:
        remarks.append(
            f"the views cover {found.coverage:.0%} of infrared's view: beyond them it is a guess; "
            "hold the pattern near the corners too"
        )
    if found.held_out.rms > 2 * max(found.errors.rms, 0.25):
        remarks.append("each view fits worse by the others than by itself: take more views, at one distance")
    return _with(
        Report(
            method="pattern",
            pairs=found.views,
            registration=registration,
            held_out_rms_px=_px(found.held_out.rms),
            held_out_median_px=_px(found.held_out.median),
            coverage=round(found.coverage, 3),
        ),
        found.errors,
        remarks,
    )


def of_edges(found: Targetless, registration: rig.Registration) -> Report:
    """Of pairs without a pattern."""
    blocks = found.blocks
    residuals = tuple(
        Block(x=_px(x), y=_px(y), dx=_px(dx), dy=_px(dy), score=round(float(score), 3))
        for (x, y), (dx, dy), score in zip(blocks.places, blocks.shifts, blocks.scores, strict=True)
    )
    remarks = []
    width = registration.visible_size[0]
    if found.errors.median > width / 640:
        remarks.append(
            f"a median of {found.errors.median:.1f} px is left: lenses that differ, or a scene of "
            "several distances; one homography cannot do better"
        )
    if found.pairs < 4:
        remarks.append("few pairs: ten or more of different scenes say more")
    return _with(
        Report(
            method="edges",
            pairs=found.pairs,
            registration=registration,
            repeatability_px=_px(found.repeatability),
            agreeing=round(found.agreeing, 3),
            blocks=residuals,
        ),
        found.errors,
        remarks,
    )


def of_points(method: str, found: Pointed, registration: rig.Registration) -> Report:
    """Of points that somebody else found."""
    remarks = []
    if found.errors.points == 4:
        remarks.append("four points fit any homography: no error can be told; take eight or more")
    elif found.coverage < 0.3:
        remarks.append(
            f"the points cover {found.coverage:.0%} of infrared's view: take some near the corners"
        )
    return _with(
        Report(
            method=method,
            pairs=found.given,
            registration=registration,
            agreeing=round(found.errors.points / found.given, 3),
            coverage=round(found.coverage, 3),
            residuals_px=tuple(_px(length) for length in found.lengths) if method == "points" else (),
        ),
        found.errors,
        remarks,
    )


def as_text(report: Report) -> str:
    """A few lines for people."""
    lines = []
    units = {"pattern": "views", "edges": "pairs", "time": "frames"}.get(report.method, "points")
    if report.rms_px is not None:
        lines.append(
            f"{report.pairs} {units}, {report.points} {'blocks' if report.method == 'edges' else 'points'} "
            f"that agree: error {report.rms_px:.2f} px RMS, {report.median_px:.2f} median, "
            f"{report.maximum_px:.2f} at most"
        )
    if report.held_out_rms_px is not None:
        lines.append(
            f"views left out: {report.held_out_rms_px:.2f} px RMS, {report.held_out_median_px:.2f} median"
        )
    if report.repeatability_px is not None and report.agreeing is not None:
        lines.append(
            f"two halves of the pairs differ by {report.repeatability_px:.2f} px; "
            f"{report.agreeing:.0%} of the blocks agree"
        )
    if report.coverage is not None:
        lines.append(f"covered: {report.coverage:.0%} of infrared's view")
    if report.offset_ms is not None:
        lines.append(
            f"offset_ms of infrared: {report.offset_ms:+.1f}, standard error {report.offset_error_ms:.1f} ms"
        )
    if report.unreadable:
        pairs = "pair of pictures is" if report.unreadable == 1 else "pairs of pictures are"
        lines.append(f"{report.unreadable} {pairs} left out: one of the two cannot be read")
    return "\n".join([*lines, *(f"note: {remark}" for remark in report.remarks)])


def _with(report: Report, errors: Errors, remarks: list[str]) -> Report:
    from msgspec.structs import replace

    return replace(
        report,
        points=errors.points,
        rms_px=_px(errors.rms),
        median_px=_px(errors.median),
        maximum_px=_px(errors.maximum),
        remarks=tuple(remarks),
    )


def _px(value: float) -> float:
    return round(float(value), 3)
