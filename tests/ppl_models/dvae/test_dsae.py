"""The disentangled sequential autoencoder: what is drawn once a sequence."""

from __future__ import annotations

from ppl_models.dvae.dsae import DSAE
from tests.sequences import paths


def test_the_global_latent_is_drawn_once_a_sequence() -> None:
    values = paths(DSAE(3, 2, global_dim=4), 5, 7)
    assert values["v"].shape == (5, 4) and values["z"].shape == (5, 7, 2)
