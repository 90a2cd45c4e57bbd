from __future__ import annotations

import pytest
import torch
from pyro import poutine
from torch import nn

from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli
from ppl_models.likelihoods.discrete import Categorical
from ppl_models.multimodal import DMVAE, MVAE, MultimodalVAE
from ppl_models.priors.simple import MixturePrior

PARTS = {"image": Bernoulli(6), "label": Categorical(1, 3), "sound": 4}


def test_it_generates_the_modalities_that_it_can_be_given(untouched: None) -> None:
    with torch.random.fork_rng():
        model = MultimodalVAE(PARTS, 3)
        data = model(size=5)
        assert {n: tuple(x.shape) for n, x in data.items()} == {
            "image": (5, 6),
            "label": (5, 1),
            "sound": (5, 4),
        }
        again = model(**data)
    assert all(torch.equal(data[name], again[name]) for name in data)


def test_sites_are_named_after_the_modalities_and_masked_rows_count_for_nothing() -> None:
    model = MultimodalVAE(PARTS, 3)
    data = model(size=4)
    mask = torch.tensor([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0]]).bool()
    trace = poutine.trace(model).get_trace(**data, mask=mask)
    trace.compute_log_prob()
    for m, name in enumerate(PARTS):
        assert torch.equal(trace.nodes[name]["log_prob"] != 0, mask[:, m])


def test_a_modality_that_is_not_given_is_predicted_all_the_same() -> None:
    model = MVAE(PARTS, 3)
    image = torch.bernoulli(torch.full((4, 6), 0.5))
    trace = poutine.trace(poutine.uncondition(model)).get_trace(image)
    assert trace.nodes["sound"]["value"].shape == (4, 4)
    assert trace.nodes["sound"]["value"].count_nonzero() == 16


def test_a_likelihood_reads_observed_modalities_only() -> None:
    model = MultimodalVAE(PARTS, 3)
    data = model(size=2)
    data["image"] = torch.tensor([[0.5] * 6, [1.0] * 6])
    model(**data, mask=torch.tensor([[False, True, True], [True, True, True]]))
    with pytest.raises(InputError, match="other numbers than 0 and 1"):
        model(**data)


def test_parts_of_ones_own() -> None:
    prior, decoder = MixturePrior(3, 2), nn.Linear(3, 4)
    model = MultimodalVAE(PARTS, 3, decoders={"sound": decoder}, prior=prior)
    assert model.decoders["sound"] is decoder and model.prior is prior
    with pytest.raises(InputError, match="decoders"):
        MultimodalVAE(PARTS, 3, decoders={"smell": decoder})
    with pytest.raises(InputError, match="latent_dim 3"):
        MultimodalVAE(PARTS, 2, prior=prior)
    with pytest.raises(InputError, match="latent_dim"):
        MultimodalVAE(PARTS, 0)


def test_each_modality_is_decoded_from_the_shared_code_and_its_own() -> None:
    model = DMVAE({"image": 5, "sound": 4}, 3, private_dim={"image": 1, "sound": 2})
    nodes = poutine.trace(model).get_trace(size=6).nodes
    shapes = {name: tuple(nodes[name]["value"].shape) for name in ("z", "z_image", "z_sound")}
    assert shapes == {"z": (6, 3), "z_image": (6, 1), "z_sound": (6, 2)}
    image = model.observation(
        "image", torch.cat([nodes["z"]["value"], nodes["z_image"]["value"]], 1)
    )
    distribution = nodes["image"]["fn"]
    assert torch.equal(image.mean, distribution.mean)


def test_a_private_code_changes_its_own_modality_only() -> None:
    model = DMVAE({"image": 5, "sound": 4}, 3)
    zeros = {"z": torch.zeros(1, 3), "z_image": torch.zeros(1, 2), "z_sound": torch.zeros(1, 2)}

    def means(**codes: torch.Tensor) -> list[torch.Tensor]:
        nodes = poutine.trace(poutine.condition(model, zeros | codes)).get_trace(size=1).nodes
        return [nodes[name]["fn"].mean for name in ("image", "sound")]

    plain, moved = means(), means(z_image=torch.ones(1, 2))
    assert not torch.allclose(plain[0], moved[0]) and torch.equal(plain[1], moved[1])


def test_a_private_code_has_a_number_at_least() -> None:
    with pytest.raises(InputError, match="private_dim of image"):
        DMVAE({"image": 5}, 3, private_dim=0)
