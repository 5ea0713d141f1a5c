"""What a :class:`~tdfusion_edge.runtime.engines.cuda.path.PicturePath` takes, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass

from tdfusion_edge.errors import EngineError
from tdfusion_edge.runtime.engines.cuda.parameters import BGR, GREY, NV12, YUYV

BYTES = {GREY: 1, BGR: 3, NV12: 1, YUYV: 2}
"""Of a pixel; of NV12 those of its lumas."""


@dataclass(frozen=True, slots=True)
class Form:
    """What goes in and what comes out; one path serves one form."""

    size: tuple[int, int]
    """Width and height of the visible picture and of the fused one, pixels."""
    infrared_size: tuple[int, int]
    infrared_bytes: int = 1
    """Of a count: 1 or 2."""
    visible: int = BGR
    """GREY, BGR, NV12 or YUYV."""
    fused: int | None = BGR
    """GREY, BGR or NV12; None: no picture."""
    luma: bool = False
    """Whether the fused luma before the stretch is wanted."""
    aligned: bool = False
    """Whether the infrared that was fused is wanted, as levels at visible's pixels."""
    percentiles: tuple[float, float] | None = None
    """Of infrared counts, 0 to 100, that become 0 and 255; None: they are levels, or :attr:`corrected`."""
    corrected: bool = False
    """Whether gain and offset from counts to levels come with every pair."""
    limited_range: bool = False
    """Of NV12 and YUYV: lumas are 16 to 235, as video has them."""
    inverse: tuple[float, ...] | None = None
    """Homography from visible pixels to infrared ones, row by row; None: they are the same pixels."""

    def __post_init__(self) -> None:
        if self.inverse is None and self.infrared_size != self.size:
            raise EngineError(
                "infrared of another size needs a homography",
                expected=f"{self.size}",
                got=f"{self.infrared_size}",
            )
        if self.visible == YUYV and self.size[0] % 2:
            raise EngineError("YUYV pictures have an even width", got=str(self.size[0]))
        if self.percentiles is not None and self.corrected:
            raise EngineError("infrared has percentiles for its range, or a correction with every pair")
        if self.infrared_bytes == 2 and self.percentiles is None and not self.corrected:
            raise EngineError("16-bit infrared needs percentiles for its range, or a correction")

    def planes(self, kind: int) -> tuple[tuple[int, int], ...]:
        """Rows and bytes a row of a picture's planes."""
        width, height = self.size
        first = (height, width * BYTES[kind])
        return (first, (-(-height // 2), -(-width // 2) * 2)) if kind == NV12 else (first,)


def inputs_of(form: Form) -> dict[str, int]:
    """Bytes of what goes in, by the kernels' names."""
    width, height = form.infrared_size
    sizes = {"infrared": width * height * form.infrared_bytes}
    for name, (rows, columns) in zip(("visible", "chroma"), form.planes(form.visible), strict=False):
        sizes[name] = rows * columns
    return sizes


def outputs_of(form: Form) -> dict[str, int]:
    """Bytes of what comes out."""
    sizes = {"measured": 8}
    if form.fused is not None:
        for name, (rows, columns) in zip(("fused", "fused_chroma"), form.planes(form.fused), strict=False):
            sizes[name] = rows * columns
    if form.luma:
        sizes["luma"] = 4 * form.size[0] * form.size[1]
    if form.aligned:
        sizes["aligned"] = form.size[0] * form.size[1]
    return sizes
