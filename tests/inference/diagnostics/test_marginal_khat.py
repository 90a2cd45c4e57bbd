from __future__ import annotations

import torch

from inference.diagnostics.importance import importance
from inference.diagnostics.marginal_khat import marginal_khat, normal_scores
from tests.pairs import Conjugate, ConjugateGuide


def draws(size: int, dims: int, seed: int = 0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(size, dims, dtype=torch.double, generator=random)


def test_the_parameter_that_is_too_narrow_is_found():
    # q = N(0, 1) each; p has variances 4 (k = 0.75 in the limit), 1, 0.64 and 1.2 (k = 0.17)
    z, variances = draws(4000, 4), torch.tensor([4.0, 1.0, 0.64, 1.2]).double()
    log_weights = (0.5 * z**2 * (1 - 1 / variances)).sum(1, keepdim=True)
    khat = marginal_khat(z, log_weights)
    # k-hat at 4,000 draws of a tail of normals lies below its limit, by up to 0.1
    assert 0.55 < float(khat[0]) < 0.9
    assert float(khat[1]) < 0.2 and float(khat[2]) < 0.1 and float(khat[3]) < 0.4
    assert int(khat.argmax()) == 0


def test_nothing_depends_on_how_a_parameter_is_written():
    z = draws(2000, 2)
    log_weights = 0.3 * z[:, :1] ** 2
    assert torch.equal(marginal_khat(z, log_weights), marginal_khat(z.exp(), log_weights))


def test_the_parameter_is_found_where_few_draws_carry_all_weight():
    # p / q with variance 25, of one parameter of ten: the effective sample size is below 100
    z = draws(2000, 10, seed=3)
    log_weights = 0.5 * z[:, :1] ** 2 * (1 - 1 / 25)
    khat = marginal_khat(z, log_weights)
    assert float(khat[0]) > 0.7 and float(khat[1:].max()) < 0.5


def test_a_mean_field_guide_of_correlated_parameters_is_too_narrow_in_each():
    # precision of p with ones on the diagonal: the mean-field optimum is N(0, 1) each,
    # marginal variances are 1 / (1 - 0.8^2) = 2.8, so that k = 0.64 in the limit
    z = draws(8000, 2, seed=1)
    khat = marginal_khat(z, -0.8 * z[:, :1] * z[:, 1:])
    assert float(khat.min()) > 0.4


def test_a_number_that_does_not_vary_has_none():
    z = torch.cat([draws(500, 1), torch.ones(500, 1)], 1)
    assert marginal_khat(z, z[:, :1] ** 2 / 4)[1] == -torch.inf


def test_scores_are_standard_normal():
    scores = normal_scores(draws(2000, 1).exp())
    assert abs(float(scores.mean())) < 1e-6 and abs(float(scores.std()) - 1) < 0.01


def test_every_datum_and_parameter_of_a_pair_has_one():
    x = torch.randn(5)
    guide = ConjugateGuide(exact=True)
    guide.log_scale.data -= 0.7  # half as wide
    found = importance(Conjugate(), guide, x, num_samples=4000)
    assert found.khats["z"].shape == (5,)
    # one parameter a weight: its k-hat is the weight's, to the error of both
    assert (found.khats["z"] - found.khat).abs().max() < 0.3
