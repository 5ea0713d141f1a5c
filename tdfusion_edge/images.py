"""Picture files: which they are, in which order, and reading one of them.

OpenCV decodes; it is imported at use, so that importing this module stays cheap.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.integrity import image_is_cut
from tdfusion_edge.redact import redact

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
"""Which files are pictures, in lower case."""

VIDEO_SUFFIXES = (".mp4", ".mkv", ".avi", ".mov", ".webm", ".m4v")
"""Which files of a data folder are videos, in lower case."""


def list_images(folder: Path) -> list[Path]:
    """The images in ``folder`` itself, in natural order of their stems; hidden files are left out.

    Raises:
        InputMissing: there is none; subfolders that hold some are named.
    """
    return _list_files(folder, IMAGE_SUFFIXES)


def by_stem(folder: Path, suffixes: Sequence[str] = IMAGE_SUFFIXES) -> dict[str, Path]:
    """The files in ``folder`` itself with one of ``suffixes``, by stem, in the order of :func:`list_images`.

    Args:
        folder: Where they are.
        suffixes: What their names may end in, in lower case.

    Raises:
        InputMissing: there is no such folder, or no such file in it.
        RequestError: two files have one stem.
    """
    if not folder.is_dir():
        raise InputMissing(f"there is no folder {folder}")
    found: dict[str, Path] = {}
    for path in _list_files(folder, suffixes):
        if path.stem in found:
            raise RequestError(
                f"{folder} has two files of one stem",
                expected="one",
                got=f"{found[path.stem].name} and {path.name}",
                hint="Which one belongs to the pair cannot be told: move the other away.",
            )
        found[path.stem] = path
    return found


def read_names(path: Path) -> list[str]:
    """The stems in a text file, in its order; white space parts them.

    Raises:
        InputMissing: there is no such file, or no stem in it.
        RequestError: it is no UTF-8 text.
    """
    if not path.is_file():
        raise InputMissing(f"there is no list {path}", expected="a text file with one stem a line")
    try:
        names = path.read_text(encoding="utf-8-sig").split()
    except (UnicodeDecodeError, OSError) as error:
        raise RequestError(f"{path} cannot be read", expected="a text file with one stem a line") from error
    if not names:
        raise InputMissing(f"{path} names no pair", expected="one stem a line", got="an empty list")
    return names


def natural_order(path: Path) -> tuple[Sequence[str | int], str]:
    """Sort key under which ``frame2`` comes before ``frame10``, whatever the suffixes are."""
    parts = re.split(r"(\d+)", path.stem.casefold())
    # The odd parts are the digits: numbers only ever meet numbers when two keys are compared.
    return [int(part) if index % 2 else part for index, part in enumerate(parts)], path.name


def read_image(path: Path, *, grey16_ok: bool = True) -> Image:
    """The picture in a file as it is stored; an alpha channel is dropped.

    Args:
        path: A PNG, JPEG, BMP, WebP or TIFF file; what it is decides its content, not its suffix.
        grey16_ok: False refuses 16-bit images.

    Returns:
        uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR.

    Raises:
        InputMissing: there is no such file.
        SourceError: it cannot be read, is no image, is cut short, has 16-bit colour or another
            pixel type, or 16 bits where ``grey16_ok`` is False.
    """
    image = _decode(path, _bytes_of(path))
    if image.ndim == 3:
        if image.dtype == np.uint8 and image.shape[2] == 4:
            import cv2

            image = cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
        elif image.shape[2] == 1:
            image = image[..., 0]
    grey = image.ndim == 2 and image.dtype in ((np.uint8, np.uint16) if grey16_ok else (np.uint8,))
    if grey or (image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8):
        return image
    channels = 1 if image.ndim == 2 else image.shape[2]
    raise SourceError(
        f"{path} has pixels of a kind that is not taken here",
        expected=f"{'8- or 16-bit' if grey16_ok else '8-bit'} grey or 8-bit colour",
        got=f"{image.dtype} in {channels} channel{'s' * (channels > 1)}",
        hint="Convert it to 8 bits." if channels > 1 else None,
    )


def read_image8(path: Path) -> U8:
    """The picture in a file as it is stored, uint8 (H, W) or (H, W, 3) BGR; an alpha channel is dropped.

    Raises:
        InputMissing: there is no such file.
        RequestError: it has 16 bits, for which only a range fixed in advance gives comparable levels.
        SourceError: it cannot be read, as :func:`read_image` says.
    """
    image = read_image(path)
    if image.dtype != np.uint8:
        raise RequestError(
            f"{path} is a {image.dtype} picture",
            expected="8 bits",
            hint="Convert it with a fixed range first.",
        )
    return image


def read_luma8(path: Path) -> U8:
    """Luma of a picture file, uint8 (H, W); raises as :func:`read_image8`."""
    return luma(read_image8(path))


def _list_files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    def is_wanted(path: Path) -> bool:
        return path.suffix.lower() in suffixes and not path.name.startswith(".") and path.is_file()

    try:
        entries = list(folder.iterdir())
        files = [path for path in entries if is_wanted(path)]
        if files:
            return sorted(files, key=natural_order)
        below = sorted(path.name for path in entries if path.is_dir() and any(map(is_wanted, path.iterdir())))
    except OSError as error:
        raise InputMissing(f"{folder} cannot be read: {error.strerror}") from error
    what = "images or videos" if set(suffixes) & set(VIDEO_SUFFIXES) else "images"
    raise InputMissing(
        f"{folder} holds no {what}",
        expected=f"files that end in {' '.join(suffixes)}",
        got=f"{len(entries)} other entries" if entries else "an empty folder",
        hint=f"{what.capitalize()} are in its subfolders {', '.join(below)}: name one of them."
        if below
        else None,
    )


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputMissing(f"{path} does not exist") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error


def _decode(path: Path, data: bytes) -> Image:
    import cv2

    if not data:
        raise SourceError(f"{path} is empty", expected="an image", got="0 bytes")
    if image_is_cut(data):
        raise SourceError(
            f"{path} is cut short", expected="a whole image", got=f"the first {len(data)} bytes of one"
        )
    try:
        image: Image | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded: {redact(error.err)}") from error
    if image is None:
        raise SourceError(f"{path} is no image, or a damaged one", expected="PNG, JPEG, BMP, WebP or TIFF")
    return image
