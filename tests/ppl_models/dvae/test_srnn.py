"""SRNN and DeepAR: one site a sequence tells what one site a frame would."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn
from torch.distributions import Normal

from guides.dvae.srnn import DeepARGuide, SRNNGuide
from ppl_models.dvae.srnn import DVAE, SRNN, DeepAR, SamplingSchedule, ToldPath
from ppl_models.errors import InputError

STORIES = [SRNN, DeepAR]


def make(story: type[DVAE], increments: bool = False, **options) -> DVAE:
    torch.manual_seed(0)
    return story(
        increments=increments, unit=0.1, inertia=increments, floor=0.05, **options
    ).double()


def told(model: nn.Module, *data, z: Tensor | None = None, **options) -> poutine.Trace:
    given = {} if z is None else {"z": z}
    trace = poutine.trace(poutine.condition(model, given)).get_trace(*data, **options)
    trace.compute_log_prob()
    return trace


def drawn(model: nn.Module, size: int = 3, length: int = 7) -> tuple[Tensor, Tensor | None]:
    nodes = told(model, size=size, length=length).nodes
    return nodes["s"]["value"].detach(), nodes["z"]["value"].detach() if "z" in nodes else None


def score_by_frame(model: DVAE, s: Tensor, z: Tensor | None) -> Tensor:
    """The joint density (B,), one frame after another, straight from the equations."""
    state, total = model.recurrence.start(s.shape[:-2], s), torch.zeros(len(s), dtype=s.dtype)
    move = torch.zeros_like(s[..., 0, :])
    last_z = None if z is None else torch.zeros_like(z[..., 0, :])
    for t in range(s.shape[-2]):
        state = model.recurrence.step(model.reader(move), state)
        z_t = None if z is None else z[..., t, :]
        if z is not None:
            total = total + Normal(*model.prior(state[0], last_z)).log_prob(z_t).sum(-1)
        mean, scale = model.emission(state[0], z_t)
        now, before = s[..., t, :], s[..., max(t - 1, 0), :]
        if model.motion.increments:
            unit = model.motion.unit
            move = (now - before) / unit
            share, keep = model.motion.kept()
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


def joint(model: DVAE, s: Tensor, z: Tensor | None) -> Tensor:
    trace = told(model, s, z=z)
    return sum(site["log_prob"] for site in trace.nodes.values() if "log_prob" in site)


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("story", STORIES)
@pytest.mark.parametrize("length", [1, 2, 9])
def test_all_at_once_equals_frame_by_frame(story, increments: bool, length: int) -> None:
    model = make(story, increments)
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
@pytest.mark.parametrize("story", STORIES)
def test_simulations_are_scored_and_repeat(story, increments: bool) -> None:
    model = make(story, increments)
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
    trace = told(model, s, z=z)
    for name, value in (("z", z), ("s", s)):
        mean, scale = trace.nodes[name]["fn"].moments(trace.nodes[name]["value"])
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

    def moments(site: str, s: Tensor, z: Tensor) -> Tensor:
        trace = poutine.trace(poutine.condition(model, {"z": z})).get_trace(s)
        return torch.cat(trace.nodes[site]["fn"].moments(trace.nodes[site]["value"]), -1)

    for t in (2, 5):
        for site in ("z", "s"):
            past = reach(lambda x, site=site: moments(site, x, z), s, t)
            assert torch.equal(past, frames < t)
        assert torch.equal(reach(lambda x: moments("z", s, x), z, t), frames == t - 1)
        assert torch.equal(reach(lambda x: moments("s", s, x), z, t), frames == t)


@pytest.mark.parametrize("increments", [False, True])
@pytest.mark.parametrize("story", STORIES)
def test_a_batch_equals_one_by_one_and_padding_is_never_read(story, increments: bool) -> None:
    model = make(story, increments)
    s, z = drawn(model)
    mask = torch.arange(7) < torch.tensor([[7], [4], [1]])
    poisoned = torch.where(mask[..., None], s, torch.tensor(float("nan"), dtype=s.dtype))
    poisoned.requires_grad_()
    trace = told(model, poisoned, mask, z=z)
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

    trace = told(mixture)
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


@pytest.mark.parametrize("story", STORIES)
def test_without_conditioning_the_same_call_simulates_afresh(story) -> None:
    model = make(story)
    s = torch.full((3, 7, 4), 100.0, dtype=torch.float64)
    trace = poutine.trace(poutine.uncondition(model)).get_trace(s)
    assert trace.nodes["s"]["value"].shape == s.shape
    assert trace.nodes["s"]["value"].abs().max() < 50
    assert torch.isfinite(trace.log_prob_sum())


def test_z_replayed_and_s_free_is_the_posterior_predictive() -> None:
    """s is then drawn from prod_t p(s_t | s_{1:t-1}, z_t) at that z, on its own past."""
    model = make(SRNN)
    z = torch.randn(1, 5, 4, dtype=torch.float64).expand(4_000, 5, 4)
    trace = told(model, size=4_000, length=5, z=z)
    mean, scale = trace.nodes["s"]["fn"].moments(trace.nodes["s"]["value"])
    e = ((trace.nodes["s"]["value"] - mean) / scale).detach()
    assert e.mean(0).abs().max() < 4.5 / 4_000**0.5
    assert (e.var(0) - 1).abs().max() < 4.5 * (2 / 4_000) ** 0.5


def test_z_cannot_be_scored_before_s_is_told() -> None:
    distribution = ToldPath(make(SRNN), 5).latent()
    with pytest.raises(RuntimeError, match="once s is told"):
        distribution.log_prob(distribution.rsample())


@pytest.mark.parametrize(("story", "size"), [(SRNN, 1540 - 480), (DeepAR, 748)])
def test_the_paper_s_sizes(story, size: int) -> None:
    model = story()
    assert sum(p.numel() for p in model.parameters()) == size
    if story is SRNN:
        assert sum(p.numel() for p in SRNNGuide(model).parameters()) == 480


def test_scheduled_sampling_follows_the_paper_s_schedule() -> None:
    schedule = SamplingSchedule(200, 1000)
    assert [schedule(k) for k in (0, 200, 600, 1000, 9999)] == [0, 0, 0.5, 1, 1]
    model = make(SRNN)
    model.set_step(600)
    assert model.sampling_probability == 0
    model.sampling = schedule
    model.set_step(600)
    assert model.sampling_probability == 0.5


def scheduled(model: DVAE, s: Tensor, probability: float, guide: nn.Module) -> poutine.Trace:
    model.sampling_probability = probability
    torch.manual_seed(3)
    guided = poutine.trace(guide).get_trace(s)
    trace = poutine.trace(poutine.replay(model, guided)).get_trace(s)
    trace.compute_log_prob()
    return trace


@pytest.mark.parametrize("story", STORIES)
def test_scheduled_sampling_reads_made_up_pasts_in_training_only(story) -> None:
    model = make(story)
    guide = (SRNNGuide(model) if story is SRNN else DeepARGuide(model)).double()
    s, _ = drawn(model)
    for training in (True, False):
        model.train(training)
        forced, rolled = (scheduled(model, s, p, guide).log_prob_sum().item() for p in (0.0, 0.7))
        assert (abs(forced - rolled) > 1e-6) == training


def test_at_probability_one_nothing_of_the_truth_is_read() -> None:
    model = make(DeepAR)
    s, _ = drawn(model)
    distributions = [scheduled(model, x, 1.0, DeepARGuide(model)).nodes["s"] for x in (s, s + 1.0)]
    means = [site["fn"].moments(site["value"])[0] for site in distributions]
    assert torch.allclose(*means)


def test_scheduled_z_and_its_density_come_from_the_mixed_h() -> None:
    """Guide and story agree on h: z scored again at the h the guide left gives its own moments."""
    model = make(SRNN)
    guide = SRNNGuide(model).double()
    s, _ = drawn(model)
    model.sampling_probability = 0.5
    guided = poutine.trace(guide).get_trace(s)
    z, distribution = guided.nodes["z"]["value"], guided.nodes["z"]["fn"]
    h = model.take_h(z, s)
    assert h is not None and not torch.allclose(h, model.read_moves(s))
    mean, scale = guide.encoder(guide.context(h, s), torch.cat([0 * z[:, :1], z[:, :-1]], 1))
    assert torch.allclose(distribution.moments(z)[0], mean) and torch.allclose(
        distribution.moments(z)[1], scale
    )
    model.leave_h(z, s, h)
    trace = poutine.trace(poutine.replay(model, guided)).get_trace(s)
    assert torch.allclose(trace.nodes["s"]["fn"].moments(s)[0], model.emission(h, z)[0])


def test_samples_that_are_read_are_detached_and_the_state_is_not() -> None:
    model = make(DeepAR)
    model.sampling_probability = 1.0
    moves = torch.randn(2, 5, 4, dtype=torch.float64)
    h, _ = model.read_scheduled((2,), moves, lambda t, h, z: z)
    h[:, -1].sum().backward()
    assert model.recurrence.cell.weight_hh_l0.grad.abs().sum() > 0
    assert all(p.grad is None for p in model.emission.parameters())


def test_an_estimate_of_the_past_is_read_in_place_of_it() -> None:
    model = make(SRNN, increments=True)
    s, z = drawn(model)
    assert torch.allclose(
        told(model, s, None, s.clone(), z=z).log_prob_sum(), told(model, s, z=z).log_prob_sum()
    )
    past = s + 0.01 * torch.randn_like(s)
    trace = told(model, s, None, past, z=z)
    mean, _ = trace.nodes["s"]["fn"].moments(s)
    around, _ = told(model, past, z=z).nodes["s"]["fn"].moments(past)
    assert torch.allclose(mean, around)


def test_networks_may_read_an_estimate_and_add_to_the_path_itself() -> None:
    model = make(DeepAR, increments=True)
    s, _ = drawn(model)
    past = s + 0.01 * torch.randn_like(s)
    mean, scale = told(model, s, None, past, from_past=False).nodes["s"]["fn"].moments(s)
    net = model.emission(model.read_moves(model.motion.moves(past)))
    wanted = model.motion.place(net, s)
    assert torch.allclose(mean, wanted[0]) and torch.allclose(scale, wanted[1])
    assert not torch.allclose(mean, told(model, s, None, past).nodes["s"]["fn"].moments(s)[0])


def test_what_a_guide_left_is_used_once_and_never_stale() -> None:
    model = make(SRNN)
    s, z = drawn(model)
    h = model.read_moves(s)
    model.leave_h(z, s, h)
    assert model.take_h(z, s) is h and model.take_h(z, s) is None
    for cause in ("other z", "no graph", "a step since"):
        model.leave_h(z, s, h.detach() if cause == "no graph" else h)
        if cause == "a step since":
            with torch.no_grad():
                model.reader[0].weight += 0.1
        assert model.take_h(z.clone() if cause == "other z" else z, s) is None
    model.leave_h(z, s, h)
    assert copy.deepcopy(model).take_h(z, s) is None


def test_wrong_data_says_so() -> None:
    with pytest.raises(InputError, match="paths, frames, 4"):
        SRNN()(torch.zeros(5, 4))
