from __future__ import annotations

import pytest
import torch
from pyro import poutine

from ppl_models.errors import InputError
from ppl_models.multimodal import DMVAE


def test_each_modality_is_told_from_what_is_shared_and_from_its_own() -> None:
    model = DMVAE({"image": 5, "sound": 4}, 3, private_dim={"image": 1, "sound": 2})
    nodes = poutine.trace(model).get_trace(num_data=6).nodes
    shapes = {name: tuple(nodes[name]["value"].shape) for name in ("z", "z_image", "z_sound")}
    assert shapes == {"z": (6, 3), "z_image": (6, 1), "z_sound": (6, 2)}
    image = model.observation(
        "image", torch.cat([nodes["z"]["value"], nodes["z_image"]["value"]], 1)
    )
    told = nodes["image"]["fn"]
    assert torch.equal(image.mean, told.mean)


def test_a_private_code_changes_its_own_modality_only() -> None:
    model = DMVAE({"image": 5, "sound": 4}, 3)
    zeros = {"z": torch.zeros(1, 3), "z_image": torch.zeros(1, 2), "z_sound": torch.zeros(1, 2)}

    def means(**codes: torch.Tensor) -> list[torch.Tensor]:
        nodes = poutine.trace(poutine.condition(model, zeros | codes)).get_trace(num_data=1).nodes
        return [nodes[name]["fn"].mean for name in ("image", "sound")]

    plain, moved = means(), means(z_image=torch.ones(1, 2))
    assert not torch.allclose(plain[0], moved[0]) and torch.equal(plain[1], moved[1])


def test_a_private_code_has_a_number_at_least() -> None:
    with pytest.raises(InputError, match="private_dim of image"):
        DMVAE({"image": 5}, 3, private_dim=0)
