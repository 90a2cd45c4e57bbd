from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.audio import SourcesGiven, SourceSumGuide
from inference import check, fit, importance, posterior
from inference.objectives.objective import Objective
from ppl_models.audio import SourceSum, variances
from ppl_models.errors import InputError
from ppl_models.likelihoods import to_complex
from tests.sounds import F, T, given, several

KINDS = [
    ("given",),
    ("rvae", "nmf"),
    ("rvae, not causal", "dkf", "hum"),
    ("srnn", "srnn"),
    ("deepar", "nmf", "light"),
    ("given", "deepar"),
]
MASK = torch.arange(T) < torch.tensor([[T], [T - 2]])


def pair(*kinds: str, noise: float = 0.1) -> tuple[SourceSum, SourceSumGuide]:
    parts, guides = several(*kinds)
    model = SourceSum(parts, noise=noise).double()
    return model, SourceSumGuide(model, guides).double()


def recordings(size: int = 2) -> Tensor:
    return torch.randn(size, T, 2 * F).double()


def run(model: Any, guide: Any, *data: Any) -> tuple[Any, Any]:
    drawn: Any = poutine.trace(guide).get_trace(*data)
    trace: Any = poutine.trace(poutine.replay(model, trace=drawn)).get_trace(*data)
    drawn.compute_log_prob()
    trace.compute_log_prob()
    return drawn, trace


def values(trace: Any, name: str) -> dict[str, Tensor]:
    start = f"{name}/"
    nodes = trace.nodes.items()
    return {n.removeprefix(start): v["value"] for n, v in nodes if n.startswith(start)}


@pytest.mark.parametrize("kinds", KINDS, ids=" + ".join)
@pytest.mark.parametrize("masked", [False, True])
def test_the_sources_are_integrated_out_exactly(kinds: tuple[str, ...], masked: bool) -> None:
    """At every draw, whatever it is: log p(o, s | z) - log q(s | z, o) has no sources left."""
    model, guide = pair(*kinds)
    o, mask = recordings(), MASK if masked else None
    data = o if mask is None else torch.where(mask[..., None], o, math.nan)
    drawn, trace = run(model, guide, data, mask)
    found = trace.nodes["o"]["log_prob"]
    v = []
    for name, part in model.named_parts():
        found = found + trace.nodes[f"{name}/s"]["log_prob"]
        found = found - drawn.nodes[f"{name}/s"]["log_prob"]
        latents = values(trace, name)
        v.append(variances(part, latents, latents["s"], mask))
    expected = model.log_marginal(data, v, mask)
    assert torch.allclose(found, expected, rtol=0, atol=1e-8)
    (trace.log_prob_sum() - drawn.log_prob_sum()).backward()
    parameters = [*model.parameters(), *guide.parameters()]
    assert all(p.grad is None or p.grad.isfinite().all() for p in parameters)


def test_the_guide_is_dense_gaussian_conditioning() -> None:
    """Covariance of all sources' bins given o, from 40,000 draws, to 5 standard errors."""
    model, _ = pair("given", "given", "given")
    o = recordings(1)[0]
    v = torch.stack([part.v for _, part in model.named_parts()]).detach()[:, 0, 0]
    joint = torch.diag(v)
    total, across = v.sum() + model.noise, v
    mean = across / total * torch.complex(o[0, 0], o[0, F])
    covariance = joint - across[:, None] * across / total
    draws, copies = [], 40_000
    sources = SourcesGiven(model, [{}, {}, {}], o.expand(copies, T, 2 * F))
    for n in range(3):
        sources.s[n] = sources.source(n).sample()
        draws.append(to_complex(sources.s[n])[:, 0, 0])
    found = torch.stack(draws, -1)
    error = 5 * v.max() / math.sqrt(copies)
    assert (found.mean(0) - mean).abs().max() < error.sqrt() * copies**-0.25
    centred = found - found.mean(0)
    assert ((centred.mT @ centred.conj()) / copies - covariance).abs().max() < error


def test_densities_are_those_of_dense_conditioning() -> None:
    """log q(s_1, s_2 | o) = log p(s_1) p(s_2) p(o | s) - log p(o), for values not its own."""
    model, guide = pair("given", "given")
    o = recordings()
    other = {f"{name}/s": torch.randn(2, T, 2 * F).double() for name in model.names}
    trace = poutine.trace(poutine.condition(guide, other)).get_trace(o)
    joint = poutine.trace(poutine.condition(model, other)).get_trace(o)
    trace.compute_log_prob()
    joint.compute_log_prob()
    v = [part.v for _, part in model.named_parts()]
    found = sum(trace.nodes[name]["log_prob"] for name in other)
    expected = sum(joint.nodes[name]["log_prob"] for name in (*other, "o"))
    assert torch.allclose(found, expected - model.log_marginal(o, v), atol=1e-9)


def test_replayed_sources_of_autoregressive_parts_score_as_they_were_drawn() -> None:
    model, guide = pair("srnn", "deepar")
    o = recordings()
    drawn, _ = run(model, guide, o)
    again: Any = poutine.trace(poutine.replay(guide, trace=drawn)).get_trace(o)
    again.compute_log_prob()
    for name in model.names:
        one, two = (t.nodes[f"{name}/s"]["log_prob"] for t in (drawn, again))
        assert torch.allclose(one, two, atol=1e-9)


def test_padded_frames_are_drawn_and_count_nothing() -> None:
    model, _ = pair("deepar", "hum")
    o = recordings()
    hidden = torch.where(MASK[..., None], o, math.nan)
    given = SourcesGiven(model, [{}, {}], hidden, mask=MASK)
    for n in range(2):
        given.s[n] = given.source(n).sample()
    alone = SourcesGiven(model, [{}, {}], o[1:, : T - 2])
    alone.s = [s[1:, : T - 2] for s in given.drawn]
    for n in range(2):
        found = given.source(n).log_prob(given.drawn[n])[1]
        assert torch.allclose(found, alone.source(n).log_prob(alone.drawn[n])[0])


def test_a_first_source_that_is_known_steers_the_second() -> None:
    """Replay of one autoregressive source alone: the other is drawn given it."""
    model, guide = pair("deepar", "deepar", noise=1e-4)
    o = recordings()
    first, second = model.names
    s = torch.randn(2, T, 2 * F).double()
    trace = poutine.trace(poutine.condition(guide, {f"{first}/s": s})).get_trace(o)
    rest = trace.nodes[f"{second}/s"]["value"]
    assert (o - s - rest).abs().mean() < 0.05  # noise of 1e-4 leaves 0.01 a bin


@pytest.mark.parametrize("kinds", KINDS, ids=" + ".join)
def test_every_sum_passes_check(kinds: tuple[str, ...]) -> None:
    model, guide = pair(*kinds)
    sites = {row.name for row in check(model, guide, recordings()).sites}
    assert {f"{name}/s" for name in model.names} < sites and "o" in sites


def test_encoders_read_the_powers_to_start_from() -> None:
    """With them, padding or the recording's own level does not change a draw of z."""
    model, guide = pair("rvae", "nmf")
    o, start = recordings(), torch.rand(2, 2, T, F).double() + 0.1
    seen = []
    for data in (o, 3 * o):
        torch.manual_seed(0)
        trace = poutine.trace(guide).get_trace(data, start=start)
        seen.append(trace.nodes[f"{model.names[0]}/z"]["value"])
    assert torch.equal(*seen)
    with pytest.raises(InputError, match="start: saw"):
        guide(o, start=start[:, :1])


def test_posterior_and_importance_know_the_sites_of_sources() -> None:
    model, guide = pair("rvae", "nmf")
    o = recordings(3)
    result = posterior(model, guide, o, num_samples=20, seed=0)
    name = f"{model.names[0]}.s"
    assert result["posterior"][name].shape[-2:] == (T, 2 * F)
    weights = importance(model, guide, o, num_samples=50, seed=0)
    assert torch.as_tensor(weights.elbo).isfinite().all()


def test_what_is_left_to_learn_is_learned() -> None:
    """Bounds of 64 simulated recordings rise while encoders are fitted, by 4 standard errors."""
    model, guide = pair("rvae", "hum")
    with torch.no_grad():
        dict(model.named_parts())["0 rvae"].emission.weight.mul_(6)  # so that z matters
        o = model(size=64, length=T)
    for parameter in model.parameters():
        parameter.requires_grad_(False)

    def bounds() -> Tensor:
        torch.manual_seed(0)
        return Objective("enum").bound(model, guide, (o,), {}).detach()

    before = bounds()
    fit(model, guide, o, epochs=8, batch_size=16, learning_rate=3e-2, progress=False, seed=0)
    gain = bounds() - before
    assert gain.mean() > 4 * gain.std() / 8


def test_guides_belong_to_the_parts() -> None:
    parts, guides = several("rvae", "nmf")
    model = SourceSum(parts)
    with pytest.raises(InputError, match="by the same names"):
        SourceSumGuide(model, {"0 rvae": guides["0 rvae"]})
    with pytest.raises(InputError, match="another model for 0 rvae"):
        SourceSumGuide(model, guides | {"0 rvae": several("rvae")[1]["0 rvae"]})
    with pytest.raises(InputError, match="recordings"):
        SourceSumGuide(model, guides)(None)
    with pytest.raises(InputError, match="parts: saw Bare without variances"):
        bare = type("Bare", (torch.nn.Module,), {"data_dim": 2 * F, "path": given()[0].path})()
        both = SourceSum({"a": bare})
        SourcesGiven(both, [{}], recordings()).source(0).sample()
