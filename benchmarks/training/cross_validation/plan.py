"""What is to be trained and looked at, refused before any of it if it does not fit together."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.training.cross_validation.arguments import CHECKPOINT, filled, folds_of
from benchmarks.training.cross_validation.folds import Folds
from benchmarks.training.cross_validation.looks import Picture, peers_of
from benchmarks.training.cross_validation.recipes import inputs_of, on_fold, require_unseen
from benchmarks.training.options import chosen_rows, named
from benchmarks.training.runs import Run, change, digests
from tdfusion_edge import checkpoint
from tdfusion_edge.errors import RequestError
from tdfusion_edge.plain import PLAIN
from tdfusion_edge.train.recipe_file import load_recipe

PEERS = ("seafusion", "mmdrfuse")
TRAINED_ON = {**{row: row for row in PLAIN}, "average": "mean"}
"""What the strategy ``task`` calls the pictures of the rows that need no network."""


@dataclass(frozen=True)
class Plan:
    """A whole comparison."""

    rows: tuple[str, ...]
    references: tuple[str, ...]
    """Rows that the others are compared with, if they are among :attr:`rows`."""
    seeds: tuple[int, ...]
    folds: tuple[int, ...]
    """Numbers of those that take part."""
    tested: Mapping[int, tuple[str, ...]]
    """Stems of each of them."""
    pieces: Folds
    networks: Mapping[str, str]
    """Checkpoint pattern by row."""
    recipe: str
    """Name of the trained detector's recipe."""
    runs: Mapping[tuple[str, int, int], Run]
    """By row, fold and seed; empty where nothing is trained."""
    facts: Mapping[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """Stems of all pairs, in the order in which the matches of the folds are joined."""
        return tuple(name for fold in self.folds for name in self.tested[fold])

    def picture(self, row: str, fold: int, seed: int) -> Picture:
        """How the pictures of a row are made."""
        pattern = self.networks.get(row)
        return Picture(row, None if pattern is None else Path(filled(pattern, fold, seed)))

    def units(self, what: str) -> tuple[int, ...]:
        """Number of the unit of each of :attr:`names`: of the picture itself, or of its piece."""
        if what == "pictures":
            return tuple(range(len(self.names)))
        pieces = (piece for fold in self.folds for piece in self.pieces.pieces[fold])
        of_name = {name: number for number, piece in enumerate(pieces) for name in piece}
        return tuple(of_name[name] for name in self.names)


def plan_of(args: argparse.Namespace) -> Plan:
    """The plan of a command line.

    Raises:
        InputMissing: the data, a checkpoint or a detector is not there.
        RequestError: a row is not known, a network has seen pairs of its fold, or there is nothing to do.
        ConfigError: the detector's recipe cannot be read, or does not train on these pairs.
    """
    pieces, folds = folds_of(args)
    seeds = tuple(map(int, args.seeds))
    networks = named(args.network, "--network", f"'runs/folds/NAME_{CHECKPOINT}'")
    rows = _rows("--rows", args.rows, networks)
    references = _rows("--references", args.references, networks)
    if args.unchanged_only and not args.detector:
        raise RequestError("--unchanged-only", expected="--detector FILE as well")
    twice = [path.stem for path in args.detector]
    if len(set(twice)) < len(twice):
        raise RequestError("two --detector have one name", expected="files of different names")
    facts = {f"fold {fold}": ", ".join(pieces.tested(fold)) for fold in folds}
    for path in args.detector:
        facts[f"{path.stem} sha256"] = digests({"detector": path})["detector"]
    for row in rows:
        for fold in folds if row in networks else ():
            for seed in seeds:
                path = Path(filled(networks[row], fold, seed))
                facts[f"{row}, fold {fold}, seed {seed}"] = _network_fact(path)
                require_unseen(path, args.data, pieces.unseen(fold))
    tested = {fold: pieces.tested(fold) for fold in folds}
    plan = Plan(rows, references, seeds, tuple(folds), tested, pieces, networks, "", {}, facts)
    if args.unchanged_only:
        return plan
    # The seeds last: after the first of them every row can be compared.
    runs = {
        (row, fold, seed): _run(plan, row, fold, seed, args)
        for seed in seeds
        for fold in folds
        for row in rows
    }
    recipe = load_recipe(args.recipe, args.set).name
    return replace(plan, recipe=recipe, runs=runs)


def _rows(option: str, text: str | None, networks: Mapping[str, str]) -> tuple[str, ...]:
    return chosen_rows(option, text, (*PLAIN, *PEERS), networks, named_by="--network")


def _network_fact(path: Path) -> str:
    header, _ = checkpoint.read(path)
    if header.step != header.steps or "fusion" not in header.networks:
        raise RequestError(
            f"{path} is no finished training of a fusion network",
            expected=f"a fusion network at step {header.steps}",
            got=f"{', '.join(header.networks)} at step {header.step}",
        )
    return f"{header.recipe}, {header.step} steps, sha256 {digests({'network': path})['network']}"


def _run(plan: Plan, row: str, fold: int, seed: int, args: argparse.Namespace) -> Run:
    """The training of T on one row's pictures for one fold and seed."""
    changes = [*(filled(text, fold, seed) for text in args.set), f"seed={seed}"]
    recipe = load_recipe(args.recipe, changes)
    if args.steps is not None:
        # A share of few steps would be over before Adam knows the gradients, and what COCO taught lost.
        warm_up = min(0.5, recipe.optimiser.warm_up * recipe.optimiser.steps / args.steps)
        changes += [f"optimiser.steps={args.steps}", f"optimiser.warm_up={warm_up}"]
    inputs = inputs_of(recipe, args.data, plan.pieces.unseen(fold))
    training, tested = plan.pieces.training(fold), plan.tested[fold]
    changes.append(on_fold(recipe, training, tested))
    network = plan.picture(row, fold, seed).checkpoint
    if network is not None:
        inputs[row] = network
        changes.append(change("strategy_options.checkpoint", network))
    elif row in PEERS:
        changes.append(change("strategy_options.folder", peers_of(args.data, row)))
    kind = "fused" if network is not None else TRAINED_ON.get(row, "folder")
    changes.append(f"strategy_options.picture={kind}")
    return Run(f"{row}_{fold}_{seed}", args.recipe, tuple(changes), inputs)
