"""Gaps in HMM, LDS and SLDS: answers are the dense model's, what was not seen left out."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from guides import HMMGuide, LDSGuide, SLDSGuide
from inference import Objective, check, fit, importance, posterior
from inference.errors import PairError
from inference.tasks.imputation import impute
from inference.training.em import fit_em
from ppl_models import HMM, LDS, SLDS
from ppl_models.distributions import kalman_filter, kalman_smoother, matvec
from ppl_models.errors import InputError
from ppl_models.likelihoods import Bernoulli, Categorical
from tests.dense import conditioned, hidden_and_observed

B, T, D, L, K = 4, 5, 3, 2, 3
CLOSE: Any = {"rtol": 0, "atol": 1e-8}
MASK = torch.arange(T) < torch.tensor([T, 4, 3, T])[:, None]


def holes(dims: int = D, seed: int = 0) -> Tensor:
    """Which numbers (B, T, dims) were seen: two thirds; of a frame of the first row, none."""
    seen = torch.rand(B, T, dims, generator=torch.Generator().manual_seed(seed)) < 0.66
    seen[0, 2] = False
    seen[1:, 0, 0] = True
    return seen


def random(model: Any) -> Any:
    """In double precision, no two numbers alike."""
    torch.manual_seed(1)
    model = model.double()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


def data(model: Any, seen: Tensor, mask: Tensor | None = None) -> Tensor:
    """Sequences of a model, NaN wherever they are not to be read."""
    s = model(size=B, length=T).detach().double()
    there = seen if seen.dim() == 3 else seen[..., None].expand(s.shape)
    there = there if mask is None else there & mask[..., None]
    return torch.where(there, s, torch.full_like(s, torch.nan))


def dense(model: LDS, length: int) -> tuple[Tensor, Tensor]:
    """Mean and covariance of (z_1..z_T, s_1..s_T) of an LDS."""
    params = [part.detach() for part in model.dynamics()]
    frames = [part.expand(length, *part.shape[1:]) for part in params[2:]]
    return hidden_and_observed(*params[:2], *frames)


@pytest.mark.parametrize("size", [2, 4])  # fewer latents than numbers, and more
@pytest.mark.parametrize("mask", [None, MASK], ids=["whole", "padded"])
def test_an_lds_with_gaps_is_the_dense_gaussian_with_rows_left_out(
    mask: Tensor | None, size: int
) -> None:
    model, seen = random(LDS(D, size)), holes()
    s = data(model, seen, mask)
    filtered, smoothed = model.filter(s, mask, seen), model.smooth(s, mask, seen)
    imputed, evidence = model.impute(s, mask, seen), model.log_evidence(s, mask, seen)
    chain = model.posterior(s, mask, seen)
    for row in range(B):
        n = T if mask is None else int(mask[row].sum())
        mean, cov = dense(model, n)
        kept = seen[row, :n].flatten()
        at = torch.arange(n * size, n * (size + D))[kept]
        values, z = s[row, :n].flatten()[kept], torch.arange(n * size)
        gaussian = torch.distributions.MultivariateNormal(mean[at], cov[at][:, at])
        assert torch.allclose(evidence[row], gaussian.log_prob(values), **CLOSE)
        order = torch.cat([z, at])
        z_mean, z_cov = conditioned(mean[order], cov[order][:, order], values)
        assert torch.allclose(smoothed.mean[row, :n], z_mean.reshape(n, size), **CLOSE)
        for t in range(n):
            block = slice(t * size, (t + 1) * size)
            assert torch.allclose(smoothed.cov[row, t], z_cov[block, block], **CLOSE)
        past = at < n * size + D * (n - 1)  # without the last frame: a filter at frame n - 1
        if n > 1:
            order = torch.cat([z, at[past]])
            seen_so_far = conditioned(mean[order], cov[order][:, order], values[past])
            before = slice((n - 2) * size, (n - 1) * size)
            assert torch.allclose(filtered.mean[row, n - 2], seen_so_far[0][before], **CLOSE)
            assert torch.allclose(filtered.cov[row, n - 2], seen_so_far[1][before, before], **CLOSE)
        gone = torch.arange(n * size, n * (size + D))[~kept]
        order = torch.cat([gone, at])
        s_mean, s_cov = conditioned(mean[order], cov[order][:, order], values)
        assert torch.allclose(imputed.mean[row, :n].flatten()[~kept], s_mean, **CLOSE)
        assert torch.allclose(imputed.variance[row, :n].flatten()[~kept], s_cov.diagonal(), **CLOSE)
        if n == T:
            draws = chain.expand((2000, B)).sample()[:, row].flatten(1)
            error = z_cov.diagonal().sqrt() / math.sqrt(2000)
            assert ((draws.mean(0) - z_mean).abs() < 4.5 * error).all()  # 10 or 20 numbers, twice
            assert torch.allclose(draws.T.cov(), z_cov, atol=0.12 * float(z_cov.abs().max()))


@pytest.mark.parametrize(
    ("build", "guide"),
    [
        (lambda: LDS(D, L), LDSGuide),
        (lambda: LDS(D, L, form="joint"), LDSGuide),
        (lambda: HMM(D, K), HMMGuide),
        (lambda: HMM(D, K, form="enumerated"), HMMGuide),
        (lambda: SLDS(D, L, 2, form="enumerated"), SLDSGuide),
    ],
)
def test_the_bound_is_the_evidence_of_what_was_seen_and_nan_reaches_no_gradient(
    build: Any, guide: Any
) -> None:
    model, seen = random(build()), holes()
    s, pair = data(model, seen, MASK), None
    pair = guide(model)
    torch.manual_seed(0)
    loss = Objective().loss(model, pair, (s, MASK), {"observed": seen}) * B
    exact = model.log_evidence(s, MASK, seen).sum()
    assert torch.allclose(-loss, exact, rtol=0, atol=1e-6)
    names = list(model.parameters())
    ours, expected = (torch.autograd.grad(x, names, allow_unused=True) for x in (-loss, exact))
    for a, b in zip(ours, expected, strict=True):
        assert a is None or a.isfinite().all()
        if model.__class__ is not LDS or model.form == "exact":
            assert a is not None and b is not None and torch.allclose(a, b, atol=1e-6)
    other = torch.where(seen & MASK[..., None], s, torch.full_like(s, 3.0))
    assert torch.equal(model.log_evidence(other, MASK, seen), model.log_evidence(s, MASK, seen))


def test_frames_are_numbers_of_which_none_was_seen() -> None:
    for build in (lambda: LDS(D, L), lambda: HMM(D, K), lambda: SLDS(D, L, 2)):
        model, seen = random(build()), torch.rand(B, T) < 0.6
        s = data(model, seen)
        each = seen[..., None].expand(B, T, D)
        assert torch.equal(model.log_evidence(s, None, seen), model.log_evidence(s, None, each))
        if not isinstance(model, SLDS):
            assert torch.equal(
                *(model.filter(s, None, x)[0] for x in (seen, each))  # means, or probabilities
            )


def paths_and_scores(model: HMM, s: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """All paths (K^T, T), and log p(path, numbers seen) of one s (T, D)."""
    paths = torch.cartesian_prod(*[torch.arange(K)] * len(s)).reshape(-1, len(s))
    initial, steps = model.initial_logits.softmax(-1), model.transition_logits.softmax(-1)
    frames = model.likelihood(model.emission).base_dist.log_prob(s[:, None].nan_to_num())  # T, K, D
    said = torch.where(seen[:, None], frames, 0.0).sum(-1)
    scores = initial[paths[:, 0]].log() + steps[paths[:, :-1], paths[:, 1:]].log().sum(-1)
    return paths, scores + said[torch.arange(len(s)), paths].sum(-1)


@pytest.mark.parametrize("kind", ["gaussian", Bernoulli(D), Categorical(D, 4)])
def test_an_hmm_with_gaps_is_the_sum_over_all_paths(kind: Any) -> None:
    model, seen = random(HMM(D, K, likelihood=kind)), holes()
    s = data(model, seen, MASK)
    evidence, smoothed = model.log_evidence(s, MASK, seen), model.smooth(s, MASK, seen)
    filtered, best = model.filter(s, MASK, seen), model.viterbi(s, MASK, seen)
    for row, n in enumerate(MASK.sum(-1).tolist()):
        paths, scores = paths_and_scores(model, s[row, :n], seen[row, :n])
        assert torch.allclose(evidence[row], scores.logsumexp(0), **CLOSE)
        states = torch.nn.functional.one_hot(paths, K).double()
        expected = torch.einsum("p,ptk->tk", scores.softmax(0), states)
        assert torch.allclose(smoothed[row, :n], expected, **CLOSE)
        assert torch.allclose(filtered[row, n - 1], expected[-1], **CLOSE)
        assert torch.equal(best[row, :n], paths[scores.argmax()])
        if kind == "gaussian":  # p(s_t | what was seen) mixes the states' Gaussians
            mean = expected @ model.likelihood(model.emission).mean
            assert torch.allclose(model.impute(s, MASK, seen).mean[row, :n], mean, **CLOSE)


def dense_scores(model: SLDS, s: Tensor, seen: Tensor) -> Tensor:
    """log p(numbers seen, k) (2^n, B) of every path of two regimes, from dense Gaussians."""
    n, total = s.shape[1], []
    for k in torch.cartesian_prod(*[torch.arange(2)] * n):
        params = [part.detach() for part in model.dynamics(k)]
        frames = [part.expand(n, *part.shape[1:]) for part in params[5:]]
        mean, cov = hidden_and_observed(*params[:5], *frames)
        rows = []
        for row in range(len(s)):
            at = torch.arange(n * L, n * (L + D))[seen[row].flatten()]
            gaussian = torch.distributions.MultivariateNormal(mean[at], cov[at][:, at])
            rows.append(model.regimes(n).log_prob(k) + gaussian.log_prob(s[row][seen[row]]))
        total.append(torch.stack(rows))
    return torch.stack(total)


@pytest.mark.parametrize("length", [2, 4])
def test_the_evidence_of_an_slds_with_gaps_sums_dense_gaussians(length: int) -> None:
    model, seen = random(SLDS(D, L, 2)), holes()[:, :length]
    s = torch.where(seen, model(size=B, length=length).detach(), torch.nan)
    scores = dense_scores(model, s, seen)
    exact = scores.logsumexp(0)
    assert torch.allclose(model.log_evidence(s, None, seen), exact, **CLOSE)
    estimate = model.log_evidence(s, None, seen, num_particles=4000)
    assert torch.allclose(estimate, exact, atol=0.05)  # 4,000 particles: every path is held


def test_regimes_of_two_frames_with_gaps_are_exact() -> None:
    """Kim's filter merges nothing yet: z_1 is the same whatever k_1."""
    model, seen = random(SLDS(D, L, 2)), holes()[:, :2]
    s = torch.where(seen, model(size=B, length=2).detach(), torch.nan)
    smoothed = SLDSGuide(model).smooth(s, None, seen)
    joint = dense_scores(model, s, seen).softmax(0).reshape(2, 2, B)
    assert torch.allclose(smoothed[:, 1], joint.sum(0).T, **CLOSE)
    assert torch.allclose(smoothed[:, 0], joint.sum(1).T, **CLOSE)


def test_expectation_maximisation_with_gaps_climbs_the_evidence_of_what_was_seen() -> None:
    for build in (lambda: LDS(D, L), lambda: HMM(D, K)):
        truth, seen = random(build()), holes()
        s = data(truth, seen, MASK)
        torch.manual_seed(3)
        model = build().double().start_from(s, MASK, seen)
        history = fit_em(model, s, MASK, seen, steps=15, tolerance=0)
        assert all(b > a - 1e-9 for a, b in zip(history[:-1], history[1:], strict=True))
        assert history[-1] > history[0] + 0.5
        assert all(p.isfinite().all() for p in model.parameters())


def test_a_step_of_em_of_an_lds_with_gaps_is_where_the_expected_density_is_flat() -> None:
    model, seen = random(LDS(D, L)), holes()
    s = data(model, seen, MASK)
    old = model.smooth(s, MASK, seen)
    mean, cov, cross = (part.detach() for part in old)
    model.em_step(s, MASK, seen)
    there = (seen & MASK[..., None]).double()
    loc = mean @ model.emission.mT + model.emission_offset
    spread = torch.einsum("dl,btlm,dm->btd", model.emission, cov, model.emission)
    square = (s.nan_to_num() - loc).square() + spread
    r = (2 * model.noise_log_scale).exp()
    frames = -0.5 * (there * (square / r + r.log())).sum()
    moves = mean[:, 1:] - mean[:, :-1] @ model.transition.mT - model.transition_offset
    a = model.transition
    var = cov[:, 1:] - 2 * a @ cross.mT + a @ cov[:, :-1] @ a.mT
    q = (2 * model.process_log_scale).exp()
    each = moves.square() + var.diagonal(dim1=-2, dim2=-1)
    steps = -0.5 * (MASK[:, 1:, None] * (each / q + q.log())).sum()
    names = [
        model.emission,
        model.emission_offset,
        model.noise_log_scale,
        model.transition,
        model.transition_offset,
        model.process_log_scale,
    ]
    for gradient in torch.autograd.grad(frames + steps, names):
        assert gradient.abs().max() < 1e-8


def test_a_step_of_em_of_an_hmm_with_gaps_is_the_weighted_moments_by_hand() -> None:
    model, seen = random(HMM(D, K)), holes()
    s = data(model, seen, MASK)
    weight = torch.zeros(B, T, K).double()
    for row, n in enumerate(MASK.sum(-1).tolist()):
        paths, scores = paths_and_scores(model, s[row, :n], seen[row, :n])
        states = torch.nn.functional.one_hot(paths, K).double()
        weight[row, :n] = torch.einsum("p,ptk->tk", scores.softmax(0), states)
    model.em_step(s, MASK, seen)
    emitted = model.likelihood(model.emission)
    for k in range(K):
        for d in range(D):
            there = seen[..., d] & MASK
            w, x = weight[..., k][there], s[..., d][there]
            mean = (w * x).sum() / w.sum()
            variance = (w * (x - mean) ** 2).sum() / w.sum()
            assert torch.allclose(emitted.mean[k, d], mean, **CLOSE)
            assert torch.allclose(emitted.variance[k, d], variance, rtol=1e-6, atol=2e-6)  # floor


@pytest.mark.parametrize("build", [lambda: LDS(D, L), lambda: HMM(D, K)])
def test_padded_sequences_start_and_step_as_those_that_were_cut(build: Any) -> None:
    truth = random(build())
    s = truth(size=B, length=T).detach()
    mask = (torch.arange(T) < 3).expand(B, T)
    padded = torch.where(mask[..., None], s, torch.full_like(s, torch.nan))
    models = []
    for data_ in ((padded, mask), (s[:, :3],), (padded, None, mask)):
        torch.manual_seed(2)
        models.append(build().double().start_from(*data_))
    for started in models[1:]:  # frames that exist and were not seen start nothing either
        for a, b in zip(models[0].parameters(), started.parameters(), strict=True):
            assert torch.allclose(a, b, **CLOSE)
    models[0].em_step(padded, mask)
    models[1].em_step(s[:, :3])
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(a, b, **CLOSE)


@pytest.mark.parametrize("form", ["exact", "joint"])
def test_imputations_of_an_lds_have_the_exact_mean_and_spread(form: Any) -> None:
    model, seen = random(LDS(D, L, form=form)).float(), holes()
    s = data(model, seen).float()
    found = impute(model, LDSGuide(model), s, observed=seen, num_samples=2000)
    exact = model.impute(s, None, seen)
    gone = ~seen
    assert torch.equal(found.missing["s"], gone)
    assert torch.equal(found.draws["s"][:, seen], s[seen].expand(2000, -1))
    error = exact.scale[gone] / math.sqrt(2000)
    drawn = found.draws["s"][:, gone].double()
    assert ((drawn.mean(0) - exact.mean[gone]).abs() < 4.5 * error).all()
    assert torch.allclose(drawn.std(0), exact.scale[gone].double(), rtol=0.08)
    idata = posterior(model, LDSGuide(model), s, observed=seen, num_samples=20)
    assert bool(torch.as_tensor(idata.posterior_predictive["s"].values).isfinite().all())


@pytest.mark.parametrize("form", ["scan", "enumerated"])
def test_imputations_of_an_hmm_have_the_exact_mean(form: Any) -> None:
    model, seen = random(HMM(D, K, form=form)).float(), holes()
    s = data(model, seen).float()
    found = impute(model, HMMGuide(model), s, observed=seen, num_samples=3000)
    exact = model.impute(s, None, seen)
    drawn = found.draws
    values = (
        drawn["s"] if form == "scan" else torch.stack([drawn[f"s_{t + 1}"] for t in range(T)], 2)
    )
    gone = ~seen
    error = exact.variance[gone].sqrt() / math.sqrt(3000)
    assert ((values[:, gone].double().mean(0) - exact.mean[gone]).abs() < 4.5 * error).all()


def test_imputations_of_an_slds_are_those_of_its_regimes() -> None:
    model, seen = random(SLDS(D, L, 2)).float(), holes()[:, :2]
    s = torch.where(seen, model(size=B, length=2).detach(), torch.nan)
    found = impute(model, SLDSGuide(model), s, observed=seen, num_samples=2000)
    k, scores = model.joint(s, None, seen)
    means = torch.stack([_mean_of(model, s, path, seen) for path in k])
    exact = torch.einsum("pb,pbtd->btd", scores.softmax(0), means)  # Kim's guide is exact here
    drawn = found.draws["s"][:, ~seen].double()
    error = drawn.std(0) / math.sqrt(2000)
    assert ((drawn.mean(0) - exact[~seen]).abs() < 4.5 * error).all()


def _mean_of(model: SLDS, s: Tensor, path: Tensor, seen: Tensor) -> Tensor:
    """E(s | what was seen, regimes), (B, T, D)."""
    params = model.dynamics(path)
    clean = torch.where(seen, s, torch.zeros_like(s))
    mean = kalman_smoother(params, kalman_filter(params, clean, None, seen)).mean
    return matvec(params.emission, mean) + params.emission_offset


@pytest.mark.parametrize(
    ("build", "guide"), [(lambda: LDS(D, L), LDSGuide), (lambda: HMM(D, K), HMMGuide)]
)
def test_nan_without_a_mask_is_an_error_whose_cure_works(build: Any, guide: Any) -> None:
    model, seen = build(), holes()
    s = data(model, seen).float()
    for wrong in ({}, {"observed": torch.ones(B, T).bool()}):
        with pytest.raises(InputError, match="NaN in sequence 0, frame .*, number") as raised:
            model(s, **wrong)
        assert "observed=~s.isnan()" in str(raised.value)
    observed = ~s.isnan()
    assert check(model, guide(model), s, observed=observed).sites
    run = fit(model, guide(model), {"s": s, "observed": observed}, epochs=2, progress=False)
    assert run.history
    found = importance(model, guide(model), s, observed=observed, num_samples=10)
    assert torch.allclose(found.iwae, model.log_evidence(s, None, observed).double(), atol=1e-4)


def test_what_was_seen_is_said_in_bools_of_frames_or_numbers() -> None:
    model, s = LDS(D, L), torch.zeros(B, T, D)
    for wrong in (torch.ones(B, T), torch.ones(T).bool(), torch.ones(B, T, D + 1).bool()):
        with pytest.raises(InputError, match="observed"):
            model(s, observed=wrong)
    with pytest.raises(InputError, match="existing frames first"):
        model(s, torch.tensor([True, False, True, True, True]).expand(B, T))


def test_a_forecast_after_a_gap_is_that_of_a_sequence_that_goes_on_unseen() -> None:
    model, seen = random(LDS(D, L)), holes()
    s = data(model, seen, MASK)
    ahead = model.forecast(s, MASK, seen, steps=2)
    longer = torch.cat([s, torch.full((B, 2, D), torch.nan).double()], 1)
    shown = torch.cat([seen & MASK[..., None], torch.zeros(B, 2, D).bool()], 1)
    smoothed = model.smooth(longer, None, shown)
    imputed = model.impute(longer, None, shown)
    for row, n in enumerate(MASK.sum(-1).tolist()):
        assert torch.allclose(ahead.mean[row], smoothed.mean[row, n : n + 2], **CLOSE)
        assert torch.allclose(ahead.frames.mean[row], imputed.mean[row, n : n + 2], **CLOSE)
        assert torch.allclose(ahead.frames.variance[row], imputed.variance[row, n : n + 2], **CLOSE)
    hmm = random(HMM(D, K))
    s = data(hmm, seen, MASK)
    states = hmm.forecast(s, MASK, seen, steps=2).states
    smooth = hmm.smooth(torch.cat([s, longer[:, T:]], 1), None, shown)
    for row, n in enumerate(MASK.sum(-1).tolist()):
        assert torch.allclose(states[row], smooth[row, n : n + 2], **CLOSE)


def test_a_whole_sequence_has_nothing_to_impute() -> None:
    model = LDS(D, L)
    with pytest.raises(PairError, match="no value of them masked"):
        impute(model, LDSGuide(model), torch.zeros(B, T, D))
