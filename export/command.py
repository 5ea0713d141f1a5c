"""Turn a checkpoint into a bundle that the runtime loads.

The fusion network becomes one ONNX graph with free height and width. It is compared with PyTorch
before anything is written; beyond the tolerance no bundle is written.
"""

from __future__ import annotations

import argparse
import datetime
from pathlib import Path

import onnx
import onnxsim
import torch
from torch import nn

from tdfusion_edge import __version__, bundle, checkpoint
from tdfusion_edge.console import say
from tdfusion_edge.errors import RequestError
from tdfusion_edge.export.graph import describe, fusion_onnx, parity
from tdfusion_edge.export.model_card import model_card
from tdfusion_edge.train.models.tables import FUSION_NETWORKS, build

GRAPH_FILE = "fusion.onnx"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="best.safetensors of a training")
    parser.add_argument(
        "-o", "--output", type=Path, required=True, metavar="BUNDLE", help="folder, or a .zip"
    )
    parser.add_argument("--name", help="name of the bundle (default: the recipe's)")
    parser.add_argument(
        "--network",
        metavar="MODULE:CLASS",
        help="allow this class of your own, where the checkpoint names it; a checkpoint alone imports none",
    )


def main(args: argparse.Namespace) -> int:
    """Export and say what was measured."""
    manifest = export(args.checkpoint, args.output, name=args.name, allowed=args.network)
    say(f"wrote {args.output}: ONNX differs from PyTorch by at most {manifest.parity['fp32_max_abs']:.1e}")
    say(f"next: tdfusion-edge run --bundle {args.output} --camera ir0,vis0")
    return 0


def export(
    path: Path, output: Path, *, name: str | None = None, allowed: str | None = None
) -> bundle.Manifest:
    """Export a checkpoint.

    Args:
        path: Checkpoint.
        output: Bundle to write: a folder or a ``.zip``.
        name: Name of the bundle; the recipe's for None.
        allowed: "module:Class" that the checkpoint may name beside the networks of this package.

    Raises:
        RequestError: the checkpoint does not fit its network, or names a class that is not allowed.
        ExportError: the graph does not reproduce the network; nothing is written.
    """
    header, weights = checkpoint.read(path)
    network = load_network(path, header, weights, allowed)
    graph = fusion_onnx(network)
    manifest = {
        "name": name or header.recipe,
        "network": header.network,
        "strategy": header.strategy,
        "created": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
        "graphs": {"fusion": describe(network, GRAPH_FILE)},
        "training_data": header.training_data,
        "metrics": header.metrics,
        "parity": parity(network, graph),
        "versions": {
            "tdfusion-edge": __version__,
            "torch": str(torch.__version__),
            "onnx": onnx.__version__,
            "onnxsim": onnxsim.__version__,
        },
    }
    files = {GRAPH_FILE: graph, "MODEL_CARD.md": model_card(header, name or header.recipe).encode()}
    return bundle.write(output, manifest, files)


def load_network(
    path: Path, header: checkpoint.Header, weights: checkpoint.Weights, allowed: str | None = None
) -> nn.Module:
    """The network of a checkpoint with its weights, in evaluation mode.

    A checkpoint may come from anywhere, and importing a class by the name in a file would run code
    of that file's choice: only this package's networks load without the user naming the class.
    """
    if header.network not in FUSION_NETWORKS and header.network != allowed:
        raise RequestError(
            f"{path} names the network {header.network!r}, which is none of this package's",
            expected=f"one of {', '.join(FUSION_NETWORKS)}",
            hint="If it is a class of yours, name it with --network MODULE:CLASS.",
        )
    network = build(header.network, header.network_options)
    try:
        network.load_state_dict({key: torch.from_numpy(array) for key, array in weights.items()})
    except RuntimeError as error:
        raise RequestError(f"{path} does not fit the network '{header.network}': {error}") from error
    return network.eval()
