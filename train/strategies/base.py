"""The base class of every way of training."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence

from torch import nn
from torch.optim import Optimizer

from tdfusion_edge.checkpoint import Network
from tdfusion_edge.color import U8
from tdfusion_edge.pairs import LabelledPair
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.fusing import unfused


class Strategy(ABC):
    """One way of training.

    A subclass is called with the recipe, sets :attr:`networks`, :attr:`named` and :attr:`optimisers`, and has
    a :meth:`step`. Everything else has a default. Its losses of the fused picture refer to ``Batch.sources``:
    what F sees may be degraded.
    """

    networks: Mapping[str, nn.Module]
    """All networks with state by role: ``fusion`` is the one that is deployed, ``loss`` G, ``task`` T."""
    named: Mapping[str, Network]
    """How those of them that a checkpoint keeps are built again, by role."""
    optimisers: Mapping[str, Optimizer]
    """All optimisers by the role of what they step."""
    batches: int = 1
    """Disjoint batches that a step takes at most; two or more allow data for a ``meta-test``."""
    based_on: str | None = None
    """Path of a checkpoint whose terms bind the new weights, beside the one that T starts from."""
    taught_by: str | None = None
    """Path of a checkpoint whose networks the new weights learn from: its terms bind them too."""
    trained_on: str | None = None
    """sha256 of the weights of the fixed fusion network whose pictures T sees; None where it sees others."""

    @abstractmethod
    def step(self, number: int, feed: Feed) -> Mapping[str, float]:
        """Take step ``number``, counted from 0, on batches of ``feed``; returns what to log, by name."""

    def set_rate(self, factor: float) -> None:
        """Scale every learning rate to ``factor`` times the one that its optimiser was made with."""
        for optimiser in self.optimisers.values():
            for group in optimiser.param_groups:
                # PyTorch's own name for it: its schedulers keep the first rate there too.
                group["lr"] = factor * group.setdefault("initial_lr", group["lr"])

    def prepare(self, samples: Sequence[LabelledPair]) -> Sequence[LabelledPair]:
        """The pairs as the networks see them: the same ones by default.

        It is called once for every part of the data, before the first step. Where it gives a sequence that
        reads a pair at use, that pair may be read in another thread than the step's.
        """
        return samples

    def picture(self, pair: LabelledPair) -> U8:
        """What a T that has no F beside it is judged on, of a pair from :meth:`prepare`: both sensors' mean.

        Returns:
            uint8 (H, W).
        """
        return unfused(pair)

    def seen(self, pair: LabelledPair, *, alone: bool = False) -> LabelledPair:
        """One pair as the networks see it: what :meth:`prepare` makes of it.

        Args:
            pair: As it was read, or degraded.
            alone: One sensor is missing: both pictures are the other one's, and stay what they are.
        """
        del alone
        return pair
