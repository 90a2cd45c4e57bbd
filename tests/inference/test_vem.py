"""Coordinate ascent against exact answers: smoothers, sums over all assignments, closed forms."""

from __future__ import annotations

import gc
import itertools
import math
import weakref
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.utils._python_dispatch import TorchDispatchMode

from guides.dvae.motion_filter import Evidence
from guides.linear_motion import LinearMotionGuide
from inference.vem import Mixture, Update, responsibilities, vem
from ppl_models.linear_motion import LinearMotion
from tests.dense import covariance


def motion(dim: int) -> LinearMotion:
    noise = (0.01,) * dim
    return LinearMotion((0.05,) * dim, noise, noise, (0.95,) * dim).double()


def smoother(model: LinearMotion, *, causal: bool = False) -> Update:
    guide = LinearMotionGuide(model, causal=causal)
    return lambda precision, weighted, path: guide.source_posterior(Evidence(precision, weighted))


def hard(seed: int, b: int = 3, n: int = 3, t: int = 9, k: int = 5, d: int = 2) -> Mixture:
    """Sources near each other, detections anywhere between them, a third of them masked."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    return Mixture(
        o=normal(b, t, k, d) * 0.3,
        mask=torch.rand(b, t, k, generator=draw) > 0.3,
        size=normal(b, t, k, d).exp(),
        origin=normal(b, n, d) * 0.2,
        unit=normal(b, n, d).exp(),
        log_clutter=normal(b) - 3,
        phi=0.1**2,
    )


def start_of(mixture: Mixture, seed: int = 0) -> Tensor:
    (b, t, _, d), n = mixture.o.shape, mixture.origin.shape[1]
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(b, n, t, d, generator=draw, dtype=torch.float64) * 0.3


def apart(n: int = 3, t: int = 8, d: int = 2, *, b: int = 1) -> tuple[Mixture, Tensor]:
    """Detection k is source k's beyond doubt: the sources are 100 apart. Return it, and a start."""
    origin = 100.0 * torch.arange(n, dtype=torch.float64)[:, None].expand(b, n, d)
    o = origin[:, None] + 0.2 * torch.randn(b, t, n, d, dtype=torch.float64)
    mask = torch.rand(b, t, n) > 0.25
    size = 1 + torch.rand(b, t, n, d, dtype=torch.float64)
    unit = 0.5 + torch.rand(b, n, d, dtype=torch.float64)
    mixture = Mixture(o, mask, size, origin, unit, phi=0.1**2, learn_phi=False)
    return mixture, origin[:, :, None].expand(b, n, t, d)


@pytest.mark.parametrize("learn_phi", [False, True])
@pytest.mark.parametrize("clutter", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_the_bound_never_falls(seed: int, clutter: bool, learn_phi: bool) -> None:
    mixture = hard(seed)._replace(learn_phi=learn_phi)
    if not clutter:
        mixture = mixture._replace(log_clutter=None)
    end = vem(mixture, start_of(mixture, seed), smoother(motion(2)), iterations=25)
    elbo = end.objective
    assert torch.equal(end.elbo, elbo[-1]) and not end.elbo_error.any()
    assert elbo.shape == (25, 3) and torch.isfinite(elbo).all()
    # doubles round sums of these sizes at 1e-13 or so
    assert (elbo.diff(dim=0) >= -1e-7 * elbo[1:].abs()).all()
    assert (elbo[-1] > elbo[0] + 1e-3).all()  # and it has something to do here


@pytest.mark.parametrize("causal", [False, True])
def test_known_assignments_give_the_exact_posterior(causal: bool) -> None:
    mixture, start = apart(b=2)
    model = motion(2)
    end = vem(mixture, start, smoother(model, causal=causal), iterations=2)
    for b, n, d in itertools.product(range(2), range(3), range(2)):
        observed = mixture.mask[b, :, n]
        noise = mixture.phi * mixture.size[b, :, n, d] ** 2
        prior = covariance(model, 8)[d, 8:, 8:] * mixture.unit[b, n, d] ** 2
        offset = mixture.o[b, :, n, d] - mixture.origin[b, n, d]
        for t in range(8) if causal else [7]:
            now = observed & (torch.arange(8) <= t)
            gain = prior[:, now] @ torch.linalg.inv(prior[now][:, now] + noise[now].diag())
            mean = mixture.origin[b, n, d] + gain @ offset[now]
            variance = (prior - gain @ prior[now]).diag()
            at = slice(t, t + 1) if causal else slice(None)
            assert torch.allclose(end.mean[b, n, at, d], mean[at], atol=1e-6)
            assert torch.allclose(end.variance[b, n, at, d], variance[at], rtol=1e-6)


def test_one_source_one_detection_and_causal_is_a_kalman_filter() -> None:
    """Matrices, as in the books; the mixture adds nothing with N = K = 1 and no clutter."""
    model, length = motion(1), 30
    o = torch.randn(1, length, 1, 1, dtype=torch.float64).cumsum(1)
    mask = torch.rand(1, length, 1) > 0.3
    ones = torch.ones(1, 1, 1, dtype=torch.float64)
    mixture = Mixture(o, mask, torch.ones_like(o), 0 * ones, ones, phi=0.2, learn_phi=False)
    end = vem(mixture, o[:, :, :, 0][:, None, :, :], smoother(model, causal=True), iterations=1)
    q0, qz, qs = 0.05**2, 0.01**2, 0.01**2
    move = torch.tensor([[1.0, 0.95], [0.0, 0.95]], dtype=torch.float64)
    noise = torch.tensor([[qs + qz, qz], [qz, qz]], dtype=torch.float64)
    mean, cov = torch.zeros(2, dtype=torch.float64), torch.diag(torch.tensor([1.0, q0])).double()
    for t in range(length):
        if t:
            mean, cov = move @ mean, move @ cov @ move.T + noise
        if mask[0, t, 0]:
            gain = cov[:, 0] / (cov[0, 0] + 0.2)
            mean, cov = mean + gain * (o[0, t, 0, 0] - mean[0]), cov - torch.outer(gain, cov[0])
        assert abs(end.mean[0, 0, t, 0] - mean[0]) < 1e-6
        assert abs(end.variance[0, 0, t, 0] - cov[0, 0]) < 1e-6


def log_evidence(mixture: Mixture, model: LinearMotion) -> Tensor:
    """Sum over all w of p(w) p(o | w), each a Gaussian density; one sequence."""
    (_, t, k, dim), n = mixture.o.shape, mixture.origin.shape[1]
    places = [(i, j) for i in range(t) for j in range(k) if mixture.mask[0, i, j]]
    clutter = mixture.log_clutter is not None
    weight = 1 - mixture.clutter_weight if clutter else 1.0
    priors, terms = covariance(model, t)[:, t:, t:], []
    for w in itertools.product(range(n + clutter), repeat=len(places)):
        term = torch.zeros((), dtype=torch.float64)
        for source in range(n):
            own = [p for p, choice in zip(places, w, strict=True) if choice == source]
            term = term + len(own) * math.log(weight / n)
            frame = torch.tensor([i for i, _ in own], dtype=torch.long)
            for d in range(dim if own else 0):
                o = torch.stack([mixture.o[0, i, j, d] for i, j in own])
                size = torch.stack([mixture.size[0, i, j, d] for i, j in own])
                unit, origin = mixture.unit[0, source, d], mixture.origin[0, source, d]
                cov = unit**2 * priors[d][frame][:, frame] + (mixture.phi * size**2).diag()
                term = term + MultivariateNormal(origin.expand(len(own)), cov).log_prob(o)
        if mixture.log_clutter is not None:
            each = mixture.log_clutter[0] + math.log(mixture.clutter_weight)
            term = term + w.count(n) * each
        terms.append(term)
    return torch.stack(terms).logsumexp(0)


@pytest.mark.parametrize(("t", "k", "n"), [(2, 2, 2), (3, 1, 2), (3, 2, 2), (2, 2, 1)])
@pytest.mark.parametrize("clutter", [False, True])
def test_the_bound_is_below_the_sum_over_all_assignments(
    t: int, k: int, n: int, clutter: bool
) -> None:
    gaps = []
    for seed in range(3):
        mixture = hard(seed, 1, n, t, k)._replace(learn_phi=False)
        if not clutter:
            mixture = mixture._replace(log_clutter=None)
        exact = log_evidence(mixture, motion(2))
        end = vem(mixture, start_of(mixture), smoother(motion(2)), iterations=30)
        gaps.append(float(exact - end.elbo[0]))
    assert min(gaps) > -1e-9
    if n == 1 and not clutter:  # one source and no clutter: nothing is unknown but the path
        assert max(gaps) < 1e-9
    else:
        assert max(gaps) > 1e-3  # q(w) q(s) is not the posterior where w is in doubt


def test_the_bound_is_the_evidence_where_assignments_are_certain() -> None:
    mixture, start = apart(n=2, t=2)
    end = vem(mixture, start, smoother(motion(2)), iterations=2)
    assert torch.allclose(end.elbo[0], log_evidence(mixture, motion(2)), rtol=1e-9)


class Apart(NamedTuple):
    """q(s) under a prior of standard normal places, each frame by itself."""

    mean: Tensor
    variance: Tensor
    rate: Tensor


def white(precision: Tensor, weighted: Tensor, path: Tensor) -> Apart:
    variance = 1 / (1 + precision)
    q = Normal(variance * weighted, variance.sqrt())
    prior = Normal(torch.zeros_like(variance), torch.ones_like(variance))
    return Apart(q.mean, variance, kl_divergence(q, prior).sum((-1, -2)))


def test_any_prior_of_sources_and_evidence_is_a_product_of_gaussians() -> None:
    """E-S is prior(s) prod_k N(o_k; s, Phi_k / eta_k); log densities differ by a constant."""
    mixture = hard(0)
    start = start_of(mixture)
    end = vem(mixture, start, white, iterations=1)
    phi = torch.full((3,), mixture.phi, dtype=torch.float64)
    observed = mixture.mask[..., None]
    typical = (observed * mixture.size**2).sum((1, 2)) / observed.sum((1, 2))
    doubt = (mixture.phi * typical)[:, None, None].expand_as(start)
    eta, _ = responsibilities(mixture, start, doubt, phi)
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)[:, None]  # five places of each box
    for b, n, t in itertools.product(range(3), range(3), range(9)):
        box = mixture.origin[b, n] + mixture.unit[b, n] * x
        log_density = Normal(0.0, 1.0).log_prob(x).expand(5, 2).clone()
        for k in torch.where(mixture.mask[b, t])[0]:
            scale = (mixture.phi * mixture.size[b, t, k] ** 2 / eta[b, t, k, n]).sqrt()
            log_density += Normal(box, scale).log_prob(mixture.o[b, t, k])
        q = Normal(end.mean[b, n, t], end.variance[b, n, t].sqrt())
        constant = log_density - q.log_prob(box)
        assert torch.allclose(constant, constant[:1].expand(5, 2), rtol=1e-9)
    elbo = vem(mixture, start, white, iterations=20).objective
    assert (elbo.diff(dim=0) >= -1e-7 * elbo[1:].abs()).all()


def test_draws_of_the_true_rate_give_the_bound_and_its_error() -> None:
    """The objective keeps update's own rate; draws are asked for once, with the last evidence."""
    mixture, given, asked = hard(2), [], []
    start = start_of(mixture)
    draws = torch.randn(50, 3, 3, dtype=torch.float64)
    draws[20:, 1] = torch.nan  # not made

    def update(*evidence: Tensor) -> Apart:
        given.append(evidence)
        return white(*evidence)

    def rate_draws(*evidence: Tensor) -> Tensor:
        asked.append(evidence)
        return white(*evidence).rate + 5.0 + draws

    plain = vem(mixture, start, white, iterations=4)
    end = vem(mixture, start, update, iterations=4, rate_draws=rate_draws)
    assert len(asked) == 1
    assert all(torch.equal(x, y) for x, y in zip(asked[0], given[-1], strict=True))
    assert torch.equal(end.objective, plain.objective)
    for i, made in enumerate((50, 20, 50)):
        total = draws[:made, i].sum(-1)
        assert torch.allclose(end.elbo[i], plain.elbo[i] - 15.0 - total.mean())  # 3 sources' 5
        assert torch.allclose(end.elbo_error[i], total.std() / made**0.5)


def test_the_update_sees_the_path_of_before_in_the_sources_frame() -> None:
    mixture, observed = hard(1), []
    start = start_of(mixture)

    def update(precision: Tensor, weighted: Tensor, path: Tensor) -> Apart:
        observed.append(path)
        return white(precision, weighted, path)

    first = vem(mixture, start, update, iterations=1)
    vem(mixture, start, update, iterations=2)
    origin, unit = mixture.origin[:, :, None], mixture.unit[:, :, None]
    assert torch.allclose(observed[0] * unit + origin, start)
    assert torch.allclose(observed[2] * unit + origin, first.mean)


def test_responsibilities_by_hand() -> None:
    mixture = hard(2)
    mean = start_of(mixture)
    variance, phi = mean.abs() + 0.1, torch.tensor([0.01, 0.02, 0.3], dtype=torch.float64)
    eta, fit = responsibilities(mixture, mean, variance, phi)
    total = torch.zeros(3, dtype=torch.float64)
    for b, t, k in itertools.product(range(3), range(9), range(5)):
        if not mixture.mask[b, t, k]:
            assert (eta[b, t, k] == 0).all()
            continue
        noise = phi[b] * mixture.size[b, t, k] ** 2
        log_prob = Normal(mean[b, :, t], noise.sqrt()).log_prob(mixture.o[b, t, k])
        log_prob = (log_prob - 0.5 * variance[b, :, t] / noise).sum(-1) + math.log(0.9 / 3)
        logits = torch.cat([log_prob, mixture.log_clutter[b, None] + math.log(0.1)])
        assert torch.allclose(eta[b, t, k], logits.softmax(0))
        total[b] += logits.logsumexp(0)
    assert torch.allclose(fit, total)


@pytest.mark.parametrize("clutter", [False, True])
def test_responsibilities_of_far_detections_in_float32(clutter: bool) -> None:
    mixture = hard(3)
    parts = {
        name: value.float() if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in mixture._asdict().items()
    }
    parts["o"] = parts["o"] + 1e4
    parts["log_clutter"] = parts["log_clutter"] if clutter else None
    far = Mixture(**parts)
    mean = start_of(mixture).float()
    eta, fit = responsibilities(far, mean, torch.ones_like(mean), torch.full((3,), 1e-4))
    rows = eta.sum(-1)
    assert torch.allclose(rows[mixture.mask], torch.ones(()), atol=1e-6)
    assert (eta[~mixture.mask] == 0).all() and torch.isfinite(fit).all()
    if clutter:
        assert (eta[..., -1][mixture.mask] == 1).all()


def test_what_is_masked_is_never_read() -> None:
    mixture = hard(4)
    start = start_of(mixture)
    wild = [torch.where(mixture.mask[..., None], x, torch.nan) for x in (mixture.o, mixture.size)]
    a = vem(mixture, start, smoother(motion(2)), iterations=4)
    b = vem(mixture._replace(o=wild[0], size=wild[1]), start, smoother(motion(2)), iterations=4)
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_nothing_observed_leaves_the_prior() -> None:
    mixture = hard(5)
    nothing = mixture._replace(mask=torch.zeros_like(mixture.mask))
    end = vem(nothing, start_of(mixture), smoother(motion(2)), iterations=3)
    assert torch.allclose(end.mean, mixture.origin[:, :, None].expand_as(end.mean))
    assert (end.responsibilities == 0).all()
    no_place = mixture._replace(
        o=mixture.o[:, :, :0], mask=mixture.mask[:, :, :0], size=mixture.size[:, :, :0]
    )
    none = vem(no_place, start_of(mixture), smoother(motion(2)), iterations=3)
    assert torch.allclose(none.mean, end.mean) and torch.allclose(none.elbo, end.elbo)


def test_order_of_detections_changes_only_that_of_eta() -> None:
    mixture = hard(6)
    order = torch.rand(mixture.mask.shape).argsort(-1)
    rows = order[..., None]
    shuffled = mixture._replace(
        o=mixture.o.take_along_dim(rows, 2),
        size=mixture.size.take_along_dim(rows, 2),
        mask=mixture.mask.take_along_dim(order, 2),
    )
    start = start_of(mixture)
    a, b = (vem(m, start, smoother(motion(2)), iterations=6) for m in (mixture, shuffled))
    for name in ("mean", "variance", "phi", "elbo", "objective"):
        assert torch.allclose(getattr(a, name), getattr(b, name), rtol=1e-8)
    assert torch.allclose(a.responsibilities.take_along_dim(rows, 2), b.responsibilities, rtol=1e-7)


def test_a_batch_is_its_sequences_one_by_one() -> None:
    mixture = hard(7)
    start = start_of(mixture)
    whole = vem(mixture, start, smoother(motion(2)), iterations=5)
    for i in range(3):
        tensors = {k: v[i : i + 1] for k, v in mixture._asdict().items() if isinstance(v, Tensor)}
        one = vem(mixture._replace(**tensors), start[i : i + 1], smoother(motion(2)), iterations=5)
        for name in ("mean", "variance", "responsibilities", "phi"):
            assert torch.allclose(getattr(whole, name)[i], getattr(one, name)[0], rtol=1e-8)
        assert torch.allclose(whole.objective[:, i], one.objective[:, 0])


def test_learned_noise_is_that_put_in() -> None:
    n, t, d, truth = 2, 100, 4, 0.05**2
    calm = LinearMotion((1e-3,) * d, (1e-4,) * d, (1e-4,) * d, (1.0,) * d).double()
    mixture, start = apart(n, t, d)
    s = calm(size=n, length=t).detach()[None]
    s = s - s[:, :, :1]
    noise = truth**0.5 * mixture.size * torch.randn_like(mixture.size)
    boxes = mixture.origin[:, :, None] + mixture.unit[:, :, None] * s
    mixture = mixture._replace(
        o=boxes.transpose(1, 2) + noise, phi=4 * truth, learn_phi=True, phi_strength=2.0
    )
    end = vem(mixture, start, smoother(calm), iterations=12)
    count = d * int(mixture.mask.sum())
    # the paths are all but straight, so nearly every observed coordinate informs of the noise
    assert abs(end.phi[0] / truth - 1) < 3 * math.sqrt(2 / count)


def test_learned_noise_is_the_mode_and_does_not_collapse() -> None:
    """A detection that stays where the path is says that the noise is small, never that it is 0."""
    o = torch.zeros(1, 25, 1, 2, dtype=torch.float64)
    ones = torch.ones(1, 1, 2, dtype=torch.float64)
    mixture = Mixture(o, torch.ones(1, 25, 1, dtype=torch.bool), 1 + o, 0 * ones, ones)
    start = torch.zeros(1, 1, 25, 2, dtype=torch.float64)
    end = vem(mixture, start, smoother(motion(2)), iterations=80)
    floor = mixture.phi_strength * mixture.phi / (50 + mixture.phi_strength + 2)
    assert floor < end.phi[0] < mixture.phi and torch.isfinite(end.elbo).all()
    # at a maximum over phi the gradient of the bound (q fixed) vanishes: by differences
    square = end.variance.sum()

    def bound(phi: Tensor) -> Tensor:
        half = mixture.phi_strength / 2
        prior = torch.distributions.InverseGamma(half, half * mixture.phi)
        return -25 * phi.log() - 0.5 * square / phi + prior.log_prob(phi)

    at = end.phi[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(bound(at), at)
    (scale,) = torch.autograd.grad(-25 * at.log(), at)
    assert abs(slope / scale) < 1e-5


def test_the_reported_bound_counts_the_prior_of_the_noise() -> None:
    mixture = hard(8)
    end = vem(mixture, start_of(mixture), white, iterations=3)
    _, fit = responsibilities(mixture, end.mean, end.variance, end.phi)
    half = mixture.phi_strength / 2
    prior = torch.distributions.InverseGamma(half, half * mixture.phi).log_prob(end.phi)
    unit, origin = mixture.unit[:, :, None], mixture.origin[:, :, None]
    q = Normal((end.mean - origin) / unit, end.variance.sqrt() / unit)
    rate = kl_divergence(q, Normal(0.0 * q.mean, 1.0)).sum((1, 2, 3))
    assert torch.allclose(end.elbo, fit - rate + prior)


@pytest.mark.parametrize("name", ["start", "mask", "size", "origin", "unit"])
def test_shapes_that_disagree_are_named(name: str) -> None:
    mixture = hard(0)
    start = start_of(mixture)
    if name == "start":
        start = start[..., :1]
    else:
        mixture = mixture._replace(**{name: getattr(mixture, name)[..., :1]})
    with pytest.raises(ValueError, match=rf"{name}: saw shape \(.*expected \("):
        vem(mixture, start, white)


def test_iterations_are_positive() -> None:
    with pytest.raises(ValueError, match="iterations"):
        vem(hard(0), start_of(hard(0)), white, iterations=0)


def test_nothing_is_differentiated() -> None:
    model = motion(2)
    assert not vem(hard(0), start_of(hard(0)), smoother(model), iterations=1).mean.requires_grad


class Peak(TorchDispatchMode):
    """Bytes of all tensors alive, at their most."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = 0
        self.known: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for x in out if isinstance(out, tuple | list) else [out]:
            if isinstance(x, Tensor):
                storage = x.untyped_storage()
                if storage._cdata not in self.known:
                    self.known.add(storage._cdata)
                    self.now += storage.nbytes()
                    weakref.finalize(storage, self._forget, storage._cdata, storage.nbytes())
        self.most = max(self.most, self.now)
        return out

    def _forget(self, key: int, count: int) -> None:
        self.known.discard(key)
        self.now -= count


@pytest.mark.slow
def test_memory_is_linear_in_frames_objects_and_places() -> None:
    """Each of T, N and K doubled in turn; then 1,000 frames, 20 objects and 40 detections."""

    def peak(t: int, n: int, k: int) -> int:
        o = torch.rand(1, t, k, 4)
        mask = torch.ones(1, t, k, dtype=torch.bool)
        origin = torch.rand(1, n, 4)
        mixture = Mixture(o, mask, torch.ones_like(o), origin, torch.ones(1, n, 4), torch.zeros(1))
        start = torch.rand(1, n, t, 4)
        gc.collect()  # so that the next collection falls in the same place whatever ran before
        with Peak() as memory:
            vem(mixture, start, smoother(LinearMotion()), iterations=1)
        return memory.most

    base = peak(250, 10, 20)
    assert base > 250 * 10 * 20 * 4
    for larger in ((500, 10, 20), (250, 20, 20), (250, 10, 40)):
        assert peak(*larger) < 2.1 * base
    assert peak(1_000, 20, 40) < 16 * 2.1 * base / 2  # four times T, twice N, twice K
