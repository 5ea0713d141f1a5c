"""The memory of the best student so far ("dynamic refresh"), and what a student pays that has got worse.

Source: MMDRFuse, ACM MM 2024 (arXiv 2408.15641). There the best output so far of every training patch is kept
by SSIM and by GMSD with both sources. A batch that scores better overwrites its outputs; one that scores
worse by a gap pays the gap times its distance from them.

Where ours differs:

- Remembered is a network, not pictures. Crops fall at random here, and no two steps see the same one; the
  paper's 16,000 fixed patches take 4 GB. The network that was best so far shows on the crop of now what it
  would have made of it, in a second forward pass of a student that is small.
- Who pays is decided sample by sample, in the paper by the mean of the batch: of two pictures of which one
  gained and the other lost, the one that lost pays.
- The memory becomes the student of now when that is the better one on most samples of a step.
- One score, SSIM less GMSD, and one distance, absolute differences of levels and gradients. Theirs has two of
  both, and VGG features.

Pictures are (B, 1, H, W) float in [0, 1].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tdfusion_edge.train.losses import sobel
from tdfusion_edge.train.similarity import gmsd, ssim
from tdfusion_edge.train.strategies.steps import average


def score(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """How much each picture keeps of both its sources, (B,): SSIM less GMSD with either, summed."""
    sources = infrared, visible
    return torch.stack([ssim(fused, one) - gmsd(fused, one) for one in sources]).sum(dim=0)


def memory_term(fused: Tensor, remembered: Tensor, gap: Tensor) -> Tensor:
    """Mean over samples of the gap times the distance from what is remembered, a scalar.

    Args:
        fused: The student's pictures.
        remembered: Those of the best student so far.
        gap: By how much each of the first scores below the second, (B,); below 0 it counts as 0.
    """
    edges = zip(sobel(fused), sobel(remembered), strict=True)
    # A Sobel response is up to four times a difference of levels.
    apart = (fused - remembered).abs() + sum((a - b).abs() for a, b in edges) / 4
    return (gap.detach().clamp(min=0) * apart.mean(dim=(1, 2, 3))).mean()


def is_better(gain: Tensor) -> bool:
    """Whether most samples of the batch, over all processes, have gained: ``gain`` (B,) is above 0."""
    share = (gain > 0).double().mean()
    return bool(average({"share": share})["share"] > 0.5)


def refresh(memory: nn.Module, student: nn.Module) -> None:
    """Make the memory the student of now."""
    memory.load_state_dict(student.state_dict())
