"""Aligned pairs, read once into memory as luma and cut into random crops.

The whole MSRS training part is 150 MB as uint8 luma, so memory is cheaper than decoding each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdfusion_edge.color import luma
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES, read_image
from tdfusion_edge.train.recipe import Augmentation, DataSource

U8: TypeAlias = npt.NDArray[np.uint8]


class LumaPair(NamedTuple):
    """One aligned pair of lumas."""

    name: str
    infrared: U8
    """(H, W) uint8."""
    visible: U8
    """(H, W) uint8, BT.601 luma."""


class Batch(NamedTuple):
    """Crops of several pairs, float32 in [0, 1]."""

    infrared: Tensor
    """(B, 1, H, W)."""
    visible: Tensor
    """(B, 1, H, W)."""


def load_pairs(root: Path, source: DataSource) -> list[LumaPair]:
    """Read every pair of one data source.

    Raises:
        InputMissing: the folder, its ``ir`` or ``vi``, or a pair named in the list is not there.
        RequestError: the two pictures of a pair differ in size, or there is no pair at all.
        SourceError: a picture or video cannot be decoded.
    """
    folder = root / source.folder
    infrared, visible = (_by_stem(folder / part) for part in ("ir", "vi"))
    names = sorted(set(infrared) & set(visible))
    if source.names is not None:
        names = _read_names(folder / source.names)
    lacking = [name for name in names if name not in infrared or name not in visible]
    if lacking:
        raise InputMissing(
            f"{folder} lacks the pair '{lacking[0]}'", expected=f"ir/{lacking[0]}.* and vi/{lacking[0]}.*"
        )
    pairs = [pair for name in names for pair in _read_pair(name, infrared[name], visible[name], source.every)]
    if not pairs:
        raise RequestError(f"{folder} has no pair", expected="files of the same stem in ir/ and vi/")
    return pairs


def random_batches(
    pairs: list[LumaPair], augmentation: Augmentation, batch: int, seed: int
) -> Iterator[Batch]:
    """Endless batches of random crops; the same seed gives the same batches.

    Raises:
        RequestError: a pair is smaller than the crop.
    """
    for pair in pairs:
        if min(pair.infrared.shape) < augmentation.crop:
            height, width = pair.infrared.shape
            raise RequestError(
                f"pair '{pair.name}' is smaller than the crop",
                expected=f"{augmentation.crop}x{augmentation.crop} or more",
                got=f"{width}x{height}",
                hint="Set [augmentation] crop to a smaller number.",
            )
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(pairs))
        for start in range(0, len(order) - batch + 1, batch) or range(1):
            chosen = [pairs[i] for i in np.resize(order[start : start + batch], batch)]
            crops = [_crop(pair, augmentation, random) for pair in chosen]
            infrared, visible = (np.stack(parts)[:, None] for parts in zip(*crops, strict=True))
            yield Batch(torch.from_numpy(infrared), torch.from_numpy(visible))


def to_tensor(image: U8) -> Tensor:
    """(H, W) uint8 to (1, 1, H, W) float32 in [0, 1]."""
    return torch.from_numpy(image).float().div(255)[None, None]


def _crop(
    pair: LumaPair, augmentation: Augmentation, random: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    side = augmentation.crop
    height, width = pair.infrared.shape
    top, left = random.integers(height - side + 1), random.integers(width - side + 1)
    window = np.s_[top : top + side, left : left + side]
    mirrored = augmentation.flip and random.random() < 0.5
    crops: list[npt.NDArray[np.float32]] = []
    for image in (pair.infrared, pair.visible):
        crop = image[window].astype(np.float32) / np.float32(255)
        if augmentation.gain:
            gain, shift = random.uniform(-1, 1, 2) * augmentation.gain
            crop = np.clip(crop * np.float32(1 + gain) + np.float32(shift / 2), 0, 1)
        crops.append(crop[:, ::-1].copy() if mirrored else crop)
    return crops[0], crops[1]


def _by_stem(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputMissing(f"there is no folder {folder}", hint="Name the data folder with --data DIR.")
    return {
        path.stem: path
        for path in folder.iterdir()
        if path.suffix.lower() in (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)
    }


def _read_names(path: Path) -> list[str]:
    if not path.is_file():
        raise InputMissing(f"there is no list {path}", expected="a text file with one stem a line")
    return path.read_text(encoding="utf-8").split()


def _read_pair(name: str, infrared: Path, visible: Path, every: int) -> Iterator[LumaPair]:
    if infrared.suffix.lower() in VIDEO_SUFFIXES:
        frames = zip(_read_video(infrared, every), _read_video(visible, every), strict=False)
        pairs = [LumaPair(f"{name}#{i * every}", ir, vis) for i, (ir, vis) in enumerate(frames)]
    else:
        pairs = [LumaPair(name, _luma8(infrared), _luma8(visible))]
    for pair in pairs:
        if pair.infrared.shape != pair.visible.shape:
            raise RequestError(
                f"pair '{pair.name}' is not aligned",
                expected=str(pair.visible.shape),
                got=str(pair.infrared.shape),
            )
        yield pair


def _luma8(path: Path) -> U8:
    image = luma(read_image(path))
    if image.dtype != np.uint8:
        raise RequestError(
            f"{path} is a {image.dtype} picture",
            expected="8 bits",
            hint="Convert it with a fixed range first.",
        )
    return image


def _read_video(path: Path, every: int) -> Iterator[U8]:
    try:
        with av.open(str(path)) as container:
            for index, frame in enumerate(container.decode(video=0)):
                if index % every == 0:
                    yield luma(frame.to_ndarray(format="bgr24"))
    except av.error.FFmpegError as error:
        raise SourceError(f"{path} cannot be decoded: {error}") from error
