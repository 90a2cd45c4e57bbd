"""What a story is tried on, and made of, where its class and its own draws are not enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppl_models.data.trajectories import synthetic_trajectories

Data = dict[str, Tensor]


def paths(story: Any, size: int) -> Data:
    """Draw boxes that move as the paper's do."""
    seed = int(torch.randint(2**31, ()))
    return {"s": synthetic_trajectories(size, seed=seed)}


def detections(story: Any, size: int) -> Data:
    """Draw detections of two sources in 20 frames, three a frame, and near misses to start from."""
    frames = {
        "mask": torch.rand(size, 20, 3) < 0.9,
        "size": torch.ones(size, 20, 3, 4),
        "origin": torch.tensor([[0.0, 0, 0, 0], [2, 0, 0, 0]]).expand(size, 2, 4),
        "unit": torch.ones(size, 2, 4),
        "region": torch.tensor([[-5.0] * 4, [5.0] * 4]).expand(size, 2, 4),
    }
    nodes = poutine.trace(story).get_trace(None, **frames).nodes
    boxes = nodes["_RETURN"]["value"].reshape(size, 2, 20, 4)
    start = boxes + 0.02 * torch.randn_like(boxes)
    return {"o": nodes["o"]["value"], **frames, "start": start}


def modalities(story: Any, size: int) -> Data:
    """Tell rows of which a third lacks the first modality, and a third the last one."""
    data: Data = story(num_data=size)
    mask = torch.ones(size, len(data), dtype=torch.bool)
    mask[::3, 0] = False
    mask[1::3, -1] = False
    return data | {"mask": mask}


def conditioned(story: Any, size: int) -> Data:
    """Tell data of standard normal conditions."""
    c = torch.randn(size, story.condition_dim)
    return {"x": story(None, c), "c": c}


def pseudo_data(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make an encoder, and the prior of 50 learned data that shares it."""
    from ppl_models.networks import MLP
    from ppl_models.priors import VampPrior

    sizes = settings.get("data_dim", 64), settings.get("hidden_dim", 128)
    encoder = MLP(*sizes, 2 * settings.get("latent_dim", 8))
    bounds = (0.0, 1.0) if settings.get("likelihood") == "bernoulli" else None
    return {"encoder": encoder, "prior": VampPrior(encoder, torch.rand(50, sizes[0]), bounds)}


def source_prior(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the prior of one source, and its guide."""
    from guides.dvae import SRNNGuide
    from ppl_models.dvae import SRNN, Motion

    data_dim = settings.get("data_dim", 4)
    prior = SRNN(data_dim, likelihood=Motion(data_dim, increments=True))
    return {"prior": prior, "source_guide": SRNNGuide(prior)}


def widths(data: Data) -> dict[str, Any]:
    """Say what modalities there are: all that is no mask."""
    masks = ("mask", "seen")
    return {"modalities": {n: x.shape[-1] for n, x in data.items() if n not in masks}}
