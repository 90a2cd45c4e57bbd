"""What a model is tried on and built from: simulated data, sizes, and parts."""

from __future__ import annotations

from collections.abc import Mapping
from math import isqrt
from typing import Any

import torch
from pyro import poutine
from torch import Tensor

from ppl_models.data.balls import bouncing_balls
from ppl_models.data.trajectories import synthetic_trajectories
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power

Data = dict[str, Tensor]
MOST_TOKENS = 1_000_000
"""Of a vocabulary that follows from the data: each has its row in the tables of a network."""


def vectors(model: Any, size: int) -> Data:
    """Draw rows ``x`` from the model."""
    return {"x": model(size=size)}


def tables(model: Any, size: int) -> Data:
    """Draw rows ``x``, the first whole, and a mask: the model's, or one that hides three in ten."""
    nodes = poutine.trace(model).get_trace(size=size).nodes
    x = nodes["x"]["value"]
    mask = nodes["mask"]["value"] > 0 if "mask" in nodes else torch.rand(x.shape) < 0.7
    mask[0] = True  # every column has a value
    return {"x": x, "mask": mask}


def sequences(model: Any, size: int) -> Data:
    """Draw sequences ``s`` from the model, all of its parts in their mode of evaluation."""
    return {"s": model.eval()(size=size)}


def boxes(model: Any, size: int) -> Data:
    """Draw boxes that move as those of MixDVAE's paper do."""
    seed = int(torch.randint(2**31, ()))
    return {"s": synthetic_trajectories(size, seed=seed)}


def videos(model: Any, size: int) -> Data:
    """Draw clips of 8 frames, 16 x 16, of a ball that bounces: the models need a first frame."""
    seed = int(torch.randint(2**31, ()))
    return {"s": bouncing_balls(size, length=8, seed=seed).pictures}


def detections(model: Any, size: int) -> Data:
    """Draw detections of two sources in 20 frames, three a frame, and near misses to start from."""
    frames = _frames(size, 20)
    nodes = poutine.trace(model).get_trace(None, **frames).nodes
    return {"o": nodes["o"]["value"], **frames, "start": _near_misses(nodes)}


def scenes(model: Any, size: int) -> Data:
    """Draw detections, with scores, of two objects that come and go within 4 frames."""
    frames = _frames(size, 4)
    nodes = poutine.trace(model).get_trace(None, **frames).nodes
    o, score, count = (
        torch.cat([nodes[f"{name}_{t}"]["value"] for t in range(4)], 1)
        for name in ("o", "score", "count")
    )
    found = {"mask": torch.arange(3) < count}
    return {"o": o, **frames, **found, "score": score, "start": _near_misses(nodes)}


def _frames(size: int, length: int) -> Data:
    """Return all data of a mixture of two sources but the detections, three a frame."""
    return {
        "mask": torch.rand(size, length, 3) < 0.9,
        "size": torch.ones(size, length, 3, 4),
        "origin": torch.tensor([[0.0, 0, 0, 0], [2, 0, 0, 0]]).expand(size, 2, 4),
        "unit": torch.ones(size, 2, 4),
        "region": torch.tensor([[-5.0] * 4, [5.0] * 4]).expand(size, 2, 4),
    }


def _near_misses(nodes: Any) -> Tensor:
    """Return paths (B, N, T, D) near those of a trace."""
    boxes = nodes["_RETURN"]["value"]
    return boxes + 0.02 * torch.randn_like(boxes)


def sounds(model: Any, size: int) -> Data:
    """Draw bins of 4 frames from the model."""
    return {"s": model(size=size, length=4)}


def owned_bins(model: Any, size: int) -> Data:
    """Draw recordings of 4 frames, each bin of one source, and powers to start from."""
    given = {"size": torch.ones(size, 4, model.bins)}
    o, start = _recorded(model, size, given)
    return {"o": o.transpose(-1, -2).flatten(-2), **given, "start": start}


def sums(model: Any, size: int) -> Data:
    """Draw recordings of 4 frames, and the sources' powers to start from."""
    o, start = _recorded(model, size, {"size": size, "length": 4})
    return {"o": o, "start": start}


def _recorded(model: Any, rows: int, given: Data | dict[str, int]) -> tuple[Tensor, Tensor]:
    nodes = poutine.trace(model).get_trace(None, **given).nodes
    paths = [nodes[f"{name}/s"]["value"].reshape(rows, 4, -1) for name in model.names]
    return nodes["o"]["value"], torch.stack([bin_power(s) for s in paths], 1) + 0.1


def noisy_speech(model: Any, size: int) -> Data:
    """Draw noisy recordings of 4 frames."""
    return {"x": model(size=size, length=4)}


def start_from_frames(pair: Any, data: Data) -> None:
    """Start a model of sequences from the frames of its data."""
    pair[0].start_from(data["s"], data.get("mask"), data.get("observed"))


def start_from_powers(pair: Any, data: Data) -> None:
    """Start a model of bins from the powers of its data."""
    pair[0].start_from(bin_power(data["s"]), data.get("mask"))


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


def walker(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the prior of one object of a video, and its guide."""
    from guides import LinearMotionGuide
    from ppl_models import LinearMotion

    prior = LinearMotion()
    return {"prior": prior, "source_guide": LinearMotionGuide(prior)}


def sound_sources(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make the parts of a recording, a DVAE and NMF, and their guides."""
    from guides.audio import NMFGuide
    from ppl_models.audio import NMF

    bins = settings.get("bins", 5)
    (voice, voice_guide), tune = _voice(bins), NMF(bins)
    parts = {"voice": voice, "tune": tune}
    return {"parts": parts, "guides": {"voice": voice_guide, "tune": NMFGuide(tune)}}


def speech_and_noise(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Make a DVAE of speech with its guide, and neural noise."""
    from ppl_models.audio import NOLVNoise

    bins = settings.get("bins", 5)
    speech, guide = _voice(bins)
    noise = NOLVNoise(bins, speech.latent_dim, recurrent_dim=4, hidden_dim=4)
    return {"speech": speech, "speech_guide": guide, "noise": noise}


def _voice(bins: int) -> tuple[Any, Any]:
    from guides.dvae import RVAEGuide
    from ppl_models.dvae import RVAE
    from ppl_models.likelihoods import ComplexBins

    model = RVAE(2 * bins, 2, recurrent_dim=4, likelihood=ComplexBins(bins))
    return model, RVAEGuide(model, recurrent_dim=4)


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


def frame_shape(data: Data) -> dict[str, Any]:
    """Return channels and sides of the square frames of videos s (B, T, D): grey, or in colour.

    Raises
    ------
    InputError
        D is the number of pixels of neither.
    """
    count = data["s"].shape[-1]
    for channels in (1, 3):
        side = isqrt(count // channels)
        if channels * side**2 == count > 0:
            return {"frame_shape": (channels, side, side)}
    cure = "ppl_models.data.float_frames(resize_frames(frames, 32)), or `ppl fit-video`"
    expected = "those of square frames, grey or in colour: 1024, 3072"
    raise InputError("s", f"{count} numbers a frame", expected, cure)


def conditioned_widths(data: Data) -> dict[str, Any]:
    """Return the sizes of data and condition."""
    return {"data_dim": data["x"].shape[-1], "condition_dim": data["c"].shape[-1]}
