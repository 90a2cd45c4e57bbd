from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ppl_models.data.video import (
    check_video,
    clips_of,
    float_frames,
    grey_levels,
    resize_frames,
    to_grey,
)
from ppl_models.errors import InputError
from tests.cures import evaluated


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


BAD = {
    "floats": (noise(4, 5, 6) / 255, False),
    "large floats": (noise(4, 5, 6).astype(np.float32), False),
    "bits": (noise(4, 5, 6) > 128, False),
    "integers": (noise(4, 5, 6).astype(int), False),
    "NaN": (np.where(noise(4, 5, 6) > 250, np.nan, 0.5), False),
    "one channel": (noise(4, 5, 6, 1), False),
    "alpha": (noise(4, 5, 6, 4), False),
    "channels first": (noise(4, 3, 6, 7), False),
    "one channel first": (noise(4, 1, 6, 7), False),
    "a batch": (noise(2, 4, 5, 6), False),
    "a batch in colour": (noise(2, 4, 5, 6, 3), False),
    "one video": (noise(4, 5, 6), True),
    "one video in colour": (noise(4, 5, 6, 3), True),
    "clips of one channel": (noise(2, 4, 5, 6, 1), True),
    "clips, channels first": (noise(2, 4, 3, 5, 6), True),
    "clips, one channel first": (noise(2, 4, 1, 5, 6), True),
    "clips of floats": (noise(2, 4, 5, 6) / 255.0, True),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_video_gets_a_cure_that_works(name: str) -> None:
    frames, batch = BAD[name]
    with pytest.raises(InputError) as caught:
        check_video(frames, batch=batch)
    cure = caught.value.cure.removesuffix(" for the first of them")
    mended = evaluated(cure, frames=frames, np=np)
    assert check_video(mended, batch=batch).dtype == np.uint8
    if name in ("floats", "integers", "large floats"):  # the very levels
        assert np.array_equal(mended, noise(4, 5, 6))
    if name == "channels first":
        assert np.array_equal(mended[..., 1], frames[:, 1])


@pytest.mark.parametrize("shape", [(4, 5, 6), (4, 5, 6, 3), (2, 1, 1)])
def test_videos_pass_as_they_are(shape: tuple[int, ...]) -> None:
    frames = np.full(shape, 9, np.uint8)  # a constant one is one too
    assert check_video(frames) is frames
    assert check_video(frames[None], batch=True).shape == (1, *shape)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (noise(1, 5, 6), "one frame"),
        (noise(5, 6), "one picture"),
        (noise(5, 6, 3), "one picture"),
        (noise(0, 5, 6), "have pixels"),
        (np.full((4, 5, 6), np.nan), "120 NaN"),
        (np.array(["a"]), "uint8"),
    ],
)
def test_what_nothing_makes_a_video(frames: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_video(frames)


def test_clips_are_windows() -> None:
    frames = noise(10, 4, 3)
    assert np.array_equal(clips_of(frames, 3), frames[:9].reshape(3, 3, 4, 3))
    near = clips_of(frames, 4, stride=2)
    assert near.shape == (4, 4, 4, 3)
    for i, clip in enumerate(near):
        assert np.array_equal(clip, frames[2 * i : 2 * i + 4])
    assert clips_of(frames, 10, stride=99).shape == (1, 10, 4, 3)


@pytest.mark.parametrize("given", [{"length": 11}, {"length": 0}, {"length": 2, "stride": 0}])
def test_clips_refused(given: dict) -> None:
    with pytest.raises(InputError):
        clips_of(noise(10, 4, 3), **given)


def test_grey_is_what_pillow_has() -> None:
    frames = noise(5, 9, 8, 3)
    expected = [np.asarray(Image.fromarray(f).convert("L")) for f in frames]
    assert np.array_equal(to_grey(frames), expected)
    assert np.array_equal(to_grey(frames[None])[0], expected)
    assert to_grey(frames[..., 0]) is not None and to_grey(frames[..., 0]).shape == (5, 9, 8)


def test_whole_blocks_are_averaged() -> None:
    frames = noise(6, 12, 20)
    small = resize_frames(frames, 4)
    blocks = frames[:, :, 4:16].reshape(6, 4, 3, 4, 3).mean((2, 4))
    assert small.shape == (6, 4, 4) and np.abs(small - blocks).max() <= 0.5


def test_other_sides_are_antialiased_as_pillow_does() -> None:
    frames = noise(3, 30, 21)
    middle = [Image.fromarray(f[4:25]) for f in frames]
    for side in (8, 32):
        expected = [np.asarray(m.resize((side, side), Image.Resampling.BILINEAR)) for m in middle]
        found = resize_frames(frames, side).astype(int)
        assert np.abs(found - expected).max() <= 1  # Pillow rounds after each axis


@pytest.mark.parametrize("side", [4, 5])
def test_colours_are_resized_one_by_one(side: int) -> None:
    frames = noise(2, 3, 12, 16, 3)
    small = resize_frames(frames, side)
    assert small.shape == (2, 3, side, side, 3)
    for channel in range(3):
        alone = resize_frames(np.ascontiguousarray(frames[..., channel]), side)
        assert np.array_equal(small[..., channel], alone)


@pytest.mark.parametrize("frames", [noise(4, 4), noise(2, 4, 4) / 255, noise(0, 4, 4)])
def test_resize_refused(frames: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        resize_frames(frames, 2)
    assert caught.value.cure


def test_models_read_channels_one_after_the_other() -> None:
    grey, colour = noise(2, 3, 4, 5), noise(2, 3, 4, 5, 3)
    flat = float_frames(grey)
    assert flat.shape == (2, 3, 20) and flat.dtype == torch.float32
    assert torch.equal(flat[1, 2, :5], torch.from_numpy(grey[1, 2, 0]).float() / 255)
    last, first = float_frames(colour), float_frames(np.moveaxis(colour, -1, 2))
    assert torch.equal(last, first) and last.shape == (2, 3, 60)
    assert torch.equal(last[0, 0, 20:25], torch.from_numpy(colour[0, 0, 0, :, 1].copy()) / 255)
    assert torch.equal(float_frames(torch.from_numpy(grey)), flat)


def test_arrays_that_may_not_be_written_to_are_read() -> None:
    frames = noise(2, 3, 4, 5)
    frames.flags.writeable = False
    assert float_frames(frames).shape == (2, 3, 20)


@pytest.mark.parametrize("frames", [noise(3, 4, 5), noise(1, 3, 4, 5) / 255, noise(1, 3, 4, 5, 2)])
def test_models_refuse(frames: np.ndarray) -> None:
    with pytest.raises(InputError) as caught:
        float_frames(frames)
    assert caught.value.cure


@pytest.mark.parametrize("shape", [(4, 5), (3, 4, 5), (4, 5, 3)])
def test_levels_undo_floats(shape: tuple[int, ...]) -> None:
    frames = noise(2, 3, *shape)
    frames.ravel()[:256] = np.arange(256)[: frames.size]
    assert np.array_equal(grey_levels(float_frames(frames), shape), frames)


def test_levels_are_rounded_and_clipped() -> None:
    s = torch.tensor([[-0.5, 0.4999 / 255, 0.5001 / 255, 1.7]], requires_grad=True)
    assert grey_levels(s, (2, 2)).tolist() == [[[0, 0], [1, 255]]]


@pytest.mark.parametrize(("shape", "value"), [((2, 3), 0.0), ((2, 2), float("nan"))])
def test_levels_refused(shape: tuple[int, ...], value: float) -> None:
    with pytest.raises(InputError) as caught:
        grey_levels(torch.full((5, 4), value), shape)
    assert caught.value.cure


def test_an_error_names_the_array_as_it_is_told_to() -> None:
    with pytest.raises(InputError, match="^film, array 'frames': saw float"):
        check_video(noise(4, 5, 6) / 255, where="film, array 'frames'")
