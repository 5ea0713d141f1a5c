"""What the two command lines of the cross-validation have in common."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmarks.script import add_count
from benchmarks.training.cross_validation.folds import Folds, divided
from benchmarks.training.cross_validation.recipes import FOLDER
from benchmarks.training.options import add_training_arguments, parse_seeds
from tdfusion_edge.errors import InputMissing, RequestError
from tdfusion_edge.pairs import PairSource
from tdfusion_edge.pairs.reader import pair_names

FOLDS = 4
CHECKPOINT = "{fold}_{seed}/last.safetensors"


def add_fold_arguments(parser: argparse.ArgumentParser, work: Path) -> None:
    """Declare data, folds, seeds and how the trainings run."""
    add_training_arguments(parser, work)
    add_count(parser, "folds", FOLDS, "number of folds")
    parser.add_argument(
        "--only", type=parse_seeds, metavar="N,N", help="these folds alone, counted from 0 (default: all)"
    )


def folds_of(args: argparse.Namespace) -> tuple[Folds, list[int]]:
    """The folds of all pairs, and the numbers of those that are asked for.

    Raises:
        InputMissing: there is no data folder.
        RequestError: there is no such fold.
    """
    if not args.data.is_dir():
        raise InputMissing(f"there is no data folder {args.data}")
    folds = divided(pair_names(args.data / FOLDER, PairSource(), videos=False), args.folds)
    chosen = list(range(args.folds)) if args.only is None else [int(number) for number in args.only]
    if beyond := [number for number in chosen if number >= args.folds]:
        raise RequestError("--only", expected=f"0 to {args.folds - 1}", got=str(beyond[0]))
    return folds, chosen


def filled(pattern: str, fold: int, seed: int) -> str:
    """A pattern with fold and seed in their places."""
    return pattern.replace("{fold}", str(fold)).replace("{seed}", str(seed))
