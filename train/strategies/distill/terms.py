"""What a student is told: to be like the teacher, in its picture and in what that is made of, and to be good.

Source: MMDRFuse, ACM MM 2024 (arXiv 2408.15641), L_distill: half the squared distance of two normalised maps,
of the output and of the activations before the last layer, whose channels are summed first. Where ours
differs:

- A map is normalised sample by sample; theirs over the whole batch, so that a dark sample counts for little.
- The normalised distance leaves the brightness open. It is used for the features alone; the pictures
  themselves are compared by absolute difference and SSIM.
- Gains of infrared and of visible mean the same in every network that has them, so they are compared one by
  one; only activations are summed.
- Their content loss (maximum of both sources, VGG features) is TDFusion's L_f here, weighed by the teacher's
  G.

Pictures are (B, 1, H, W) float in [0, 1]. Every term is a mean over samples, so that several processes may
average theirs.
"""

from __future__ import annotations

from torch import Tensor

from tdfusion_edge.train.models.base import FeatureKind
from tdfusion_edge.train.similarity import ssim


def output_term(fused: Tensor, taught: Tensor) -> Tensor:
    """Mean absolute difference between the student's pictures and the teacher's, a scalar."""
    return (fused - taught).abs().mean()


def structure_term(fused: Tensor, taught: Tensor) -> Tensor:
    """1 - SSIM between them, a scalar."""
    return 1 - ssim(fused, taught).mean()


def source_term(fused: Tensor, infrared: Tensor, visible: Tensor) -> Tensor:
    """1 - SSIM with the sources, their mean, a scalar."""
    return 1 - (ssim(fused, infrared) + ssim(fused, visible)).mean() / 2


def feature_term(features: Tensor, taught: Tensor, kind: FeatureKind, alone: Tensor | None = None) -> Tensor:
    """Half the squared distance of the normalised features, a scalar in [0, 2].

    Args:
        features: The student's, (B, C, H, W).
        taught: The teacher's, (B, D, H, W); D is C where they are gains.
        kind: ``activations`` are summed over channels before.
        alone: (B, 1, 1, 1) bool, True where one sensor is gone, of which the teacher knows nothing: such a
            sample counts as 0. None: nowhere.
    """
    if kind == "activations":
        features, taught = (part.sum(dim=1) for part in (features, taught))
    apart = (_normalised(features) - _normalised(taught)).square().sum(dim=1) / 2
    return (apart if alone is None else apart * ~alone.flatten()).mean()


def _normalised(features: Tensor) -> Tensor:
    """Each sample's features as one vector of length 1, or of zeros."""
    flat = features.flatten(1)
    # Not the root of a sum that may be 0, which has no gradient.
    return flat / (flat.square().sum(dim=1, keepdim=True) + 1e-12).sqrt()
