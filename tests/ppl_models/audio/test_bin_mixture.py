from __future__ import annotations

import itertools
import math

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import InverseGamma, Normal

from inference.objectives.objective import Objective
from inference.vem import Mixture, responsibilities, vem
from ppl_models.audio import BinMixture, loudness
from tests.clips import Nothing
from tests.sounds import F, KnownVariances, T, given

ENUM = Objective("enum")


class Known(nn.Module):
    """A source whose bins (B, T, 2 F) are known beforehand: w, o and phi are left."""

    def __init__(self, s: Tensor) -> None:
        super().__init__()
        self.s, self.data_dim = nn.Parameter(s), s.shape[-1]

    def path(self, length: int, mask: Tensor | None = None) -> tuple[None, Tensor]:
        return None, self.s[:, None, None]


def brute_force(o: Tensor, paths: list[Tensor], size: Tensor, phi: float) -> Tensor:
    """log p(o | s), (B,): the sum over each and every w, recording by recording."""
    bins = size.shape[-1]
    result = []
    for b in range(len(o)):
        places = list(itertools.product(range(o.shape[1]), range(bins)))
        each = []
        for w in itertools.product(range(len(paths)), repeat=len(places)):
            total = torch.zeros(()).double()
            for n, (t, f) in zip(w, places, strict=True):
                place = Normal(paths[n][b, t, [f, f + bins]], math.sqrt(phi) * size[b, t, f])
                total = total + place.log_prob(o[b, t, [f, f + bins]]).sum()
            each.append(total - len(places) * math.log(len(paths)))
        result.append(torch.stack(each).logsumexp(0))
    return torch.stack(result)


def tiny(sources: int = 2) -> tuple[Tensor, list[Tensor], Tensor]:
    """Two recordings of 2 frames and 2 bins: 2^4 or 3^4 assignments."""
    o = torch.randn(2, 2, 4).double()
    return o, [torch.randn_like(o) for _ in range(sources)], torch.rand(2, 2, 2).double() + 0.5


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_the_sum_over_w_is_exact(sources: int) -> None:
    o, paths, size = tiny(sources)
    parts = {str(n): Known(s) for n, s in enumerate(paths)}
    model = BinMixture(parts, noise=0.3, noise_strength=None).double()
    expected = brute_force(o, paths, size, 0.3)
    assert torch.allclose(ENUM.bound(model, Nothing(), (o,), {"size": size}), expected, atol=1e-9)
    mask = torch.tensor([[True, True], [True, False]])
    hidden = torch.where(mask[..., None], o, math.nan)
    found = ENUM.bound(model, Nothing(), (hidden, mask), {"size": size})
    first = [s[1:, :1] for s in paths]
    assert torch.allclose(found[0], expected[0], atol=1e-9)
    assert torch.allclose(found[1:], brute_force(o[1:, :1], first, size[1:, :1], 0.3), atol=1e-9)


def test_so_is_its_gradient() -> None:
    o, paths, size = tiny()
    model = BinMixture({"a": Known(paths[0]), "b": Known(paths[1])}, noise=0.3, noise_strength=None)
    loss = ENUM.loss(model.double(), Nothing(), (o,), {"size": size}, step=0)
    found = torch.autograd.grad(loss, list(model.parameters()))
    paths = [s.requires_grad_() for s in paths]
    expected = torch.autograd.grad(-brute_force(o, paths, size, 0.3).mean(), paths)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other, atol=1e-9) and other.abs().min() > 0


def test_a_bin_is_noisy_by_its_loudness() -> None:
    """The default noise has variance phi (|o|^2 + a little), the paper's phi |o|^2."""
    o, paths, _ = tiny()
    size = loudness(o)
    power = o[..., :2] ** 2 + o[..., 2:] ** 2
    assert torch.allclose(2 * size**2, power + 1e-6)
    model = BinMixture({"a": Known(paths[0])}, noise_strength=None).double()
    start = torch.rand(2, 1, 2, 2).double()  # for guides alone
    given = ({}, {"size": size, "start": start})
    one, other = (ENUM.bound(model, Nothing(), (o,), data) for data in given)
    assert torch.allclose(one, other)


# Variational EM on the same design ----------------------------------------------------------------


def mixture_of(model: BinMixture, o: Tensor, size: Tensor, *, learn: bool) -> Mixture:
    return Mixture(
        **model.detections(o, None, size), phi=model.noise, phi_strength=20.0, learn_phi=learn
    )


def setting(sources: int = 3) -> tuple[BinMixture, Tensor, Tensor, Tensor]:
    model = BinMixture({str(n): given()[0] for n in range(sources)}, noise=0.05).double()
    o = torch.randn(2, T, 2 * F).double()
    v = torch.stack([part.v.detach() for _, part in model.named_parts()])
    return model, o, loudness(o), v  # v (N, T, F)


@pytest.mark.parametrize("sources", [1, 2, 3])
def test_vem_is_coordinate_ascent_by_the_paper_s_formulas(sources: int) -> None:
    """E-S: V = (eta / v_o + 1 / v)^-1, m = V eta o / v_o. E-W: complex, in logs."""
    model, o, size, v = setting(sources)
    mixture = mixture_of(model, o, size, learn=False)
    half = (v / 2).reshape(sources, T * F)[None, ..., None].expand(2, -1, -1, 2)
    start = torch.zeros(2, sources, T * F, 2).double()
    found = vem(mixture, start, KnownVariances(half), iterations=4)
    x = torch.complex(o[..., :F], o[..., F:])[:, None]
    noise = (2 * model.noise * size**2)[:, None]

    def shares(m: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
        logits = -noise.log() - ((x - m).abs() ** 2 + variance) / noise - math.log(math.pi)
        logits = logits - math.log(sources)
        return logits.softmax(1), logits.logsumexp(1).sum((-1, -2))

    typical = 2 * model.noise * (size**2).mean((1, 2))
    eta, _ = shares(0 * x, typical[:, None, None, None].expand(2, sources, T, F))
    for _ in range(4):
        variance = 1 / (eta / noise + 1 / v)
        m = variance * eta * x / noise
        eta, fit = shares(m, variance)
    rate = (variance / v + m.abs() ** 2 / v - 1 - (variance / v).log()).sum((1, 2, 3))
    assert torch.allclose(found.elbo, fit - rate, atol=1e-8)
    assert torch.allclose(found.mean[..., 0].reshape(2, sources, T, F), m.real, atol=1e-9)
    assert torch.allclose(found.mean[..., 1].reshape(2, sources, T, F), m.imag, atol=1e-9)
    assert torch.allclose(2 * found.variance[..., 0].reshape(2, sources, T, F), variance)
    assert torch.allclose(found.responsibilities[:, :, 0].mT.reshape(2, sources, T, F), eta)


@pytest.mark.parametrize("learn", [False, True])
def test_the_objective_never_falls_where_variances_are_fixed(learn: bool) -> None:
    model, o, size, v = setting()
    half = (v / 2).reshape(3, T * F)[None, ..., None].expand(2, -1, -1, 2)
    mixture = mixture_of(model, o, size, learn=learn)
    start = torch.randn(2, 3, T * F, 2).double()
    objective = vem(mixture, start, KnownVariances(half), iterations=30).objective
    assert (objective.diff(dim=0) > -1e-9).all() and (objective[-1] > objective[0]).all()


def test_vem_and_the_model_agree_on_w_and_phi() -> None:
    """At bins without doubt, E-W's fit is the exact density of the recording."""
    o, paths, size = tiny()
    parts = {str(n): Known(s) for n, s in enumerate(paths)}
    model = BinMixture(parts, noise=0.3).double()
    mean = torch.stack([s.unflatten(-1, (2, 2)).mT.reshape(2, 4, 2) for s in paths], 1)
    phi = torch.tensor([0.2, 0.5]).double()
    mixture = mixture_of(model, o, size, learn=True)
    _, fit = responsibilities(mixture, mean, 0 * mean, phi)
    known = poutine.condition(model, {"phi": phi[:, None, None]})
    found = []
    for b in range(2):
        row = slice(b, b + 1)
        paths_of_row = [s[row] for s in paths]
        found.append(brute_force(o[row], paths_of_row, size[row], phi[b].item()))
    assert torch.allclose(fit, torch.cat(found), atol=1e-9)
    trace = poutine.trace(known).get_trace(o, None, size)
    trace.compute_log_prob()
    prior = InverseGamma(torch.tensor(10.0), torch.tensor(10 * 0.3)).log_prob(phi)
    assert torch.allclose(trace.nodes["phi"]["log_prob"].reshape(2), prior)


def test_detections_leave_out_padded_frames() -> None:
    model, o, size, _ = setting(2)
    mask = torch.arange(T) < torch.tensor([[T], [1]])
    data = model.detections(torch.where(mask[..., None], o, math.nan), mask, size)
    assert data["mask"].sum() == (T + 1) * F and data["o"].isfinite().all()
    assert data["o"].shape == (2, T * F, 1, 2) and data["origin"].shape == (2, 2, 2)
    assert torch.equal(data["o"][0, F + 1, 0], o[0, 1, [1, F + 1]])
