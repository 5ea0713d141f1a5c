"""Train a fusion network from a recipe, on the CPU.

A recipe is a TOML file, or the name of one that ships with the package:

  tdfusion-edge train edge_fixed --data DIR -o runs/edge

A training starts anew; an interrupted one keeps its last and its best checkpoint, but does not resume.
"""

from __future__ import annotations

import argparse
import logging
from importlib import resources
from pathlib import Path

from tdfusion_edge.config import load
from tdfusion_edge.console import say
from tdfusion_edge.errors import ConfigError, InputMissing, SinkError
from tdfusion_edge.train.loop import train
from tdfusion_edge.train.recipe import Recipe


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe file, or a shipped recipe by name")
    parser.add_argument(
        "--data", type=Path, required=True, help="folder that the recipe's data is relative to"
    )
    parser.add_argument(
        "-o", "--output", type=Path, help="folder for checkpoints and log (default runs/NAME)"
    )
    parser.add_argument("--steps", type=int, help="train this many steps instead of the recipe's")


def main(args: argparse.Namespace) -> int:
    """Train and say where the best checkpoint is."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    recipe = load(find_recipe(args.recipe), Recipe)
    if args.steps is not None and args.steps < 1:
        raise ConfigError("--steps", expected="1 or more", got=str(args.steps))
    if not args.data.is_dir():
        raise InputMissing(f"there is no data folder {args.data}")
    output = args.output or Path("runs") / recipe.name
    try:
        best = train(recipe, args.data, output, steps=args.steps)
    except KeyboardInterrupt:
        kept = ", ".join(str(path) for path in sorted(output.glob("*.safetensors"))) or "none"
        say(f"interrupted; whole checkpoints: {kept}", error=True)
        raise
    except OSError as error:
        raise SinkError(
            f"{output} cannot be written: {error.strerror}", hint="Free space, or name a folder with -o."
        ) from error
    say(f"best checkpoint: {best}\nnext: tdfusion-edge export {best} -o BUNDLE")
    return 0


def find_recipe(name: str) -> Path:
    """A recipe file by path, or a shipped one by name.

    Raises:
        InputMissing: neither; the shipped recipes are listed.
    """
    path = Path(name)
    if path.is_file():
        return path
    folder = Path(str(resources.files("tdfusion_edge.train"))) / "recipes"
    shipped = {file.stem: file for file in sorted(folder.glob("*.toml"))}
    if name in shipped:
        return shipped[name]
    raise InputMissing(f"there is no recipe '{name}'", expected=f"a TOML file or one of {', '.join(shipped)}")
