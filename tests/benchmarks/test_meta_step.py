"""The meta-step's benchmark: what its methods say, and their time and memory reach the file."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

pytest.importorskip("torch")

from benchmarks import script
from benchmarks.schema import read
from benchmarks.training import meta_step
from benchmarks.training.meta_case import NETWORKS, Peaks, Setting, recipe_of
from tdfusion_edge.errors import WorkError


@pytest.fixture(scope="module", autouse=True)
def _forward_mode() -> None:
    """PyTorch's first forward-mode derivative calls its own ``torch.jit.script``, which it has deprecated."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.script`", DeprecationWarning)
        from torch.autograd import forward_ad

        forward_ad._maybe_load_decompositions()  # type: ignore[attr-defined]


def test_the_ways_to_a_hyper_gradient_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def apart(setting: Setting) -> Peaks:
        return Peaks(tensors=100.0 if setting.method == "exact" else 25.0)

    monkeypatch.setattr(meta_step, "measured_apart", apart)
    path = tmp_path / "meta_step.json"
    options = ["--light", "--crop", "32", "--size", "64x64", "--batch", "1", "--rounds", "2", "--draws", "2"]
    assert script.main(meta_step.BENCHMARK, [*options, "--threads", "1", "--output", str(path)]) == 0
    results = read(path).results
    assert len(results.timings) == 8
    assert {(row.numerator, row.denominator) for row in results.ratios} == {
        (f"{view}, {method}", f"{view}, exact")
        for view in ("whole", "without T")
        for method in ("finite-difference", "forward", "rank-one")
    }
    figures = {figure.name: figure.value for figure in results.figures}
    for view in ("whole", "without T"):
        for what in ("cosine", "norm ratio"):
            assert figures[f"{view}, forward against exact: {what}"] == pytest.approx(1, abs=1e-3)
            assert figures[f"{view}, finite-difference against exact: {what}"] == pytest.approx(1, abs=0.05)
    assert -1 <= figures["whole, rank-one against exact: least cosine"] < 0.9999
    assert figures["whole, forward against exact: same side"] == 1
    shares = {peak.name: peak.share for peak in results.peaks}
    assert shares["whole, exact: tensors"] == 1
    assert shares["whole, forward: tensors"] == 0.25


@pytest.mark.slow
def test_the_memory_of_a_meta_step_is_measured_in_a_process_of_its_own() -> None:
    setting = Setting(networks="light", crop=128, batch=1, size=(64, 64), threads=1, view="without T")
    exact = meta_step.measured_apart(setting)
    # One picture of float32 and half the resolution at 16 channels: what a single layer keeps is known.
    assert exact.tensors > 128 * 128 * 4 * 4 / 1e6
    assert exact.resident is not None
    with pytest.raises(WorkError, match="there is no checkpoint"):
        meta_step.measured_apart(Setting(checkpoint="nowhere.safetensors"))


def test_the_paper_s_networks_are_the_default() -> None:
    recipe = recipe_of(Setting())
    assert (recipe.network, recipe.strategy_options["loss_network"]) == ("tdfusion", "lpn")
    assert recipe.task is not None
    assert recipe.task.network_options == {"size": NETWORKS["paper"][2]}
