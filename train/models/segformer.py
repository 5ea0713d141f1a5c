"""SegFormer as task network T for segmentation: every pixel gets a class, from the fused luma alone.

Source: SegFormer, NeurIPS 2021 (arXiv 2105.15203), sizes of its table 6; the implementation is that
of Hugging Face's transformers, which is imported when a network is built. B0 with nine classes has
3,713,321 parameters, which are those of TDFusion's segmentation network. Two choices differ from its
released code: pictures are up-sampled by pixel centres, as SegFormer's own authors do, and attention
is written out, so that a strategy may differentiate T twice, which PyTorch's fused kernel cannot.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from tdfusion_edge.errors import ConfigError
from tdfusion_edge.install import imported
from tdfusion_edge.train.models.mask_logits import MaskLogits, enlarged, mask_loss, require_classes
from tdfusion_edge.train.models.task import MaskNetwork, MaskPrediction

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""How pictures in [0, 1] were normalised for the published weights; red, green, blue."""


class Size(NamedTuple):
    """Widths and depths of the four stages, and the width of the decoder."""

    hidden_sizes: tuple[int, int, int, int]
    depths: tuple[int, int, int, int]
    decoder_hidden_size: int


SIZES: Mapping[str, Size] = MappingProxyType(
    {
        "b0": Size((32, 64, 160, 256), (2, 2, 2, 2), 256),
        "b1": Size((64, 128, 320, 512), (2, 2, 2, 2), 256),
        "b2": Size((64, 128, 320, 512), (3, 4, 6, 3), 768),
    }
)


class SegFormer(MaskNetwork):
    """T for masks.

    Args:
        classes: How many classes a pixel may have, the background among them; 2 to 255.
        size: ``b0``, ``b1`` or ``b2``.
        pretrained: Folder with weights of this size as transformers saves them (``config.json`` and
            safetensors; nothing else is read, and nothing is fetched). A head for other classes
            starts afresh. None starts all afresh.

    Raises:
        ConfigError: an unknown size, a number of classes out of range, transformers is not
            installed, or the folder holds no weights that fit.
    """

    stride = 32

    def __init__(self, classes: int, size: str = "b0", pretrained: str | None = None) -> None:
        super().__init__()
        if size not in SIZES:
            raise ConfigError("size of SegFormer", expected=f"one of {', '.join(SIZES)}", got=repr(size))
        require_classes(classes, "SegFormer")
        transformers = _transformers()
        options = {**SIZES[size]._asdict(), "num_labels": classes, "attn_implementation": "eager"}
        with _quiet(transformers):
            if pretrained is None:
                config = transformers.SegformerConfig(num_channels=1, **options)
                self.network = transformers.SegformerForSemanticSegmentation(config)
            else:
                self.network = _load(transformers, Path(pretrained), options)

    def forward(
        self, luma: Tensor, chroma: Tensor | None = None, infrared: Tensor | None = None
    ) -> MaskLogits:
        """(B, 1, H, W) float in [0, 1] to logits; H and W are multiples of 32, and colours have no effect."""
        del chroma, infrared
        return MaskLogits(self.network(luma).logits)

    def loss(self, output: MaskLogits, targets: Tensor) -> Mapping[str, Tensor]:
        """Mean cross entropy over the pixels that count; 0 where none does.

        Args:
            output: What :meth:`forward` gave.
            targets: (B, H, W) int64 classes, 255 for a pixel that does not count.
        """
        return {"loss": mask_loss(output, targets)}

    def decode(self, output: MaskLogits) -> MaskPrediction:
        """Logits at the size of the input."""
        return enlarged(output)


def _transformers() -> Any:
    # By name: it has no types that mypy --strict could use, and takes seconds to import.
    return imported("transformers", "segformer", "SegFormer needs Hugging Face's transformers", ConfigError)


@contextmanager
def _quiet(transformers: Any) -> Iterator[None]:
    """Neither progress bars nor reports of transformers on the terminal."""
    log = transformers.utils.logging
    verbosity, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(verbosity)
        if bars:
            log.enable_progress_bar()


def _load(transformers: Any, folder: Path, options: Mapping[str, Any]) -> nn.Module:
    """The network with the weights in ``folder`` and a first layer that takes luma."""
    if not folder.is_dir():
        raise ConfigError(f"there is no folder {folder} of SegFormer weights")
    try:
        config = transformers.SegformerConfig.from_pretrained(folder, local_files_only=True)
        _require_size(folder, config, options)
        network, report = transformers.SegformerForSemanticSegmentation.from_pretrained(
            folder,
            num_labels=options["num_labels"],
            attn_implementation=options["attn_implementation"],
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            local_files_only=True,
            use_safetensors=True,  # a pickle may run code when it is read
            dtype=torch.float32,
        )
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ConfigError(
            f"{folder} holds no SegFormer weights that can be read: {error}",
            expected="config.json and model.safetensors, as transformers saves them",
        ) from error
    afresh = {str(key) for key in report["missing_keys"]}
    afresh |= {str(row[0]) for row in report["mismatched_keys"]}
    if lacking := sorted(key for key in afresh if not key.startswith("decode_head.")):
        raise ConfigError(
            f"{folder} lacks weights of SegFormer's encoder, or has them in another shape",
            got=", ".join(lacking[:3]),
        )
    _take_luma(network)
    trainable: nn.Module = network.train()  # as a fresh one is; loaded ones come in evaluation mode
    return trainable


def _require_size(folder: Path, config: Any, options: Mapping[str, Any]) -> None:
    for name in Size._fields:
        want, got = options[name], getattr(config, name)
        got = tuple(got) if isinstance(got, list | tuple) else got
        if got != want:
            raise ConfigError(
                f"{folder} holds SegFormer weights of another size: {name}", expected=str(want), got=str(got)
            )


def _take_luma(network: Any) -> None:
    """Fold a first layer for normalised colour into one for luma in [0, 1].

    Colour of a grey picture is its luma thrice, so the kernels of the three channels add up, each
    divided by its standard deviation, and what the means take away goes into the bias. Inside the
    picture the result is the same; at its rim, zeros now mean black instead of the mean colour.
    """
    first = next(module for module in network.modules() if isinstance(module, nn.Conv2d))
    if first.in_channels == 1:
        return
    if first.in_channels != len(IMAGENET_MEAN) or first.bias is None:
        raise ConfigError("SegFormer weights", expected="1 or 3 channels", got=str(first.in_channels))
    mean = torch.tensor(IMAGENET_MEAN).view(1, -1, 1, 1)
    kernels = first.weight.detach() / torch.tensor(IMAGENET_STD).view(1, -1, 1, 1)
    first.weight = nn.Parameter(kernels.sum(1, keepdim=True))
    first.bias = nn.Parameter(first.bias.detach() - (kernels * mean).sum((1, 2, 3)))
    first.in_channels = 1
    network.config.num_channels = 1
