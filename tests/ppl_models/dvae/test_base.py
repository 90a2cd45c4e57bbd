"""Dynamical VAEs: each conditional reads the past it may, at once as frame by frame."""

from __future__ import annotations

import copy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import Normal

from ppl_models.distributions.sequences import normal_kl
from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.frame_vae import FrameVAE
from ppl_models.dvae.past import Memory, Past
from ppl_models.dvae.rvae import RVAE
from ppl_models.dvae.transformer import HiTDVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli
from ppl_models.likelihoods.discrete import Categorical
from ppl_models.likelihoods.spectra import ComplexGaussian
from ppl_models.networks import LSTM
from ppl_models.sequences import shift
from tests.sequences import (
    AUTOREGRESSIVE,
    EACH_MODEL,
    FAMILY,
    IN_TABLE,
    IN_TURN,
    MODELS,
    D,
    L,
    Member,
    conditionals,
    global_of,
    gradients,
    paths,
    reached,
    reads,
    scores,
)

TABLE = Path(__file__).parents[3] / "docs/dynamical.md"
WITH_W = ("w", "v")


# The factorisation --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "row"),  # of the third of five frames
    [
        ("z_t", "..1.."),
        ("z_{t-1}", ".1..."),
        ("z_{1:t-1}", "11..."),
        ("s_{t:T}", "....."),
        ("", ""),
    ],
)
def test_words_say_which_frames_are_read(words: str, row: str) -> None:
    allowed = reads(words, "z", 5)[2]
    assert allowed.tolist() == [mark == "1" for mark in row or "....."]
    assert not reads("z_{t-1}, s_t", "z", 5)[0].any()


@IN_TABLE
def test_every_conditional_reads_what_the_factorisation_allows(member: Member) -> None:
    """The gradient of prior and emission at t reaches frame u exactly where the table says so."""
    model, length = member.pair()[0].eval(), 7
    values = paths(model, 1, length)
    leaves = {name: value.clone().requires_grad_() for name, value in values.items()}
    z = leaves.get("z", values["s"].new_zeros(1, length, 0))
    prior, raw = conditionals(model, leaves["s"], z, global_of(leaves))
    for words, outputs in ((member.prior, prior), (member.emission, (raw,))):
        for name in ("s", "z"):
            if name in leaves and (words != "none"):
                expected = reads(words, name, length)
                assert torch.equal(reached(outputs, leaves[name]), expected), (words, name)
        for name in set(leaves) & set(WITH_W):
            assert reached(outputs, leaves[name]).all() == (name in words.split(", "))


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("title", ["HiTDVAE", "LigHTDVAE"])
def test_attention_reads_the_last_frames_only(title: str, layers: int) -> None:
    """n layers of windows of W reach n (W - 1) tokens back, and token t holds frame t - 1."""
    member = next(m for m in MODELS if m.title == title)
    model, length, window = member.pair(num_layers=layers, window=3)[0].eval(), 9, 3
    values = paths(model, 1, length)
    s, z = (values[name].clone().requires_grad_() for name in ("s", "z"))
    prior, _ = conditionals(model, s, z, values["w"])
    ago = torch.arange(length)[:, None] - torch.arange(length)
    expected = (ago >= 1) & (ago <= 1 + layers * (window - 1))
    assert torch.equal(reached(prior, s), expected) and torch.equal(reached(prior, z), expected)


def test_the_table_of_the_docs_is_the_one_tested_here() -> None:
    rows = {}
    for line in TABLE.read_text().splitlines():
        cells = [cell.strip().strip("`") for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) >= 4:
            rows[cells[0]] = tuple(cells[1:4])
    assert rows == {m.title: (m.prior, m.emission, m.posterior) for m in FAMILY}


# At once, and frame by frame ----------------------------------------------------------------------


def generated(model: Any, size: int, length: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Generate frame by frame; return the values, and the scores of its own steps."""
    w = torch.randn(size, model.global_dim).double() if model.global_dim else None
    priors: list[Tensor] = []

    def latent(t: int, h: Tensor | None, past: Past) -> Tensor:
        mean, scale = model.latent(h, past)
        z = (mean + scale * torch.randn_like(mean)).detach()
        priors.append(Normal(mean, scale).log_prob(z).sum((-2, -1)))
        return z

    drawn = model.rollout((size,), length, w, latent=latent)
    values, totals = {"s": drawn.s}, {"s": model.likelihood(drawn.raw).log_prob(drawn.s).sum(-1)}
    if model.latent_dim:
        values["z"], totals["z"] = drawn.z, sum(priors)
    if w is not None:
        values[model.global_site], totals[model.global_site] = w, Normal(0, 1).log_prob(w).sum(-1)
    return values, totals


@pytest.mark.parametrize("length", [1, 6])
@IN_TURN
def test_a_simulation_is_scored_at_once_as_by_its_own_steps(member: Member, length: int) -> None:
    model = member.pair()[0].eval()
    values, steps = generated(model, 3, length)
    at_once = scores(model, values)
    for name in values:
        assert torch.allclose(at_once[name], steps[name], rtol=1e-5), name
    both = zip(
        gradients(model, sum(at_once.values()).sum()),
        gradients(model, sum(steps.values()).sum()),
        strict=True,
    )
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-9) for a, b in both)


@IN_TURN
def test_each_frame_is_scored_as_the_last_one_of_its_prefix(member: Member) -> None:
    """A slow reference: every frame's terms, from a sequence that ends there."""
    model = member.pair()[0].eval()
    values, length = paths(model, length=6), 6
    per_sequence = ("s", "z") if model.latent_dim else ("s",)
    prefixes = [
        {n: v[:, :k] if n in per_sequence else v for n, v in values.items()}
        for k in range(1, length + 1)
    ]
    scored = [scores(model, prefix) for prefix in prefixes]
    for name in per_sequence:
        last = []
        for k, prefix in enumerate(prefixes):
            z = prefix.get("z", values["s"].new_zeros(3, k + 1, 0))
            moments, raw = conditionals(model, prefix["s"], z, global_of(values))
            distribution = Normal(*moments) if name == "z" else model.likelihood(raw)
            frames = distribution.log_prob(prefix[name])
            last.append((frames.sum(-1) if name == "z" else frames)[:, -1])
        assert torch.allclose(sum(last), scored[-1][name], rtol=1e-5)
        for term, (shorter, longer) in zip(last[1:], pairwise(scored), strict=True):
            assert torch.allclose(term, longer[name] - shorter[name], atol=1e-9)


@AUTOREGRESSIVE
def test_a_rollout_that_reads_the_truth_is_teacher_forcing(member: Member) -> None:
    model = member.pair()[0].eval()
    values = paths(model)
    z = values.get("z", values["s"].new_zeros(3, 7, 0))
    w = global_of(values)
    known = model.teacher_forced_past(values["s"], z)
    forced = model.rollout((3,), 7, w, z=z, forced=known, coins=[False] * 7).raw
    assert torch.allclose(forced, conditionals(model, values["s"], z, w)[1])


def test_frames_that_read_later_latents_cannot_be_rolled_out() -> None:
    model = RVAE(D, L, causal=False)
    with pytest.raises(RuntimeError, match="frames=False"):
        model.rollout((2,), 5)
    assert model.rollout((2,), 5, frames=False).z.shape == (2, 5, L)
    assert model(size=2, length=5).shape == (2, 5, D)


@EACH_MODEL
def test_a_closed_loop_generates_what_its_own_frames_give(member: Member) -> None:
    """Fed the means of the closed loop, teacher forcing gives the same means."""
    model = member.pair()[0].eval()
    values = paths(model)
    z, code = values.get("z", values["s"].new_zeros(3, 7, 0)), global_of(values)
    raw = model.closed_loop(z, code)
    own = model.likelihood.point(raw)
    assert torch.allclose(conditionals(model, own, z, code)[1], raw)


@EACH_MODEL
def test_simulations_have_the_prior_s_and_the_emission_s_moments(member: Member) -> None:
    """2,000 draws, standardised by the moments of their own pasts: mean 0, variance 1."""
    model = member.pair()[0].eval()
    values = paths(model, 2_000, 3)
    z = values.get("z", values["s"].new_zeros(2_000, 3, 0))
    with torch.no_grad():
        (mean, scale), raw = conditionals(model, values["s"], z, global_of(values))
    distribution = model.likelihood(raw)
    found = [(values["s"] - distribution.mean) / distribution.variance.sqrt()]
    found += [(z - mean) / scale] if model.latent_dim else []
    found += [global_of(values)] if model.global_dim else []
    for e in found:
        assert e.mean(0).abs().max() < 4.5 / 2_000**0.5
        assert (e.var(0) - 1).abs().max() < 4.5 * (2 / 2_000) ** 0.5


# Scheduled sampling -------------------------------------------------------------------------------


def emission_of(model: Any, values: dict[str, Tensor]) -> Any:
    latent = {name: value for name, value in values.items() if name != "s"}
    trace = poutine.trace(poutine.condition(model, latent)).get_trace(values["s"])
    return trace.nodes["s"]["fn"].distribution(values["s"])


@AUTOREGRESSIVE
def test_at_probability_one_nothing_of_the_truth_is_read(member: Member) -> None:
    """The emission's outputs are those of the closed loop, whatever the frames before were."""
    model = member.pair()[0].train()
    values = paths(model)
    forced = emission_of(model, values).mean
    model.sampling_probability = 1.0
    distributions = [
        emission_of(model, values | {"s": s}).mean for s in (values["s"], values["s"] + 1)
    ]
    assert torch.allclose(*distributions)
    z = values.get("z", values["s"].new_zeros(3, 7, 0))
    raw = model.closed_loop(z, global_of(values))
    assert torch.allclose(distributions[0], model.likelihood(raw).mean)
    assert not torch.allclose(distributions[0], forced)
    assert torch.allclose(
        distributions[0][:, 0], forced[:, 0]
    )  # there is no frame before the first


@AUTOREGRESSIVE
def test_generated_frames_are_read_in_training_only_and_by_chance(member: Member) -> None:
    model = member.pair()[0]
    values = paths(model.eval())
    forced = scores(model, values)["s"]
    for training, probability in ((True, 0.0), (False, 1.0), (True, 0.7)):
        model.train(training).sampling_probability = probability
        same = torch.allclose(scores(model, values)["s"], forced)
        assert same == (not training or probability == 0)


@AUTOREGRESSIVE
def test_gradients_pass_through_points_that_are_read_and_stop_at_draws(member: Member) -> None:
    model = member.pair()[0].train()
    z, w = torch.randn(2, 5, model.latent_dim).double(), None
    if model.global_dim:
        w = torch.randn(2, model.global_dim).double()
    rolled = model.rollout((2,), 5, w, z=z)
    forced = conditionals(model, rolled.s, z, w)[1]
    for part in zip(
        *(gradients(model, raw[:, -1].sum()) for raw in (rolled.raw, forced)), strict=True
    ):
        assert torch.allclose(*part, atol=1e-9)

    def last() -> Tensor:
        return model.rollout((2,), 5, w, z=z, point=True).raw[:, -1].sum()

    ways = [torch.randn_like(p) for p in model.parameters()]
    slope = sum((g * way).sum() for g, way in zip(gradients(model, last()), ways, strict=True))
    ends = []
    for step in (1e-5, -1e-5):
        moved = copy.deepcopy(model)
        with torch.no_grad():
            for p, way in zip(moved.parameters(), ways, strict=True):
                p.add_(way, alpha=step)
            ends.append(moved.rollout((2,), 5, w, z=z, point=True).raw[:, -1].sum())
    assert torch.allclose(slope, (ends[0] - ends[1]) / 2e-5, rtol=1e-5)


def test_the_schedule_sets_the_probability() -> None:
    model = FrameVAE(D, L)
    model.set_step(5)
    assert model.sampling_probability == 0
    model.sampling = lambda step: step / 10
    model.set_step(5)
    assert model.sampling_probability == 0.5
    assert not model.train().scheduled  # it reads no frame


def test_a_model_runs_freely_until_the_outermost_ends() -> None:
    model = HiTDVAE(D, L, global_dim=2, dim=8, heads=2)
    with model.free_running():
        with pytest.raises(ZeroDivisionError), model.free_running():
            raise ZeroDivisionError
        assert model.scheduled
    assert not model.scheduled


# Other likelihoods, and mistakes ------------------------------------------------------------------


@pytest.mark.parametrize("likelihood", [Bernoulli(D), Categorical(D, 4), ComplexGaussian(D)])
@EACH_MODEL
def test_frames_may_be_bits_classes_or_powers(member: Member, likelihood: Any) -> None:
    model = member.pair(copy.deepcopy(likelihood))[0].eval()
    values = paths(model)
    padded, mask = values["s"], torch.arange(7) < torch.tensor([[7], [4], [1]])
    scored = scores(model, values | {"s": padded}, mask)
    total = sum(scored.values()).sum()
    assert torch.isfinite(total) and all(torch.isfinite(g).all() for g in gradients(model, total))


def test_wrong_data_are_named() -> None:
    with pytest.raises(InputError, match="paths, frames, 3"):
        FrameVAE(D, L)(torch.zeros(5, 4))
    with pytest.raises(InputError, match="existing frames first"):
        FrameVAE(D, L)(torch.zeros(1, 3, D), torch.tensor([[True, False, True]]))
    with pytest.raises(InputError, match="powers"):
        FrameVAE(D, L, likelihood=ComplexGaussian(D))(-torch.ones(1, 2, D))
    with pytest.raises(InputError, match="bits"):
        FrameVAE(D, L, likelihood="bernoulli")(torch.full((1, 2, D), 0.5))


def test_the_base_class_has_no_emission() -> None:
    model = DynamicalVAE(D, L)
    z = torch.randn(2, 5, L)
    past = model.teacher_forced_past(None, z)
    mean, scale = model.latent(model.read(past), past)
    assert normal_kl((mean, scale), (torch.zeros_like(z), torch.ones_like(z))).sum() == 0
    assert torch.equal(past.z, shift(z)) and isinstance(past.memory, Memory)
    with pytest.raises(NotImplementedError):
        model.frame(None, z, past)


def test_frames_are_left_out_in_training_only_and_at_the_rate_asked_for() -> None:
    model = HiTDVAE(D, L, global_dim=2, dim=8, heads=2, forget=0.3)
    model.reader.bias.data.fill_(1.0)
    past = Past(torch.zeros(100, 60, D), torch.zeros(100, 60, L), torch.zeros(100, 1, 2), Memory())
    share = (model.train().of_frames(past) == 0).all(-1).double().mean()
    assert abs(share - 0.3) < 4.5 * (0.3 * 0.7 / 6_000) ** 0.5
    assert (model.eval().of_frames(past) == 1).all()


@AUTOREGRESSIVE
def test_the_first_frame_reads_zeros_and_recurrences_start_at_zero(member: Member) -> None:
    """Its conditionals are those of a frame of zeros, read from a state of zeros."""
    model, _ = member.pair()
    model.eval()
    values = paths(model, 2, 4)
    w = global_of(values)
    z = values.get("z", values["s"][..., :0])
    first = model.start((2,), w)
    assert not first.s.any() and not first.z.any()
    for part in model.modules():
        if isinstance(part, LSTM):
            assert all(not state.any() for state in part.start((2,), values["s"]))
    if model.noncausal:
        return
    h = model.read(first)
    raw = model.outputs(h, z[:, :1], first)
    moments, known = conditionals(model, values["s"], z, w)
    assert torch.allclose(raw[:, 0], known[:, 0])
    if model.latent_dim:
        for a, b in zip(model.latent(h, model.start((2,), w)), moments, strict=True):
            assert torch.allclose(a[:, 0], b[:, 0])
