from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from ppl_models.data.bouncing import digit_futures
from ppl_models.data.moving_digits import MovingDigits, moving_digits, paint_digits
from ppl_models.errors import InputError


def images(count: int = 6, side: int = 28, seed: int = 5) -> np.ndarray:
    """Digit-like pictures: strokes of grey ink with paper about them, none like another."""
    rng = np.random.default_rng(seed)
    pictures = np.zeros((count, side, side), np.uint8)
    inner = rng.integers(0, 256, (count, side - 8, side - 8))
    pictures[:, 4:-4, 4:-4] = inner * (rng.uniform(size=inner.shape) < 0.4)
    return pictures


def clips(**settings: object) -> MovingDigits:
    return moving_digits(images(), np.arange(6), **{"size": 8, "length": 6, **settings})


def by_hand(pictures: np.ndarray, made: MovingDigits, factor: int) -> np.ndarray:
    """The frames, one digit at a time on the whole canvas, and then its mean over blocks."""
    count, length = made.frames.shape[:2]
    side, digit = made.frames.shape[-1] * factor, pictures.shape[-1]
    frames = []
    for n, t in np.ndindex(count, length):
        canvas = np.zeros((side, side))
        for d in range(made.labels.shape[1]):
            if made.labels[n, d] >= 0:
                row, column = np.rint(made.places[n, t, d] * factor).astype(int)
                ink = pictures[made.images_index[n, d]]
                canvas[row : row + digit, column : column + digit] += ink
        blocks = canvas.clip(0, 255).reshape(side // factor, factor, side // factor, factor)
        frames.append(blocks.mean((1, 3)))
    return np.stack(frames).reshape(made.frames.shape)


@pytest.mark.parametrize("num_digits", [1, 2, (1, 3)])
@pytest.mark.parametrize("side", [32, 64])
def test_a_frame_is_the_published_one_averaged_over_blocks(
    num_digits: int | tuple[int, int], side: int
) -> None:
    made = clips(num_digits=num_digits, side=side)
    assert made.frames.shape == (8, 6, side, side) and made.frames.dtype == np.uint8
    # to the nearest grey level
    assert np.abs(made.frames - by_hand(images(), made, 64 // side)).max() <= 0.5


def test_sums_stop_at_white() -> None:
    """Digits of one grey, 200, and never 400 nor, taken around, 144."""
    plain = np.full((1, 28, 28), 200, np.uint8)
    frames = moving_digits(plain, size=20, num_digits=3, side=64).frames
    assert set(np.unique(frames)) == {0, 200, 255}


def test_a_clip_has_the_same_path_at_any_size() -> None:
    small, large = clips(side=32), clips(side=64)
    assert np.array_equal(small.places * 2, large.places)
    assert np.array_equal(small.velocities * 2, large.velocities)
    assert np.array_equal(small.bounces, large.bounces)


@pytest.mark.parametrize("side", [8, 17, 20, 48, 100])
def test_any_size(side: int) -> None:
    made = clips(side=side, process="svg")
    assert made.frames.shape == (8, 6, side, side)
    room = side - made.digits.shape[-1]
    assert made.places.min() >= 0 and made.places.max() <= room
    assert made.frames.any((-1, -2)).all()


def test_digits_alone_are_templates() -> None:
    """Where a digit stands at a whole pixel, the frame shows it as it is alone."""
    made = clips(num_digits=1, size=40)
    found = 0
    for n, t in np.ndindex(40, 6):
        row, column = made.places[n, t, 0]
        if row % 1 == column % 1 == 0:
            window = made.frames[n, t, int(row) : int(row) + 14, int(column) : int(column) + 14]
            assert np.array_equal(window, made.digits[n, 0])
            found += 1
    assert found > 20


def test_labels_are_those_of_the_images() -> None:
    made = clips(size=50)
    assert np.array_equal(made.labels, made.images_index)  # picture i is labelled i
    assert set(made.labels.ravel()) == set(range(6))
    assert (moving_digits(images(), size=2).labels == -1).all()


def test_clips_may_have_one_digit_or_two() -> None:
    made = clips(num_digits=(1, 2), size=200)
    present = made.labels >= 0
    assert present[:, 0].all() and 0.35 < present[:, 1].mean() < 0.65  # 4 errors of a half
    absent = ~present[:, 1]
    assert np.isnan(made.places[absent, :, 1]).all()
    assert np.isnan(made.velocities[absent, :, 1]).all()
    assert not made.bounces[absent, :, 1].any() and not made.digits[absent, 1].any()
    assert np.isfinite(made.places[present.nonzero()[0], :, present.nonzero()[1]]).all()


def test_futures_go_on_from_a_clip() -> None:
    made = clips(process="deterministic", length=20)
    later = digit_futures(
        made.places[:, 4], made.velocities[:, 4], steps=15, samples=2, process="deterministic"
    )
    assert np.allclose(later, made.places[:, 5:], atol=1e-9)


def test_colour_is_a_bright_hue_for_each_digit() -> None:
    grey, made = clips(num_digits=1), clips(num_digits=1, colour=True)
    assert made.frames.shape == (8, 6, 3, 32, 32)
    assert np.array_equal(made.places, grey.places)
    # a bright hue has one channel in full
    assert np.array_equal(made.frames.max(2), grey.frames)
    hues = made.frames.reshape(8, -1, 3, 1024).sum((1, 3), dtype=float)
    hues /= hues.max(1, keepdims=True)
    assert (hues.min(1) < 0.02).all()  # and one with none, but for rounding
    assert len(np.unique(hues.round(2), axis=0)) == 8


def test_seed() -> None:
    one, same, other = clips(seed=1), clips(seed=1), clips(seed=2)
    assert all(np.array_equal(a, b, equal_nan=True) for a, b in zip(one, same, strict=True))
    assert not np.array_equal(one.frames, other.frames)


@pytest.mark.parametrize("kind", ["flat", "floats", "torch"])
def test_images_of_other_kinds(kind: str) -> None:
    pictures = images()
    given = {
        "flat": pictures.reshape(6, 784),
        "floats": pictures.astype(np.float32) / 255,
        "torch": torch.from_numpy(pictures).flatten(1).float() / 255,
    }[kind]
    assert np.array_equal(moving_digits(given, size=4).frames, moving_digits(pictures, size=4)[0])


@pytest.mark.parametrize("side", [8, 20, 40])
def test_images_are_resized_as_pillow_does(side: int) -> None:
    pictures = images(side=side)
    made = moving_digits(pictures, size=6, num_digits=1, side=64, process="svg")
    for n in range(6):
        picture = Image.fromarray(pictures[made.images_index[n, 0]])
        resized = np.asarray(picture.resize((32, 32), Image.Resampling.BILINEAR), float)
        assert np.abs(made.digits[n, 0] - resized).max() <= 1.01  # it rounds twice


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"images": np.zeros((0, 28, 28), np.uint8)}, "images"),
        ({"images": np.zeros((5, 783), np.uint8)}, "images"),
        ({"images": np.zeros((5, 28, 28), int)}, "dtype int64"),
        ({"images": np.full((5, 28, 28), 255.0)}, "numbers from 255 to 255"),
        ({"images": np.full((5, 28, 28), np.nan)}, "numbers from nan"),
        ({"labels": np.zeros(5)}, "labels"),
        ({"size": 0}, "size"),
        ({"length": 0}, "length"),
        ({"num_digits": 0}, "num_digits"),
        ({"num_digits": (2, 1)}, "num_digits"),
        ({"num_digits": (1, 2, 3)}, "num_digits"),
        ({"process": "kth"}, "one of"),
        ({"side": 4}, "side"),
        ({"max_speed": 0}, "max_speed"),
    ],
)
def test_refused(given: dict, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        moving_digits(**{"images": images(), "size": 2, **given})
    assert caught.value.cure


@pytest.mark.parametrize("process", ["srvp", "svg"])
@pytest.mark.parametrize("side", [20, 32, 64])
def test_a_clip_s_own_places_give_its_frames(process: str, side: int) -> None:
    made = clips(num_digits=(1, 3), side=side, process=process)
    again = paint_digits(images(), made.images_index, made.places, side=side, process=process)
    assert np.array_equal(again, made.frames)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"places": np.zeros((2, 3, 2))}, "places: saw shape"),
        ({"index": np.zeros((2, 2), int)}, "beside an index"),
        ({"index": np.full((2, 1), 6)}, "index: saw numbers from 6 to 6"),
        ({"index": np.full((2, 1), -1)}, "index: saw numbers from -1"),
        ({"places": np.full((2, 3, 1, 2), 18.5)}, "to 18.5"),
        ({"places": np.full((2, 3, 1, 2), -1.0)}, "from -1"),
        ({"places": np.full((2, 3, 1, 2), np.inf)}, "to inf"),
        ({"places": np.where(np.arange(2), np.nan, np.ones((2, 3, 1, 2)))}, "NaN in some"),
        ({"index": np.zeros((2, 1))}, "index: saw dtype float64"),
        ({"side": 4}, "side"),
        ({"process": "kth"}, "one of"),
    ],
)
def test_what_cannot_be_painted_is_refused(given: dict, message: str) -> None:
    usual = {"images": images(), "index": np.zeros((2, 1), int), "places": np.ones((2, 3, 1, 2))}
    with pytest.raises(InputError, match=message) as caught:
        paint_digits(**{**usual, **given})
    if caught.value.cure == "places.clip(0, 18)":
        assert paint_digits(**{**usual, "places": given["places"].clip(0, 18)}).any()


def test_cures_work() -> None:
    whole = images().astype(float)
    with pytest.raises(InputError) as caught:
        moving_digits(whole, size=2)
    assert caught.value.cure.startswith("images.astype('uint8')")
    assert moving_digits(whole.astype("uint8"), size=2).frames.any()
