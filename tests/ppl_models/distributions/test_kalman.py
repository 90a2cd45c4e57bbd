"""The Kalman recursions against one dense Gaussian over all frames, and against Pyro's."""

from __future__ import annotations

from collections.abc import Callable

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ppl_models.distributions.kalman import LinearGaussian, kalman_filter, kalman_smoother
from ppl_models.errors import InputError

T, N = 6, 3
SIZES = [2, 3, 5]  # fewer observations than states, as many, and more: both forms of the update


def system(
    observed: int, length: int = T, batch: tuple[int, ...] = (2,), dtype: torch.dtype = torch.double
) -> LinearGaussian:
    """Return a random system whose every matrix changes with time."""

    def cov(*shape: int) -> Tensor:
        root = torch.randn(*batch, *shape, N, N, dtype=dtype) / N**0.5
        return root @ root.mT + 0.1 * torch.eye(N, dtype=dtype)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*batch, *shape, dtype=dtype)

    steps = length - 1
    return LinearGaussian(
        normal(N),
        cov(),
        0.6 * normal(steps, N, N),
        normal(steps, N),
        cov(steps),
        normal(length, observed, N),
        normal(length, observed),
        (0.5 * normal(length, observed)).exp(),
    )


def dense(params: LinearGaussian) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean and covariance of (z_1, ..., z_T), and C of all frames (..., T D, T N).

    With z = W z + e, W strictly triangular: Cov z = (I - W)^-1 Cov e (I - W)^-T.
    """
    p = params
    length, observed = p.emission.shape[-3:-1]
    batch = p.emission.shape[:-3]
    w = torch.zeros(*batch, length * N, length * N, dtype=p.emission.dtype)
    q, c = torch.zeros_like(w), p.emission.new_zeros(*batch, length * observed, length * N)
    offset = torch.cat([p.initial_mean[..., None, :], p.transition_offset], -2).flatten(-2)
    for t in range(length):
        here, before = slice(t * N, t * N + N), slice(t * N - N, t * N)
        c[..., t * observed : (t + 1) * observed, here] = p.emission[..., t, :, :]
        q[..., here, here] = p.initial_cov if t == 0 else p.process_cov[..., t - 1, :, :]
        if t:
            w[..., here, before] = p.transition[..., t - 1, :, :]
    inverse = torch.linalg.inv(torch.eye(length * N, dtype=w.dtype) - w)
    return (inverse @ offset[..., None])[..., 0], inverse @ q @ inverse.mT, c


def condition(params: LinearGaussian, x: Tensor, observed: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, covariance of z given the frames ``observed`` (T) of x (T, D); their log p."""
    mean, cov, c = dense(params)
    rows = observed.repeat_interleave(x.shape[-1])
    c, r = c[rows], params.noise_variance.flatten()[rows]
    error = (x - params.emission_offset).flatten()[rows] - c @ mean
    if not rows.any():
        return mean, cov, torch.zeros((), dtype=x.dtype)
    s = c @ cov @ c.T + torch.diag(r)
    gain = torch.linalg.solve(s, c @ cov).T
    evidence = MultivariateNormal(torch.zeros_like(error), s, validate_args=False).log_prob(error)
    return mean + gain @ error, cov - gain @ c @ cov, evidence


def row(params: LinearGaussian, index: int) -> LinearGaussian:
    return LinearGaussian(*(part[index] for part in params))


def as_type(params: LinearGaussian, dtype: torch.dtype) -> LinearGaussian:
    return LinearGaussian(*(part.to(dtype) for part in params))


MASKS = {
    "all observed": [[1] * T, [1] * T],
    "gaps": [[1, 0, 0, 1, 1, 0], [0, 1, 1, 0, 1, 1]],
    "nothing observed": [[0] * T, [1] + [0] * (T - 1)],
}


@pytest.mark.parametrize("observed", SIZES)
@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.double, 1e-9), (torch.float, 1e-5)])
def test_dense_conditioning(observed: int, name: str, dtype: torch.dtype, tolerance: float) -> None:
    exact = system(observed)
    mask = torch.tensor(MASKS[name], dtype=torch.bool)
    x = torch.randn(2, T, observed, dtype=torch.double)
    hidden = torch.where(mask[..., None], x, torch.nan).to(dtype)
    params = as_type(exact, dtype)
    filtered = kalman_filter(params, hidden, None if name == "all observed" else mask)
    smoothed = kalman_smoother(params, filtered)

    def close(ours: Tensor, truth: Tensor) -> bool:
        # covariances of a random system reach 10: a tolerance of that many units in the last place
        return torch.allclose(ours.double(), truth, rtol=tolerance, atol=10 * tolerance)

    for b in range(2):
        system_b, x_b = row(exact, b), x[b]
        mean, cov, evidence = condition(system_b, x_b, mask[b])
        blocks = cov.unflatten(0, (T, N)).unflatten(2, (T, N)).transpose(1, 2)
        here = torch.arange(T)
        assert close(filtered.log_evidence[b].sum(), evidence)
        assert close(smoothed.mean[b], mean.view(T, N))
        assert close(smoothed.cov[b], blocks[here, here])
        assert close(smoothed.cross[b], blocks[here[1:], here[:-1]])
        for t in range(T):
            for given, means, covs in (
                (mask[b] & (here <= t), filtered.mean, filtered.cov),
                (mask[b] & (here < t), filtered.predicted_mean, filtered.predicted_cov),
            ):
                mean, cov, _ = condition(system_b, x_b, given)
                assert close(means[b, t], mean.view(T, N)[t])
                assert close(covs[b, t], cov[t * N : t * N + N, t * N : t * N + N])
    assert (filtered.log_evidence[~mask] == 0).all()


@pytest.mark.parametrize("observed", SIZES)
def test_one_frame(observed: int) -> None:
    params = system(observed, 1)
    x = torch.randn(2, 1, observed, dtype=torch.double)
    filtered = kalman_filter(params, x)
    smoothed = kalman_smoother(params, filtered)
    mean, cov, evidence = condition(row(params, 0), x[0], torch.ones(1, dtype=torch.bool))
    assert torch.allclose(filtered.log_evidence[0, 0], evidence)
    assert torch.allclose(smoothed.mean[0, 0], mean)
    assert torch.allclose(smoothed.cov[0, 0], cov)
    assert smoothed.cross.shape == (2, 0, N, N)


@pytest.mark.parametrize("observed", SIZES)
def test_evidence_is_pyro_s(observed: int) -> None:
    params = system(observed)
    same = LinearGaussian(*(part[:, :1] if i > 1 else part for i, part in enumerate(params)))
    x = torch.randn(2, T, observed, dtype=torch.double)

    def normal(mean: Tensor, cov: Tensor) -> dist.MultivariateNormal:
        return dist.MultivariateNormal(mean, cov)

    rival = dist.GaussianHMM(
        # Pyro's first hidden state is before the first frame: it stands still up to there
        normal(same.initial_mean, same.initial_cov),
        torch.cat(
            [torch.eye(N).double().expand(2, 1, N, N), same.transition.mT.expand(2, 5, N, N)], 1
        ),
        normal(
            torch.cat([torch.zeros(2, 1, N).double(), same.transition_offset.expand(2, 5, N)], 1),
            torch.cat(
                [
                    1e-9 * torch.eye(N).double().expand(2, 1, N, N),
                    same.process_cov.expand(2, 5, N, N),
                ],
                1,
            ),
        ),
        same.emission.mT,
        normal(same.emission_offset, same.noise_variance.diag_embed()),
    )
    # Pyro's own first step needs a covariance, of 1e-9: less than 1e-5 of the evidence
    ours = kalman_filter(same, x).log_evidence.sum(-1)
    assert torch.allclose(ours, rival.log_prob(x), rtol=1e-5)


@pytest.mark.parametrize("observed", [2, 4])
def test_gradients(observed: int) -> None:
    length = 4
    params = [part.clone() for part in system(observed, length)]
    mask = torch.tensor([[1, 0, 1, 1], [1, 1, 0, 0]], dtype=torch.bool)
    x = torch.randn(2, length, observed, dtype=torch.double)

    def answers(x: Tensor, *parts: Tensor) -> tuple[Tensor, ...]:
        parts = tuple(_symmetric(p) if i in (1, 4) else p for i, p in enumerate(parts))
        system = LinearGaussian(*parts)
        filtered = kalman_filter(system, x, mask)
        smoothed = kalman_smoother(system, filtered)
        total = filtered.log_evidence.sum()
        return total, smoothed.mean.sin(), smoothed.cov.sin(), smoothed.cross.sin().sum()

    given = [part.requires_grad_() for part in (x, *params)]
    assert torch.autograd.gradcheck(answers, given, fast_mode=True)


def _symmetric(matrix: Tensor) -> Tensor:
    """Finite differences must stay among symmetric matrices."""
    return 0.5 * (matrix + matrix.mT)


@pytest.mark.parametrize("observed", SIZES)
def test_masked_frames_reach_no_gradient(observed: int) -> None:
    params = LinearGaussian(*(part.requires_grad_() for part in system(observed)))
    mask = torch.tensor(MASKS["gaps"], dtype=torch.bool)
    clean = torch.randn(2, T, observed, dtype=torch.double)
    gradients = []
    for filling in (0.0, torch.nan):
        x = torch.where(mask[..., None], clean, filling).requires_grad_()
        filtered = kalman_filter(params, x, mask)
        total = filtered.log_evidence.sum() + kalman_smoother(params, filtered).mean.sum()
        gradients.append(torch.autograd.grad(total, (x, *params)))
    for zero, nan in zip(*gradients, strict=True):
        assert torch.equal(zero, nan)
        assert nan.isfinite().all()
    assert (gradients[1][0][~mask] == 0).all()


def track(batch: tuple[int, ...] = (), dtype: torch.dtype = torch.float) -> LinearGaussian:
    """Return a position that is observed and its velocity that is not, the same in all frames."""
    move = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=dtype)
    q = torch.tensor([[1e-4, 0.0], [0.0, 1e-6]], dtype=dtype)
    observed = torch.tensor([[1.0, 0.0]], dtype=dtype)
    zeros = torch.zeros(1, 2, dtype=dtype)
    parts = (zeros[0], 20 * torch.eye(2, dtype=dtype), move[None], zeros, q[None], observed[None])
    noise = (zeros[:, :1], torch.full((1, 1), 1e-4, dtype=dtype))
    return LinearGaussian(*(part.expand(*batch, *part.shape) for part in (*parts, *noise)))


@pytest.mark.parametrize("copies", [1, 3])
def test_a_thousand_frames_in_float32(copies: int) -> None:
    # three copies of one sensor, so that there are more observations than states
    def several(params: LinearGaussian) -> LinearGaussian:
        parts = (params.emission, params.emission_offset, params.noise_variance)
        wide = (
            part.repeat_interleave(copies, i) for part, i in zip(parts, (-2, -1, -1), strict=True)
        )
        return LinearGaussian(*params[:5], *wide)

    x = torch.randn(2, 1000, copies).mul(0.01) + torch.randn(2, 1000, 1).mul(0.01).cumsum(1)
    answers = []
    for dtype in (torch.float, torch.double):
        params = several(track((), dtype))
        filtered = kalman_filter(params, x.to(dtype))
        answers.append((filtered, kalman_smoother(params, filtered)))
    for low, high in zip(*answers, strict=True):
        scale = high.cov.diagonal(dim1=-2, dim2=-1).sqrt()
        # in units of the posterior's own deviation, which is 1e-5 of the first frame's
        assert ((low.mean - high.mean).abs() / scale).max() < 0.05
        assert ((low.cov - high.cov).abs() / scale[..., None] / scale[..., None, :]).max() < 0.05
    error = answers[0][0].log_evidence - answers[1][0].log_evidence
    assert error.abs().max() < 0.02  # nats, of the worst frame
    assert error.sum(-1).abs().max() < 0.05  # nats, of 1,000 frames


def test_what_paths_share_is_computed_once_and_equals_a_copy_each() -> None:
    x = torch.randn(3, 4, T, 1, dtype=torch.double)
    shared, own = track((), torch.double), track((3, 4), torch.double)
    one, each = kalman_filter(shared, x), kalman_filter(own, x)
    assert one.cov.shape == (T, 2, 2)
    assert each.cov.shape == (3, 4, T, 2, 2)
    for ours, theirs in zip(one, each, strict=True):
        assert torch.allclose(ours, theirs)
    for ours, theirs in zip(kalman_smoother(shared, one), kalman_smoother(own, each), strict=True):
        assert torch.allclose(ours, theirs)


def _long(params: LinearGaussian) -> LinearGaussian:
    return params._replace(emission=params.emission.expand(T + 1, 1, 2))


def _not_positive(params: LinearGaussian) -> LinearGaussian:
    return params._replace(noise_variance=-1e3 * torch.ones(1, 1))


@pytest.mark.parametrize(
    ("change", "mask", "message"),
    [
        (_long, None, "emission"),
        (_not_positive, None, "frame 0"),
        (LinearGaussian._make, torch.ones(T), "mask"),
        (LinearGaussian._make, torch.ones(T - 1, dtype=torch.bool), "mask"),
    ],
)
def test_refused(
    change: Callable[[LinearGaussian], LinearGaussian], mask: Tensor | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        kalman_filter(change(track()), torch.zeros(T, 1), mask)
