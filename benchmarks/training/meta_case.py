"""One meta-step that can be repeated, and its peak memory in a process of its own.

Run as a module it takes one :class:`Setting` as JSON, and prints its :class:`Peaks`.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import numpy as np
import psutil
import torch
from msgspec.structs import replace
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from benchmarks.process import MB, high_water_mark
from benchmarks.training import simulated
from tdfusion_edge import checkpoint
from tdfusion_edge.config import Table, convert, parse, to_json
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError, WorkError
from tdfusion_edge.pairs import LabelledPair, load_pairs
from tdfusion_edge.pairs.lazy import joined
from tdfusion_edge.train.data.feed import Feed
from tdfusion_edge.train.data.types import Batch
from tdfusion_edge.train.fusing import load_weights
from tdfusion_edge.train.meta import Method, Parameters, hyper_gradient
from tdfusion_edge.train.models.tables import FUSION_NETWORKS, LOSS_NETWORKS, TASK_NETWORKS
from tdfusion_edge.train.recipe import Augmentation, Optimiser, Recipe, Task
from tdfusion_edge.train.strategies.tdfusion import TDFusionStrategy

View: TypeAlias = Literal["whole", "without T"]
SEED = 0
NETWORKS = {"paper": ("tdfusion", "lpn", "n"), "light": ("edge", "light", "p")}
"""F, G and the size of T."""
CLEAR_PEAK = Path("/proc/self/clear_refs")
"""Writing 5 here sets a process's high-water mark back to what it holds now (proc(5))."""
NOISE = 0.05
"""Standard deviation of what replaces weights that begin at zero: behind such a layer G has no gradient."""


class Setting(Table, frozen=True, kw_only=True):
    """What is measured, on what."""

    networks: Literal["paper", "light"] = "paper"
    checkpoint: str | None = None
    """Networks and weights of this one instead."""
    data: str | None = None
    """Folder of the checkpoint's own training pairs, in the place of the simulated street."""
    crop: int = 128
    batch: int = 2
    size: tuple[int, int] = (256, 192)
    """Width and height that T sees."""
    threads: int = 2
    device: str = "cpu"
    method: Method = "exact"
    view: View = "whole"


class Peaks(Table, frozen=True, kw_only=True):
    """Megabytes beyond what was held before."""

    tensors: float
    """Of tensors alone, as PyTorch counts them."""
    resident: float | None = None
    """Of the process; None on a GPU."""


class Step(NamedTuple):
    """A meta-step before it is taken."""

    strategy: TDFusionStrategy
    train: Batch
    test: Batch
    direction: Parameters
    """What stands for T's gradient in the view without T."""
    others: tuple[tuple[Batch, Batch], ...] = ()
    """Further batches like these two."""


def prepare(setting: Setting, draws: int = 1) -> Step:
    """Networks, batches of the simulated street, and a direction; the same for the same arguments.

    Args:
        setting: What is measured.
        draws: How many times two batches are drawn, of different pictures.
    """
    torch.set_num_threads(setting.threads)
    torch.manual_seed(SEED)
    recipe = recipe_of(setting)
    strategy = TDFusionStrategy(recipe)
    if setting.checkpoint is not None:
        for role, network in strategy.networks.items():
            load_weights(network, Path(setting.checkpoint), role)
    for network in strategy.networks.values():
        network.to(setting.device)
    with torch.no_grad():
        for part in strategy.loss_network.parameters():
            if part.ndim > 1 and not part.any():
                part.normal_(0, NOISE)
    height = max(120, 2 * setting.crop)
    samples: Sequence[LabelledPair] = simulated.pairs(
        2 * setting.batch * draws, (round(height * 4 / 3), height)
    )
    if setting.data is not None:
        samples = own_pairs(recipe, Path(setting.data))
    feed = Feed(samples, recipe.augmentation, setting.batch, SEED, task=recipe.task, device=setting.device)
    (train, test), *others = (cast("tuple[Batch, Batch]", feed.take(2)) for _ in range(draws))
    direction = {name: torch.randn_like(part) for name, part in strategy.fusion.named_parameters()}
    return Step(strategy, train, test, direction, tuple(others))


def recipe_of(setting: Setting) -> Recipe:
    """A recipe for these networks.

    Raises:
        InputMissing: the checkpoint is not there.
        RequestError: it is none of the strategy ``tdfusion`` for boxes, or names networks of a user's own.
    """
    width, height = setting.size
    augmentation = Augmentation(crop=setting.crop)
    optimiser = Optimiser(steps=1, batch=setting.batch, learning_rate=1e-4)
    if setting.checkpoint is None:
        fusion, loss, size = NETWORKS[setting.networks]
        task = Task(
            network="yolo",
            network_options={"size": size},
            classes=simulated.CLASSES,
            height=height,
            width=width,
        )
        return Recipe(
            name="meta_step",
            network=fusion,
            strategy="tdfusion",
            strategy_options={"loss_network": loss},
            task=task,
            data=(),
            augmentation=augmentation,
            optimiser=optimiser,
        )
    header, _ = checkpoint.read(Path(setting.checkpoint))
    known = {"fusion": FUSION_NETWORKS, "loss": LOSS_NETWORKS, "task": TASK_NETWORKS}
    named = {role: network.name for role, network in header.networks.items()}
    if named.keys() != known.keys() or any(name not in known[role] for role, name in named.items()):
        got = ", ".join(f"{role} {name}" for role, name in named.items())
        raise RequestError(
            f"{setting.checkpoint} has not the networks of a meta-step",
            expected="fusion, loss and task network, each of this package",
            got=got,
        )
    used = convert(header.settings, Recipe, name=setting.checkpoint)
    if used.task is None or used.task.classes != simulated.CLASSES:
        raise RequestError(f"T of {setting.checkpoint}", expected=f"classes {', '.join(simulated.CLASSES)}")
    task = replace(used.task, start=None, width=width, height=height)
    return replace(used, task=task, augmentation=augmentation, optimiser=optimiser)


def own_pairs(recipe: Recipe, data: Path) -> Sequence[LabelledPair]:
    """The pairs that a recipe trains on, below ``data``.

    Raises:
        RequestError: it names none.
    """
    sources = [source for source in recipe.data if source.part == "train"]
    if not sources or recipe.task is None:
        raise RequestError("--data without training pairs to read there", hint="Name a --checkpoint.")
    return joined([load_pairs(data, source, recipe.task.classes, colour=True) for source in sources])


def gradient(step: Step, method: Method, view: View) -> Parameters:
    """The hyper-gradient by one method, on the CPU clock: it is there when this returns.

    Args:
        step: Nothing in it is changed.
        method: Which.
        view: ``whole`` is a meta-step as the training takes it. ``without T`` leaves out what the methods
            share: T's virtual step, and F and T on the meta-test pairs; a fixed direction stands for the
            gradient that they would give.
    """
    strategy = step.strategy
    strategy.options = replace(strategy.options, hyper_gradient=method)
    if view == "whole":
        found = strategy.hyper_gradient(step.train, step.test)
    else:

        def outer(virtual: Parameters) -> Tensor:
            return torch.stack([(virtual[name] * part).sum() for name, part in step.direction.items()]).sum()

        found = hyper_gradient(
            strategy.inner(step.train),
            outer,
            dict(strategy.fusion.named_parameters()),
            dict(strategy.loss_network.named_parameters()),
            1e-4,
            method=method,
            epsilon=strategy.options.epsilon,
        )
    if next(iter(found.gradient.values())).is_cuda:
        torch.cuda.synchronize()
    return found.gradient


def peaks(setting: Setting) -> Peaks:
    """Memory of one case at its peak, less what was held before.

    Raises:
        WorkError: the system does not tell.
    """
    step = prepare(setting)
    gradient(step, setting.method, setting.view)  # what is loaded or set up once does not count
    if setting.device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(setting.device)
        before = torch.cuda.memory_allocated(setting.device)
        gradient(step, setting.method, setting.view)
        tensors = (torch.cuda.max_memory_allocated(setting.device) - before) / MB
        return Peaks(tensors=round(tensors, 2))
    _give_back()
    resident = psutil.Process().memory_info().rss / MB
    gradient(step, setting.method, setting.view)
    peak = high_water_mark(os.getpid())
    if not peak:
        raise WorkError("this system does not tell a process's peak memory", expected="Linux")
    # Counted last: the profiler takes memory of its own.
    tensors = tensor_peak(lambda: gradient(step, setting.method, setting.view))
    return Peaks(tensors=round(tensors, 2), resident=round(max(0.0, peak - resident), 2))


def _give_back() -> None:
    """Let the system have what this process freed, and forget its peak so far."""
    gc.collect()
    # Of glibc alone; without it the step would seem smaller by what was freed before.
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
    with contextlib.suppress(OSError):
        CLEAR_PEAK.write_text("5", encoding="ascii")


def tensor_peak(work: Callable[[], object]) -> float:
    """Megabytes of all tensors on the CPU that a call makes, where they are most."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        work()
    # Not events(): that adds the memory up by operation, and what matters here is the order of time.
    result = cast("Any", profiled.profiler).kineto_results
    changes = [event for event in result.events() if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    held = np.cumsum([event.nbytes() for event in changes])
    return float(max(held, default=0)) / MB


def main(text: str) -> None:
    """Measure the peaks of one case."""
    say(to_json(peaks(parse(text.encode(), Setting, name="setting"))).decode())


if __name__ == "__main__":
    main(sys.argv[1])
