"""The guide of STORN."""

from __future__ import annotations

import torch
from pyro import poutine

from guides.dvae.storn import STORNGuide
from ppl_models.dvae.storn import STORN


def test_storn_s_latents_are_drawn_without_reading_one_another() -> None:
    model = STORN(3, 2)
    guide, s = STORNGuide(model), torch.randn(2, 5, 3)
    site = poutine.trace(guide).get_trace(s).nodes["z"]
    mean, scale = guide.encoder(guide.recurrence(guide.reader(s)))
    for found, wanted in zip(site["fn"].moments(site["value"] + 1), (mean, scale), strict=True):
        assert torch.allclose(found, wanted)
