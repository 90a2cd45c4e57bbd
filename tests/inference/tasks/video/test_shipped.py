"""The model of videos that ships: it loads, is small, and sees digits that it never met."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from inference.metrics import psnr
from inference.tasks.video import forecast, load_video
from ppl_models.data import moving_digits

MEGABYTES = 4


@pytest.fixture(scope="module")
def clips():
    """Digits of another collection than the one it was trained on, enlarged."""
    digits = pytest.importorskip("sklearn.datasets").load_digits().images[:200]
    large = [
        np.asarray(Image.fromarray((picture * 15.9).astype(np.uint8)).resize((20, 20)))
        for picture in digits
    ]
    images = np.pad(np.stack(large), ((0, 0), (4, 4), (4, 4)))
    return moving_digits(images, size=6, num_digits=1, length=8, seed=0)


def test_it_loads_and_is_small():
    found = load_video("srvp")
    assert found.design.story == "SRVP" and not found.model.training
    assert found.path.stat().st_size <= MEGABYTES * 2**20


def test_frames_given_are_reconstructed_and_the_next_ones_are_foreseen(clips):
    """Margins are half of what was seen: 10.4 dB over black frames, 9.7 over the last one given."""
    model, guide, *_ = load_video("srvp")
    past, future = clips.frames[:, :5], clips.frames[:, 5:]
    found = forecast(model, guide, past, length=8, num_samples=20)
    ours = psnr(past, found.frames[:, :, :5]).mean()
    black = psnr(past, np.zeros_like(past)).mean()
    best = psnr(future, found.frames[:, :, 5:]).mean(-1).amax(0).mean()
    copied = psnr(future, np.repeat(past[:, -1:], 3, 1)).mean()
    assert ours > black + 5
    assert best > copied + 5
    ink, true = found.frames[:, :, 5:].mean(), future.mean()
    assert 0.7 < ink / true < 1.4
