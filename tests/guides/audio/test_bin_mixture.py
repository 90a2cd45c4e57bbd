from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.audio import BinMixtureGuide
from inference import check, enumerated, fit, importance, posterior
from inference.objectives.objective import Objective
from inference.vem import Mixture, vem
from ppl_models.audio import BinMixture, loudness
from ppl_models.errors import InputError
from ppl_models.likelihoods import bin_power
from tests.sounds import F, KnownVariances, T, several

ENUM = Objective("enum")
KINDS = [("given",), ("rvae", "nmf"), ("srnn", "srnn"), ("deepar", "light", "hum")]
MASK = torch.arange(T) < torch.tensor([[T], [T - 2]])


def pair(*kinds: str, **settings: Any) -> tuple[BinMixture, BinMixtureGuide]:
    parts, guides = several(*kinds)
    model = BinMixture(parts, **settings).double()
    return model, BinMixtureGuide(model, guides).double()


def recordings(size: int = 2) -> Tensor:
    return torch.randn(size, T, 2 * F).double()


@pytest.mark.parametrize("kinds", KINDS, ids=" + ".join)
@pytest.mark.parametrize("phi", ["learned", "fixed"])
def test_every_mixture_passes_check(kinds: tuple[str, ...], phi: str) -> None:
    model, guide = pair(*kinds, noise_strength=20.0 if phi == "learned" else None)
    rows = {row.name: row for row in check(model, guide, recordings()).sites}
    assert rows["w"].kind == "enumerated" and rows["o"].kind == "observed"
    assert tuple(rows["w"].plates) == ("sequence", "frame", "bin")
    assert tuple(rows[f"{model.names[0]}/s"].event_shape) == (T, 2 * F)
    assert ("phi" in rows) == (phi == "learned")


def test_padded_frames_reach_nothing() -> None:
    """A padded row has the density of the row alone; w = 0 there costs log 1/2."""
    model, guide = pair("rvae", "nmf")
    o = recordings()
    hidden = torch.where(MASK[..., None], o, math.nan)
    for module in (model, guide):
        module.zero_grad()
    data = {"o": hidden, "mask": MASK}
    trace = poutine.trace(guide).get_trace(**data)
    sites = {n: trace.nodes[n]["value"] for n in trace.stochastic_nodes}
    scored = poutine.trace(poutine.condition(model, sites | {"w": w_of(hidden)}))
    found = scored.get_trace(**data)
    alone = {n: v[1:].narrow(-2, 0, T - 2) if v.dim() > 3 else v[1:] for n, v in sites.items()}
    alone["w"] = w_of(hidden)[1:, : T - 2]
    first = {n: v[:1] for n, v in sites.items()} | {"w": w_of(hidden)[:1]}
    total = found.log_prob_sum()
    parts = sum(
        poutine.trace(poutine.condition(model, s)).get_trace(x).log_prob_sum().item()
        for s, x in ((first, o[:1]), (alone, o[1:, : T - 2]))
    )
    assert total.item() == pytest.approx(parts + 2 * F * math.log(0.5), abs=1e-8)
    total.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


def w_of(o: Tensor) -> Tensor:
    return torch.zeros(len(o), T, F, dtype=torch.long)


def test_shares_are_the_exact_posterior_of_who_owns_a_bin_given_variances() -> None:
    model, guide = pair("given", "given", noise_strength=None)
    o = recordings()
    v = torch.rand(2, 2, T, F).double() + 0.1
    noise = 2 * model.noise * loudness(o) ** 2
    each = [torch.distributions.Normal(0.0, ((v[:, n] + noise) / 2).sqrt()) for n in range(2)]
    logits = torch.stack([d.log_prob(o[..., :F]) + d.log_prob(o[..., F:]) for d in each], 1)
    assert torch.allclose(guide.shares(o, v, noise[:, None]), logits.softmax(1))


def test_one_source_has_its_exact_posterior() -> None:
    """With N = 1 nothing is unknown but s: the bound is the evidence, whatever the draw."""
    model, guide = pair("given", noise_strength=None)
    o = recordings()
    v = dict(model.named_parts())["0 given"].v
    size = torch.rand(2, T, F).double() + 0.5
    start = v.detach().expand(2, 1, T, F)
    bound = ENUM.bound(model, guide, (o,), {"size": size, "start": start})
    total = v + 2 * model.noise * size**2
    expected = -(bin_power(o) / total + total.log() + math.log(math.pi)).sum((-1, -2))
    assert torch.allclose(bound, expected, atol=1e-9)


def test_the_start_is_by_default_what_encoders_make_of_the_recording() -> None:
    model, guide = pair("rvae", "nmf")
    o, size = recordings(), loudness(recordings())
    start = guide.encoded(o)
    assert start.shape == (2, 2, T, F) and start.isfinite().all()
    one, other = guide.moments(o, None, size), guide.moments(o, None, size, start)
    assert torch.equal(one[0], other[0]) and torch.equal(one[1], other[1])


def test_between_the_bound_of_vem_and_the_evidence_lies_that_of_svi() -> None:
    """At VEM's q(s), with w summed in place of q(w): both inequalities, to 4 standard errors.

    Variances are known, so the evidence is: a bin is a mixture of N_c(0, v_n + v_o).
    """
    model, guide = pair("given", "given", "given", noise_strength=None, noise=0.2)
    o, copies = recordings(1), 300
    v = torch.stack([part.v.detach() for _, part in model.named_parts()])  # (N, T, F)
    size = loudness(o)
    half = (v / 2).reshape(1, 3, T * F, 1).expand(1, 3, T * F, 2)
    mixture = Mixture(**model.detections(o), phi=0.2, learn_phi=False)
    ascent = vem(mixture, torch.randn_like(half), KnownVariances(half), iterations=20)

    def as_bins(x: Tensor) -> Tensor:
        return x.reshape(1, 3, T, F, 2).movedim(-1, -2).flatten(-2)

    start = v[None].expand(copies, 3, T, F)
    mean, variance = guide.moments(o, None, size, start[:1])
    offset = guide.refined(copies, T)
    scale = 0.5 * (2 * as_bins(ascent.variance)[..., :F] / variance).log()
    deviation = (0.5 * variance).sqrt() * scale.exp()
    offset["log_scale"].data += scale
    offset["shift"].data += (as_bins(ascent.mean) - mean) / deviation.repeat(1, 1, 1, 2)
    many = o.expand(copies, T, 2 * F)
    bounds = ENUM.bound(model, guide, (many,), {"start": start}).detach()
    total = v + 2 * 0.2 * size**2
    each = -(bin_power(o) / total + total.log() + math.log(math.pi)) - math.log(3)
    evidence, error = each.logsumexp(0).sum(), 4 * bounds.std() / math.sqrt(copies)
    assert ascent.elbo.item() - error < bounds.mean() < evidence + error
    assert evidence - ascent.elbo.item() > 2 * error  # and there is room between the two


def test_diagnostics_know_the_sites_of_sources() -> None:
    model, guide = pair("rvae", "nmf", noise_strength=None)
    o = recordings(2)
    result = posterior(model, guide, o, num_samples=8, seed=0)
    assert result["posterior"][f"{model.names[0]}.s"].shape[-2:] == (T, 2 * F)
    probs = enumerated(model, guide, o)["w"].probs
    assert probs.shape[-4:] == (2, T, F, 2)
    assert (
        torch.as_tensor(importance(model, guide, o, num_samples=20, seed=0).elbo).isfinite().all()
    )


def test_it_is_fitted_by_svi() -> None:
    model, guide = pair("rvae", "nmf")
    size = torch.ones(8, T, F).double()
    run = fit(
        model, guide, {"o": recordings(8), "size": size}, epochs=2, batch_size=4, progress=False
    )
    assert run.history[-1]["bound"] > run.history[0]["bound"]


def test_missing_data_are_named() -> None:
    model, guide = pair("given")
    with pytest.raises(InputError, match="recordings"):
        guide(None)
    with pytest.raises(InputError, match="size: saw None"):
        model(None)
    with pytest.raises(InputError, match="size: saw shape"):
        model(recordings(), None, torch.ones(2, T, F + 1))
    with pytest.raises(InputError, match="start: saw"):
        guide(recordings(), None, None, torch.ones(2, 2, T, F))
