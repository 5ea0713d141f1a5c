"""Train a fusion network on your own pairs. They need no labels, but must lie on each other pixel by pixel.

python examples/train_own_pairs.py my_pairs runs/mine --steps 6000

my_pairs/ has two folders, ir/ and vi/, with pictures of the same names.
"""

import argparse
import logging
from pathlib import Path

from tdfusion_edge.train.loop import fit
from tdfusion_edge.train.recipe import DataSource, Loss, Optimiser, Recipe
from tdfusion_edge.train.setup import setup

HELD_OUT = 5  # every 5th pair is not trained on, so that it can tell how good the network is
TERMS = "my own pictures"  # stands in the model card of what you export


def main() -> None:
    """Train, and say where the best checkpoint is."""
    parser = argparse.ArgumentParser(description="Train a fusion network on your own pairs.")
    parser.add_argument("pairs", type=Path, help="folder with ir/ and vi/")
    parser.add_argument("output", type=Path, help="folder for checkpoints, logs and pictures")
    parser.add_argument("--steps", type=int, default=6000)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    pairs = args.pairs.resolve()
    recipe = Recipe(
        name="mine",
        network="edge",
        strategy="fixed",  # follows both sensors alike; "tdfusion" learns whom to follow, and needs labels
        loss=Loss(alpha=1.6),
        optimiser=Optimiser(steps=args.steps, batch=8, learning_rate=2e-3),
        data=(
            DataSource(folder=pairs.name, without_every=HELD_OUT, terms=TERMS),
            DataSource(folder=pairs.name, part="validation", every=HELD_OUT, terms=TERMS),
        ),
    )
    best = fit(setup(recipe, pairs.parent, args.output))
    print(f"best checkpoint: {best}")


if __name__ == "__main__":
    main()
