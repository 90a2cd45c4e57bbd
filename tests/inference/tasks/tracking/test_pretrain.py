"""The weights that ship load, are what their recipe says, and can be made again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from inference.checkpoint import load
from inference.errors import CheckpointError
from inference.randomness import seeded
from inference.tasks.tracking.pretrain import (
    RECIPES,
    held_out_bound,
    main,
    pretrain,
    pretrained,
    training_paths,
)
from ppl_models.errors import InputError

WEIGHTS = Path(__file__).parents[4] / "ppl_models" / "weights"


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_weights_load_and_are_small(name: str) -> None:
    model, guide = pretrained(name)
    recipe = RECIPES[name]
    path = WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size < 200_000
    assert type(model).__name__ == recipe.model and not model.training
    assert guide.model is model
    fresh = recipe.pair()
    for shipped, new in zip((model, guide), fresh, strict=True):
        shapes = [{k: v.shape for k, v in m.state_dict().items()} for m in (shipped, new)]
        assert shapes[0] == shapes[1]
    facts = load(path).extra
    assert facts["recipe"] == name and facts["epochs"] == recipe.epochs
    bound = held_out_bound((model, guide), paper=recipe.paper, size=200)
    assert abs(bound - facts["nats"]) < 1.0  # 200 paths instead of 1,000; a path's spread is 4


def test_shipped_srnn_knows_more_than_constant_velocity() -> None:
    from benchmarks.priors import random_walk_of_increments
    from ppl_models.data.trajectories import walking_trajectories

    train, s = walking_trajectories(1_000, seed=5), walking_trajectories(300, seed=6)
    linear = random_walk_of_increments(train, s)
    assert held_out_bound(pretrained("srnn"), size=300) > linear + 0.5


@pytest.mark.parametrize(
    "name",
    [pytest.param("srnn", marks=pytest.mark.slow), "deepar_paper", "srnn_paper"],
)
def test_training_repeats_and_learns(name: str, untouched: None) -> None:
    runs = [pretrain(name, epochs=4, size=512, progress=False) for _ in range(2)]
    for a, b in zip(runs[0].model.parameters(), runs[1].model.parameters(), strict=True):
        assert torch.equal(a, b)
    recipe = RECIPES[name]
    paper = recipe.paper
    with seeded(0):
        untrained = held_out_bound(recipe.pair(), paper=paper, size=64)
    assert held_out_bound((runs[0].model, runs[0].guide), paper=paper, size=64) > untrained


def test_command_writes_weights_that_load(tmp_path: Path, capsys) -> None:
    options = ["--epochs", "1", "--paths", "256", "--out", str(tmp_path)]
    main(["--model", "deepar_paper", *options])
    path = tmp_path / "deepar_paper.safetensors"
    assert str(path) in capsys.readouterr().out
    assert pretrained("deepar_paper", path)[0].latent_dim == 0
    with pytest.raises(CheckpointError, match="DeepAR"):
        pretrained("srnn_paper", path)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(InputError, match="deepar_causal"):
        pretrained("kalman")


def test_tracking_paths_are_four_fifths_walkers_in_the_object_frame() -> None:
    paths = training_paths(RECIPES["srnn"], 50, 0)
    assert paths.shape == (50, 120, 4) and torch.all(paths[:, 0] == 0)
    assert training_paths(RECIPES["srnn"], 3, 0).shape == (3, 120, 4)
