"""The dynamical VAE family in small sizes, and what each conditional of it may read.

The words of `reads` are those of the table in docs/dynamical.md: ``"s_{1:t-1}, z_t, w"``.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.dvae.base import Chain
from guides.dvae.deepar import DeepARGuide
from guides.dvae.dkf import DKFGuide
from guides.dvae.dsae import DSAEGuide
from guides.dvae.frame_vae import FrameVAEGuide
from guides.dvae.rvae import RVAEGuide
from guides.dvae.srnn import SRNNGuide
from guides.dvae.storn import STORNGuide
from guides.dvae.transformer import HiTDVAEGuide, LigHTDVAEGuide
from guides.dvae.vrnn import VRNNGuide
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.dkf import DKF
from ppl_models.dvae.dsae import DSAE
from ppl_models.dvae.frame_vae import FrameVAE
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.rvae import RVAE
from ppl_models.dvae.srnn import SRNN
from ppl_models.dvae.storn import STORN
from ppl_models.dvae.transformer import HiTDVAE, LigHTDVAE
from ppl_models.dvae.vrnn import VRNN
from ppl_models.sequences import Moments

D, L, W = 3, 2, 2
RECURRENT: dict[str, Any] = {"input_dim": 5, "latent_dims": (4,), "recurrent_dim": 6}
SHORT: dict[str, Any] = {"emission_dims": (5,)}
ATTENTION: dict[str, Any] = {
    "global_dim": W,
    "dim": 8,
    "heads": 2,
    "num_layers": 2,
    "window": 4,
    "forget": 0.0,
}
LATENT_READER: dict[str, Any] = {
    "input_dim": 5,
    "recurrent_dim": 6,
    "latent_dims": (4,),
    "hidden_dims": (5,),
}
FEEDING: dict[str, Any] = {"input_dim": 5, "recurrent_dim": 6, **SHORT, "likelihood": "gaussian"}
LOOKING: dict[str, Any] = {"hidden_dims": (5,), "input_dim": 5, "backward_dim": 6}


@dataclass(frozen=True)
class Member:
    """A model with a guide, and what prior, emission and guide (of z, and of w) read."""

    title: str
    model: Callable[..., Any]
    guide: Callable[..., Any]
    prior: str
    emission: str
    posterior: str
    options: dict[str, Any] = field(default_factory=dict)
    guide_options: dict[str, Any] = field(default_factory=dict)

    def pair(self, likelihood: Any = None, **more: Any) -> tuple[Any, Any]:
        """Build the pair, in double precision, from the test's seed; nothing is forgotten."""
        chosen = copy.deepcopy(self.options) | more
        if likelihood is not None:
            chosen["likelihood"] = likelihood
        if self.latents:
            chosen = {"latent_dim": L} | chosen
        model = self.model(D, **chosen).double()
        return model, self.guide(model, **self.guide_options).double()

    @property
    def latents(self) -> bool:
        """Whether it has any."""
        return self.prior != "none"


FAMILY = (
    Member(
        "FrameVAE", FrameVAE, FrameVAEGuide, "nothing", "z_t", "s_t", SHORT, {"hidden_dims": (5,)}
    ),
    Member(
        "DKF",
        DKF,
        DKFGuide,
        "z_{t-1}",
        "z_t",
        "z_{t-1}, s_{t:T}",
        SHORT | {"transition_dim": 4},
        LATENT_READER,
    ),
    Member(
        "DKF, both_ways",
        DKF,
        DKFGuide,
        "z_{t-1}",
        "z_t",
        "z_{t-1}, s_{1:T}",
        SHORT | {"transition_dim": 4},
        LATENT_READER | {"both_ways": True},
    ),
    Member(
        "DKF, linear",
        DKF,
        DKFGuide,
        "z_{t-1}",
        "z_t",
        "z_{t-1}, s_{t:T}",
        {"linear": True},
        LATENT_READER,
    ),
    Member(
        "RVAE",
        RVAE,
        RVAEGuide,
        "nothing",
        "z_{1:t}",
        "z_{1:t-1}, s_{t:T}",
        {"recurrent_dim": 6},
        {"recurrent_dim": 6},
    ),
    Member(
        "RVAE, not causal",
        RVAE,
        RVAEGuide,
        "nothing",
        "z_{1:T}",
        "z_{1:t-1}, s_{1:T}",
        {"recurrent_dim": 6, "causal": False},
        {"recurrent_dim": 6, "hidden_dims": (5,)},
    ),
    Member(
        "DSAE",
        DSAE,
        DSAEGuide,
        "z_{1:t-1}",
        "z_t, v",
        "s_{1:T}, v",
        SHORT | {"global_dim": W, "recurrent_dim": 6},
        {"recurrent_dim": 6},
    ),
    Member(
        "STORN",
        STORN,
        STORNGuide,
        "nothing",
        "s_{1:t-1}, z_{1:t}",
        "s_{1:t}",
        RECURRENT | SHORT,
        {"input_dim": 5, "recurrent_dim": 6, "hidden_dims": (5,)},
    ),
    Member(
        "VRNN",
        VRNN,
        VRNNGuide,
        "s_{1:t-1}, z_{1:t-1}",
        "s_{1:t-1}, z_{1:t}",
        "z_{1:t-1}, s_{1:t}",
        RECURRENT,
    ),
    Member(
        "SRNN",
        SRNN,
        SRNNGuide,
        "s_{1:t-1}, z_{t-1}",
        "s_{1:t-1}, z_t",
        "z_{t-1}, s_{1:T}",
        FEEDING | {"prior_dims": (5,)},
        LOOKING | {"causal": False},
    ),
    Member(
        "SRNN, causal",
        SRNN,
        SRNNGuide,
        "s_{1:t-1}, z_{t-1}",
        "s_{1:t-1}, z_t",
        "z_{t-1}, s_{1:t}",
        FEEDING | {"prior_dims": (5,)},
        LOOKING,
    ),
    Member("DeepAR", DeepAR, DeepARGuide, "none", "s_{1:t-1}", "none", FEEDING),
    Member(
        "HiTDVAE",
        HiTDVAE,
        HiTDVAEGuide,
        "s_{1:t-1}, z_{1:t-1}, w",
        "s_{1:t-1}, z_{1:t}, w",
        "s_{1:T}, w",
        ATTENTION,
        {"num_layers": 2, "recurrent_dim": 6},
    ),
    Member(
        "LigHTDVAE",
        LigHTDVAE,
        LigHTDVAEGuide,
        "s_{1:t-1}, z_{1:t-1}, w",
        "s_{1:t-1}, z_{1:t}, w",
        "s_{1:T}, w",
        ATTENTION,
        {"num_layers": 2},
    ),
)
STEPS = {"likelihood": Motion(D, increments=True, inertia=True, unit=0.1, floor=0.05)}
MOVING = (  # a likelihood that reads the past beside what the networks read
    Member("SRNN of motion", SRNN, SRNNGuide, "", "", "", FEEDING | STEPS, LOOKING),
    Member("DeepAR of motion", DeepAR, DeepARGuide, "none", "", "", FEEDING | STEPS),
    Member("DKF of motion", DKF, DKFGuide, "", "", "", SHORT | STEPS, LATENT_READER),
)


def _each(name: str, members: Sequence[Member]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(name, members, ids=[m.title for m in members])


MODELS = tuple(m for m in FAMILY if m.title not in ("DKF, both_ways", "SRNN, causal"))
IN_TABLE = _each("member", MODELS)
LATENT_IN_TABLE = _each("member", [m for m in FAMILY if m.latents])
EACH = _each("member", (*FAMILY, *MOVING))
EACH_MODEL = _each("member", (*MODELS, *MOVING))
IN_TURN = _each(  # those whose frames do not wait for later latents
    "member", [m for m in (*MODELS, *MOVING) if "not causal" not in m.title]
)
LATENT = _each("member", [m for m in (*FAMILY, *MOVING) if m.latents])
AUTOREGRESSIVE = _each(
    "member", [m for m in (*MODELS, *MOVING) if m.model.autoregressive or m in MOVING]
)

# What is read -------------------------------------------------------------------------------------


def reads(words: str, name: str, length: int) -> Tensor:
    """Return (T, T): whether, by such words, the conditional at frame t reads frame u of a name."""
    t, u = torch.arange(length)[:, None], torch.arange(length)
    at = {"1": 0 * t, "t-1": t - 1, "t": t, "T": 0 * t + length - 1}
    allowed = torch.zeros(length, length, dtype=torch.bool)
    for symbol, subscript in re.findall(r"(\w)_(?:\{(.+?)\}|t)", words):
        if symbol == name:
            first, _, last = (subscript or "t").partition(":")
            allowed |= (at[first] <= u) & (u <= at[last or first])
    return allowed


def reached(outputs: tuple[Tensor, ...], read: Tensor) -> Tensor:
    """Return whether the gradient of outputs (1, T, .) at t reaches an input (1, T, .) at u.

    An input (1, W) of the whole sequence gives (T, 1).
    """
    rows = []
    for t in range(outputs[0].shape[1]):
        total = sum((out[0, t] * torch.randn_like(out[0, t])).sum() for out in outputs)
        grad = None
        if isinstance(total, Tensor) and total.requires_grad:
            (grad,) = torch.autograd.grad(total, read, retain_graph=True, allow_unused=True)
        found = torch.zeros_like(read) if grad is None else grad
        rows.append((found != 0).any(-1).reshape(-1))
    return torch.stack(rows)


# Paths and their scores ---------------------------------------------------------------------------


@torch.no_grad()
def paths(model: Any, size: int = 3, length: int = 7) -> dict[str, Tensor]:
    """Simulate: the values of all sites of a model."""
    nodes = poutine.trace(model).get_trace(size=size, length=length).nodes
    return {n: nodes[n]["value"] for n in ("w", "v", "z", "s") if n in nodes}


def scores(model: Any, values: dict[str, Tensor], mask: Tensor | None = None) -> dict[str, Tensor]:
    """Return the log densities (B,) of the sites of a model at these values."""
    latent = {name: value for name, value in values.items() if name != "s"}
    trace = poutine.trace(poutine.condition(model, latent)).get_trace(values["s"], mask)
    trace.compute_log_prob()
    return {name: trace.nodes[name]["log_prob"] for name in values}


def chain_of(
    guide: Any,
    s: Tensor,
    w: Tensor | None = None,
    mask: Tensor | None = None,
    noise: float = 1.0,
) -> Chain:
    """Return q(z | s, w) of a guide."""
    chain: Chain = guide.chain(s, guide.model.features(s, mask), w, mask, noise)
    return chain


def conditionals(model: Any, s: Tensor, z: Tensor, w: Tensor | None) -> tuple[Moments, Tensor]:
    """Return the prior's moments and the emission's outputs of a known sequence."""
    past = model.teacher_forced_past(s if model.autoregressive else None, z, w)
    h = model.read(past)
    moments = model.latent(h, past) if model.latent_dim else (z, z)
    return moments, model.outputs(h, z, past)


def ragged(s: Tensor, lengths: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Return s (B, T, D) with NaN from each row's length on, and its mask."""
    mask = torch.arange(s.shape[1]) < torch.tensor(lengths)[:, None]
    return torch.where(mask[..., None], s, torch.full_like(s, float("nan"))), mask


def global_of(values: dict[str, Tensor]) -> Tensor | None:
    """Return the global latent, where there is one."""
    return values.get("w", values.get("v"))


def gradients(module: Any, total: Tensor) -> list[Tensor]:
    """Return the gradient of a scalar in every parameter, zeros where it reaches none."""
    found = torch.autograd.grad(total, list(module.parameters()), allow_unused=True)
    return [torch.zeros(()) if grad is None else grad for grad in found]


def count(*modules: Any) -> int:
    """Return the number of parameters of modules."""
    return sum(p.numel() for module in modules for p in module.parameters())
