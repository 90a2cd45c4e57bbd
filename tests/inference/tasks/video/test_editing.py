from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from pyro import poutine

from inference.tasks.video import forecast, interpolate, swap_content
from ppl_models.data import float_frames, grey_levels
from ppl_models.errors import InputError
from tests.inference.video_runs import DESIGNS, SIDE, blobs, coloured, pair


def swapped(motion: Any, content: Any, **how: Any) -> Any:
    return swap_content(*pair(DESIGNS["SRVP"]), motion, content, **how)


def test_a_video_in_its_own_content_is_its_reconstruction(untouched: None) -> None:
    """A content is read of all frames given for it, and of the last k of them in a forecast."""
    s = blobs(1, 6)
    own = swapped(s, s[:, :3:-1], seed=1)
    design = DESIGNS["SRVP"]
    assert own.shape == (1, 1, 6, SIDE, SIDE) and own.dtype == np.uint8
    assert design.options["content_frames"] == 2
    again = swapped(s, s[:, 4:], seed=1)
    assert np.array_equal(own, again)  # in any order
    found = forecast(*pair(design), s, length=6, num_samples=200, seed=0).frames
    many = swapped(s, s[:, 4:], num_samples=200)
    error = (found.std(0).max() + 1) / 200**0.5  # of a mean over draws of h, in grey levels
    assert np.abs(found.mean(0) - many.mean(0)).max() < 6 * error


def test_another_content_changes_frames_and_the_motion_too() -> None:
    one, other = blobs(2, 6, seed=1), 255 - blobs(2, 6, seed=2)
    found = [swapped(one, one), swapped(one, other), swapped(other, one)]
    assert not np.array_equal(found[0], found[1]) and not np.array_equal(found[0], found[2])


def test_what_follows_the_motion_is_a_forecast() -> None:
    one, other = blobs(2, 6, seed=1), 255 - blobs(2, 5, seed=2)
    found = swapped(one, other, length=9, num_samples=3)
    assert found.shape == (3, 2, 9, SIDE, SIDE)
    assert not np.array_equal(found[0, :, 6:], found[1, :, 6:])
    colours = np.stack([one] * 3, -1)
    made = swap_content(*pair(coloured()), colours, colours)
    assert made.shape == (1, 2, 6, 3, SIDE, SIDE)


def test_wrong_swaps_are_refused() -> None:
    s = blobs(2, 6)
    for wrong, message in [
        ((pair(DESIGNS["SVGLP"]), s, s, {}), "an SRVP, which has a content"),
        ((pair(DESIGNS["SRVP"]), s, s[:1], {}), "1 videos, for 2 in motion"),
        ((pair(DESIGNS["SRVP"]), s, s, {"length": 5}), "at least 6, or None"),
        ((pair(DESIGNS["SRVP"]), s, s, {"num_samples": 0}), "num_samples"),
        ((pair(DESIGNS["SRVP"]), s, blobs(2, 6, side=32), {}), "resize_frames"),
    ]:
        both, motion, content, how = wrong
        with pytest.raises(InputError, match=message):
            swap_content(*both, motion, content, **how)


@pytest.mark.parametrize("stochastic", [True, False])
def test_ends_are_reconstructions_from_the_means_of_the_posterior(stochastic: bool) -> None:
    """The first end is that of the first video; the last has h_1 of the other, all else alike."""
    design = DESIGNS["SRVP"]
    model, guide = pair(replace(design, options={**design.options, "stochastic": stochastic}))
    both = float_frames(blobs(2, 6, seed=1))
    found = interpolate(model, guide, *blobs(2, 6, seed=1), steps=3, length=6)
    with torch.no_grad():
        codes = model.read(both).codes
        ends = guide.start.moments(guide._begun(codes, None))[0]
        held = {"h_1": torch.stack([ends[0], ends.mean(0), ends[1]])}
        if stochastic:
            z = guide.noise.moments(guide.onward(codes)[:, 1:])[0]
            held["z"] = z[:1].expand(3, -1, -1)
        first = both[:1].expand(3, -1, -1)
        held_model = poutine.condition(model, held)
        nodes = poutine.trace(held_model).get_trace(first, content=first).nodes
    want = grey_levels(nodes["s"]["fn"].mean, (SIDE, SIDE))
    assert np.abs(found.astype(int) - want).max() <= 1  # rounding
    assert not np.array_equal(want[0], want[2])


def test_interpolations_may_be_longer_or_shorter_than_the_videos() -> None:
    both = pair(DESIGNS["SRVP"])
    one, other = blobs(2, 6)
    assert interpolate(*both, one, other, steps=2, length=10).shape == (2, 10, SIDE, SIDE)
    assert interpolate(*both, one, other, steps=2, length=3).shape == (2, 3, SIDE, SIDE)
    same = [interpolate(*both, one, other, length=10, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(same[0], same[1]) and not np.array_equal(same[0], same[2])
    with pytest.raises(InputError, match="steps"):
        interpolate(*both, one, other, steps=1)
    with pytest.raises(InputError, match=r"last=last\[: len\(first\)\]"):
        interpolate(*both, one[:5], other)
    with pytest.raises(InputError, match="an SRVP"):
        interpolate(*pair(DESIGNS["SVGFP"]), one, other)
