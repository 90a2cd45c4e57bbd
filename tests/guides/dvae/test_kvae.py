"""The encoder reads frames alone; what is missing is filled in as dense Gaussians say."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from guides.dvae.kvae import KVAEGuide, complete, forecast, impute
from ppl_models.dvae.kvae import KVAE
from ppl_models.errors import InputError
from tests.ppl_models.distributions.test_kalman import condition
from tests.ppl_models.dvae.test_kvae import A, D, K, N, T, build, of_one

OBSERVED = torch.tensor([[1, 1, 0, 0, 1, 1], [0, 1, 0, 1, 1, 0]], dtype=torch.bool)


def pair(modes: int = K, feedback: bool = False) -> tuple[KVAE, KVAEGuide]:
    model = build(modes, feedback=feedback)
    return model, KVAEGuide(model).double()


def path(model: KVAE, size: int = 2) -> Tensor:
    with torch.no_grad():
        return model(size=size, length=T)


def test_each_frame_is_read_alone() -> None:
    _, guide = pair()
    s = torch.randn(3, T, D).double()
    for together, alone in zip(guide.moments(s), guide.moments(s[1, 2]), strict=True):
        assert together.shape == (3, T, A)
        assert torch.allclose(together[1, 2], alone)


def test_with_one_mode_the_fill_is_dense_conditioning() -> None:
    model, _ = pair(1)
    a = torch.randn(2, T, A).double()
    with torch.no_grad():
        params = model.dynamics(a)
        both, past = (
            complete(model, torch.where(OBSERVED[..., None], a, torch.nan), OBSERVED, smooth=smooth)
            for smooth in (True, False)
        )
        for b in range(2):
            one = of_one(params, b, T)
            around = condition(one, a[b], OBSERVED[b])[0].view(T, N) @ model.emission[0].T
            for t in range(T):
                before = OBSERVED[b] & (torch.arange(T) < t)
                ahead = condition(one, a[b], before)[0].view(T, N) @ model.emission[0].T
                observed = bool(OBSERVED[b, t])
                assert torch.allclose(both[b, t], a[b, t] if observed else around[t])
                assert torch.allclose(past[b, t], a[b, t] if observed else ahead[t])


@pytest.mark.parametrize("feedback", [False, True])
def test_the_forecast_s_modes_are_those_of_what_it_filled_in(feedback: bool) -> None:
    model, _ = pair(K, feedback)
    a = torch.randn(2, T, A).double()
    with torch.no_grad():
        filled = complete(model, a, OBSERVED, smooth=False)
        params = model.dynamics(filled)
        for b in range(2):
            one = of_one(params, b, T)
            for t in torch.arange(T)[~OBSERVED[b]].tolist():
                mean = condition(one, a[b], OBSERVED[b] & (torch.arange(T) < t))[0].view(T, N)
                assert torch.allclose(filled[b, t], one.emission[t] @ mean[t])


@pytest.mark.parametrize("modes", [1, K])
def test_only_what_is_missing_changes_and_what_stood_there_is_not_read(modes: int) -> None:
    model, guide = pair(modes)
    s = path(model)
    filled = impute(model, guide, s, OBSERVED)
    assert torch.equal(filled[OBSERVED], s[OBSERVED])
    assert filled.isfinite().all() and not filled.requires_grad
    hidden = torch.where(OBSERVED[..., None], s, torch.nan)
    assert torch.equal(impute(model, guide, hidden, OBSERVED), filled)


def test_the_smoother_reads_the_future_and_the_filter_does_not() -> None:
    model, guide = pair()
    s = path(model)
    other = torch.cat([s[:, :4], torch.randn_like(s[:, 4:])], 1)
    gap = OBSERVED[:1].expand(2, -1)
    for smooth in (False, True):
        one, two = (impute(model, guide, each, gap, smooth=smooth)[:, 2:4] for each in (s, other))
        assert torch.allclose(one, two) != smooth


def test_a_forecast_is_a_fill_at_the_end() -> None:
    model, guide = pair()
    s = path(model)
    observed = (torch.arange(T) < 4).expand(2, T)
    ahead = forecast(model, guide, s[:, :4], T - 4)
    assert ahead.shape == (2, T - 4, D)
    for smooth in (False, True):  # after the last observed frame, nothing is left to read
        assert torch.allclose(ahead, impute(model, guide, s, observed, smooth=smooth)[:, 4:])


def test_refused() -> None:
    model, guide = pair()
    s = path(model)
    with pytest.raises(InputError, match="simulate with the model alone"):
        guide()
    with pytest.raises(InputError, match="observed"):
        impute(model, guide, s, torch.ones(2, T))
    with pytest.raises(InputError, match="steps"):
        forecast(model, guide, s, 0)
