r"""Fusion networks for the cross-validation: every fold's are trained on the other folds' pairs alone.

  python -m benchmarks.training.cross_validation.networks --work runs/folds --train fixed=edge_fixed
  python -m benchmarks.training.cross_validation.networks --work runs/folds --train tdfusion=edge_tdfusion \
      --set tdfusion:task.network_options.pretrained=yolox_nano.onnx

The recipe's own lists are kept, less the fold and its neighbours; every= and without_every= select among
what is left. A detector that a training starts from is one of the same fold. What is finished is not trained
again. NAME_FOLD_SEED/last.safetensors below --work are the results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.training.cross_validation.arguments import (
    CHECKPOINT,
    add_fold_arguments,
    filled,
    folds_of,
)
from benchmarks.training.cross_validation.folds import Folds
from benchmarks.training.cross_validation.recipes import inputs_of, within
from benchmarks.training.options import named
from benchmarks.training.runs import Run, run_all
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError, TdfusionError
from tdfusion_edge.redact import redact
from tdfusion_edge.train.recipe_file import load_recipe

WORK = Path("runs") / "folds"


def main(argv: list[str] | None = None) -> int:
    """Train what is not trained yet, and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.training.cross_validation.networks",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--train",
        action="append",
        required=True,
        metavar="NAME=RECIPE",
        help="may be repeated; in this order",
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="NAME:KEY=VALUE",
        help="change the recipe of NAME, '{fold}' and '{seed}' standing for theirs",
    )  # fmt: skip
    add_fold_arguments(parser, WORK)
    try:
        train(parser.parse_args(argv))
    except TdfusionError as error:
        say(f"error: {redact(str(error))}", error=True)
        return error.exit_code
    except KeyboardInterrupt:
        say("interrupted: the same command goes on", error=True)
        return 130
    return 0


def train(args: argparse.Namespace) -> None:
    """One network after the other, each with all folds and seeds.

    Raises:
        RequestError: a change is for no network, or a training would start from what has seen its fold.
        TdfusionError: as :func:`~benchmarks.training.runs.run_all`.
    """
    recipes = named(args.train, "--train", "RECIPE")
    changes: dict[str, list[str]] = {name: [] for name in recipes}
    for text in args.set:
        name, colon, change = text.partition(":")
        if not colon or name not in recipes:
            raise RequestError(f"--set {text}", expected=f"NAME:KEY=VALUE, NAME one of {', '.join(recipes)}")
        changes[name].append(change)
    folds, chosen = folds_of(args)
    for name, recipe in recipes.items():
        runs = [
            run_of(name, recipe, changes[name], folds, fold, seed, args.data)
            for seed in map(int, args.seeds)
            for fold in chosen
        ]
        run_all(runs, args.data, args.work, jobs=args.jobs, device=args.device)
        say(f"{name}: {args.work / f'{name}_'}{CHECKPOINT}")


def run_of(name: str, recipe: str, changes: list[str], folds: Folds, fold: int, seed: int, data: Path) -> Run:
    """The training of one network for one fold and seed.

    Raises:
        RequestError: it would start from a checkpoint that has seen the fold.
    """
    given = [f"seed={seed}", *(filled(change, fold, seed) for change in changes)]
    loaded = load_recipe(recipe, given)
    inputs = inputs_of(loaded, data, folds.unseen(fold))
    return Run(f"{name}_{fold}_{seed}", recipe, (*given, within(loaded, data, folds.training(fold))), inputs)


if __name__ == "__main__":
    sys.exit(main())
