"""A network as it is deployed: batch norm folded into convolutions, training branches merged.

It is done in float32 and before half precision: running variances of 1e-6 do not survive FP16, and a
batch norm in float32 between two FP16 convolutions costs two casts.

Which convolution belongs to which batch norm is not read from the code, where they may stand far
apart, but seen: the network runs once, on the example that it is exported with, and a pair is a
convolution whose output goes into one batch norm and nowhere else.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torch.overrides import TorchFunctionMode

from tdfusion_edge.errors import ExportError
from tdfusion_edge.export.keep_float import leaves

Network = TypeVar("Network", bound=nn.Module)

TOLERANCE = 1e-4
"""Largest difference of an output to the unfolded network's, by its largest value where that passes 1."""

TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, *TRANSPOSED)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
METHOD = "reparameterised"


class Pair(NamedTuple):
    """A convolution and the batch norm that takes its output."""

    convolution: nn.Module
    norm: nn.Module


def folded(network: Network, example: tuple[Tensor | None, ...]) -> Network:
    """A copy in evaluation mode that computes the same with fewer layers.

    A module with branches that only its training needs has a method ``reparameterised()``, which
    takes nothing and gives a module that computes the same in evaluation mode: that one stands in
    the copy. (The network itself may have it too.) Then every batch norm behind a convolution is
    multiplied into its weights; one that stands elsewhere, such as behind an addition, stays.

    Args:
        network: In float32; it is not changed.
        example: Its inputs, of the size that is exported.

    Raises:
        ExportError: the copy gives something else, because a branch was merged wrongly.
    """
    plain = copy.deepcopy(network).eval()
    with torch.inference_mode():
        reference = plain(*example)
    made = cast(Network, _merged(plain, {}))
    for convolution, norm in conv_norm_pairs(made, example):
        _replace(made, convolution, _fused(convolution, norm))
        _replace(made, norm, nn.Identity())
    with torch.inference_mode():
        _require_equal(reference, made(*example))
    return made


def conv_norm_pairs(network: nn.Module, example: tuple[Tensor | None, ...]) -> list[Pair]:
    """The pairs of a network in evaluation mode that may be folded, in the order in which they run.

    Both must run once and be PyTorch's own classes, without hooks and parametrisations: what a user's
    subclass does with its weights is not known. A batch norm without running statistics normalises by
    the picture itself and has none to fold.
    """
    modules = [module for module in network.modules() if _is_plain(module)]
    if not any(type(module) in NORMS for module in modules):
        return []
    seen = _Uses()
    handles = [module.register_forward_hook(seen.hook) for module in modules]
    try:
        with torch.inference_mode(), seen:
            output = network(*example)
    finally:
        for handle in handles:
            handle.remove()
    seen.readers.update(id(tensor) for tensor in leaves(output))  # what is given out is read outside
    return [
        pair
        for pair in seen.pairs
        if seen.calls[pair.convolution] == seen.calls[pair.norm] == 1
        and seen.readers[id(seen.outputs[pair.convolution])] == 1
    ]


class _Uses(TorchFunctionMode):
    """While it is entered: which convolution gave which tensor, and how many calls read that."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[nn.Module] = Counter()
        self.outputs: dict[nn.Module, Tensor] = {}
        """Of each convolution; kept, so that no other tensor gets the identity of one."""
        self.readers: Counter[int] = Counter()
        """Calls that took a tensor, by its identity."""
        self.pairs: list[Pair] = []

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call ``func`` and count."""
        result = func(*args, **(kwargs or {}))
        # A size or a shape reads no pixel. What gives nothing writes, as x[...] = y does.
        if result is None or any(True for _ in leaves(result)):
            self.readers.update({id(tensor) for tensor in leaves((args, kwargs or {}))})
        return result

    def hook(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        """See what a convolution or batch norm takes and gives."""
        self.calls[module] += 1
        if type(module) in CONVOLUTIONS:
            self.outputs[module] = output
            self.readers[id(output)] = 0  # an earlier tensor may have had its place in memory
            return
        for convolution, given in self.outputs.items():
            if inputs and given is inputs[0]:
                self.pairs.append(Pair(convolution, module))


def _is_plain(module: nn.Module) -> bool:
    if module._forward_hooks or module._forward_pre_hooks:
        return False
    if type(module) in NORMS:
        return cast(nn.BatchNorm2d, module).running_var is not None
    # The scale of a batch norm cannot be spread over the groups of a transposed convolution's weight.
    return type(module) in CONVOLUTIONS and (
        type(module) not in TRANSPOSED or cast(nn.ConvTranspose2d, module).groups == 1
    )


def _merged(module: nn.Module, done: dict[nn.Module, nn.Module]) -> nn.Module:
    """``module`` with every part that has training branches in its deployed form."""
    if module not in done:
        merge = getattr(module, METHOD, None)
        done[module] = merge().eval() if callable(merge) else module
        if done[module] is module:
            for name, child in list(module._modules.items()):
                if child is not None:
                    setattr(module, name, _merged(child, done))
    return done[module]


def _fused(convolution: nn.Module, norm: nn.Module) -> nn.Module:
    """One convolution for both, worked out in float64."""
    kind = cast(nn.Conv2d, convolution).weight.dtype
    exact = cast(nn.Conv2d, copy.deepcopy(convolution).double())
    exact_norm = cast(nn.BatchNorm2d, copy.deepcopy(norm).double())
    fused = fuse_conv_bn_eval(exact, exact_norm, transpose=type(convolution) in TRANSPOSED)
    return fused.to(kind)


def _replace(root: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Under every name that it has."""
    for parent in root.modules():
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)


def _require_equal(reference: Any, given: Any) -> None:
    for index, (want, got) in enumerate(zip(leaves(reference), leaves(given), strict=True)):
        if want.shape != got.shape:
            found = f"shape {tuple(got.shape)} instead of {tuple(want.shape)}"
        else:
            scale = max(1.0, float(want.abs().max()))
            worst = float((want.double() - got.double()).abs().max()) / scale
            found = f"{worst:.2e}"
            if worst <= TOLERANCE:  # NaN is not
                continue
        raise ExportError(
            f"output {index} of the folded network differs from the network's",
            expected=f"at most {TOLERANCE} of its largest value",
            got=found,
            hint=f"Does {METHOD}() of one of its modules give the same in evaluation mode?",
        )
