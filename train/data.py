"""Aligned pairs, read once into memory as luma and cut into random crops.

242 pairs of 640x480 take 150 MB as uint8 luma, so memory is cheaper than decoding them each epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from tdfusion_edge.color import U8, luma
from tdfusion_edge.errors import InputMissing, RequestError, SourceError
from tdfusion_edge.images import IMAGE_SUFFIXES, VIDEO_SUFFIXES, by_stem, read_luma8, read_names
from tdfusion_edge.integrity import video_bytes_missing
from tdfusion_edge.redact import redact
from tdfusion_edge.train.recipe import Augmentation, DataSource


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
    """Read the pairs of one data source: pictures in the order of their names or of its list, then videos.

    Raises:
        InputMissing: the folder, its ``ir`` or ``vi``, or a pair named in the list is not there.
        RequestError: the two sides of a pair differ in size, kind or number of frames, one has more
            than 8 bits, two files have one stem, or there is no pair at all.
        SourceError: a picture or video is cut short or cannot be decoded.
    """
    folder = root / source.folder
    if not folder.is_dir():
        raise InputMissing(f"there is no folder {folder}", hint="Name the data folder with --data DIR.")
    infrared, visible = (by_stem(folder / part, (*IMAGE_SUFFIXES, *VIDEO_SUFFIXES)) for part in ("ir", "vi"))
    names = [name for name in infrared if name in visible]
    if source.names is not None:
        names = read_names(folder / source.names)
    lacking = [name for name in names if name not in infrared or name not in visible]
    if lacking:
        raise InputMissing(
            f"{folder} lacks the pair '{lacking[0]}'", expected=f"ir/{lacking[0]}.* and vi/{lacking[0]}.*"
        )
    pictures = [name for name in names if not _is_video(infrared[name])][:: source.every]
    videos = [name for name in names if _is_video(infrared[name])]
    pairs = [
        pair
        for name in pictures + videos
        for pair in _read_pair(name, infrared[name], visible[name], source.every)
    ]
    if not pairs:
        raise RequestError(f"{folder} has no pair", expected="files of the same stem in ir/ and vi/")
    return pairs


def random_batches(
    pairs: list[LumaPair], augmentation: Augmentation, batch: int, seed: int
) -> Iterator[Batch]:
    """Endless batches of random crops; the same seed gives the same batches.

    Raises:
        RequestError: a pair is smaller than the crop; raised by the call, before the first batch.
    """
    _refuse_small(pairs, augmentation)
    return _random_batches(pairs, augmentation, batch, seed)


def to_tensor(image: U8) -> Tensor:
    """(H, W) uint8 to (1, 1, H, W) float32 in [0, 1]."""
    return torch.from_numpy(image).float().div(255)[None, None]


def _refuse_small(pairs: list[LumaPair], augmentation: Augmentation) -> None:
    for pair in pairs:
        if min(pair.infrared.shape) < augmentation.crop:
            height, width = pair.infrared.shape
            raise RequestError(
                f"pair '{pair.name}' is smaller than the crop",
                expected=f"{augmentation.crop}x{augmentation.crop} or more",
                got=f"{width}x{height}",
                hint="Set [augmentation] crop to a smaller number.",
            )


def _random_batches(
    pairs: list[LumaPair], augmentation: Augmentation, batch: int, seed: int
) -> Iterator[Batch]:
    random = np.random.default_rng(seed)
    while True:
        order = random.permutation(len(pairs))
        for start in range(0, len(order) - batch + 1, batch) or range(1):
            chosen = [pairs[i] for i in np.resize(order[start : start + batch], batch)]
            crops = [_crop(pair, augmentation, random) for pair in chosen]
            infrared, visible = (np.stack(parts)[:, None] for parts in zip(*crops, strict=True))
            yield Batch(torch.from_numpy(infrared), torch.from_numpy(visible))


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


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES


def _read_pair(name: str, infrared: Path, visible: Path, every: int) -> list[LumaPair]:
    if _is_video(infrared) != _is_video(visible):
        raise RequestError(
            f"pair '{name}' is a picture and a video",
            expected="two of one kind",
            got=f"ir/{infrared.name} and vi/{visible.name}",
        )
    if _is_video(infrared):
        pairs = _read_videos(name, infrared, visible, every)
    else:
        pairs = [LumaPair(name, read_luma8(infrared), read_luma8(visible))]
    for pair in pairs:
        if pair.infrared.shape != pair.visible.shape:
            raise RequestError(
                f"pair '{pair.name}' is not aligned",
                expected=str(pair.visible.shape),
                got=str(pair.infrared.shape),
            )
    return pairs


def _read_videos(name: str, infrared: Path, visible: Path, every: int) -> list[LumaPair]:
    (left, left_count), (right, right_count) = (_read_video(path, every) for path in (infrared, visible))
    if left_count != right_count:
        # Frames are paired by number, so one lost frame shifts every pair behind it.
        raise RequestError(
            f"the videos of pair '{name}' differ in length",
            expected="equal numbers of frames",
            got=f"{left_count} in {infrared} and {right_count} in {visible}",
        )
    return [
        LumaPair(f"{name}#{i * every}", *frames) for i, frames in enumerate(zip(left, right, strict=True))
    ]


def _read_video(path: Path, every: int) -> tuple[list[U8], int]:
    """Luma of every n-th frame, and the number of all frames."""
    kept: list[U8] = []
    count = 0
    try:
        if missing := video_bytes_missing(path):
            raise SourceError(
                f"{path} is cut short", expected="a whole video", got=f"{missing} bytes too few"
            )
        # "file:" keeps a colon in a file name from being taken for a protocol.
        with av.open(f"file:{path}") as container:
            if not container.streams.video:
                raise SourceError(f"{path} holds no video stream", expected="a video file")
            for frame in container.decode(video=0):
                _refuse_deep_grey(path, frame)
                if count % every == 0:
                    kept.append(luma(frame.to_ndarray(format="bgr24")))
                count += 1
    except (av.FFmpegError, OSError) as error:
        raise SourceError(f"{path} cannot be decoded: {redact(str(error))}") from error
    return kept, count


def _refuse_deep_grey(path: Path, frame: av.VideoFrame) -> None:
    """Thermal counts of 10 to 16 bits: a conversion to 8 bits would keep the upper ones alone."""
    channels = frame.format.components
    if len(channels) <= 2 and channels[0].bits > 8:  # the second is alpha
        raise RequestError(
            f"{path} is a {frame.format.name} video",
            expected="8 bits",
            hint="Convert it with a fixed range first.",
        )
