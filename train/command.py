"""Train networks from a recipe.

A recipe is a TOML file, or the name of one that ships with the package:

  tdfusion-edge train edge_tdfusion --data DIR -o runs/edge
  tdfusion-edge train edge_tdfusion --data DIR -o runs/edge --resume
  tdfusion-edge train edge_tdfusion --data DIR --set seed=1 --set optimiser.batch=4

Several GPUs: torchrun --nproc-per-node 2 -m tdfusion_edge train RECIPE --data DIR
Each takes its share of [optimiser] batch; gradients are averaged, those of the meta-learning as well. What a
task network normalises by a batch (batch norm, the objects in a detector's loss) it normalises by its share.
"""

from __future__ import annotations

import argparse
import os
import shlex
from datetime import timedelta
from pathlib import Path

import torch
from torch import distributed

from tdfusion_edge import checkpoint
from tdfusion_edge.arguments import file_name
from tdfusion_edge.console import say
from tdfusion_edge.errors import ConfigError, InputMissing, SinkError
from tdfusion_edge.locks import claimed
from tdfusion_edge.text import few
from tdfusion_edge.train.data.feed import Share
from tdfusion_edge.train.loop import fit
from tdfusion_edge.train.recipe import Recipe
from tdfusion_edge.train.recipe_file import load_recipe
from tdfusion_edge.train.setup import setup

LONGEST = timedelta(hours=12)
"""The first process validates alone while the others wait, which may take hours on a large set."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument(
        "recipe", type=file_name, metavar="RECIPE", help="a recipe file, or a shipped recipe by name"
    )
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that the recipe's data is relative to"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="folder for checkpoints and logs (default runs/NAME)"
    )
    parser.add_argument("--steps", type=int, help="train this many steps instead of the recipe's")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change one value of the recipe: seed=1, optimiser.batch=4, network='edge'",
    )
    parser.add_argument("--resume", action="store_true", help="go on with the training in the output folder")
    parser.add_argument(
        "--tensorboard", action="store_true", help="write TensorBoard's event files beside the logs"
    )
    parser.add_argument(
        "--device", default="auto", help="cpu, cuda, cuda:1 … (default: a GPU if there is one)"
    )


def main(args: argparse.Namespace) -> int:
    """Train and say where the best checkpoint is."""
    recipe = load_recipe(args.recipe, args.set)
    if args.steps is not None and args.steps < 1:
        raise ConfigError("--steps", expected="1 or more", got=str(args.steps))
    if not args.data.is_dir():
        raise InputMissing(f"there is no data folder {args.data}")
    output = args.output or Path("runs") / recipe.name
    share, device = joined(args.device)
    try:
        training = setup(
            recipe,
            args.data,
            output,
            steps=args.steps,
            resume=args.resume,
            device=device,
            share=share,
            tensorboard=args.tensorboard,
            changes=args.set,
        )
        if share.rank == 0:
            output.parent.mkdir(parents=True, exist_ok=True)  # where the lock stands
        with claimed([output] if share.rank == 0 else []):
            best = fit(training)
        if distributed.is_initialized():
            distributed.barrier()  # who leaves first closes what the others still listen to
    except KeyboardInterrupt:
        kept = few([str(path) for path in sorted(output.glob("*.safetensors"))]) or "none"
        say(f"interrupted; whole checkpoints: {kept}; go on with --resume", error=True)
        raise
    except OSError as error:
        raise SinkError(
            f"{output} cannot be written: {error.strerror}", hint="Free space, or name a folder with -o."
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
    if share.rank == 0:
        say(f"best checkpoint: {best}\nnext: tdfusion-edge export {exported_from(best, recipe)} -o BUNDLE")
    return 0


def exported_from(best: Path, recipe: Recipe) -> str:
    """What a bundle with a training's networks is made of, for a shell: a detector needs a fusion network.

    Args:
        best: Checkpoint of the training.
        recipe: What was trained.
    """
    if "fusion" in checkpoint.read(best)[0].networks:
        return shlex.quote(str(best))
    fusion = str(recipe.strategy_options.get("checkpoint", "FUSION_CHECKPOINT"))
    return shlex.join([fusion, str(best)])


def joined(device: str) -> tuple[Share, str]:
    """This process's share of a training started by torchrun, and its device.

    Raises:
        ConfigError: the device cannot be used.
    """
    gpu = torch.cuda.is_available()
    if not distributed.is_torchelastic_launched():
        chosen = ("cuda" if gpu else "cpu") if device == "auto" else device
        _refuse_unknown(chosen)
        return Share(), chosen
    if device not in ("auto", "cuda", "cpu"):
        raise ConfigError("--device under torchrun", expected="auto, cuda or cpu", got=device)
    if device == "cpu" or (device == "auto" and not gpu):
        distributed.init_process_group("gloo", timeout=LONGEST)
        return Share(distributed.get_rank(), distributed.get_world_size()), "cpu"
    # torchrun's own way of telling a process which of its machine's GPUs is its own.
    own = f"cuda:{os.environ['LOCAL_RANK']}"
    _refuse_unknown(own)
    torch.cuda.set_device(own)
    distributed.init_process_group("nccl", device_id=torch.device(own), timeout=LONGEST)
    return Share(distributed.get_rank(), distributed.get_world_size()), own


def _refuse_unknown(device: str) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigError(
            f"--device {device} cannot be used: {str(error).splitlines()[0]}",
            hint="Ask: tdfusion-edge doctor",
        ) from error
