"""Masks: PNG files whose values are the classes of the pixels.

OpenCV decodes; it is imported at use, so that importing this module stays cheap.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import numpy as np

from tdfusion_edge.color import U8
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.images.headers import png_chunks
from tdfusion_edge.images.reading import checked_header
from tdfusion_edge.images.turning import upright
from tdfusion_edge.integrity import PNG_SIGNATURE, image_is_cut
from tdfusion_edge.text import few

_GREY, _PALETTE = 0, 3


def read_mask(path: Path, colours: Sequence[str] = ()) -> U8:
    """The values of a mask, uint8 (H, W), or the numbers of its colours; turned as the file says.

    Without ``colours``, a PNG with a palette gives its indices, not its colours, and one of fewer than 8
    bits its values, not its shades: both are how masks are commonly stored. Three equal channels count as
    one.

    Raises:
        InputMissing: there is no such file.
        RequestError: it is no PNG, has 16 bits, is coloured without a palette, or is grey or has another
            colour where ``colours`` are given.
        SourceError: it is cut short, larger than is taken or cannot be decoded.
    """
    import cv2

    data = _read(path)
    orientation = checked_header(path, data).orientation
    # Length, "IHDR", width, height, then bits and kind of pixel.
    bits, kind = data[24], data[25]
    if bits > 8:
        raise RequestError(f"{path} is no mask", expected="8 bits or fewer", got=f"{bits} bits")
    try:
        raw = np.frombuffer(_as_grey(data) if kind == _PALETTE and not colours else data, np.uint8)
        values = cast("U8 | None", cv2.imdecode(raw, cv2.IMREAD_UNCHANGED))
    except (cv2.error, struct.error) as error:
        raise SourceError(f"{path} cannot be decoded: {error}") from error
    if values is None:
        raise SourceError(f"{path} is damaged", expected="a PNG file")
    values = upright(values, orientation)
    if colours:
        return _by_colour(path, values, colours)
    if values.ndim == 3:
        if not (values[..., :1] == values[..., :3]).all():
            raise RequestError(
                f"{path} is a coloured picture",
                expected="a mask whose values are classes: grey, or with a palette",
                got=f"{values.shape[2]} channels",
                hint='Name the classes\' colours: colours = ["#000000", "#00ff00"].',
            )
        values = values[..., 0]
    # Fewer bits were stretched to 0..255 by the decoder.
    return np.ascontiguousarray(values) if bits == 8 else values // np.uint8(255 // (2**bits - 1))


def _by_colour(path: Path, values: U8, colours: Sequence[str]) -> U8:
    """Every pixel's number among ``colours``.

    Raises:
        RequestError: the picture is grey, or has another colour.
    """
    if values.ndim != 3:
        raise RequestError(f"{path} is a grey mask", expected="the colours of its classes")
    packed = (
        values[..., 0].astype(np.uint32) | values[..., 1] * np.uint32(256) | values[..., 2] * np.uint32(65536)
    )
    numbers = np.full(packed.shape, 255, np.uint8)
    known = np.zeros(packed.shape, bool)
    for number, colour in enumerate(colours):
        same = packed == int(colour[1:], 16)  # OpenCV's blue is the lowest byte of #rrggbb
        numbers[same], known = number, known | same
    if not known.all():
        y, x = np.argwhere(~known)[0]
        raise RequestError(
            f"{path} has a colour without a class",
            expected=few(colours),
            got=f"#{int(packed[y, x]):06x} at ({x}, {y})",
        )
    return numbers


def require_classes(path: Path, values: U8, classes: Sequence[str], ignore: int) -> U8:
    """Values with 255 where a pixel does not count, all others an index into ``classes``.

    A mask of black and white alone is one of two classes, if 255 is not what ``ignore`` says.

    Raises:
        RequestError: a value is neither a class nor ``ignore``.
    """
    found = np.flatnonzero(np.bincount(values.ravel(), minlength=256))
    if len(classes) == 2 and ignore != 255 and set(found.tolist()) <= {0, 255, ignore} and 1 not in found:
        values = np.where(values == 255, np.uint8(1), values)
        found = np.unique(values)
    beyond = [int(value) for value in found if value >= len(classes) and value != ignore]
    if beyond:
        raise RequestError(
            f"{path} has values without a class",
            expected=f"0 to {len(classes) - 1} ({few(classes)}), or {ignore} for what does not count",
            got=", ".join(map(str, beyond[:8])),
        )
    return values if ignore == 255 else np.where(values == ignore, np.uint8(255), values)


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise InputMissing(f"there is no mask {path}") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
    if not data.startswith(PNG_SIGNATURE):
        raise RequestError(
            f"{path} is no PNG file",
            expected="PNG, which changes no value",
            hint="A lossy format invents classes at every edge.",
        )
    if len(data) < 33 or image_is_cut(data):
        raise SourceError(
            f"{path} is cut short", expected="a whole PNG file", got=f"{len(data)} bytes of one"
        )
    return data


def _as_grey(data: bytes) -> bytes:
    """The same PNG with its indices declared as grey values; OpenCV gives colours otherwise."""
    parts = [PNG_SIGNATURE]
    for name, begin, end in png_chunks(data):
        body = data[begin:end]
        if name == b"IHDR":
            body = body[:9] + bytes([_GREY]) + body[10:]
        if name in (b"IHDR", b"IDAT", b"IEND"):
            parts += [struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(name + body))]
    return b"".join(parts)
