"""What a model is tried on and built from: simulated data, sizes, and parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppl_models.data.trajectories import synthetic_trajectories
from ppl_models.errors import InputError

Data = dict[str, Tensor]
MOST_TOKENS = 1_000_000
"""Of a vocabulary that follows from the data: each has its row in the tables of a network."""


def vectors(model: Any, size: int) -> Data:
    """Draw rows ``x`` from the model."""
    return {"x": model(size=size)}


def sequences(model: Any, size: int) -> Data:
    """Draw sequences ``s`` from the model, all of its parts in their mode of evaluation."""
    return {"s": model.eval()(size=size)}


def boxes(model: Any, size: int) -> Data:
    """Draw boxes that move as those of MixDVAE's paper do."""
    seed = int(torch.randint(2**31, ()))
    return {"s": synthetic_trajectories(size, seed=seed)}


def detections(model: Any, size: int) -> Data:
    """Draw detections of two sources in 20 frames, three a frame, and near misses to start from."""
    frames = {
        "mask": torch.rand(size, 20, 3) < 0.9,
        "size": torch.ones(size, 20, 3, 4),
        "origin": torch.tensor([[0.0, 0, 0, 0], [2, 0, 0, 0]]).expand(size, 2, 4),
        "unit": torch.ones(size, 2, 4),
        "region": torch.tensor([[-5.0] * 4, [5.0] * 4]).expand(size, 2, 4),
    }
    nodes = poutine.trace(model).get_trace(None, **frames).nodes
    boxes = nodes["_RETURN"]["value"].reshape(size, 2, 20, 4)
    start = boxes + 0.02 * torch.randn_like(boxes)
    return {"o": nodes["o"]["value"], **frames, "start": start}


def modalities(model: Any, size: int) -> Data:
    """Draw rows of which a third lacks the first modality, and a third the last one."""
    data: Data = model(size=size)
    mask = torch.ones(size, len(data), dtype=torch.bool)
    mask[::3, 0] = False
    mask[1::3, -1] = False
    return data | {"mask": mask}


def conditioned(model: Any, size: int) -> Data:
    """Draw data given standard normal conditions."""
    c = torch.randn(size, model.condition_dim)
    return {"x": model(None, c), "c": c}


def pseudo_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make an encoder, and the prior of 50 pseudo-inputs that shares it."""
    from ppl_models.networks import MLP
    from ppl_models.priors import VampPrior

    data_dim, widths = settings.get("data_dim", 64), settings.get("hidden_dims", (128,))
    encoder = MLP(data_dim, *widths, 2 * settings.get("latent_dim", 8))
    bounds = (0.0, 1.0) if settings.get("likelihood") == "bernoulli" else None
    return {"encoder": encoder, "prior": VampPrior(encoder, torch.rand(50, data_dim), bounds)}


def source_prior(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the prior of one source, and its guide."""
    from guides.dvae import SRNNGuide
    from ppl_models.dvae import SRNN, Motion

    data_dim = settings.get("data_dim", 4)
    prior = SRNN(data_dim, likelihood=Motion(data_dim, increments=True))
    return {"prior": prior, "source_guide": SRNNGuide(prior)}


def widths(data: Data) -> dict[str, Any]:
    """Return the modalities and their sizes: all data that are not masks."""
    masks = ("mask", "observed")
    return {"modalities": {n: x.shape[-1] for n, x in data.items() if n not in masks}}


def vocabulary(data: Data) -> dict[str, Any]:
    """Return how many tokens there are: one more than the largest.

    Raises
    ------
    InputError
        They are no whole numbers from 0, or a largest one would need too much memory.
    """
    x = data["x"].float()
    good = x.isfinite() & (x == x.floor()) & (x >= 0) & (x < MOST_TOKENS)
    if not good.all():
        found = f"{float(x[~good][0]):g}, and {int((~good).sum()) - 1} more such numbers"
        cure = "number the tokens from 0, and raise inference.cli.examples.MOST_TOKENS for more"
        raise InputError("x", found, f"whole numbers from 0 to {MOST_TOKENS - 1:,}", cure)
    return {"num_tokens": int(x.max()) + 1}


def conditioned_widths(data: Data) -> dict[str, Any]:
    """Return the sizes of data and condition."""
    return {"data_dim": data["x"].shape[-1], "condition_dim": data["c"].shape[-1]}
