"""The hidden Markov model against sums over all paths of states, and against hmmlearn."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from guides.hmm import HMMGuide
from inference import Objective, check, fit
from inference.training.em import fit_em
from ppl_models.errors import InputError
from ppl_models.hmm import HMM, LEAST
from ppl_models.likelihoods.basic import Bernoulli, Laplace
from ppl_models.likelihoods.discrete import Categorical

K, T, B = 3, 4, 5
CLOSE: Any = {"rtol": 0, "atol": 1e-8}
KINDS: dict[str, Any] = {
    "gaussian": "gaussian",
    "bernoulli": Bernoulli(2),
    "classes": Categorical(2, 4),
}


def build(kind: Any = "gaussian", **options: Any) -> HMM:
    """A model with no two numbers alike, in double precision."""
    model = HMM(2, K, likelihood=KINDS.get(kind, kind), **options).double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter)
    return model


def ragged(model: HMM, length: int = T) -> tuple[Tensor, Tensor]:
    """Five paths of 1 to T frames, with NaN after their ends where numbers may be NaN."""
    s = model(size=B, length=length).detach()
    s = s.double()
    mask = torch.arange(length) < torch.tensor([length, 3, 1, 2, length])[:, None]
    s[~mask] = torch.nan
    return s, mask


def all_paths(model: HMM, s: Tensor) -> tuple[Tensor, Tensor]:
    """All paths (K^T, T) and log p(path, s) of one s (T, D): (K^T)."""
    paths = torch.cartesian_prod(*[torch.arange(K)] * len(s)).reshape(-1, len(s))
    initial, steps = model.initial_logits.softmax(-1), model.transition_logits.softmax(-1)
    said = model.likelihood(model.emission).log_prob(s[:, None])
    scores = initial[paths[:, 0]].log() + steps[paths[:, :-1], paths[:, 1:]].log().sum(-1)
    return paths, scores + said[torch.arange(len(s)), paths].sum(-1)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_sums_over_all_paths(kind: str) -> None:
    model = build(kind)
    s, mask = ragged(model)
    evidence, filtered = model.log_evidence(s, mask), model.filter(s, mask)
    smoothed, best = model.smooth(s, mask), model.viterbi(s, mask)
    posterior = model.posterior(s, mask)
    for row, n in enumerate(mask.sum(-1).tolist()):
        paths, scores = all_paths(model, s[row, :n])
        assert torch.allclose(evidence[row], scores.logsumexp(0), **CLOSE)
        states = torch.nn.functional.one_hot(paths, K).double()
        expected = torch.einsum("p,ptk->tk", scores.softmax(0), states)
        assert torch.allclose(smoothed[row, :n], expected, **CLOSE)
        assert torch.allclose(filtered[row, n - 1], expected[-1], **CLOSE)
        assert torch.equal(best[row, :n], paths[scores.argmax()])
        padded = torch.cat([paths, paths.new_zeros(len(paths), T - n)], -1)
        log_prob = posterior.log_prob(padded[:, None])[:, row]
        assert torch.allclose(log_prob, scores.log_softmax(0), **CLOSE)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["scan", "enumerated"])
def test_the_bound_of_both_forms_is_the_forward_algorithm(form: Any, kind: str) -> None:
    model = build(kind, form=form)
    s, mask = ragged(model)
    names = list(model.parameters())
    for data in ((s[:1], None), (s, mask)):
        loss = Objective().loss(model, HMMGuide(model), data) * len(s if data[1] is mask else s[:1])
        exact = model.log_evidence(*data).sum()
        assert torch.allclose(-loss, exact, **CLOSE)
        pairs = zip(*(torch.autograd.grad(x, names) for x in (-loss, exact)), strict=True)
        for ours, expected in pairs:
            assert expected.isfinite().all() and torch.allclose(ours, expected, **CLOSE)


@pytest.mark.parametrize("form", ["scan", "enumerated"])
def test_the_pair_passes_check(form: Any) -> None:
    model = HMM(2, K, form=form)
    s = torch.randn(6, T, 2, generator=torch.Generator().manual_seed(0))
    assert check(model, HMMGuide(model), s).sites
    assert check(model, HMMGuide(model), s, torch.arange(T) < torch.arange(1, 7)[:, None]).sites


@pytest.mark.parametrize("form", ["scan", "enumerated"])
def test_a_ragged_batch_is_its_paths_one_by_one(form: Any) -> None:
    model = build(form=form)
    s, mask = ragged(model)
    loss = Objective().loss(model, HMMGuide(model), (s, mask))
    ends = mask.sum(-1).tolist()
    alone = [
        Objective().loss(model, HMMGuide(model), (s[i : i + 1, :n],)) for i, n in enumerate(ends)
    ]
    total, names = torch.stack(alone).sum(), list(model.parameters())
    assert torch.allclose(loss * B, total, **CLOSE)
    together, apart = (torch.autograd.grad(x, names) for x in (loss * B, total))
    for a, b in zip(together, apart, strict=True):
        assert a.isfinite().all() and torch.allclose(a, b, **CLOSE)


@pytest.mark.parametrize("form", ["scan", "enumerated"])
def test_simulated_frames_have_the_moments_of_the_model(form: Any) -> None:
    model = build(form=form)
    s = model(size=4000, length=3).detach()
    p, a = model.initial_logits.softmax(-1), model.transition_logits.softmax(-1)
    distribution = model.likelihood(model.emission)
    states = p @ a @ a
    mean = states @ distribution.mean
    variance = states @ (distribution.variance + distribution.mean**2) - mean**2
    assert s.shape == (4000, 3, 2)
    assert ((s[:, 2].mean(0) - mean).abs() < 5 * (variance / 4000).sqrt()).all()  # 5 std. errors
    second = torch.einsum(
        "i,ij,id,je->de", p, a, distribution.mean, distribution.mean
    )  # E s_1 s_2'
    products = s[:, 0, :, None] * s[:, 1, None]
    assert ((products.mean(0) - second).abs() < 5 * products.std(0) / 4000**0.5).all()


def test_it_agrees_with_hmmlearn() -> None:
    hmm = pytest.importorskip("hmmlearn.hmm")
    model = build()
    s = model(size=4, length=50).detach()
    theirs = hmm.GaussianHMM(K, "diag")
    distribution = model.likelihood(model.emission)
    theirs.startprob_ = model.initial_logits.softmax(-1).detach().numpy()
    theirs.transmat_ = model.transition_logits.softmax(-1).detach().numpy()
    theirs.means_, theirs.covars_ = (
        distribution.mean.detach().numpy(),
        distribution.variance.detach().numpy(),
    )
    flat, lengths = s.flatten(0, 1).numpy(), [50] * 4
    score, posterior = theirs.score_samples(flat, lengths)
    assert abs(model.log_evidence(s).sum().item() - score) < 1e-5
    smoothed = model.smooth(s).flatten(0, 1)
    assert torch.allclose(smoothed, torch.from_numpy(posterior), rtol=0, atol=1e-5)
    path = torch.from_numpy(theirs.decode(flat, lengths)[1]).reshape(4, 50)
    assert torch.equal(model.viterbi(s), path)


@pytest.mark.parametrize("lengths", [[50, 50, 50, 50], [50, 31, 2, 44]])
def test_a_step_of_em_is_hmmlearn_s(lengths: list[int]) -> None:
    hmm = pytest.importorskip("hmmlearn.hmm")
    model = build()
    s, mask = model(size=4, length=50).detach(), torch.arange(50) < torch.tensor(lengths)[:, None]
    distribution = model.likelihood(model.emission)
    theirs = hmm.GaussianHMM(
        K, "diag", n_iter=1, init_params="", covars_prior=0, covars_weight=1, min_covar=0
    )
    theirs.startprob_ = model.initial_logits.softmax(-1).detach().numpy()
    theirs.transmat_ = model.transition_logits.softmax(-1).detach().numpy()
    theirs.means_, theirs.covars_ = (
        distribution.mean.detach().numpy(),
        distribution.variance.detach().numpy(),
    )
    theirs.fit(s[mask].numpy(), lengths)
    model.em_step(torch.where(mask[..., None], s, torch.nan), mask)
    emitted = model.likelihood(model.emission)
    ours = (
        model.initial_logits.softmax(-1),
        model.transition_logits.softmax(-1),
        emitted.mean,
        emitted.variance.diag_embed(),
    )
    known = theirs.startprob_, theirs.transmat_, theirs.means_, theirs.covars_
    for a, b in zip(ours, known, strict=True):
        assert torch.allclose(a.detach(), torch.from_numpy(b), rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_em_never_falls(kind: str) -> None:
    model = build(kind)
    s, mask = ragged(model, 12)
    history = fit_em(model, s, mask, steps=30, tolerance=0)
    assert len(history) == 30
    assert all(b > a - 1e-8 * abs(a) for a, b in pairwise(history))
    assert history[-1] > history[0] + 1


def well_separated() -> HMM:
    """Three states that lie apart and last four frames."""
    truth = HMM(2, 3).double()
    with torch.no_grad():
        truth.emission.copy_(torch.tensor([[0.0, 3, -1, -1], [3, 0, -0.5, -1], [-3, -3, -1, 0]]))
        truth.transition_logits.copy_(torch.tensor([[3.0, 1, 1], [0, 3, 2], [2, 0, 3]]))
    return truth


def same_up_to_names(truth: HMM, model: HMM) -> None:
    """Within some 4 standard errors of 3,000 frames: 0.08 of means, 0.06 of probabilities."""
    order = torch.cdist(truth.emission[:, :2], model.emission[:, :2]).argmin(-1)
    assert sorted(order.tolist()) == [0, 1, 2]
    assert torch.allclose(truth.emission, model.emission[order], rtol=0, atol=0.08)
    a, b = truth.transition_logits.softmax(-1), model.transition_logits.softmax(-1)
    assert torch.allclose(a, b[order][:, order], rtol=0, atol=0.06)


def test_em_recovers_what_was_simulated() -> None:
    truth = well_separated()
    s = truth(size=100, length=30).detach()
    model = HMM(2, 3).double().start_from(s)
    history = fit_em(model, s, steps=60)
    same_up_to_names(truth, model)
    assert history[-1] > truth.log_evidence(s).sum()  # it fits the data it saw better


def test_gradients_recover_what_was_simulated() -> None:
    truth = well_separated()
    s = truth(size=100, length=30).detach()
    model = HMM(2, 3).double().start_from(s)
    fit(model, HMMGuide(model), s, epochs=50, batch_size=100, learning_rate=0.1, progress=False)
    same_up_to_names(truth, model)


def test_a_forecast_is_the_filter_of_frames_that_are_not_observed() -> None:
    model = build()
    s, mask = ragged(model)
    forecast = model.forecast(s, mask, steps=2)
    longer = torch.cat([s, torch.full((B, 2, 2), torch.nan)], 1)
    states = model.filter(longer, torch.cat([mask, torch.zeros(B, 2, dtype=torch.bool)], 1))
    distribution = model.likelihood(model.emission)
    for row, n in enumerate(mask.sum(-1).tolist()):
        assert torch.allclose(forecast.states[row], states[row, n : n + 2])
        assert torch.allclose(forecast.frames.mean[row], states[row, n : n + 2] @ distribution.mean)
    # and the chain rule: p(s_{1:T}, s_{T+1}) = p(s_{1:T}) p(s_{T+1} | s_{1:T})
    x = torch.randn(B, 2).double()
    whole = s[[0, 4]], torch.cat([s[[0, 4]], x[[0, 4], None]], 1)
    ratio = model.log_evidence(whole[1]) - model.log_evidence(whole[0])
    assert torch.allclose(forecast.frames.log_prob(x[:, None].expand(B, 2, 2))[[0, 4], 0], ratio)


@pytest.mark.parametrize("form", ["scan", "enumerated"])
def test_one_frame(form: Any) -> None:
    model = build(form=form)
    s = model(size=B, length=1).detach()
    loss = Objective().loss(model, HMMGuide(model), (s,))
    assert torch.allclose(-B * loss, model.log_evidence(s).sum())
    history = fit_em(model, s, steps=3, tolerance=0)
    assert history == sorted(history)


def test_the_scan_stands_frames_that_are_sure() -> None:
    """513 numbers a frame separate states by thousands of nats, in single precision."""
    model = HMM(513, 4)
    s = model(size=2, length=200).detach()
    assert (model.smooth(s).amax(-1) > 0.999).all()
    scan = model.distribution(200).log_prob(s)
    assert torch.allclose(scan, model.log_evidence(s), rtol=1e-6)
    exact = model.double().log_evidence(s.double())
    assert torch.allclose(scan.double(), exact, rtol=1e-6)


def test_the_scan_allows_transitions_that_em_never_met() -> None:
    model = HMM(2, 4)
    with torch.no_grad():  # a circle; frames that jump about in it
        circle = torch.eye(4).roll(1, 1)
        model.transition_logits.copy_(torch.where(circle == 1, 0.0, math.log(LEAST)))
        model.emission[:, 2:] = -4.0
    s = torch.randn(3, 100, 2)
    scan = model.distribution(100).log_prob(s)
    assert torch.allclose(scan, model.log_evidence(s), rtol=1e-5)
    assert all(g.isfinite().all() for g in torch.autograd.grad(scan.sum(), [*model.parameters()]))


def test_start_from_reads_only_frames_that_exist() -> None:
    model = build("classes")
    s, mask = ragged(model, 8)
    first = model.start_from(s, mask, seed=1).emission.clone()
    assert first.isfinite().all()
    assert torch.equal(model.start_from(s, mask, seed=1).emission, first)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: HMM(form="both"), "form"),  # type: ignore[arg-type]
        (lambda: HMM(num_states=0), "num_states"),
        (lambda: HMM(data_dim=0), "data_dim"),
        (lambda: HMM(likelihood="poisson"), "likelihood"),
        (lambda: HMM(3)(torch.zeros(2, 4, 2)), "s: saw shape"),
        (lambda: HMM()(torch.zeros(2, 4, 2), torch.ones(2, 3, dtype=torch.bool)), "mask"),
        (lambda: HMM(likelihood="bernoulli")(torch.full((2, 4, 2), 0.5)), "bits"),
        (lambda: HMM().forecast(torch.zeros(2, 4, 2), steps=0), "steps"),
        (lambda: HMM(likelihood=Laplace(2)).em_step(torch.zeros(2, 4, 2)), "likelihood"),
    ],
)
def test_bad_input_is_named(make: Any, named: str) -> None:
    with pytest.raises(InputError, match=named):
        make()
