"""STORN and VRNN: the papers' equations, frame by frame, and the benchmark's sizes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from guides.dvae.srnn import SRNNGuide
from guides.dvae.storn import STORNGuide
from guides.dvae.vrnn import VRNNGuide
from ppl_models.dvae.srnn import SRNN
from ppl_models.dvae.storn import STORN
from ppl_models.dvae.vrnn import VRNN
from ppl_models.likelihoods.spectra import ComplexGaussian
from tests.sequences import conditionals, count, paths

OPTIONS = {"input_dim": 256, "recurrent_dim": 128, "prior_dims": (64, 32), "emission_dims": (256,)}
LOOKING = {"hidden_dims": (64, 32), "causal": False, "backward_dim": 128, "input_dim": 256}
SIZES = [  # of pairs at the benchmark's setting, 513 frequencies and 16 latents
    (STORN, STORNGuide, {}, {}, 870_113),
    (VRNN, VRNNGuide, {}, {}, 480_097),
    (SRNN, SRNNGuide, OPTIONS, LOOKING, 860_417),
]


@pytest.mark.parametrize(("model_class", "guide", "options", "guide_options", "size"), SIZES)
def test_the_benchmark_s_sizes(
    model_class: Any, guide: Any, options: dict[str, Any], guide_options: dict[str, Any], size: int
) -> None:
    """Bie et al. 2021: layer by layer the same networks, so as many numbers."""
    model = model_class(513, 16, likelihood=ComplexGaussian(513), **options)
    assert count(model, guide(model, **guide_options)) == size


def frames(model: Any, s: Tensor, z: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return s_{t-1}, z_t and z_{t-1}, each (T, B, .)."""
    zero_s, zero_z = torch.zeros_like(s[:, :1]), torch.zeros_like(z[:, :1])
    before_s, before_z = torch.cat([zero_s, s], 1)[:, :-1], torch.cat([zero_z, z], 1)[:, :-1]
    return before_s.transpose(0, 1), z.transpose(0, 1), before_z.transpose(0, 1)


def test_storn_reads_the_frame_before_and_the_noise_of_now() -> None:
    model = STORN(3, 2).double()
    values = paths(model, 2, 5)
    (mean, scale), raw = conditionals(model, values["s"], values["z"], None)
    assert (mean == 0).all() and (scale == 1).all()
    state = model.recurrence.start((2,), raw)
    for t, (s, z, _) in enumerate(zip(*frames(model, values["s"], values["z"]), strict=True)):
        state = model.recurrence.step(
            torch.cat([model.reader(s), model.latent_reader(z)], -1), state
        )
        assert torch.allclose(raw[:, t], model.emission(state[0]))


def test_vrnn_reads_frame_and_latent_before_and_adds_the_latent_of_now() -> None:
    model = VRNN(3, 2).double()
    values = paths(model, 2, 5)
    (mean, scale), raw = conditionals(model, values["s"], values["z"], None)
    state = model.recurrence.start((2,), raw)
    steps = zip(*frames(model, values["s"], values["z"]), strict=True)
    for t, (s, z, last) in enumerate(steps):
        read = torch.cat([model.reader(s), model.latent_reader(last)], -1)
        state = model.recurrence.step(read, state)
        wanted = model.prior(state[0])
        assert torch.allclose(mean[:, t], wanted[0]) and torch.allclose(scale[:, t], wanted[1])
        assert torch.allclose(raw[:, t], model.emission(state[0], model.latent_reader(z)))
