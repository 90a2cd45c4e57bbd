r"""MixDVAE, a mixture of dynamical VAEs: N paths, observed as unlabelled detections and clutter.

.. math::
    p(o, w, s, z) = \prod_n p(s_n, z_n) \; \prod_{t,k} p(w_{tk}) \, p(o_{tk} \mid w_{tk}, s_t)

::

    for n in 1..N:      z_n, s_n ~ prior                        a dynamical VAE, or linear motion
    for t, k:           w_tk ~ Categorical                      1/N each, less the share of clutter
                        o_tk ~ N(origin_n + unit_n s_tn, phi size_tk^2)   n = w_tk
                        o_tk ~ Uniform(region)                            w_tk = clutter

=======  =====================================  =============
site     batch shape (plates)                   event shape
=======  =====================================  =============
``phi``  (B, 1, 1)  sequence                    ()
``z``    (B, 1, N)  sequence, source            (T, L)
``s``    (B, 1, N)  sequence, source            (T, D)
``w``    (B, T, K)  sequence, frame, detection  ()
``o``    (B, T, K)  sequence, frame, detection  (D)
=======  =====================================  =============

The prior of the sources is a part: any model with ``path(length)`` that samples ``z`` and ``s`` (or
``s`` alone) in the enclosing plates. Each source has coordinates of its own, origin_n + unit_n s_n,
so that a prior of motion is independent of the image. ``w`` is enumerated and summed exactly.

Reference: X. Lin, L. Girin, X. Alameda-Pineda, "Mixture of dynamical variational autoencoders for
multi-source trajectory modeling and separation", TMLR 2023 (seeds 000 and 001); clutter class and
the pooled noise phi are ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any

import pyro
import pyro.distributions as dist
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor, nn

from ppl_models.errors import InputError


class MixDVAE(nn.Module):
    """A mixture of N paths, observed as K_t detections a frame.

    Parameters
    ----------
    prior : nn.Module
        Model of one source's path: `SRNN`, `DeepAR`, `LinearMotion`, or a user's own.
    clutter_weight : float
        p(w = clutter), in [0, 1); 0 leaves the clutter class out.
    phi : float
        Detection noise: a detection's standard deviation is sqrt(phi) size.
    phi_strength : float, optional
        nu of the prior phi ~ InverseGamma(nu / 2, nu phi / 2), one phi a sequence; None fixes it.
    """

    def __init__(
        self,
        prior: nn.Module,
        *,
        clutter_weight: float = 0.1,
        phi: float = 0.04**2,
        phi_strength: float | None = 20.0,
    ) -> None:
        super().__init__()
        if not 0 <= clutter_weight < 1:
            raise InputError("clutter_weight", str(clutter_weight), "0 <= weight < 1", "pass 0.1")
        self.prior = prior
        self.clutter_weight, self.phi, self.phi_strength = clutter_weight, phi, phi_strength

    @property
    def data_dim(self) -> int:
        """D, numbers of a detection: those of a frame of the prior's paths.

        Raises
        ------
        InputError
            The prior does not have an attribute ``data_dim``.
        """
        dim = getattr(self.prior, "data_dim", None)
        if isinstance(dim, int):
            return dim
        cure = "give the prior its number of coordinates, self.data_dim = 4"
        raise InputError("prior", f"data_dim {dim!r}", "a whole number", cure)

    def forward(
        self,
        o: Tensor | None,
        mask: Tensor,
        size: Tensor,
        origin: Tensor,
        unit: Tensor,
        region: Tensor,
        start: Tensor | None = None,
        exists: Tensor | None = None,
    ) -> Tensor:
        """Score B sequences; with ``o`` None, simulate them. Return the boxes (..., B, N, T, D).

        Parameters
        ----------
        o : Tensor or None
            (B, T, K, D) detections.
        mask : Tensor
            (B, T, K) bool: which of the K places hold a detection. Where it is False neither ``o``
            nor ``size`` is read.
        size : Tensor
            (B, T, K, D): a detection's standard deviation is sqrt(phi) size.
        origin, unit : Tensor
            (B, N, D): the sources' coordinates.
        region : Tensor
            (B, 2, D): lower and upper bounds of clutter.
        start : Tensor, optional
            (B, N, T, D): paths that the guide starts from; the model does not use them.
        exists : Tensor, optional
            (B, T) bool: a sequence's own frames, the first ones; the others are padding, and cost
            nothing. By default all are.

        Raises
        ------
        InputError
            Frames are padded, and the prior's ``path`` does not take a mask.
        """
        (batch, length, places, _), sources = size.shape, origin.shape[1]
        obs = None if o is None else torch.where(mask[..., None], o, 0.0)
        size = torch.where(mask[..., None], size, 1.0)
        with pyro.plate("sequence", batch, dim=-3):
            phi = sample_noise(self.phi, self.phi_strength, size)
            with pyro.plate("source", sources, dim=-1):
                path = self.prior.path
                _, s = path(length, **mask_for(path, exists))  # type: ignore[operator, arg-type]
            boxes = place(s.squeeze(-4), origin, unit)  # the frames are inside, not beside
            with pyro.plate("frame", length, dim=-2), pyro.plate("detection", places, dim=-1):
                shares = self._assignment(size, sources)
                w = pyro.sample("w", shares, infer={"enumerate": "parallel"})
                detection = Detection(w, boxes, phi.sqrt()[..., None] * size, region)
                pyro.sample("o", detection.mask(mask), obs=obs)
        return boxes

    def _assignment(self, like: Tensor, sources: int) -> dist.Categorical:
        """Return p(w): equal shares for the sources, then clutter, if there is any."""
        shares = like.new_full((sources,), (1 - self.clutter_weight) / sources)
        if self.clutter_weight:
            shares = torch.cat([shares, like.new_tensor([self.clutter_weight])])
        return dist.Categorical(shares)


def sample_noise(mode: float, strength: float | None, like: Tensor) -> Tensor:
    """Sample phi ~ InverseGamma(nu / 2, nu mode / 2) of B sequences ``like`` (B, ...): (B, 1, 1).

    With ``strength`` nu = None it is fixed at the mode of that (nearly).
    """
    number = like.new_tensor(mode)
    if strength is None:
        return number.expand(like.shape[0], 1, 1)
    half = like.new_tensor(strength / 2)
    return pyro.sample("phi", dist.InverseGamma(half, half * number))


def chosen(choices: Tensor, w: Tensor) -> Tensor:
    """Return choice w of each place: choices (..., N, D), w (...), enumerated or not -> (..., D).

    What ``choices`` lacks of the batch dims of w, or has as 1, is broadcast.
    """
    index = w[..., None, None]
    choices = choices[(None,) * (index.dim() - choices.dim())]
    index = index[(None,) * (choices.dim() - index.dim())]
    return torch.take_along_dim(choices, index, -2).squeeze(-2)


def mask_for(path: Callable[..., Any], exists: Tensor | None) -> dict[str, Tensor]:
    """Return what tells a part's ``path``, in the plates of a mixture, which frames exist.

    Nothing where all of ``exists`` (B, T) do; else a mask (B, 1, 1, T).

    Raises
    ------
    InputError
        Frames are padded, and ``path`` does not take a mask.
    """
    if exists is None or bool(exists.all()):
        return {}
    if "mask" not in signature(path).parameters:
        taken = ", ".join(signature(path).parameters)
        found, expected = f"padded frames, and path({taken})", "path(..., mask=None)"
        cure = "let path take mask (..., T) and leave other frames out, or pass clips of one length"
        raise InputError("exists", found, expected, cure)
    return {"mask": exists[:, None, None]}


def place(s: Tensor, origin: Tensor, unit: Tensor) -> Tensor:
    """Return boxes (..., B, N, T, D) of paths s (..., B, N, T, D) in coordinates (B, N, D)."""
    return origin[..., None, :] + unit[..., None, :] * s


class Detection(TorchDistribution):
    """One detection a place: of source w, Normal about its box; of none (w = N), uniform.

    Shapes: w (..., B, T, K), boxes (..., B, N, T, D), scale (..., B, T, K, D), region (B, 2, D).
    Event shape (D). Clutter lies in the region, which is not checked: a value outside has the same
    density.
    """

    arg_constraints: dict[str, constraints.Constraint] = {}
    support = constraints.independent(constraints.real, 1)

    def __init__(self, w: Tensor, boxes: Tensor, scale: Tensor, region: Tensor) -> None:
        sources = boxes.shape[-3]
        choices = boxes.transpose(-3, -2)[..., None, :, :]  # (..., B, T, 1, N, D)
        self.loc = chosen(choices, w.clamp(max=sources - 1))
        self.scale, self.clutter = scale, w == sources
        self.low, self.high = region[:, None, None].unbind(-2)
        super().__init__(self.loc.shape[:-1], self.loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Sequence[int], _instance: object = None) -> Detection:
        """Return the same distribution in each place of a larger batch."""
        new = self._get_checked_instance(Detection, _instance)
        for name in ("loc", "scale", "low", "high"):
            setattr(new, name, getattr(self, name).expand(*batch_shape, -1))
        new.clutter = self.clutter.expand(batch_shape)
        shape = torch.Size(batch_shape)
        super(Detection, new).__init__(shape, self.event_shape, validate_args=False)
        return new

    def sample(self, sample_shape: Sequence[int] = torch.Size()) -> Tensor:
        """Draw detections (sample_shape, batch, D)."""
        with torch.no_grad():
            loc = self.loc.expand(*sample_shape, *self.loc.shape)
            normal = loc + self.scale * torch.randn_like(loc)
            anywhere = self.low + (self.high - self.low) * torch.rand_like(loc)
            return torch.where(self.clutter[..., None], anywhere, normal)

    def log_prob(self, value: Tensor) -> Tensor:
        """Score detections (..., D)."""
        error = (value - self.loc) / self.scale
        normal = -0.5 * error**2 - self.scale.log() - 0.5 * math.log(2 * math.pi)
        anywhere = -(self.high - self.low).log()
        return torch.where(self.clutter[..., None], anywhere, normal).sum(-1)
