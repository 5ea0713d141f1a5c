"""Reading picture files.

OpenCV decodes; it is imported at use, so that importing this module stays cheap.
"""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tdfusion_edge.color import U8, is_grey, luma
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.frames import Image
from tdfusion_edge.images import tiff
from tdfusion_edge.images.headers import Header, header_of
from tdfusion_edge.images.turning import upright
from tdfusion_edge.integrity import image_is_cut, padded
from tdfusion_edge.redact import redact

MOST_PIXELS = 100_000_000
"""Pixels of a picture that is decoded. A file of some kilobytes may claim a hundred times as many."""

MOST_SCANS = 500
"""Passes of a JPEG; each takes as long as a whole picture, and a kilobyte may ask for a hundred."""

TAKEN = "PNG, JPEG, BMP, WebP or TIFF"


class PictureFile:
    """A file of pictures, read whole and decoded when one is asked for.

    Args:
        path: A PNG, JPEG, BMP, WebP or TIFF file; what it is decides its content, not its suffix.

    Raises:
        InputMissing: there is no such file.
        SourceError: it cannot be read, is no image, is cut short, or is larger than is taken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        data = padded(_bytes_of(path))
        self.header = checked_header(path, data)
        self._data: bytes | bytearray = data

    def __len__(self) -> int:
        """Pictures that :meth:`picture` gives: the pages of a TIFF file, one of every other."""
        return max(1, len(self.header.pages))

    def picture(self, number: int = 0, *, grey16_ok: bool = True) -> Image:
        """One picture as every viewer shows it: turned as the file says, and without its alpha channel.

        Where a TIFF file says that white is zero, its values are counted from the other end: bright is high
        in all that is given.

        Args:
            number: From 0.
            grey16_ok: False refuses 16-bit images.

        Returns:
            uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR. Three equal channels of 16 bits are one.

        Raises:
            SourceError: it cannot be decoded, has 16-bit colour or another pixel type, or 16 bits where
                ``grey16_ok`` is False.
        """
        page = self.header.pages[number] if self.header.pages else None
        if page is None:
            image = upright(decode(self.path, self._data), self.header.orientation)
        else:
            image = self._page(page)
        if image.ndim == 3:
            image = _without_alpha(image)
        grey = image.ndim == 2 and image.dtype in ((np.uint8, np.uint16) if grey16_ok else (np.uint8,))
        if grey or (image.ndim == 3 and image.shape[2] == 3 and image.dtype == np.uint8):
            return image
        raise self._refusal(str(image.dtype), 1 if image.ndim == 2 else image.shape[2], grey16_ok)

    def _page(self, page: tiff.Page) -> Image:
        bits, samples = page.value(tiff.BITS, 1), page.value(tiff.SAMPLES, 1)
        if samples == 2 and bits > 8:  # which the decoder would cut to 8 bits
            raise self._refusal(f"uint{bits}", samples)
        if page.signed:
            raise self._refusal(f"int{bits}", samples)
        for at, written in page.plain(self._data):
            if isinstance(self._data, bytes):
                self._data = bytearray(self._data)  # once: a recording may have thousands of pages
            self._data[at : at + len(written)] = written
        image = upright(decode(self.path, self._data), page.orientation)
        if page.white_is_zero and image.dtype in (np.uint8, np.uint16):
            image = np.bitwise_not(image)
        return image

    def _refusal(self, got: str, channels: int, grey16_ok: bool = True) -> SourceError:
        return SourceError(
            f"{self.path} has pixels of a kind that is not taken here",
            expected=f"{'8- or 16-bit' if grey16_ok else '8-bit'} grey or 8-bit colour",
            got=f"{got} in {channels} channel{'s' * (channels > 1)}",
            hint="Convert it to 8 bits." if channels > 1 else None,
        )


def read_image(path: Path, *, grey16_ok: bool = True) -> Image:
    """The picture in a file, the first of several; see :meth:`PictureFile.picture`.

    Args:
        path: A PNG, JPEG, BMP, WebP or TIFF file; what it is decides its content, not its suffix.
        grey16_ok: False refuses 16-bit images.

    Returns:
        uint8 or uint16 (H, W), or uint8 (H, W, 3) BGR.

    Raises:
        InputMissing: there is no such file.
        SourceError: it cannot be read, is no image, is cut short, is larger than is taken, has 16-bit
            colour or another pixel type, or 16 bits where ``grey16_ok`` is False.
    """
    return PictureFile(path).picture(grey16_ok=grey16_ok)


def read_image8(path: Path, read: Callable[[Path], Image] = read_image) -> U8:
    """The picture in a file, uint8 (H, W) or (H, W, 3) BGR, as :func:`read_image` gives it.

    Args:
        path: As there.
        read: What reads it: that function, or one that has something to say besides.

    Raises:
        InputMissing: there is no such file.
        RequestError: it has 16 bits, for which only a range fixed in advance gives comparable levels.
        SourceError: it cannot be read, as :func:`read_image` says.
    """
    image = read(path)
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


def checked_header(path: Path, data: bytes) -> Header:
    """What a file says of its picture, once it is known to be whole and of a size that can be decoded.

    Args:
        path: For messages.
        data: All of the file.

    Raises:
        SourceError: it is empty, no image, cut short, or larger than is taken.
    """
    if not data:
        raise SourceError(f"{path} is empty", expected="an image", got="0 bytes")
    if image_is_cut(data):
        raise SourceError(
            f"{path} is cut short", expected="a whole image", got=f"the first {len(data)} bytes of one"
        )
    try:
        header = header_of(data)
    except SourceError as error:
        raise SourceError(f"{path}: {error.what}", expected=error.expected) from error
    if header is None:
        raise SourceError(f"{path} is no image, or a damaged one", expected=TAKEN)
    if header.width * header.height > MOST_PIXELS:
        raise SourceError(
            f"{path} is larger than is taken",
            expected=f"{MOST_PIXELS:,} pixels or fewer",
            got=f"{header.width}x{header.height}",
        )
    if header.scans > MOST_SCANS:
        raise SourceError(
            f"{path} takes too long to decode",
            expected=f"{MOST_SCANS} scans of a JPEG or fewer",
            got=f"{header.scans:,}",
        )
    if not (header.pictures or header.width):
        raise SourceError(f"{path} is cut short or damaged", expected="a whole image", got="no page")
    if not header.pictures:
        raise SourceError(f"{path} holds no picture but reduced ones", expected="a page in full size")
    return header


def decode(path: Path, data: bytes | bytearray) -> Image:
    """What OpenCV makes of a file's bytes, as they are stored.

    Raises:
        SourceError: it cannot be decoded.
    """
    import cv2

    try:
        image: Image | None = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise SourceError(f"{path} cannot be decoded: {redact(error.err)}") from error
    if image is None:
        raise SourceError(f"{path} is no image, or a damaged one", expected=TAKEN)
    return image


def _without_alpha(image: Image) -> Image:
    """(H, W) of one channel, or of 16 bits in three equal ones; without the fourth of four."""
    channels = image.shape[2]
    if channels == 1:
        return image[..., 0]
    if channels == 4 and image.dtype == np.uint8:
        import cv2

        return cv2.cvtColor(image, cv2.COLOR_BGRA2BGR)
    if channels in (3, 4) and image.dtype == np.uint16 and is_grey(image[..., :3]):
        return np.ascontiguousarray(image[..., 0])
    return image


def _bytes_of(path: Path) -> bytes:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe is waited for, and some devices have no end
            raise SourceError(f"{path} is no file", expected="an image")
        return path.read_bytes()
    except FileNotFoundError as error:
        raise InputMissing(f"{path} does not exist") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}") from error
