from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from inference.metrics.locate import locate
from ppl_models.data import moving_digits
from ppl_models.errors import InputError
from tests.cures import tried


def strokes(count: int, seed: int = 0) -> Tensor:
    """Pictures (N, 28, 28) of two thick lines each, from 0 to 1, as if written."""
    generator = torch.Generator().manual_seed(seed)
    ends = 4 + 20 * torch.rand(count, 2, 2, 2, generator=generator)
    along = torch.linspace(0, 1, 30)[:, None]
    points = (ends[:, :, :1] * (1 - along) + ends[:, :, 1:] * along).flatten(1, 2)
    pixel = torch.arange(28.0)
    grid = torch.stack(torch.meshgrid(pixel, pixel, indexing="ij"), -1)
    distance = (grid[None, :, :, None] - points[:, None, None]).norm(dim=-1).amin(-1)
    return (1.8 - distance / 1.2).clamp(0, 1)


@pytest.mark.parametrize(("side", "expected"), [(32, 0.3), (64, 0.3)])
def test_one_digit_is_found_to_a_third_of_a_pixel(side: int, expected: float) -> None:
    clips = moving_digits(strokes(50), size=40, length=10, num_digits=1, side=side, seed=1)
    found = locate(clips.frames, clips.digits).numpy()
    assert found.shape == clips.places.shape
    error = found - clips.places
    # painting rounds to half a pixel of 32, a whole one of 64: that alone is 0.14 and 0.29 at most
    assert np.sqrt((error**2).mean()) < expected
    assert np.abs(error.mean((0, 1))).max() < 0.05 and np.abs(error).max() < 1


def test_whole_pixels_are_found_exactly_at_the_walls_too() -> None:
    digit = (255 * strokes(1)[:, ::2, ::2]).byte()
    corners = [(0, 0), (0, 18), (18, 0), (18, 18), (7, 11)]
    frames = torch.stack([functional.pad(digit[0], (c, 18 - c, r, 18 - r)) for r, c in corners])
    found = locate(frames, digit)
    assert (found[:, 0] - torch.tensor(corners)).abs().max() < 0.1
    dim = (frames // 3).to(torch.uint8)
    assert (locate(dim, digit)[:, 0] - torch.tensor(corners)).abs().max() < 0.1


def test_samples_are_read_as_each_alone_and_a_template_serves_all() -> None:
    clips = moving_digits(strokes(9), size=3, length=4, num_digits=1, seed=2)
    noise = np.random.default_rng(0).integers(0, 60, (5, *clips.frames.shape))
    samples = np.clip(clips.frames.astype(int) + noise, 0, 255).astype(np.uint8)
    found = locate(samples, clips.digits)
    assert found.shape == (5, 3, 4, 1, 2)
    for one, sample in zip(found, samples, strict=True):
        assert torch.allclose(locate(sample, clips.digits), one, atol=1e-3)
    alone = locate(samples[:, 1], clips.digits[1])
    assert torch.allclose(alone, found[:, 1], atol=1e-3)
    assert (found - locate(clips.frames, clips.digits)).abs().mean() < 0.2  # pixels, by the noise


def test_two_digits_are_found_each_by_its_picture_and_better_than_one_by_one() -> None:
    clips = moving_digits(strokes(50), size=60, length=10, num_digits=2, seed=3)
    differ = clips.images_index[:, 0] != clips.images_index[:, 1]  # twins cannot be told apart
    alone = np.stack([locate(clips.frames, clips.digits[:, [d]])[:, :, 0] for d in range(2)], 2)
    both = locate(clips.frames, clips.digits).numpy()
    one, two = (np.linalg.norm(x - clips.places, axis=-1)[differ] for x in (alone, both))
    assert np.median(two) < 0.3 and (two < 1).mean() > 0.99
    assert (two**2).mean() < 0.25 * (one**2).mean()  # half of its root


def test_the_pair_is_the_best_of_all_pairs_nearly_always() -> None:
    clips = moving_digits(strokes(20), size=20, length=2, num_digits=2, side=16, seed=4)
    found = locate(clips.frames, clips.digits).round().int()
    side = clips.digits.shape[-1]
    room = 16 - side
    wins = 0
    for clip in range(20):
        shifted = [
            torch.stack([functional.pad(d, (c, room - c, r, room - r)).flatten().double()
                         for r in range(room + 1) for c in range(room + 1)])
            for d in torch.from_numpy(clips.digits[clip])
        ]  # fmt: skip
        for frame in range(2):
            image = torch.from_numpy(clips.frames[clip, frame]).flatten().double()
            left = [(image * s).sum(1) * 2 - s.square().sum(1) for s in shifted]
            gain = left[0][:, None] + left[1] - 2 * shifted[0] @ shifted[1].mT
            one, two = divmod(int(gain.argmax()), (room + 1) ** 2)
            best = torch.tensor([divmod(one, room + 1), divmod(two, room + 1)])
            wins += bool((found[clip, frame] - best).abs().max() <= 1)
    assert wins >= 36  # of 40; within a pixel, since parabolas may round to a neighbour


def test_absent_digits_and_black_frames() -> None:
    clips = moving_digits(strokes(9), size=30, length=3, num_digits=(1, 2), seed=5)
    found = locate(clips.frames, clips.digits)
    assert torch.equal(found.isnan(), torch.from_numpy(np.isnan(clips.places)))
    there = clips.labels.shape == (30, 2) and ~np.isnan(clips.places)
    assert np.median(np.abs(found.numpy() - clips.places)[there]) < 0.3
    black = torch.zeros(2, 32, 32, dtype=torch.uint8)
    middle = locate(black, clips.digits[0])
    assert torch.equal(middle[:, 0], torch.full((2, 2), 9.0))


def test_colours_are_read_by_the_brightest_channel() -> None:
    clips = moving_digits(strokes(9), size=5, length=4, num_digits=1, colour=True, seed=6)
    found = locate(clips.frames, clips.digits, colour=True).numpy()
    assert np.sqrt(((found - clips.places) ** 2).mean()) < 0.3


def test_what_is_wrong_is_named() -> None:
    clips = moving_digits(strokes(9), size=4, length=3, seed=7)
    with pytest.raises(InputError, match="frames: saw float") as caught:
        locate(clips.frames / 255, clips.digits)
    (mended,) = tried(caught.value, frames=clips.frames / 255)
    assert np.array_equal(mended, clips.frames)
    with pytest.raises(InputError, match="digits of \\(4,\\) clips, where frames have \\(3,\\)"):
        locate(clips.frames[:3], clips.digits)
    three = np.concatenate([clips.digits, clips.digits[:, :1]], 1)
    with pytest.raises(InputError, match="3 in a clip") as caught:
        locate(clips.frames, three)
    (mended,) = tried(caught.value, digits=three)
    assert np.array_equal(mended, clips.digits)
    with pytest.raises(InputError, match="no larger than the frame"):
        locate(clips.frames[..., :10, :10].copy(), clips.digits)
