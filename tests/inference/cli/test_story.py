from __future__ import annotations

import pytest
import torch

from inference.cli.catalogue import find
from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli


@pytest.mark.parametrize("name", ["VAE", "GaussianMixture", "SRNN"])
def test_an_example_is_its_seed_s(name: str) -> None:
    first, second, third = (find(name).example(seed, size=4) for seed in (1, 1, 2))
    key = find(name).first_argument
    assert torch.equal(first[2][key], second[2][key])
    assert not torch.equal(first[2][key], third[2][key])
    pairs = zip(first[1].parameters(), second[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_data_are_not_simulated_by_the_pair_that_is_to_learn_them() -> None:
    model, _, _ = find("VAE").example(seed=0, size=4)
    with seeded(0):
        same_seed = type(model)()
    assert torch.equal(model.decoder[0].weight, same_seed.decoder[0].weight)
    simulated = find("VAE").simulate(same_seed, 4)["x"]
    assert not torch.equal(find("VAE").example(seed=0, size=4)[2]["x"], simulated)


def test_sizes_are_the_data_s_and_settings_go_where_they_belong() -> None:
    data = {"x": torch.zeros(3, 7)}
    model, guide = find("VAE").pair(data, {"latent_dim": 2, "likelihood": "bernoulli"})
    assert model.data_dim == 7 and guide.model is model
    assert model.latent_dim == 2 and isinstance(model.likelihood, Bernoulli)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dims": 3}, "did you mean latent_dim"),
        ({"latent_dim": "many"}, "latent_dim"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": -1}, "latent_dim"),
        ({"decoder": "mine"}, "decoder"),
        ({"model": "mine"}, "model"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find("VAE").pair({"x": torch.zeros(3, 7)}, settings)
