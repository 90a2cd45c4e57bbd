"""Make the weights that ship: ``python -m inference.tasks.tracking.pretrain``.

================  ================================================================================
`srnn`, `deepar`  for tracking with the smoothing E-S step: increments in the object frame; people
                  who walk, and a share of the paper's paths; pasts mostly estimated from
                  detections (`inference.tasks.tracking.noisy_pasts`)
`deepar_causal`   the same for the paper's E-S step, a filter
`srnn_paper`,     the paper's: positions in the image, its synthetic boxes and sizes, and for SRNN
`deepar_paper`    scheduled sampling, in fewer epochs than its 500
================  ================================================================================

The file of `srnn_paper` that ships was trained with the paper's own scheduled sampling, whose coins
choose between two recurrent states (4.25 nats a held-out frame). The recipe now has that of
`ppl_models.dvae`, whose coins choose which frame is read (6.38 nats, 119 CPU s).
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from guides.dvae import DeepARGuide, SRNNGuide
from inference.checkpoint import load, save
from inference.objectives import Objective
from inference.randomness import derive, seeded
from inference.schedules import cosine, linear
from inference.tasks.tracking.noisy_pasts import EstimatedPasts
from inference.training import Run, fit
from ppl_models.data.trajectories import (
    synthetic_trajectories,
    to_object_frame,
    walking_trajectories,
)
from ppl_models.dvae import SRNN, DeepAR, Motion, SamplingSchedule
from ppl_models.errors import InputError

Pair = tuple[SRNN, SRNNGuide] | tuple[DeepAR, DeepARGuide]

TRACKING = {
    "motion": {"increments": True, "inertia": True, "unit": 0.05, "floor": 0.02},
    "input_dim": 16,
    "recurrent_dim": 32,
    "emission_dims": (32,),
}


SRNN_TRACKING = {**TRACKING, "latent_dim": 4, "prior_dims": (16, 16)}
CAUSAL = {"smooth": False}
SMOOTH = {"smooth": True}
ENCODER = {"hidden_dims": (32, 16)}


@dataclass(frozen=True)
class Recipe:
    """How one file of weights is made.

    Parameters
    ----------
    model : "SRNN" or "DeepAR"
    epochs : int
    options, guide_options : dict
        What model and guide are built with; ``motion``, what the model's likelihood is.
    paper : bool
        The paper's data and schedules, in place of those for tracking.
    length : int
        T of the training paths; tracked gaps are up to half of it.
    batch_size, learning_rate
    """

    model: str
    epochs: int
    options: Mapping[str, Any] = field(default_factory=dict)
    guide_options: Mapping[str, Any] = field(default_factory=dict)
    paper: bool = False
    length: int = 60
    batch_size: int = 128
    learning_rate: float = 6e-3

    def pair(self) -> Pair:
        """Build the pair, untrained."""
        return _build(self.model, self.options, self.guide_options)


RECIPES = {
    "srnn": Recipe("SRNN", 18, SRNN_TRACKING, {**ENCODER, **SMOOTH}, length=120, batch_size=64),
    "deepar": Recipe("DeepAR", 18, TRACKING, SMOOTH, length=120, batch_size=64),
    "deepar_causal": Recipe("DeepAR", 15, TRACKING, CAUSAL),
    "srnn_paper": Recipe("SRNN", 30, paper=True, batch_size=256, learning_rate=3e-3),
    "deepar_paper": Recipe("DeepAR", 30, paper=True, batch_size=256, learning_rate=3e-3),
}
PATHS = 12_000  # training paths, about as many as the paper keeps


def _build(name: str, options: Mapping[str, Any], guide_options: Mapping[str, Any]) -> Pair:
    options = dict(options)
    options["likelihood"] = Motion(**options.pop("motion", {}))
    if name == "DeepAR":
        deepar = DeepAR(**options)
        return deepar, DeepARGuide(deepar, **guide_options)
    srnn = SRNN(**options)
    return srnn, SRNNGuide(srnn, **guide_options)


def pretrained(name: str = "srnn", path: Path | None = None) -> Pair:
    """Return a pair with the weights that ship, in evaluation mode.

    Parameters
    ----------
    name : str
        One of `RECIPES`.
    path : Path, optional
        A file that `pretrain` wrote, in place of the package's own.

    Raises
    ------
    InputError
        No such name.
    CheckpointError
        The file is missing, damaged, or of another model.
    """
    recipe = _recipe(name)
    path = path or Path(str(files("ppl_models"))) / "weights" / f"{name}.safetensors"
    config = load(path, model=recipe.model).config
    pair = _build(recipe.model, config["model"], config["guide"])
    load(path, into=_modules(pair), model=recipe.model)
    for module in pair:
        module.eval()
    return pair


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        raise InputError("name", repr(name), f"one of {', '.join(RECIPES)}", "choose one of these")
    return RECIPES[name]


def _modules(pair: Pair) -> dict[str, nn.Module]:
    return {"model": pair[0], "guide": pair[1]}


def training_paths(recipe: Recipe, size: int, seed: int) -> Tensor:
    """Draw paths (num, T, 4): the paper's, or in the object frame, a fifth of them the paper's."""
    length, walkers = recipe.length, size - size // 5
    if recipe.paper:
        return synthetic_trajectories(size, length=length, seed=derive(seed, "boxes"))
    walks = walking_trajectories(walkers, length=length, seed=derive(seed, "walkers"))
    if size == walkers:
        return walks
    boxes = synthetic_trajectories(size - walkers, length=length, seed=derive(seed, "boxes"))
    return torch.cat([walks, to_object_frame(boxes)])


def pretrain(
    name: str, *, epochs: int | None = None, seed: int = 0, size: int = PATHS, progress: bool = True
) -> Run:
    """Train a pair after its recipe.

    The KL weight goes from 0 to 1 over the first fifth of the steps; in the paper's SRNN, pasts are
    sampled now and then after that, and always after three fifths (the paper has epochs 20, 20 and
    100 of at most 500). DeepAR, which reads nothing but the past of s, would read nothing then: it
    is trained with true pasts. Estimated pasts are made by the guide in training, a batch at a
    time.

    Parameters
    ----------
    name : str
        One of `RECIPES`.
    epochs : int, optional
        In place of the recipe's; schedules shrink with it.
    seed : int
        Decides initial values, data and noise.
    size : int
        Training paths.
    progress : bool
        Show a bar.
    """
    recipe = _recipe(name)
    epochs = epochs or recipe.epochs
    with seeded(derive(seed, "weights")):
        model, guide = recipe.pair()
    steps = epochs * -(-size // recipe.batch_size)
    warm_up = Objective("meanfield", kl_weight=linear(max(1, steps // 5)))
    data: Any = {"s": training_paths(recipe, size, seed)}
    if not recipe.paper:
        data = EstimatedPasts(data["s"], guide).loader(recipe.batch_size)
        steps = epochs * len(data)
    elif recipe.model == "SRNN":
        model.sampling = SamplingSchedule(steps // 5, 3 * steps // 5)
    return fit(
        model,
        guide,
        data,
        epochs=epochs,
        batch_size=recipe.batch_size,
        objective=warm_up,
        learning_rate=cosine(steps, recipe.learning_rate, warmup=max(1, steps // 10)),
        clip=5.0,
        seed=seed,
        progress=progress,
    )


def held_out_bound(pair: Pair, *, paper: bool = False, seed: int = 0, size: int = 1_000) -> float:
    """Return the plain bound on new paths, in nats a frame."""
    make = synthetic_trajectories if paper else walking_trajectories
    paths = make(size, seed=derive(seed, "held out"))
    with seeded(derive(seed, "bound")):
        bound = Objective("meanfield").bound(pair[0], pair[1], (paths,))
    return float(bound.mean()) / paths.shape[1]


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, save and report one recipe or all."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=RECIPES, nargs="*", default=list(RECIPES))
    parser.add_argument("--epochs", type=int, help="in place of each recipe's own")
    parser.add_argument("--paths", type=int, default=PATHS, help="training paths")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("ppl_models/weights"))
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for name in options.model:
        began = time.process_time()
        run = pretrain(name, epochs=options.epochs, seed=options.seed, size=options.paths)
        seconds, recipe = time.process_time() - began, RECIPES[name]
        pair: Any = run.model, run.guide
        bound = held_out_bound(pair, paper=recipe.paper)
        facts = {"recipe": name, "seed": options.seed, "epochs": run.epochs, "nats": bound}
        config = {"model": dict(recipe.options), "guide": dict(recipe.guide_options)}
        path = options.out / f"{name}.safetensors"
        save(path, _modules(pair), model=recipe.model, config=config, extra=facts)
        steps = run.history[-1]["step"]
        print(f"{path}: {bound:.3f} nats a held-out frame; {steps} steps, {seconds:.0f} CPU s")


if __name__ == "__main__":
    main()
