from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inference.checkpoint import load
from inference.metrics.digits import (
    DigitClassifier,
    digit_classifier,
    painted,
    shuffled,
    to_side,
    train_digit_classifier,
)
from ppl_models.data import moving_digits
from ppl_models.errors import InputError

MNIST = Path(__file__).parents[4] / "shared" / "data" / "mnist"


def digits() -> tuple[Tensor, Tensor]:
    """1,797 digits of 8 x 8 pixels as (N, 784) of 28 x 28, a little margin around."""
    found = pytest.importorskip("sklearn.datasets").load_digits()
    images = torch.from_numpy(found.images / 16).float()[:, None]
    large = torch.nn.functional.interpolate(images, (22, 22), mode="bilinear").clamp(0, 1)
    return torch.nn.functional.pad(large, (3, 3, 3, 3)).flatten(1), torch.from_numpy(found.target)


def test_shipped_weights_are_small_and_say_how_good_they_are() -> None:
    path = Path(str(files("ppl_models"))) / "weights" / "digits.safetensors"
    assert path.stat().st_size < 400_000
    kept = load(path)
    assert kept.model == "DigitClassifier" and kept.extra["test"]["right, one"] > 0.98
    classifier = digit_classifier()
    assert not classifier.training and classifier.head.weight.dtype is torch.float32


def test_digits_of_another_hand_are_read() -> None:
    images, labels = digits()
    frames, shown = painted(images, labels, 300, torch.Generator().manual_seed(0), (1, 1))
    classifier = digit_classifier()
    found = classifier.probabilities((255 * frames).byte())
    assert found.shape == (300, 10)
    right = (found.argmax(-1) == shown.argmax(-1)).float().mean()
    assert right > 0.7  # other people, another pen: far above one in ten
    assert torch.equal(classifier.confidence((255 * frames).byte()), found.amax(-1))


def test_disorder_noise_and_black_frames_are_no_digits() -> None:
    images, labels = digits()
    generator = torch.Generator().manual_seed(0)
    frames, _ = painted(images, labels, 200, generator, (1, 1))
    classifier = digit_classifier()
    confidence = [
        classifier.confidence((255 * x).byte()).mean()
        for x in (frames, shuffled(frames, generator), 0 * frames)
    ]
    assert confidence[0] > 0.8 and confidence[1] < 0.3 and confidence[2] < 0.05


@pytest.mark.parametrize("process", ["srvp", "svg"])
def test_frames_of_moving_digits_of_any_side_are_read(process: str) -> None:
    images, labels = digits()
    classifier = digit_classifier()
    rates = []
    for side in (32, 64, 48):
        clips = moving_digits(
            images, labels, size=40, length=3, num_digits=1, side=side, process=process, seed=1
        )
        found = classifier.probabilities(clips.frames)
        assert found.shape == (40, 3, 10)
        rates.append((found.argmax(-1).numpy() == clips.labels).mean())
    assert min(rates) > 0.65 and max(rates) - min(rates) < 0.15


def test_shapes_colours_and_features(untouched: None) -> None:
    classifier = digit_classifier()
    generator = torch.Generator().manual_seed(0)
    frames = torch.randint(0, 256, (2, 3, 4, 32, 32), generator=generator, dtype=torch.uint8)
    features = classifier.features(frames)
    assert features.shape == (2, 3, 4, 128) and features.dtype is torch.float32
    assert torch.allclose(classifier.features(frames[1, 2]), features[1, 2], atol=1e-5)
    colours = torch.stack([frames, frames // 2, 0 * frames], -3)
    assert torch.allclose(classifier.features(colours, colour=True), features)
    assert torch.equal(classifier.features(frames.numpy()), features)
    assert not features.requires_grad
    with pytest.raises(InputError, match="frames: saw torch.float32 frames"):
        classifier.confidence(frames / 255)


def test_a_frame_of_another_side_is_averaged() -> None:
    small = torch.rand(3, 32, 32, generator=torch.Generator().manual_seed(0))
    large = small.repeat_interleave(2, -1).repeat_interleave(2, -2)
    assert to_side(small) is small
    assert (to_side(large) - small).abs().mean() < 0.15  # a triangle of 4 pixels, not a box of 2
    assert torch.allclose(to_side(torch.full((1, 50, 40), 0.5)), torch.tensor(0.5))


def test_frames_are_painted_as_moving_digits_does() -> None:
    images, labels = digits()
    frames, shown = painted(images, labels, 200, torch.Generator().manual_seed(1))
    assert frames.shape == (200, 32, 32) and frames.max() <= 1 and frames.min() >= 0
    assert shown.sum(1).min() == 1 and shown.sum(1).max() == 2
    for _ in range(3):  # one digit's ink is what it has on the canvas, a quarter
        one = torch.Generator().manual_seed(2)
        frame, _ = painted(images[:1], labels[:1], 1, one, (1, 1))
        assert abs(float(4 * frame.sum() / images[0].sum()) - 1) < 0.35  # 28, or enlarged to 32
    none, nothing = painted(images, labels, 4, torch.Generator().manual_seed(3), (0, 0))
    assert not none.any() and not nothing.any()


def test_a_seed_decides_all_of_training(untouched: None) -> None:
    images, labels = torch.rand(20, 784, generator=torch.Generator()), torch.arange(20) % 10
    one, same, other = (
        train_digit_classifier(images, labels, steps=2, seed=seed).head.weight for seed in (0, 0, 1)
    )
    assert torch.equal(one, same) and not torch.equal(one, other)


@pytest.mark.slow
def test_training_learns() -> None:
    images, labels = digits()
    keep = labels < 2  # ones and noughts alone, so that forty steps do
    classifier = train_digit_classifier(images[keep], labels[keep], steps=40)
    generator = torch.Generator().manual_seed(5)
    frames, shown = painted(images[keep], labels[keep], 100, generator, (1, 1))
    found = classifier.probabilities((255 * frames).byte()).argmax(-1)
    assert (found < 2).all()  # that no other digit is ever shown, it has learnt
    assert (found == shown.argmax(-1)).float().mean() > 0.6  # by chance 0.5, +- 0.05


def test_what_cannot_be_learnt_from_is_refused() -> None:
    with pytest.raises(InputError, match="give mnist"):
        train_digit_classifier(torch.zeros(3, 28, 28), torch.zeros(3).long())
    with pytest.raises(InputError, match="steps"):
        train_digit_classifier(torch.zeros(3, 784), torch.zeros(3).long(), steps=0)


@pytest.mark.skipif(not MNIST.is_dir(), reason="MNIST is not there (../shared/data/mnist)")
def test_one_digit_of_mnist_s_test_set_is_read_rightly_98_times_of_100() -> None:
    from benchmarks.digit_classifier import rates
    from ppl_models.data.mnist import mnist

    found = rates(digit_classifier(), mnist(MNIST), size=2000)
    assert found["right, one"] > 0.98 - 3 * 0.003 and found["right, two"] > 0.8
    assert found["confidence, blocks"] < 0.1 * found["confidence, one"]


def test_a_classifier_trains_where_it_is_put() -> None:
    classifier = DigitClassifier((2, 3, 4)).train()
    classifier.probabilities(np.zeros((1, 32, 32), np.uint8))
    assert classifier.training  # reading leaves its mode
    assert classifier.features(np.zeros((1, 32, 32), np.uint8)).shape == (1, 8)
