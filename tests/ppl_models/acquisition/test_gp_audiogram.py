from __future__ import annotations

import pytest
import torch
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, Matern
from torch.distributions import MultivariateNormal

from ppl_models.acquisition import GPAudiogram
from ppl_models.acquisition.gp_audiogram import JITTER, KERNELS
from ppl_models.errors import InputError
from tests.cures import tried

NAN = float("nan")


def build(kernel: str = "rbf", lengthscale: float = 1.3) -> GPAudiogram:
    """A process with parameters of its own, in double precision."""
    model = GPAudiogram(kernel=kernel).double()
    values = {"offset": 17.0, "slope": 6.0, "amplitude": 11.0, "level": 9.0, "noise": 4.0}
    with torch.no_grad():
        model.log_lengthscale.fill_(torch.tensor(lengthscale).log())
        for name, value in values.items():
            if name in ("offset", "slope"):
                getattr(model, name).fill_(value)
            else:
                getattr(model, f"log_{name}").fill_(torch.tensor(value).log())
    return model


def ears(model: GPAudiogram, size: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    """Ears of the model, of which some thresholds are NaN, and the mask."""
    x = model(size=size).detach()
    mask = torch.rand(x.shape) < 0.6
    mask[0], mask[1] = False, True
    return torch.where(mask, x, NAN), mask


def sklearn_kernel(kernel: str) -> object:
    shapes = {"rbf": RBF(1.3), "matern32": Matern(1.3, nu=1.5), "matern52": Matern(1.3, nu=2.5)}
    return ConstantKernel(11.0**2) * shapes[kernel] + ConstantKernel(9.0**2)


@pytest.mark.parametrize("kernel", KERNELS)
def test_evidence_posterior_and_prediction_are_those_of_scikit_learn(kernel: str) -> None:
    model = build(kernel)
    x, mask = ears(model)
    tones = (250.0, 700.0, 1500.0, 4000.0, 12000.0)
    octaves = model.octaves.double().numpy()[:, None]
    new = (torch.tensor(tones).double() / 1000).log2()
    found, posterior = model.predict(x, mask, frequencies=tones), model.posterior(x, mask)
    jitter = JITTER * (11.0**2 + 9.0**2)
    for row in range(1, len(x)):
        seen = mask[row].numpy()
        rest = (x[row] - model.mean(model.octaves)).detach().numpy()[seen]
        exact = GaussianProcessRegressor(sklearn_kernel(kernel), alpha=16 + jitter, optimizer=None)
        exact.fit(octaves[seen], rest)
        evidence = model.evidence(x, mask)[row].item()
        assert evidence == pytest.approx(exact.log_marginal_likelihood_value_, rel=1e-6)
        mean, cov = exact.predict(new.numpy()[:, None], return_cov=True)
        mean = mean + model.mean(new).detach().numpy()
        # the jitter is part of the thresholds themselves: a thousandth of their spread
        assert found.mean[row].detach().numpy() == pytest.approx(mean, abs=1e-3)
        assert found.variance[row].detach().numpy() == pytest.approx(cov.diagonal(), abs=2e-3)
        mean, cov = exact.predict(octaves, return_cov=True)
        mean = mean + model.mean(model.octaves).detach().numpy()
        assert posterior.mean[row].detach().numpy() == pytest.approx(mean, abs=1e-3)
        assert posterior.covariance_matrix[row].detach().numpy() == pytest.approx(cov, abs=2e-3)


def test_evidence_is_that_of_the_dense_gaussian_of_what_was_measured() -> None:
    model = build()
    x, mask = ears(model)
    found = model.evidence(x, mask)
    dense = model.prior().covariance_matrix + 16 * torch.eye(7).double()
    for row, seen, value in zip(x, mask, found, strict=True):
        part = MultivariateNormal(model.prior().mean[seen], dense[seen][:, seen])
        expected = part.log_prob(row[seen]) if seen.any() else torch.zeros(()).double()
        assert torch.isclose(value, expected)
    found.sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_in_single_precision_it_is_the_same() -> None:
    """A long lengthscale makes the covariance nearly singular."""
    model = build(lengthscale=5.0)
    x, mask = ears(model)
    exact, posterior = model.evidence(x, mask), model.posterior(x, mask)
    single = model.float()
    assert torch.allclose(single.evidence(x.float(), mask).double(), exact, atol=1e-4)
    found = single.posterior(x.float(), mask)
    assert torch.allclose(found.mean.double(), posterior.mean, atol=1e-3)
    rooted = found.variance.double().sqrt()
    assert torch.allclose(rooted, posterior.variance.sqrt(), rtol=1e-3)


def test_nothing_measured_leaves_the_prior() -> None:
    model = build()
    x = torch.full((2, 7), NAN).double()
    mask = torch.zeros(2, 7, dtype=torch.bool)
    posterior, prior = model.posterior(x, mask), model.prior()
    assert torch.equal(model.evidence(x, mask), torch.zeros(2).double())
    assert torch.allclose(posterior.mean, prior.mean.expand(2, 7))
    covariance = posterior.covariance_matrix
    assert torch.allclose(covariance, prior.covariance_matrix.expand(2, 7, 7))
    assert torch.allclose(model.predict(x, mask).variance[0], prior.variance)


def test_a_measurement_tells_most_where_nobody_measured_and_less_the_second_time() -> None:
    model = build()
    x, mask = torch.full((1, 7), 20.0).double(), torch.zeros(1, 7, dtype=torch.bool)
    before = model.information_gain(x, mask)
    mask[:, 0] = True
    after = model.information_gain(x, mask)
    assert (after < before).all() and after[0].argmin() == 0 and after[0].argmax() == 6
    far = model.information_gain(x, mask, frequencies=[500.0, 16000.0])
    assert far[0, 0].item() == pytest.approx(after[0, 0].item(), rel=1e-3)
    assert far[0, 1] > after[0, 6]
    # the entropy that is lost: of f, from the prior to the posterior after the measurement
    none = torch.zeros_like(mask)
    lost = model.posterior(x, none).entropy() - model.posterior(x, mask).entropy()
    assert lost.item() == pytest.approx(before[0, 0].item(), rel=1e-4)


def test_simulated_ears_have_the_moments_of_the_prior() -> None:
    model = build()
    x = model(size=20_000)
    # five standard errors of 20,000 draws, whose spread is some 15 dB
    assert torch.allclose(x.mean(0), model.prior().mean, atol=5 * 15 / 20_000**0.5)
    wanted = model.prior().covariance_matrix + 16 * torch.eye(7)
    assert torch.allclose(torch.cov(x.T), wanted, atol=5 * 2**0.5 * 220 / 20_000**0.5)


@pytest.mark.parametrize("gaps", [False, True])
def test_the_fit_is_a_maximum_and_finds_the_parameters_again(gaps: bool) -> None:
    truth = build()
    with torch.no_grad():
        truth.log_level.fill_(-3.0)  # else the amplitude can stand in for it
        x = truth(size=2000)
    mask = torch.rand(x.shape) < 0.7 if gaps else None
    x = x if mask is None else x.masked_fill(~mask, NAN)
    model = GPAudiogram().double().fit_evidence(x, mask)
    best = model.evidence(x, mask).mean()
    assert best >= truth.evidence(x, mask).mean()
    best.backward()
    assert all(p.grad is not None and p.grad.abs().max() < 1e-3 for p in model.parameters())
    assert model.log_noise.exp().item() == pytest.approx(4.0, rel=0.05)
    assert model.slope.item() == pytest.approx(6.0, abs=0.5)
    assert model.log_lengthscale.exp().item() == pytest.approx(1.3, rel=0.15)


def test_few_steps_are_less_of_a_fit() -> None:
    x = build()(size=200).detach()
    few, many = (GPAudiogram().double().fit_evidence(x, max_steps=n) for n in (1, 100))
    assert few.evidence(x).mean() < many.evidence(x).mean()


def test_wrong_settings_and_data_are_errors_whose_cures_work() -> None:
    for frequencies in ((), (500, 500), (0, 500)):
        with pytest.raises(InputError, match="frequencies"):
            GPAudiogram(frequencies)
    with pytest.raises(InputError, match="kernel") as caught:
        GPAudiogram(kernel="linear")
    assert caught.value.cure.startswith('"rbf"')
    with pytest.raises(InputError, match="frequencies"):
        GPAudiogram().predict(torch.zeros(1, 7), frequencies=[-1.0])
    for x in (torch.full((3, 7), 20.0), torch.full((3, 7), NAN)):
        with pytest.raises(InputError, match="different"):
            GPAudiogram().fit_evidence(x)
    with pytest.raises(InputError, match="x: saw shape"):
        GPAudiogram().posterior(torch.zeros(3, 15))
    x = torch.randn(3, 7)
    with pytest.raises(InputError, match="mask") as caught:
        GPAudiogram().evidence(x, torch.ones(3, 7))
    assert not tried(caught.value)  # "mask = ~x.isnan()"
    assert GPAudiogram().evidence(x, ~x.isnan()).isfinite().all()


def test_other_tones() -> None:
    model = GPAudiogram((125, 250, 1000))
    assert model(size=4).shape == (4, 3)
    assert model.octaves.tolist() == [-3, -2, 0]
