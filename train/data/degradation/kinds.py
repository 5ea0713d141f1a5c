"""The degradations of one sensor's picture, each a pure function of a strength and of a random generator.

Source: our own. The kinds are those that rigs have: a cable that came loose (``missing``), a cap or a dead
sensor (``dead``), a driver or a shutter that repeats a picture (``frozen``), a microbolometer at a small
contrast (``noise``, whose stripes are the amplifiers of its columns), a lens (``blur``), a camera's own gain
control (``gain``), parallax (``shift``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal, TypeAlias, cast, get_args

import cv2
import numpy as np
import numpy.typing as npt

from tdfusion_edge.color import U8, luma
from tdfusion_edge.pairs import LabelledPair

Kind: TypeAlias = Literal["missing", "dead", "frozen", "noise", "blur", "gain", "shift"]
Sensor: TypeAlias = Literal["infrared", "visible"]
Change: TypeAlias = Callable[[U8, float, np.random.Generator], U8]
"""A picture, uint8 (H, W) or (H, W, 3), at a strength in 0..1 to one of its shape."""

KINDS: tuple[Kind, ...] = get_args(Kind)
SENSORS: tuple[Sensor, ...] = get_args(Sensor)
GONE: tuple[Kind, ...] = ("missing", "dead", "frozen")
"""Kinds in which the sensor's picture tells nothing about the scene: the other one is all there is."""

NOISE = 25.0
"""Standard deviation of the noise at strength 1, levels of 255."""
STRIPES = 12.0
"""That of the columns' offsets beside it, in infrared alone: a visible sensor's are far below its noise."""
BLUR = 4.0
"""Standard deviation of the blur at strength 1, pixels."""
OCTAVES = 1.0
"""Contrast is multiplied or divided by up to 2 to this power."""
OFFSET = 48.0
"""Brightness is shifted by up to so many levels beside that."""
SHIFT = 8.0
"""Length of the shift at strength 1, pixels: more than twice the median of MSRS between its sensors."""


def degrade(
    pair: LabelledPair,
    kind: Kind,
    sensor: Sensor,
    strength: float,
    random: np.random.Generator,
    other: LabelledPair | None = None,
) -> LabelledPair:
    """A pair of which one sensor is degraded; labels stay, and so do visible colours that it still has.

    Args:
        pair: Two lumas, uint8 (H, W), and colours where they are kept.
        kind: What happens. ``shift`` moves the sensor's picture against the other and against the labels.
        sensor: To which.
        strength: 0 (nothing) to 1; ``missing``, ``dead`` and ``frozen`` know no less and no more.
        random: What decides where a kind leaves something to chance.
        other: The pair of another moment, whose picture ``frozen`` shows.

    Raises:
        ValueError: the strength lies outside, or ``frozen`` without another pair.
    """
    if not 0 <= strength <= 1:
        raise ValueError(f"strength: expected 0 to 1, got {strength:g}")
    if kind == "frozen":
        if other is None:
            raise ValueError("frozen: expected the pair of another moment")
        return _with(pair, sensor, *_frozen(pair, sensor, other))
    colour = pair.colour if sensor == "visible" else None
    if kind in GONE:
        level = 0 if kind == "missing" else _level(random)
        return _with(pair, sensor, np.full_like(pair.infrared, level), None)
    before = getattr(pair, sensor) if colour is None else colour
    after = (
        noised(before, strength, random, stripes=sensor == "infrared")
        if kind == "noise"
        else (CHANGES[kind](before, strength, random))
    )
    return _with(pair, sensor, luma(after), None if colour is None else after)


def alone(pair: LabelledPair, sensor: Sensor) -> LabelledPair:
    """A pair of which ``sensor`` is gone, as it is shown then: the other one in both places.

    What infrared shows has no colours.
    """
    if sensor == "infrared":
        return pair._replace(infrared=pair.visible)
    return pair._replace(visible=pair.infrared, colour=None)


def noised(image: U8, strength: float, random: np.random.Generator, *, stripes: bool) -> U8:
    """With Gaussian noise of each pixel, and with an offset of each column where there are stripes.

    The channels of a colour picture get the same noise: it is one of brightness.
    """
    height, width = image.shape[:2]
    noise = random.standard_normal((height, width), dtype=np.float32) * np.float32(NOISE * strength)
    if stripes:
        noise += random.standard_normal(width, dtype=np.float32) * np.float32(STRIPES * strength)
    return _rounded(image + (noise if image.ndim == 2 else noise[..., None]))


def blurred(image: U8, strength: float, random: np.random.Generator) -> U8:
    """Out of focus, by a Gaussian."""
    del random
    return cast(U8, cv2.GaussianBlur(image, (0, 0), BLUR * strength)) if strength > 0 else image


def regained(image: U8, strength: float, random: np.random.Generator) -> U8:
    """Behind a jump of a camera's own gain: contrast and brightness changed, up or down by chance."""
    gain, offset = random.choice((-1.0, 1.0), 2) * strength
    middle = float(image.mean())
    return _rounded((image.astype(np.float32) - middle) * 2 ** (OCTAVES * gain) + middle + OFFSET * offset)


def shifted(image: U8, strength: float, random: np.random.Generator) -> U8:
    """Moved by ``SHIFT * strength`` pixels in any direction, between pixels too; its border is drawn out."""
    angle, length = random.uniform(0, 2 * np.pi), SHIFT * strength
    move = np.array([[1, 0, length * np.cos(angle)], [0, 1, length * np.sin(angle)]])
    height, width = image.shape[:2]
    return cast(U8, cv2.warpAffine(image, move, (width, height), borderMode=cv2.BORDER_REPLICATE))


CHANGES: Mapping[str, Change] = MappingProxyType({"blur": blurred, "gain": regained, "shift": shifted})
"""Those that are the same for both sensors, by kind."""


def _level(random: np.random.Generator) -> int:
    """Level of a dead sensor: black half of the time, as behind a cap; any other else."""
    return 0 if random.random() < 0.5 else int(random.integers(256))


def _frozen(pair: LabelledPair, sensor: Sensor, other: LabelledPair) -> tuple[U8, U8 | None]:
    """Luma and colours of the other moment, at this pair's size."""
    height, width = pair.infrared.shape
    colour = other.colour if sensor == "visible" and pair.colour is not None else None
    image = getattr(other, sensor) if colour is None else colour
    if image.shape[:2] != (height, width):
        image = cast(U8, cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
    return luma(image), None if colour is None else image


def _with(pair: LabelledPair, sensor: Sensor, image: U8, colour: U8 | None) -> LabelledPair:
    if sensor == "infrared":
        return pair._replace(infrared=image)
    return pair._replace(visible=image, colour=colour)


def _rounded(image: npt.NDArray[np.float32]) -> U8:
    return cast(U8, np.clip(np.rint(image), 0, 255).astype(np.uint8))
