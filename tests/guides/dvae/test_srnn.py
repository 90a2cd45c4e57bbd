"""The guide of SRNN reads as far as its form allows, and owns what is its own."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from guides.dvae.deepar import DeepARGuide
from guides.dvae.srnn import SRNNGuide
from inference.checking.report import check
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.srnn import SRNN
from ppl_models.errors import InputError
from tests.sequences import chain_of


def pair(increments: bool = False, causal: bool = True) -> tuple[SRNN, SRNNGuide]:
    torch.manual_seed(0)
    motion = Motion(increments=increments, unit=0.1, floor=0.05)
    model = SRNN(likelihood=motion).double()
    return model, SRNNGuide(model, causal=causal).double()


def path(model: nn.Module, size: int = 3, length: int = 7) -> Tensor:
    with torch.no_grad():
        return model(size=size, length=length)


def score(guide: SRNNGuide, z: Tensor, *data: Tensor) -> Tensor:
    trace = poutine.trace(poutine.condition(guide, {"z": z})).get_trace(*data)
    trace.compute_log_prob()
    return trace.nodes["z"]["log_prob"]


def elbo(model: nn.Module, guide: nn.Module, *data) -> Tensor:
    return -Trace_ELBO().differentiable_loss(model, guide, *data)


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("increments", [True, False])
def test_encoder_all_at_once_is_its_recursion(increments: bool, causal: bool) -> None:
    model, guide = pair(increments, causal)
    s = path(model)
    chain = chain_of(guide, s)
    z = chain.draw(torch.Size((3,)))
    recursed, at_once = chain.moments(z), chain.moments(z.detach().clone())  # not the cached draw
    for a, b in zip(recursed, at_once, strict=True):
        assert a is not b and torch.allclose(a, b, rtol=1e-5)
    # at t = 1 the gradients agree as well; later, the recursion's also goes through its draws
    weight = guide.encoder.context.weight
    firsts = [m[0][:, 0].sum() for m in (recursed, at_once)]
    first = [torch.autograd.grad(each, weight, retain_graph=True)[0] for each in firsts]
    assert torch.allclose(*first)


@pytest.mark.parametrize("increments", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_z_reads_the_path_as_far_as_its_form_allows(causal: bool, increments: bool) -> None:
    model, guide = pair(increments, causal)
    s, z = path(model, size=1).requires_grad_(), torch.randn(1, 7, 4, dtype=torch.float64)
    for t in (2, 5):
        mean = chain_of(guide, s).moments(z)[0]
        (grad,) = torch.autograd.grad(mean[0, t].sum(), s)
        reached = (grad[0] != 0).any(-1)
        assert torch.equal(reached, torch.arange(7) <= (t if causal else 7))


@pytest.mark.parametrize("causal", [True, False])
def test_model_and_guide_own_disjoint_parameters(causal: bool) -> None:
    model, guide = pair(causal=causal)
    assert not {id(p) for p in model.parameters()} & {id(p) for p in guide.parameters()}
    assert all(name.startswith(("encoder", "backward")) for name in guide.state_dict())
    elbo(model, guide, path(model)).backward()
    for module in (model, guide):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module.parameters())


def test_h_read_by_the_guide_gives_the_model_the_same_elbo_and_gradient() -> None:
    model, guide = pair()
    s = path(model)
    results = []
    for handed_over in (True, False):
        torch.manual_seed(5)
        model.zero_grad()
        if not handed_over:
            model.leave = lambda *left: None  # type: ignore[method-assign]
        value = elbo(model, guide, s)
        value.backward()
        results.append((value, [p.grad.clone() for p in model.parameters()]))
    assert torch.allclose(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert torch.allclose(a, b)


@pytest.mark.parametrize("causal", [True, False])
def test_a_padded_batch_equals_one_by_one(causal: bool) -> None:
    model, guide = pair(increments=True, causal=causal)
    s, mask = path(model), torch.arange(7) < torch.tensor([[7], [4], [1]])
    poisoned = torch.where(mask[..., None], s, torch.tensor(float("nan"), dtype=s.dtype))
    z = torch.randn(3, 7, 4, dtype=torch.float64)
    scores = score(guide, z, poisoned, mask)
    for row, length in enumerate((7, 4, 1)):
        alone = score(guide, z[row : row + 1, :length], s[row : row + 1, :length])
        assert torch.allclose(scores[row], alone[0])
    elbo(model, guide, poisoned, mask).backward()
    assert all(torch.isfinite(p.grad).all() for m in (model, guide) for p in m.parameters())


def test_many_draws_at_once_are_draws_one_by_one() -> None:
    model, guide = pair()
    s = path(model)

    def draws(run: nn.Module, *data: Tensor) -> Tensor:
        with pyro.plate("draws", 5, dim=-2):
            return run(*data)

    guided = poutine.trace(draws).get_trace(guide, s)
    trace = poutine.trace(poutine.replay(draws, guided)).get_trace(model, s)
    trace.compute_log_prob()
    assert guided.nodes["z"]["value"].shape == (5, 3, 7, 4)
    assert trace.nodes["s"]["log_prob"].shape == (5, 3)
    alone = poutine.condition(model, {"z": guided.nodes["z"]["value"][2]})
    alone = poutine.trace(alone).get_trace(s)
    alone.compute_log_prob()
    assert torch.allclose(alone.nodes["s"]["log_prob"], trace.nodes["s"]["log_prob"][2])


def test_the_bounds_agree_and_the_analytic_one_varies_less() -> None:
    model, guide = pair(increments=True)
    s = path(model, size=2_000)
    with torch.no_grad():
        plain = [Trace_ELBO().differentiable_loss(model, guide, s) for _ in range(24)]
        analytic = [TraceMeanField_ELBO().differentiable_loss(model, guide, s) for _ in range(24)]
    plain, analytic = torch.stack(plain), torch.stack(analytic)
    error = ((plain.var() + analytic.var()) / 24).sqrt()
    assert (plain.mean() - analytic.mean()).abs() < 4.5 * error
    assert analytic.var() < plain.var()


def test_training_raises_the_bound_and_bounds_stay_below_the_importance_estimate() -> None:
    model, guide = pair(increments=True)
    truth = SRNN(likelihood=Motion(increments=True, unit=0.1, floor=0.05)).double()
    s = path(truth, size=64, length=8)
    optimizer = torch.optim.Adam([*model.parameters(), *guide.parameters()], lr=1e-2)
    before = elbo(model, guide, s).item()
    for _ in range(60):
        optimizer.zero_grad()
        (-elbo(model, guide, s)).backward()
        optimizer.step()
    assert elbo(model, guide, s).item() > before

    def weights(draws: int) -> Tensor:
        with torch.no_grad(), pyro.plate("draws", draws, dim=-2):
            guided = poutine.trace(guide).get_trace(s)
            trace = poutine.trace(poutine.replay(model, guided)).get_trace(s)
        trace.compute_log_prob()
        guided.compute_log_prob()
        sites = trace.nodes
        joint = sites["z"]["log_prob"] + sites["s"]["log_prob"]
        return joint - guided.nodes["z"]["log_prob"]

    log_weights = weights(400)
    bounds = [
        (log_weights.reshape(-1, k, 64).logsumexp(1) - torch.tensor(k).log()).mean()
        for k in (1, 20, 400)
    ]
    assert bounds[0] < bounds[1] < bounds[2]


@pytest.mark.parametrize("increments", [True, False])
@pytest.mark.parametrize("causal", [True, False])
def test_the_pair_passes_the_check(causal: bool, increments: bool) -> None:
    model, guide = pair(increments, causal)
    mask = torch.arange(7) < torch.tensor([[7], [7], [4]])
    report = check(model, guide, path(model), mask)
    shapes = {row.name: (row.batch_shape, row.event_shape) for row in report.sites}
    assert shapes == {"z": ((3,), (7, 4)), "s": ((3,), (7, 4))}


@pytest.mark.parametrize("increments", [True, False])
def test_the_pair_without_latents_passes_the_check(increments: bool) -> None:
    model = DeepAR(likelihood=Motion(increments=increments, inertia=increments))
    report = check(model, DeepARGuide(model), path(model))
    assert [row.name for row in report.sites] == ["s"]


def test_guides_say_what_they_need() -> None:
    model, guide = pair()
    with pytest.raises(InputError, match="simulate with the model"):
        guide()
    with pytest.raises(InputError, match="paths, frames, 4"):
        guide(torch.zeros(3, 4))
    assert DeepARGuide(DeepAR())(torch.zeros(1, 2, 4)) is None


@pytest.mark.parametrize("causal", [True, False])
def test_an_encoder_reads_what_its_model_has_read(causal: bool) -> None:
    """Free running, the model reads its own frames; z_t is the encoder's mean at that h_t."""
    torch.manual_seed(0)
    model = SRNN(3, 2, likelihood="gaussian").double().eval()
    guide = SRNNGuide(model, causal=causal, input_dim=4).double().eval()
    s, mask = torch.randn(2, 6, 3).double(), torch.arange(6) < torch.tensor([[6], [4]])
    with torch.no_grad(), model.free_running():
        z = poutine.trace(guide.path).get_trace(s, mask, 0.0).nodes["z"]["value"]
    with torch.no_grad():
        forced = poutine.trace(guide.path).get_trace(s, mask, 0.0).nodes["z"]["value"]
        own = model.likelihood.point(model.closed_loop(z))
        for frames, path in ((own, z), (s, forced)):
            h = model.read(model.teacher_forced_past(frames, path))
            context = guide.context(model.features(s, mask), mask)
            before = torch.cat([torch.zeros(2, 1, 2).double(), path[:, :-1]], 1)
            mean = guide.encoder(context, torch.cat([before, h], -1))[0]
            assert torch.allclose(mean[mask], path[mask])
    assert torch.allclose(z[:, 0], forced[:, 0]) and not torch.allclose(z[:, 1], forced[:, 1])
