"""Two processes on halves of a batch take the step that one takes on all of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from tiny import CLASSES, MASKS, TEACHER, bilevel, distilled, learned, recipe, sources, trained
from torch import Tensor, distributed, multiprocessing, nn

from tdfusion_edge import checkpoint
from tdfusion_edge.train import loop
from tdfusion_edge.train.data.feed import Share
from tdfusion_edge.train.data.types import Batch, TaskView
from tdfusion_edge.train.recipe import Augmentation, Optimiser, Recipe, Task
from tdfusion_edge.train.setup import setup
from tdfusion_edge.train.strategies.steps import average_buffers

WORLD = 2
HERE = Path(__file__).resolve().parent
METHODS = ("exact", "finite-difference", "forward", "rank-one")
CHANCE = Augmentation(crop=32, gain=0.1, zoom=1.2)
PLAIN = Optimiser(steps=4, batch=4, learning_rate=5e-3)
RECIPES: Mapping[str, Recipe] = {
    "fixed": recipe(augmentation=CHANCE, optimiser=PLAIN),
    "task": recipe(
        strategy="task",
        strategy_options={"picture": "mean"},
        task=Task(network="tiny:TinyTask", classes=CLASSES, height=32, width=40),
        data=sources(MASKS),
        augmentation=CHANCE,
        optimiser=PLAIN,
    ),
    "bdlfusion": bilevel(augmentation=CHANCE, optimiser=PLAIN),
    "distill": distilled(Path(TEACHER), augmentation=CHANCE, optimiser=PLAIN),
    **{
        name: learned(
            {
                "hyper_gradient": name,
                "switch": name == "exact",
                "task_step": "adam" if name == "exact" else "sgd",
            },
            augmentation=CHANCE,
            optimiser=PLAIN,
        )
        for name in METHODS
    },
}


def found(name: str, data: Path, share: Share) -> dict[str, Tensor]:
    """The hyper-gradient at the start in float64, and the weights after four steps in float32."""
    kept = {f"gradient.{key}": part for key, part in gradient(name, data, share).items()}
    settings = RECIPES[name]
    if settings.strategy == "distill":
        settings = replace(
            settings, strategy_options=settings.strategy_options | {"teacher": str(data / TEACHER)}
        )
    training = setup(settings, data, data / "nothing", share=share)
    strategy: Any = training.strategy
    for number in range(PLAIN.steps):
        losses = strategy.step(number, training.feed)
        kept[f"loss.{number}"] = torch.tensor(loop._averaged(losses)[next(iter(losses))])
    for role, network in strategy.networks.items():
        kept |= {f"{role}.{key}": part.clone() for key, part in network.state_dict().items()}
    return kept


def gradient(name: str, data: Path, share: Share) -> dict[str, Tensor]:
    """The hyper-gradient of the first meta-step, float64; nothing for a strategy without one."""
    if name not in METHODS:
        return {}
    training = setup(RECIPES[name], data, data / "nothing", share=share)
    strategy: Any = training.strategy
    for network in strategy.networks.values():
        network.double()
    batches = (in_double(batch) for batch in training.feed.take(2))
    found: dict[str, Tensor] = strategy.hyper_gradient(*batches).gradient
    return found


def in_double(batch: Batch) -> Batch:
    view = batch.task
    assert view is not None
    pictures = TaskView(view.infrared.double(), view.visible.double(), view.targets)
    return Batch(batch.infrared.double(), batch.visible.double(), pictures)


def one_of_two(rank: int, folder: str) -> None:
    """What a spawned process does: everything, for all recipes."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=WORLD
    )
    for name in RECIPES:
        kept = found(name, Path(folder) / "data", Share(rank, WORLD))
        save_file(kept, Path(folder) / f"{name}-{rank}.safetensors")
    kept = {}
    for seed, network in enumerate((nn.BatchNorm2d(3), nn.BatchNorm2d(3))):
        with torch.no_grad():
            network(torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(10 * rank + seed)))
        average_buffers({"task": network})
        kept |= {f"{seed}.{key}": part for key, part in network.state_dict().items()}
    save_file(kept, Path(folder) / f"buffers-{rank}.safetensors")
    distributed.barrier()  # who leaves first closes what the other still listens to
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def shared(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where two processes have left what they found."""
    folder = tmp_path_factory.mktemp("shared")
    (folder / "data").symlink_to(made)
    multiprocessing.spawn(one_of_two, (str(folder),), nprocs=WORLD)
    return folder


@pytest.mark.parametrize("name", RECIPES)
def test_two_processes_take_the_steps_of_one(name: str, shared: Path, made: Path) -> None:
    first, second = (load_file(shared / f"{name}-{rank}.safetensors") for rank in range(WORLD))
    single = found(name, made, Share())
    assert single.keys() == first.keys() == second.keys()
    for key, value in single.items():
        assert torch.equal(first[key], second[key]), f"{key} differs between the processes"
        if key.startswith("gradient."):
            torch.testing.assert_close(first[key], value, rtol=1e-7, atol=1e-9 * float(value.abs().max()))
        else:
            # Adam's first steps divide a gradient by its own size and amplify the last bits of one near zero.
            torch.testing.assert_close(first[key], value, rtol=1e-3, atol=1e-4, msg=key)


@pytest.mark.parametrize("name", METHODS)
def test_each_half_alone_would_have_given_another_gradient(name: str, shared: Path, made: Path) -> None:
    """So that the test above cannot pass by chance."""
    both = load_file(shared / f"{name}-0.safetensors")
    alone = gradient(name, made, Share(0, WORLD))
    differences = [
        float((both[f"gradient.{key}"] - part).norm() / part.norm()) for key, part in alone.items()
    ]
    assert max(differences) > 0.02


def test_running_statistics_are_those_of_both(shared: Path) -> None:
    first, second = (load_file(shared / f"buffers-{rank}.safetensors") for rank in range(WORLD))
    for seed in (0, 1):
        pictures = [
            torch.randn(4, 3, 5, 5, generator=torch.Generator().manual_seed(10 * rank + seed))
            for rank in range(WORLD)
        ]
        mean = torch.stack([one.mean(dim=(0, 2, 3)) for one in pictures]).mean(dim=0)
        for kept in (first, second):
            torch.testing.assert_close(kept[f"{seed}.running_mean"], 0.1 * mean)
            assert kept[f"{seed}.num_batches_tracked"] == 1


RECIPE = """
name = "t"
network = "tiny:TinyFusion"
strategy = "tdfusion"
validate_every = 2
[strategy_options]
loss_network = "tiny:TinyLoss"
meta_steps = 1
fusion_steps = 1
[task]
network = "tiny:TinyTask"
classes = ["ground", "disc"]
height = 32
width = 40
[augmentation]
crop = 32
[optimiser]
steps = 4
batch = 4
"""


@pytest.mark.slow
def test_torchrun_trains_like_one_process(made: Path, tmp_path: Path) -> None:
    labels = '{ format = "mask", path = "masks", classes = ["ground", "disc"] }'
    data = f'[[data]]\nfolder = "made"\nlabels = {labels}\nterms = "x"\n'
    (tmp_path / "t.toml").write_text(RECIPE + data + data + 'part = "validation"\nnames = "val.txt"\n')
    words = ["train", str(tmp_path / "t.toml"), "--data", str(made), "--device", "cpu"]
    shared = [
        *(sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0"),
        *("--standalone", "-m", "tdfusion_edge"),
    ]
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join((str(HERE), str(HERE.parent.parent), *sys.path)),
    }
    run = tmp_path / "run"
    first = subprocess.run(
        [*shared, *words, "-o", str(run)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert first.returncode == 0, first.stderr
    assert first.stdout.count("best checkpoint") == 1
    from tdfusion_edge.train.recipe_file import load_recipe

    trained(load_recipe(str(tmp_path / "t.toml")), made, tmp_path / "one")
    header, two = checkpoint.read(run / "last.safetensors")
    _, one = checkpoint.read(tmp_path / "one" / "last.safetensors")
    assert header.step == 4
    assert one.keys() == two.keys()
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    assert (run / "log.jsonl").read_text().count('"processes": 2') == 1
