"""The guide of SVG: a latent of a frame reads the frames up to it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine
from torch.distributions import Normal

from guides.video import SVGFPGuide, SVGGuide, SVGLPGuide
from ppl_models.errors import InputError
from ppl_models.video import SVGFP
from tests.videos import T, assert_alike, blobs, latents, pair, ragged, scores

both = pytest.mark.parametrize("name", ["SVGFP", "SVGLP"])


def moments(guide: Any, *data: torch.Tensor) -> Any:
    return poutine.trace(guide).get_trace(*data).nodes["z"]["fn"].moments(None)


@both
def test_a_latent_reads_the_frames_up_to_its_own(name: str) -> None:
    _, guide = pair(name)
    s = blobs()
    mean, _ = moments(guide, s)
    other = s.clone()
    other[:, 3] = 0
    changed = (moments(guide, other)[0] - mean).abs().amax((0, 2)) > 0
    assert changed.tolist() == [False, False, True, True]  # z_2, ..., z_5


@both
def test_its_density_is_that_of_an_lstm_run_frame_by_frame(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    z, total = latents(guide, s), torch.zeros(len(s)).double()
    state = guide.onward.start((len(s),), s)
    for t in range(T):
        code = model.likelihood.read_maps(s[:, t])[0]
        state = guide.onward.step(code, state)
        if t:
            normal = Normal(*guide.encoder(state[0]))
            total = total + normal.log_prob(z["z"][:, t - 1]).sum(-1)
    assert_alike(scores(guide, z, s), total, 1e-9)


@both
def test_draws_have_the_moments_they_are_scored_by(name: str) -> None:
    """Means and deviations of 4000 draws, to 5 standard errors."""
    _, guide = pair(name)
    s, mask = ragged(blobs())
    site = poutine.trace(guide).get_trace(s, mask).nodes["z"]["fn"]
    mean, scale = site.moments(None)
    draws = site.sample((4000,))
    assert bool(((draws.mean(0) - mean).abs() < 5 * scale / 4000**0.5).all())
    assert bool(((draws.std(0) / scale - 1).abs() < 5 / 8000**0.5).all())


def test_names_and_refusals() -> None:
    assert issubclass(SVGFPGuide, SVGGuide) and issubclass(SVGLPGuide, SVGGuide)
    model = SVGFP((1, 8, 8), 2, recurrent_dim=6, width=4, code_dim=6)
    guide = SVGFPGuide(model, recurrent_dim=7)
    assert guide.onward.hidden_dim == 7 and not set(guide.parameters()) & set(model.parameters())
    with pytest.raises(InputError, match="videos"):
        guide()
    with pytest.raises(InputError, match="build the model first"):
        SVGFPGuide(8)  # type: ignore[arg-type]
