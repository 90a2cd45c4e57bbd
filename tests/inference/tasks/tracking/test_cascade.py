"""The paper's initial paths: constant in each run, begun where VEM left the run before."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inference.tasks.tracking import TrackerSettings, coordinate_ascent, prepare, track
from inference.tasks.tracking.cascade import RUN, cascade_start
from ppl_models.errors import InputError
from tests.clips import overlap, walkers

SETTINGS = TrackerSettings(start="cascade", iterations=4)


def test_a_run_is_held_at_the_end_of_the_one_before() -> None:
    clip = walkers(70, 2, seed=1)
    batch = prepare([clip.boxes.padded(1, 70)], (1000.0, 800.0))
    start = cascade_start(batch, 2, "linear", SETTINGS)
    assert start.shape == (1, 2, 70, 4)
    blocks = start.split(RUN, 2)
    assert [x.shape[2] for x in blocks] == [30, 30, 10]
    assert all(torch.equal(x, x[:, :, :1].expand_as(x)) for x in blocks)
    run = prepare([clip.boxes.padded(1, RUN)], (1000.0, 800.0))._replace(region=batch.region)
    end = coordinate_ascent(run, blocks[0], "linear", SETTINGS)
    assert torch.allclose(blocks[1][:, :, 0], end.mean[:, :, -1])


def test_it_begins_at_the_first_frame_with_enough_boxes() -> None:
    """The largest of them, from left to right; clutter that is smaller is left out."""
    boxes = np.full((6, 3, 4), np.nan)
    boxes[:, 0] = [500.0, 100, 40, 100]
    boxes[2:, 1] = [100.0, 100, 44, 110]
    boxes[2:, 2] = [300.0, 100, 20, 50]
    batch = prepare([boxes])
    start = cascade_start(batch, 2, "linear", SETTINGS)
    assert torch.equal(start[0, :, 0], torch.stack([batch.o[0, 2, 1], batch.o[0, 2, 0]]))
    three = cascade_start(prepare([boxes[:2]]), 3, "linear", SETTINGS)  # one box for three
    assert torch.isfinite(three).all() and len(three[0, :, 0, 0].unique()) == 3


def test_a_clip_that_ended_before_is_as_alone() -> None:
    """To a thousandth of a pixel, in its own frames; one of 20 frames beside one of 65."""
    clips = [walkers(20, 2, seed=1), walkers(65, 2, seed=2)]
    options: dict[str, Any] = {"objects": 2, "prior": "linear", "settings": SETTINGS}
    both = track([clip.boxes for clip in clips], **options)
    for clip, beside in zip(clips, both, strict=True):
        [alone] = track([clip.boxes], **options)
        assert np.abs(alone.mean - beside.mean).max() < 1e-3
        assert overlap(alone.boxes, clip.truth).mean() > 0.8


def test_other_starts_are_named() -> None:
    with pytest.raises(InputError, match="flow or cascade"):
        TrackerSettings(start="random")  # type: ignore[arg-type]
