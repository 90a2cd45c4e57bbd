from __future__ import annotations

from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import poutine

import ppl_models
from inference.tasks.video import Forecast, forecast, futures
from ppl_models.data import float_frames
from ppl_models.errors import InputError
from ppl_models.ppca import PPCA
from tests.cures import evaluated, expressions
from tests.inference.video_runs import DESIGNS, SIDE, blobs, coloured, pair

STORIES = ["SRVP", "SVGLP", "SVGFP", "SV2P", "DKF"]


def drawn(story: str, frames: Any, **how: Any) -> Forecast:
    chosen: dict[str, Any] = {"length": 7, "num_samples": 3} | how
    return forecast(*pair(DESIGNS[story]), frames, **chosen)


@pytest.mark.parametrize("story", STORIES)
def test_the_same_seed_gives_the_same_futures(story: str, untouched: None) -> None:
    known = blobs()[:, :4]
    one, again, other = (drawn(story, known, seed=seed).frames for seed in (1, 1, 2))
    assert one.shape == (3, 3, 7, SIDE, SIDE) and one.dtype == np.uint8
    assert np.array_equal(one, again) and not np.array_equal(one, other)
    assert not np.array_equal(one[0, :, 4:], one[1, :, 4:])  # samples differ


@pytest.mark.parametrize("story", STORIES)
def test_the_futures_of_a_video_do_not_depend_on_the_others(story: str) -> None:
    known = blobs()[:, :4]
    whole = drawn(story, known).frames
    changed = known.copy()
    changed[1:] = 255 - changed[1:]
    assert np.array_equal(drawn(story, changed).frames[:, 0], whole[:, 0])
    assert np.array_equal(drawn(story, known[:1]).frames[:, 0], whole[:, 0])


@pytest.mark.parametrize("story", STORIES)
def test_samples_beyond_those_painted_at_once_are_new_ones(story: str) -> None:
    """The first part is that of a call for so many; none of the second is one of the first."""
    known = blobs(1)[:, :4]
    parts = drawn(story, known, num_samples=5, at_once=14).frames[:, 0]
    assert np.array_equal(parts[:2], drawn(story, known, num_samples=2).frames[:, 0])
    assert len(np.unique(parts.reshape(5, -1), axis=0)) == 5


@pytest.mark.parametrize("story", STORIES)
def test_nothing_after_the_past_is_reconstruction_alone(story: str) -> None:
    known = blobs()[:, :4]
    found = drawn(story, known, length=4)
    assert found.frames.shape == (3, 3, 4, SIDE, SIDE) and found.past == 4
    longer = drawn(story, known, length=6)
    assert longer.past == 4 and longer.frames.shape[2] == 6
    if story.startswith("SV"):  # the first frame is given
        assert np.array_equal(found.frames[0, :, 0], known[:, 0])


def test_a_forecast_is_a_trace_of_the_guide_replayed() -> None:
    """Frames before the future are means of p(s | z), z from q(z | s) alone."""
    model, guide = pair(DESIGNS["SRVP"])
    s = float_frames(blobs()[:, :4])
    torch.manual_seed(5)
    found = futures(model, guide, s, 3, num_samples=2)
    torch.manual_seed(5)
    with torch.no_grad(), pyro.plate("futures", 2, dim=-2):
        posterior = poutine.trace(guide).get_trace(s)
        nodes = poutine.trace(poutine.replay(model, trace=posterior)).get_trace(s, future=3).nodes
    want = torch.cat([nodes["s"]["fn"].mean, nodes["s_next"]["fn"].mean], -2)
    assert torch.allclose(found, want, atol=1e-6) and found.shape == (2, 3, 7, SIDE**2)


@pytest.mark.parametrize("last", [False, True])
def test_colours_come_first_or_last(last: bool) -> None:
    grey = blobs()[:, :4]
    known = np.stack([grey, grey // 2, 255 - grey], -1 if last else 2)
    found = forecast(*pair(coloured()), known, length=6, num_samples=2)
    assert found.frames.shape == (2, 3, 6, 3, SIDE, SIDE)
    other = forecast(*pair(coloured()), np.moveaxis(known, -1, 2) if last else known, length=6,
                     num_samples=2)  # fmt: skip
    assert np.array_equal(found.frames, other.frames)


def test_progress_counts_videos_and_a_video_may_stand_still() -> None:
    seen: list[tuple[int, int]] = []
    known = np.zeros((2, 3, SIDE, SIDE), np.uint8)
    drawn("SRVP", known, progress=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    "wrong",
    [
        blobs(side=32)[:, :4],
        blobs()[:, :4] / 255.0,
        np.stack([blobs()[:, :4]] * 3, -1),
    ],
)
def test_other_frames_are_refused_with_a_cure_that_works(wrong: Any) -> None:
    with pytest.raises(InputError) as caught:
        drawn("SRVP", wrong)
    names = {"frames": wrong, "ppl_models": ppl_models}
    code = expressions(caught.value.cure)[0]
    assert drawn("SRVP", evaluated(code, **names)).frames.shape[1] == 3


def test_wrong_counts_and_models_are_refused() -> None:
    known = blobs()[:, :4]
    with pytest.raises(InputError, match="length: saw 3\n.*at least 4"):
        drawn("SRVP", known, length=3)
    with pytest.raises(InputError, match="num_samples"):
        drawn("SRVP", known, num_samples=0)
    with pytest.raises(InputError, match="a model of videos"):
        forecast(PPCA(2, 1), torch.nn.Linear(1, 1), known)
    with pytest.raises(InputError, match="frames"):
        drawn("SRVP", known[:, :0])
