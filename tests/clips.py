"""Detections of several objects, made up: data of `MixDVAE` and files' worth of boxes to track."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyro
import pyro.distributions as dist
import torch
from numpy.typing import NDArray
from pyro import poutine
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from inference.vem import Mixture
from ppl_models.data.motchallenge import Boxes
from ppl_models.mixdvae import MixDVAE

FloatArray = NDArray[np.float64]
Data = dict[str, Tensor]


def frames(
    batch: int = 2, length: int = 5, places: int = 3, sources: int = 2, dims: int = 4
) -> Data:
    """All data of `MixDVAE` but the detections: sources 2 apart, clutter in [-5, 9]."""
    apart = 2.0 * torch.arange(sources)[:, None] * (torch.arange(dims) == 0)
    return {
        "mask": torch.rand(batch, length, places) < 0.8,
        "size": 0.5 + torch.rand(batch, length, places, dims).double(),
        "origin": apart.double().repeat(batch, 1, 1),
        "unit": 0.5 + torch.rand(batch, sources, dims).double(),
        "region": torch.tensor([-5.0, 9.0]).double()[None, :, None].repeat(batch, 1, dims),
    }


class Generated(NamedTuple):
    """Generated data, the sources' boxes (B, N, T, D), and the assignments w (B, T, K)."""

    data: Data
    boxes: Tensor
    w: Tensor


@torch.no_grad()
def generate(model: MixDVAE, **sizes: int) -> Generated:
    """Simulate clips; the start of the posterior is near the truth."""
    around = frames(**sizes)
    nodes = poutine.trace(model).get_trace(None, **around).nodes
    boxes = nodes["_RETURN"]["value"]
    start = boxes + 0.02 * torch.randn_like(boxes)
    data = {"o": nodes["o"]["value"], **around, "start": start}
    return Generated(data, boxes, nodes["w"]["value"])


def mixture(model: MixDVAE, data: Data) -> Mixture:
    """The same clips as `inference.vem` takes them."""
    region = data["region"]
    log_clutter = -(region[:, 1] - region[:, 0]).log().sum(-1)
    return Mixture(
        **{name: data[name] for name in ("o", "mask", "size", "origin", "unit")},
        log_clutter=log_clutter if model.clutter_weight else None,
        clutter_weight=model.clutter_weight,
        phi=model.phi,
        phi_strength=model.phi_strength or 20.0,
        learn_phi=model.phi_strength is not None,
    )


class Known(nn.Module):
    """Paths (B, N, T, D) known beforehand, as a prior: w, o and phi are left."""

    def __init__(self, paths: Tensor) -> None:
        super().__init__()
        self.paths, self.data_dim = nn.Parameter(paths), paths.shape[-1]

    def path(self, length: int) -> tuple[None, Tensor]:
        s = self.paths[:, None]
        pyro.sample("s", dist.Delta(s, event_dim=2), obs=s)
        return None, s


class Nothing(nn.Module):
    """A guide for a model with nothing left but what is summed."""

    def forward(self, *data: Tensor, **named: Tensor) -> None: ...


class White(nn.Module):
    """A user's own prior: every frame anywhere, on its own."""

    def __init__(self, dims: int = 4) -> None:
        super().__init__()
        self.data_dim = dims
        self.log_scale = nn.Parameter(torch.zeros(dims))

    def path(self, length: int) -> tuple[None, Tensor]:
        scale = self.log_scale.exp().expand(length, -1)
        return None, pyro.sample("s", dist.Normal(torch.zeros_like(scale), scale).to_event(2))


class WhiteGuide(nn.Module):
    """The guide of `White`: given s there is nothing left."""

    def path(self, s: Tensor) -> None: ...


class Clip(NamedTuple):
    """Detections, and the objects' true boxes (N, T, 4): left, top, width, height."""

    boxes: Boxes
    truth: FloatArray


def walkers(
    length: int = 20,
    objects: int = 3,
    *,
    seed: int = 0,
    noise: float = 0.03,
    drop: float = 0.0,
    gap: int = 0,
    clutter: float = 0.0,
    first: int = 1,
    name: str = "clip",
) -> Clip:
    """People who cross a street at constant speed, detected in a shuffled order.

    ``noise`` is a share of their size; ``drop`` of their detections are missing, and from each a
    stretch of ``gap`` frames; in a share ``clutter`` of frames there is one more box.
    """
    rng = np.random.default_rng(seed)
    height = rng.uniform(90, 130, objects)
    begin = np.stack([rng.uniform(100, 900, objects), 200 + 250 * np.arange(objects)], -1)
    speed = rng.uniform((-5, -1.5), (5, 1.5), (objects, 2))
    corner = begin[:, None] + speed[:, None] * np.arange(length)[:, None]
    size = np.stack([0.4 * height, height], -1)[:, None].repeat(length, 1)
    truth = np.concatenate([corner, size], -1)
    observed = truth + noise * np.tile(size, 2) * rng.standard_normal(truth.shape)
    observed[rng.random((objects, length)) < drop] = np.nan
    for n in range(objects if gap else 0):
        at = rng.integers(3, length - gap)
        observed[n, at : at + gap] = np.nan
    extra = rng.uniform((0, 0, 20, 60), (1000, 900, 80, 160), (length, 4))
    extra[rng.random(length) >= clutter] = np.nan
    places = np.concatenate([np.moveaxis(observed, 0, 1), extra[:, None]], 1)
    order = rng.permuted(np.tile(np.arange(places.shape[1]), (length, 1)), axis=1)
    places = np.take_along_axis(places, order[..., None], 1)
    return Clip(Boxes.from_padded(places, first, name), truth)


def shuffled(boxes: Boxes, seed: int = 0) -> Boxes:
    """The same boxes, those of a frame in another order."""
    order = np.random.default_rng(seed).permutation(len(boxes))
    parts = (boxes.frame[order], boxes.id[order], boxes.ltwh[order], boxes.score[order])
    return Boxes(*parts, boxes.name)


def overlap(tracks: FloatArray, truth: FloatArray) -> FloatArray:
    """IoU (N, T) of each true path with the track that is its own over the whole clip."""
    a, b = tracks[:, None], truth[None]
    low = np.maximum(a[..., :2], b[..., :2])
    high = np.minimum(a[..., :2] + a[..., 2:], b[..., :2] + b[..., 2:])
    common = np.clip(high - low, 0, None).prod(-1)
    each = common / (a[..., 2:].prod(-1) + b[..., 2:].prod(-1) - common)
    mine, theirs = linear_sum_assignment(-each.mean(-1))
    return each[mine, theirs][np.argsort(theirs)]
