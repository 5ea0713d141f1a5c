"""The whole training on small made-up pairs: it learns, repeats itself, and refuses what it cannot use."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

from tdfusion_edge import checkpoint
from tdfusion_edge.cli import main
from tdfusion_edge.config import load, parse
from tdfusion_edge.errors import ConfigError, InputMissing, RequestError, TrainingError
from tdfusion_edge.train import loop
from tdfusion_edge.train.command import find_recipe
from tdfusion_edge.train.data import load_pairs, random_batches
from tdfusion_edge.train.recipe import Augmentation, DataSource, Loss, Optimiser, Recipe
from tdfusion_edge.train.strategies.fixed import Fixed

ROOT = Path(__file__).resolve().parent.parent.parent
RECIPES = sorted((ROOT / "train" / "recipes").glob("*.toml"))


@pytest.fixture
def pairs_folder(tmp_path: Path) -> Path:
    """Six pairs of 64x80: waves in visible, warm discs in infrared."""
    random = np.random.default_rng(0)
    y, x = np.mgrid[:64, :80]
    for part in ("ir", "vi"):
        (tmp_path / "made" / part).mkdir(parents=True)
    for number in range(6):
        cx, cy = random.integers(15, 50, 2)
        disc = np.where((x - cx) ** 2 + (y - cy) ** 2 < 120, 220, 40)
        waves = 90 + 60 * np.sin(x / (2 + number)) + random.normal(0, 4, (64, 80))
        cv2.imwrite(str(tmp_path / "made" / "ir" / f"{number}.png"), disc.astype(np.uint8))
        cv2.imwrite(str(tmp_path / "made" / "vi" / f"{number}.png"), waves.clip(0, 255).astype(np.uint8))
    (tmp_path / "made" / "val.txt").write_text("4\n5\n")
    return tmp_path


def recipe(**changes: object) -> Recipe:
    made = DataSource(folder="made", terms="made up")
    settings: dict[str, object] = {
        "name": "tiny",
        "network": "edge",
        "network_options": {"width": 8, "depth": 1},
        "validate_every": 20,
        "data": (made, DataSource(folder="made", part="validation", names="val.txt", terms="made up")),
        "augmentation": Augmentation(crop=48, gain=0.1),
        "optimiser": Optimiser(steps=60, batch=4, learning_rate=5e-3),
        **changes,
    }
    return Recipe(**settings)  # type: ignore[arg-type]


def test_training_learns_and_writes_checkpoints_that_say_what_they_are(
    pairs_folder: Path, tmp_path: Path
) -> None:
    best = loop.train(recipe(), pairs_folder, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [20, 40, 60]
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]
    header, weights = checkpoint.read(best)
    assert header.recipe == "tiny"
    assert header.metrics["ssim"] == pytest.approx(rows[header.step // 20 - 1]["ssim"], abs=1e-4)
    assert header.training_data[0].pairs == 6
    assert weights["stem.weight"].shape == (8, 2, 3, 3)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "log.jsonl",
    ]


def test_the_same_seed_gives_the_same_weights(pairs_folder: Path, tmp_path: Path) -> None:
    runs = [
        loop.train(recipe(seed=seed), pairs_folder, tmp_path / str(i), steps=5)
        for i, seed in enumerate((1, 1, 2))
    ]
    first, second, other = (checkpoint.read(path)[1]["head.weight"] for path in runs)
    assert np.array_equal(first, second)
    assert not np.array_equal(first, other)


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_the_checkpoint(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Fixed.step

    def diverging(self: Fixed, batch: object) -> object:
        losses = dict(step(self, batch))  # type: ignore[arg-type]
        if (tmp_path / "run" / "last.safetensors").exists():
            losses["loss"] = float("nan")
        return losses

    monkeypatch.setattr(Fixed, "step", diverging)
    with pytest.raises(TrainingError, match="at step 21"):
        loop.train(recipe(), pairs_folder, tmp_path / "run")
    assert checkpoint.read(tmp_path / "run" / "last.safetensors")[0].step == 20


def test_batches_cut_both_sensors_at_the_same_place() -> None:
    ramp = np.arange(64 * 80, dtype=np.uint32).reshape(64, 80)
    from tdfusion_edge.train.data import LumaPair

    low, high = (ramp % 251).astype(np.uint8), (ramp % 251).astype(np.uint8)
    batches = random_batches([LumaPair("ramp", low, high)], Augmentation(crop=32, flip=True), batch=5, seed=0)
    for _, batch in zip(range(10), batches, strict=False):
        assert batch.infrared.shape == (5, 1, 32, 32)
        assert torch.equal(batch.infrared, batch.visible)


def test_a_pair_smaller_than_the_crop_is_refused(pairs_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"smaller than the crop: expected 128x128 or more, got 80x64"):
        loop.train(recipe(augmentation=Augmentation(crop=128)), pairs_folder, tmp_path / "run")


def test_data_that_does_not_fit_is_named(pairs_folder: Path) -> None:
    made = pairs_folder / "made"
    with pytest.raises(InputMissing, match="no folder"):
        load_pairs(pairs_folder, DataSource(folder="nowhere", terms=""))
    (made / "names.txt").write_text("0 99")
    with pytest.raises(InputMissing, match="lacks the pair '99'"):
        load_pairs(pairs_folder, DataSource(folder="made", names="names.txt", terms=""))
    cv2.imwrite(str(made / "ir" / "0.png"), np.zeros((64, 90), np.uint8))
    with pytest.raises(RequestError, match="'0' is not aligned"):
        load_pairs(pairs_folder, DataSource(folder="made", terms=""))
    cv2.imwrite(str(made / "ir" / "0.png"), np.zeros((64, 80), np.uint16))
    with pytest.raises(RequestError, match="uint16 picture"):
        load_pairs(pairs_folder, DataSource(folder="made", terms=""))


def test_videos_give_every_nth_frame_of_both_sensors(tmp_path: Path) -> None:
    for part in ("ir", "vi"):
        (tmp_path / part).mkdir()
        with av.open(str(tmp_path / part / "a.mkv"), "w") as container:
            stream = container.add_stream("ffv1", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "gray"
            for number in range(10):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64), 20 * number, np.uint8), format="gray")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
    pairs = load_pairs(tmp_path, DataSource(folder=".", every=4, terms=""))
    assert [pair.name for pair in pairs] == ["a#0", "a#4", "a#8"]
    assert [int(pair.infrared[0, 0]) for pair in pairs] == [0, 80, 160]
    assert [int(pair.visible[0, 0]) for pair in pairs] == [0, 80, 160]


def test_the_learning_rate_rises_and_falls() -> None:
    factors = [loop.learning_rate_factor(step, 200) for step in range(1, 201)]
    assert max(factors) == factors[9] == 1
    assert factors[:10] == sorted(factors[:10])
    assert factors[9:] == sorted(factors[9:], reverse=True)
    assert factors[-1] == pytest.approx(0)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_shipped_recipe_builds_its_network_and_strategy(
    path: Path, pairs_folder: Path, tmp_path: Path
) -> None:
    shipped = load(path, Recipe)
    assert shipped.name == path.stem
    assert find_recipe(path.stem).name == path.name
    assert all(source.terms for source in shipped.data)
    small = recipe(
        network=shipped.network,
        network_options=shipped.network_options,
        strategy=shipped.strategy,
        loss=shipped.loss,
    )
    assert loop.train(small, pairs_folder, tmp_path / "run", steps=1).is_file()


def test_a_misspelt_key_is_named() -> None:
    text = b'name="x"\nnetwork="edge"\n[loss]\nalhpa=1.0\n[optimiser]\nsteps=1\n'
    with pytest.raises(ConfigError, match=r"unknown key 'alhpa' in \[loss\](?s:.*)'alpha'"):
        parse(text, Recipe, name="recipe.toml", toml=True)


def test_the_command_trains_and_its_errors_are_of_the_right_kind(
    pairs_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(pairs_folder)]
    assert main(["train", "no_such_recipe", *data]) == 2
    assert "edge_fixed" in capsys.readouterr().err
    assert main(["train", "edge_fixed", *data]) == 2
    assert "there is no folder" in capsys.readouterr().err
    text = (
        'name="t"\nnetwork="edge"\nvalidate_every=2\n[augmentation]\ncrop=32\n[optimiser]\nsteps=2\nbatch=2\n'
        '[[data]]\nfolder="made"\nterms="x"\n[[data]]\nfolder="made"\nterms="x"\npart="validation"\n'
    )
    (tmp_path / "t.toml").write_text(text)
    assert main(["train", str(tmp_path / "t.toml"), *data, "-o", str(tmp_path / "out")]) == 0
    assert "best checkpoint" in capsys.readouterr().out
    assert (tmp_path / "out" / "best.safetensors").is_file()


def test_each_option_of_the_loss_reaches_the_training(pairs_folder: Path, tmp_path: Path) -> None:
    variants = (
        Loss(),
        Loss(alpha=0),
        Loss(intensity="squared"),
        Loss(intensity="max"),
        Loss(weight_infrared=0.8),
    )
    heads = []
    for number, loss in enumerate(variants):
        best = loop.train(recipe(loss=loss), pairs_folder, tmp_path / str(number), steps=4)
        header, weights = checkpoint.read(best)
        assert header.settings["loss"]["intensity"] == loss.intensity
        heads.append(weights["head.weight"])
    for number, head in enumerate(heads):
        assert not any(np.array_equal(head, other) for other in heads[:number])


def test_nothing_is_touched_before_a_wrong_request_is_refused(pairs_folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    loop.train(recipe(), pairs_folder, output, steps=1)
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    with pytest.raises(RequestError, match="holds a training already"):
        loop.train(recipe(), pairs_folder, output, steps=1)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before
    for wrong in (
        recipe(augmentation=Augmentation(crop=128)),
        recipe(network="egde"),
        recipe(network_options={"widht": 3}),
    ):
        with pytest.raises(RequestError):
            loop.train(wrong, pairs_folder, tmp_path / "other")
        assert not (tmp_path / "other").exists()


def test_weights_that_are_no_numbers_are_never_written(
    pairs_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Fixed.step

    def poisoning(self: Fixed, batch: object) -> object:
        losses = step(self, batch)  # type: ignore[arg-type]
        with torch.no_grad():
            next(iter(self.fusion.parameters())).fill_(float("inf"))
        return losses

    monkeypatch.setattr(Fixed, "step", poisoning)
    with pytest.raises(TrainingError, match="the weights became NaN or infinite by step 1"):
        loop.train(recipe(), pairs_folder, tmp_path / "run", steps=1)
    assert not list((tmp_path / "run").glob("*.safetensors"))


def test_an_output_that_cannot_be_written_is_an_error_of_the_work(
    pairs_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "t.toml").write_text(
        'name="t"\nnetwork="edge"\n[augmentation]\ncrop=32\n[optimiser]\nsteps=1\nbatch=2\n'
        '[[data]]\nfolder="made"\nterms="x"\n[[data]]\nfolder="made"\nterms="x"\npart="validation"\n'
    )
    arguments = ["train", str(tmp_path / "t.toml"), "--data", str(pairs_folder)]
    assert main([*arguments, "-o", str(tmp_path / "file" / "run")]) == 1
    assert "cannot be written" in capsys.readouterr().err
