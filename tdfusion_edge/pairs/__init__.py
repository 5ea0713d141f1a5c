"""Labelled pairs and their one reader, for training, evaluation and the gates of the export alike."""

from tdfusion_edge.pairs.reader import PairSet, load_pairs, open_pairs
from tdfusion_edge.pairs.source import Labels, PairSource
from tdfusion_edge.pairs.types import Boxes, LabelledPair

__all__ = ["Boxes", "LabelledPair", "Labels", "PairSet", "PairSource", "load_pairs", "open_pairs"]
