from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from inference.tasks.video import STORIES, fit_clips, forecast, recipe
from inference.tasks.video.files import SEQUENCE, VIDEO
from ppl_models.data import moving_digits
from ppl_models.errors import InputError


@pytest.mark.parametrize("sizes", ["small", "published"])
@pytest.mark.parametrize("story", STORIES)
def test_every_recipe_is_a_pair_that_json_holds(story: str, sizes: str) -> None:
    if sizes == "published" and story in SEQUENCE:
        with pytest.raises(InputError, match="sizes='small'"):
            recipe(story, sizes=sizes)
        return
    chosen = recipe(story, (3, 32, 32), sizes)
    assert chosen.design.story == story and chosen.design.frame_shape == (3, 32, 32)
    assert json.loads(json.dumps(chosen.design.as_json())) is not None
    assert chosen.objective(100) is not None


@pytest.mark.parametrize("story", VIDEO)
def test_a_small_pair_can_be_built(story: str) -> None:
    model, guide = recipe(story).design.pair()
    assert type(model).__name__ == story and type(guide).__name__ == f"{story}Guide"
    numbers = sum(p.numel() for part in (model, guide) for p in part.parameters())
    assert numbers < 2_000_000


@pytest.mark.slow
@pytest.mark.parametrize("story", VIDEO)
def test_published_sizes_train_and_forecast_at_64(story: str) -> None:
    """Few clips, Adam, batch normalisation, 64 x 64: steps move weights, futures are frames."""
    images = np.random.default_rng(0).integers(0, 256, (4, 28, 28), np.uint8)
    clips = moving_digits(images, size=4, length=6, side=64).frames
    chosen = replace(recipe(story, (1, 64, 64), "published"), batch_size=2)
    model, guide = chosen.design.pair()
    before = [value.clone() for part in (model, guide) for value in part.parameters()]
    run = fit_clips(model, guide, clips, chosen, epochs=2, progress=False)
    assert all(np.isfinite(row["bound"]) for row in run.history)
    after = [value for part in (model, guide) for value in part.parameters()]
    assert not any(old.equal(new) for old, new in zip(before, after, strict=True))
    found = forecast(model, guide, clips[:2, :5], length=7, num_samples=2).frames
    assert found.shape == (2, 2, 7, 64, 64) and found.dtype == np.uint8


@pytest.mark.parametrize("side", [32, 64])
def test_published_losses_are_likelihoods(side: int) -> None:
    """Of 64 x 64; smaller frames weigh as much against the same KL divergence.

    SVG's is a mean of squares over pixels with beta 1e-4, so that 1 / (2 scale^2) = 1 / (D beta);
    SRVP's a Gaussian of variance 1 there.
    """
    svg = recipe("SVGLP", (1, side, side), "published").design.options["scale"]
    assert side**2 / (2 * svg**2) == pytest.approx(64**2 / (64**2 * 1e-4))
    srvp = recipe("SRVP", (1, side, side), "published")
    assert side**2 / srvp.design.options["scale"] ** 2 == pytest.approx(64**2)
    assert srvp.kl_weight == {"z": 2.0} and srvp.residual == 1.0


def test_stages_are_shares_of_the_steps() -> None:
    """SV2P: prior draws for a quarter, KL from a half on, whole after a tenth more."""
    chosen = recipe("SV2P")
    model, guide = chosen.design.pair()
    chosen.prepare(guide, 1000)
    assert guide.prior_steps == 250
    weight: Any = chosen.objective(1000).kl_weight
    found = [float(weight(step)) for step in (0, 499, 550, 600, 999)]
    assert np.allclose(found, [0, 0, 0.5, 1, 1], atol=0.011)
    other = recipe("SVGLP")
    other.prepare(object(), 1000)  # has no stages
    assert math.isclose(float(other.objective(1000).kl_weight), 1.0)  # type: ignore[arg-type]


def test_only_z_is_weighed_in_srvp() -> None:
    assert recipe("SRVP").objective(1000).weight(0) == {"z": 5.0}


def test_wrong_words_are_refused() -> None:
    with pytest.raises(InputError, match="did you mean SRVP"):
        recipe("SRPV")
    with pytest.raises(InputError, match="sizes"):
        recipe("SRVP", sizes="large")
