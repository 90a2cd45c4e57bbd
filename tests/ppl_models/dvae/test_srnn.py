"""SRNN and DeepAR of the path of an object: one site a sequence scores what one a frame would."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Normal

from guides.dvae.deepar import DeepARGuide
from guides.dvae.srnn import SRNNGuide
from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.conditionals import FrameConditionals
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.srnn import SRNN
from ppl_models.errors import InputError

BOTH = [SRNN, DeepAR]


def make(kind: type[DynamicalVAE], increments: bool = False) -> Any:
    torch.manual_seed(0)
    motion = Motion(increments=increments, unit=0.1, inertia=increments, floor=0.05)
    return kind(likelihood=motion).double()  # type: ignore[call-arg]


def scored(model: nn.Module, *data, z: Tensor | None = None, **options) -> poutine.Trace:
    given = {} if z is None else {"z": z}
    trace = poutine.trace(poutine.condition(model, given)).get_trace(*data, **options)
    trace.compute_log_prob()
    return trace


def moments(trace: poutine.Trace, site: str, value: Tensor | None = None) -> tuple[Tensor, Tensor]:
    fn, value = trace.nodes[site]["fn"], trace.nodes[site]["value"] if value is None else value
    if site == "z":
        return fn.moments(value)
    frames = fn.distribution(value).base_dist
    return frames.loc, frames.scale


def drawn(model: nn.Module, size: int = 3, length: int = 7) -> tuple[Tensor, Tensor | None]:
    nodes = scored(model, size=size, length=length).nodes
    return nodes["s"]["value"].detach(), nodes["z"]["value"].detach() if "z" in nodes else None


def score_by_frame(model: Any, s: Tensor, z: Tensor | None) -> Tensor:
    """The joint density (B,), one frame after another, straight from the equations."""
    motion, total = model.likelihood, torch.zeros(len(s), dtype=s.dtype)
    state = model.recurrence.start(s.shape[:-2], s)
    move = torch.zeros_like(s[..., 0, :])
    last_z = None if z is None else torch.zeros_like(z[..., 0, :])
    for t in range(s.shape[-2]):
        state = model.recurrence.step(model.reader(move), state)
        z_t = None if z is None else z[..., t, :]
        if z is not None:
            total = total + Normal(*model.prior(state[0], last_z)).log_prob(z_t).sum(-1)
        raw = model.emission(state[0], z_t)
        mean, scale = raw[..., :4], (raw[..., 4:].exp() + 0.05**2).sqrt()
        now, before = s[..., t, :], s[..., max(t - 1, 0), :]
        if motion.increments:
            unit = motion.unit
            move = (now - before) / unit
            share, keep = motion.inertia.rates()
            carried = sum(
                (1 - keep) * keep ** (t - 1 - k) * (s[..., k, :] - s[..., k - 1, :])
                for k in range(1, t)
            )
            mean, scale = before + unit * mean + share * carried, unit * scale
            if t == 0:
                mean, scale = torch.zeros_like(mean), torch.full_like(scale, 0.5)
        else:
            move = now
        total, last_z = total + Normal(mean, scale).log_prob(now).sum(-1), z_t
    return total


def joint(model: Any, s: Tensor, z: Tensor | None) -> Tensor:
    trace = scored(model, s, z=z)
    return sum(site["log_prob"] for site in trace.nodes.values() if "log_prob" in site)


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("model_class", BOTH)
@pytest.mark.parametrize("length", [1, 2, 9])
def test_all_at_once_equals_frame_by_frame(model_class, increments: bool, length: int) -> None:
    model = make(model_class, increments)
    s, z = drawn(model, length=length)
    values, grads = [], []
    for score in (joint, score_by_frame):
        s_in = s.clone().requires_grad_()
        z_in = None if z is None else z.clone().requires_grad_()
        model.zero_grad()
        value = score(model, s_in, z_in)
        value.sum().backward()
        values.append(value)
        inputs = [s_in, *model.parameters(), *([] if z_in is None else [z_in])]
        # with increments, a single frame reads no network: no gradient is a gradient of zero
        grads.append([torch.zeros_like(x) if x.grad is None else x.grad for x in inputs])
    assert torch.allclose(values[0], values[1], rtol=1e-5, atol=1e-5)
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("model_class", BOTH)
def test_simulations_are_scored_and_repeat(model_class, increments: bool) -> None:
    model = make(model_class, increments)
    torch.manual_seed(1)
    s, z = drawn(model)
    torch.manual_seed(1)
    again, _ = drawn(model)
    assert s.shape == (3, 7, 4) and torch.equal(s, again)
    assert torch.isfinite(joint(model, s, z)).all()


def test_draws_follow_the_density() -> None:
    """Standardised by its own conditionals, a simulated path is white noise."""
    model = make(SRNN, increments=True)
    s, z = drawn(model, size=4_000, length=5)
    trace = scored(model, s, z=z)
    for name, value in (("z", z), ("s", s)):
        mean, scale = moments(trace, name)
        e = ((value - mean) / scale).flatten(1).detach()
        n = len(e)
        assert e.mean(0).abs().max() < 4.5 / n**0.5
        assert (e.var(0) - 1).abs().max() < 4.5 * (2 / n) ** 0.5
        off = torch.corrcoef(e.T) - torch.eye(e.shape[1])
        assert off.abs().max() < 5 / n**0.5


def reach(value: Callable[[Tensor], Tensor], at: Tensor, frame: int) -> Tensor:
    """Which frames of `at` (1, T, .) the first row of moments of `frame` depends on: (T,)."""
    at = at.clone().requires_grad_()
    (grad,) = torch.autograd.grad(value(at)[0, frame].sum(), at, allow_unused=True)
    return torch.zeros(at.shape[1]).bool() if grad is None else (grad[0] != 0).any(-1)


@pytest.mark.parametrize("increments", [False, True])
def test_conditionals_see_exactly_the_allowed_past(increments: bool) -> None:
    model = make(SRNN, increments)
    s, z = drawn(model, size=1)
    frames = torch.arange(7)

    def of_site(site: str, s: Tensor, z: Tensor) -> Tensor:
        trace = poutine.trace(poutine.condition(model, {"z": z})).get_trace(s)
        return torch.cat(moments(trace, site), -1)

    for t in (2, 5):
        for site in ("z", "s"):
            past = reach(lambda x, site=site: of_site(site, x, z), s, t)
            assert torch.equal(past, frames < t)
        assert torch.equal(reach(lambda x: of_site("z", s, x), z, t), frames == t - 1)
        assert torch.equal(reach(lambda x: of_site("s", s, x), z, t), frames == t)


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("model_class", BOTH)
def test_a_batch_equals_one_by_one_and_padding_is_never_read(model_class, increments: bool) -> None:
    model = make(model_class, increments)
    s, z = drawn(model)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    poisoned = torch.where(mask[..., None], s, torch.tensor(float("nan"), dtype=s.dtype))
    poisoned.requires_grad_()
    trace = scored(model, poisoned, mask, z=z)
    total = sum(site["log_prob"] for site in trace.nodes.values() if "log_prob" in site)
    for row, length in enumerate((7, 4, 1)):
        own = None if z is None else z[row, None, :length]
        alone = joint(model, s[row : row + 1, :length], own)
        assert torch.allclose(total[row], alone[0])
    total.sum().backward()
    assert torch.isfinite(poisoned.grad).all() and torch.all(poisoned.grad[~mask] == 0)
    grads = [p.grad for p in model.parameters()]
    assert all(torch.isfinite(g).all() for g in grads)


def test_shapes_follow_the_plates_around_a_path() -> None:
    """As in a mixture: sequences at -3, sources at -1, and draws outside."""
    model = make(SRNN)

    def mixture() -> tuple[Tensor, Tensor]:
        plates = pyro.plate("draws", 5, dim=-4), pyro.plate("sequence", 2, dim=-3)
        with plates[0], plates[1], pyro.plate("source", 3, dim=-1):
            return model.path(6)

    trace = scored(mixture)
    for site in ("z", "s"):
        assert trace.nodes[site]["value"].shape == (5, 2, 1, 3, 6, 4)
        assert trace.nodes[site]["log_prob"].shape == (5, 2, 1, 3)
    values = {name: trace.nodes[name]["value"] for name in ("z", "s")}
    again = poutine.trace(poutine.condition(mixture, values)).get_trace()
    assert torch.allclose(again.log_prob_sum(), trace.log_prob_sum())
    alone = joint(model, values["s"][3, 1, :, 2], values["z"][3, 1, :, 2])
    assert torch.allclose(
        alone, trace.nodes["z"]["log_prob"][3, 1, :, 2] + trace.nodes["s"]["log_prob"][3, 1, :, 2]
    )


@pytest.mark.parametrize("model_class", BOTH)
def test_without_conditioning_the_same_call_simulates_afresh(model_class) -> None:
    model = make(model_class)
    s = torch.full((3, 7, 4), 100.0, dtype=torch.float64)
    trace = poutine.trace(poutine.uncondition(model)).get_trace(s)
    assert trace.nodes["s"]["value"].shape == s.shape
    assert trace.nodes["s"]["value"].abs().max() < 50
    assert torch.isfinite(trace.log_prob_sum())


def test_z_replayed_and_s_free_is_the_posterior_predictive() -> None:
    """s is then drawn from prod_t p(s_t | s_{1:t-1}, z_t) at that z, on its own past."""
    model = make(SRNN)
    z = torch.randn(1, 5, 4, dtype=torch.float64).expand(4_000, 5, 4)
    trace = scored(model, size=4_000, length=5, z=z)
    mean, scale = moments(trace, "s")
    e = ((trace.nodes["s"]["value"] - mean) / scale).detach()
    assert e.mean(0).abs().max() < 4.5 / 4_000**0.5
    assert (e.var(0) - 1).abs().max() < 4.5 * (2 / 4_000) ** 0.5


def test_z_cannot_be_scored_before_s_has_a_value() -> None:
    distribution = FrameConditionals(make(SRNN), 5).latent()
    with pytest.raises(RuntimeError, match="once s has a value"):
        distribution.log_prob(distribution.rsample())


@pytest.mark.parametrize(("model_class", "size"), [(SRNN, 1540 - 480), (DeepAR, 748)])
def test_the_paper_s_sizes(model_class, size: int) -> None:
    model = model_class()
    assert sum(p.numel() for p in model.parameters()) == size
    if model_class is SRNN:
        assert sum(p.numel() for p in SRNNGuide(model).parameters()) == 480


def with_guide(model: Any, s: Tensor, probability: float, guide: nn.Module) -> poutine.Trace:
    model.sampling_probability = probability
    torch.manual_seed(3)
    guided = poutine.trace(guide).get_trace(s)
    trace = poutine.trace(poutine.replay(model, guided)).get_trace(s)
    trace.compute_log_prob()
    return trace


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("model_class", BOTH)
def test_scheduled_sampling_reads_generated_frames_in_training_only(
    model_class, increments
) -> None:
    model = make(model_class, increments)
    guide = (SRNNGuide(model) if model_class is SRNN else DeepARGuide(model)).double()
    s, _ = drawn(model)
    for training in (True, False):
        model.train(training)
        forced, free = (with_guide(model, s, p, guide).log_prob_sum().item() for p in (0.0, 0.7))
        assert (abs(forced - free) > 1e-6) == training


@pytest.mark.parametrize("increments", [False, True])
def test_at_probability_one_nothing_of_the_truth_is_read(increments: bool) -> None:
    model = make(DeepAR, increments)
    s, _ = drawn(model)
    means = [
        moments(with_guide(model, x, 1.0, DeepARGuide(model)), "s")[0]
        for x in (s, s + torch.randn_like(s))
    ]
    assert torch.allclose(*means)


def test_scheduled_z_and_its_density_come_from_the_mixed_h() -> None:
    """Guide and model agree on h: z scored again at the h the guide left gives its own moments."""
    model = make(SRNN)
    guide = SRNNGuide(model).double()
    s, _ = drawn(model)
    model.sampling_probability = 0.5
    guided = poutine.trace(guide).get_trace(s)
    z, kept = guided.nodes["z"]["value"], moments(guided, "z")
    left = model.take(z, s)
    h = left.h
    assert not torch.allclose(h, model.read(model.teacher_forced_past(s, z)))
    before = torch.cat([0 * z[:, :1], z[:, :-1]], 1)
    for a, b in zip(kept, guide.encoder(s, torch.cat([before, h], -1)), strict=True):
        assert torch.allclose(a, b)
    model.leave(left)
    trace = poutine.trace(poutine.replay(model, guided)).get_trace(s)
    assert torch.allclose(moments(trace, "s")[0], model.emission(h, z)[..., :4])


def test_an_estimate_of_the_past_is_read_in_place_of_it() -> None:
    model = make(SRNN, increments=True)
    s, z = drawn(model)
    assert torch.allclose(
        scored(model, s, None, s.clone(), z=z).log_prob_sum(), scored(model, s, z=z).log_prob_sum()
    )
    past = s + 0.01 * torch.randn_like(s)
    mean, _ = moments(scored(model, s, None, past, z=z), "s")
    around, _ = moments(scored(model, past, z=z), "s")
    assert torch.allclose(mean, around)


def test_networks_may_read_an_estimate_and_the_likelihood_the_path_itself() -> None:
    model = make(DeepAR, increments=True)
    s, _ = drawn(model)
    past = s + 0.01 * torch.randn_like(s)
    found = moments(scored(model, s, None, past, from_past=False), "s")
    nothing = s.new_zeros(3, 7, 0)
    h = model.read(model.teacher_forced_past(past, nothing))
    raw = model.outputs(h, nothing, model.teacher_forced_past(s, nothing))
    wanted = model.likelihood(raw).base_dist
    assert torch.allclose(found[0], wanted.loc) and torch.allclose(found[1], wanted.scale)
    assert not torch.allclose(found[0], moments(scored(model, s, None, past), "s")[0])


def test_wrong_data_says_so() -> None:
    with pytest.raises(InputError, match="paths, frames, 4"):
        SRNN()(torch.zeros(5, 4))
