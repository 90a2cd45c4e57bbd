from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inference.metrics.digits import digit_classifier
from inference.metrics.frechet import frechet_of_features
from inference.metrics.frechet_frames import frechet_frames
from ppl_models.data import moving_digits
from ppl_models.errors import InputError
from tests.cures import tried
from tests.inference.metrics.test_locate import strokes


def clips(seed: int, size: int = 60, **options: bool) -> Tensor:
    made = moving_digits(strokes(100), size=size, length=4, num_digits=1, seed=seed, **options)
    return torch.from_numpy(made.frames)


def blurred(frames: Tensor, pixels: int) -> Tensor:
    smooth = functional.avg_pool2d(frames.float(), pixels, 1, pixels // 2, count_include_pad=False)
    return smooth.round().byte()


def test_more_blur_is_farther_and_other_clips_of_one_law_are_near(untouched: None) -> None:
    truth, other = clips(0), clips(1)
    sets = (other, blurred(other, 3), blurred(other, 5))
    found = [frechet_frames(truth, one) for one in sets]
    for near, far in zip(found, found[1:], strict=False):
        assert far.distance - near.distance > 3 * math.hypot(near.error, far.error)
    assert frechet_frames(truth, truth).distance < 1e-6
    assert found[0].windows == (60, 60) and frechet_frames(truth, other) == found[0]


def test_it_is_the_distance_of_the_features_of_clips() -> None:
    truth, other = clips(0, 20), clips(1, 30)
    read = digit_classifier().features
    for pool in ("mean", "concatenate"):
        sets = [read(x).double() for x in (truth, other)]
        rows = [(x.mean(1) if pool == "mean" else x.flatten(1))[:, None] for x in sets]
        exact = frechet_of_features(list(rows[0]), list(rows[1]), batches=4)
        found = frechet_frames(truth.numpy(), other, pool=pool, batches=4)
        assert math.isclose(found.distance, exact.distance, rel_tol=1e-5)  # float32 means
    assert found.windows == (20, 30)


def test_features_of_your_own() -> None:
    truth, other = clips(0), clips(1)

    def brightness(frames: Tensor) -> Tensor:
        return frames.float().mean((-1, -2))

    found = frechet_frames(truth, (other // 2).byte(), features=brightness)
    rows = [brightness(x).double()[:, None] for x in (truth, (other // 2).byte())]
    assert found == frechet_of_features(list(rows[0]), list(rows[1]))
    coloured = clips(0, 12, colour=True)
    assert coloured.ndim == 5
    assert frechet_frames(coloured, coloured, batches=3).distance < 1e-6


def test_what_is_wrong_is_named() -> None:
    truth = clips(0, 12)
    with pytest.raises(InputError, match="predicted: saw shape") as caught:
        frechet_frames(truth, truth[None, None])
    with pytest.raises(InputError, match="predicted: saw clips of"):
        frechet_frames(truth, truth[:, :2])
    with pytest.raises(InputError, match="predicted: saw 5 clips"):
        frechet_frames(truth, truth[:5])
    with pytest.raises(InputError, match="pool"):
        frechet_frames(truth, truth, pool="max")
    with pytest.raises(InputError, match="truth: saw torch.float32 frames") as caught:
        frechet_frames(truth / 255, truth)
    (mended,) = tried(caught.value, truth=truth / 255)
    assert torch.equal(mended, truth)
    for wrong in (lambda x: x.float(), lambda x: x[:3].float().mean((2, 3))):
        with pytest.raises(InputError, match="features: saw shape"):
            frechet_frames(truth, truth, features=wrong)
    with pytest.raises(InputError, match="48 numbers not finite"):
        frechet_frames(truth, truth, features=lambda x: math.nan * x.float().mean((2, 3)))
