"""A VAE of every frame by itself."""

from __future__ import annotations

import torch

from ppl_models.dvae.frame_vae import FrameVAE
from tests.sequences import paths, scores


def test_a_model_of_single_frames_has_no_dynamics() -> None:
    """Frames in another order have the same density."""
    model = FrameVAE(3, 2).double()
    values, order = paths(model, 2, 6), torch.randperm(6)
    shuffled = {name: value[:, order] for name, value in values.items()}
    for name, score in scores(model, values).items():
        assert torch.allclose(scores(model, shuffled)[name], score)
