"""Which digits a frame shows: a small classifier, whose weights ship.

>>> classifier = digit_classifier()
>>> classifier.probabilities(frames)  # (..., T, 10): "the frame shows a d", of each d
>>> classifier.confidence(frames).mean()  # near 1: digits; it falls as they dissolve
>>> classifier.features(frames)  # (..., T, 128), for a Frechet distance

A frame may show several digits, so that there are ten answers of yes or no, not one of ten. The
weights are of one or two MNIST digits of 14 x 14 to 16 x 16 pixels anywhere in 32 x 32, painted as
`ppl_models.data.moving_digits` does; frames of other sides are first brought to 32 x 32, so digits
are to be 14 / 32 to 16 / 32 of the side. ``python -m benchmarks.digit_classifier`` prints how often
it is right.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.checkpoint import load
from inference.metrics.frames import Frames, as_frames
from inference.randomness import derive, seeded
from ppl_models.errors import InputError
from ppl_models.inputs import check_count

SIDE, CANVAS = 32, 64
WIDTHS = (16, 32, 64)
BATCH, RATE = 128, 3e-3
_FRAMES = 512  # read at a time

Reading = Callable[[Tensor], Tensor]


class DigitClassifier(nn.Module):
    """Three convolutions, then at each place of 8 x 8 ten logits, joined as "somewhere".

    The logit of a digit is the log of the sum over places of the exponential of the place's logit:
    a smooth maximum.

    Parameters
    ----------
    widths
        Channels of the convolutions, each after the first at half the resolution of the one before.
    """

    def __init__(self, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        self.widths = tuple(widths)
        one, two, three = self.widths
        self.layers = nn.Sequential(
            nn.Conv2d(1, one, 3, 1, 1, bias=False), nn.BatchNorm2d(one), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(one, two, 3, 1, 1, bias=False), nn.BatchNorm2d(two), nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(two, three, 3, 1, 1, bias=False), nn.BatchNorm2d(three), nn.ReLU(),
            nn.Conv2d(three, three, 3, 1, 1, bias=False), nn.BatchNorm2d(three), nn.ReLU(),
        )  # fmt: skip
        self.head = nn.Conv2d(three, 10, 1)
        with torch.no_grad():  # of 64 places: at first each digit is improbable
            self.head.get_parameter("bias").fill_(-6.0)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits (N, 10) for images (N, 32, 32) from 0 to 1."""
        places: Tensor = self.head(self.layers(images[:, None]))
        return places.flatten(2).logsumexp(-1)

    def probabilities(self, frames: Frames, *, colour: bool = False) -> Tensor:
        """Return (..., T, 10): how probably frames (..., T, H, W) of bytes show a 0, ..., a 9.

        Of colour, (..., T, 3, H, W), the brightest channel is read.

        Raises
        ------
        InputError
            Frames that are not of bytes.
        """
        return self._read(frames, colour, lambda images: self(images).sigmoid())

    def confidence(self, frames: Frames, *, colour: bool = False) -> Tensor:
        """Return the largest of `probabilities` (..., T): whether it shows any digit, clearly."""
        return self.probabilities(frames, colour=colour).amax(-1)

    def features(self, frames: Frames, *, colour: bool = False) -> Tensor:
        """Return (..., T, F): mean and maximum over places of the last layer; F is 128.

        Raises
        ------
        InputError
            As `probabilities`.
        """

        def pooled(images: Tensor) -> Tensor:
            hidden = self.layers(images[:, None]).flatten(2)
            return torch.cat([hidden.mean(-1), hidden.amax(-1)], -1)

        return self._read(frames, colour, pooled)

    @torch.no_grad()
    def _read(self, frames: Frames, colour: bool, of: Reading) -> Tensor:
        kept, training = as_frames("frames", frames, colour), self.training
        kept = kept.amax(-3) if colour else kept
        lead, device = kept.shape[:-2], self.head.weight.device
        self.eval()
        try:
            pieces = kept.reshape(-1, *kept.shape[-2:]).split(_FRAMES)
            rows = [of(to_side(piece.to(device).float() / 255)) for piece in pieces]
        finally:
            self.train(training)
        return torch.cat(rows).unflatten(0, lead)


def to_side(images: Tensor) -> Tensor:
    """Bring images (N, H, W) to 32 x 32: by averages where they are larger."""
    if images.shape[-2:] == (SIDE, SIDE):
        return images
    size = (SIDE, SIDE)
    return functional.interpolate(images[:, None], size, mode="bilinear", antialias=True)[:, 0]


def digit_classifier() -> DigitClassifier:
    """Return the classifier that comes with the package, ready to read."""
    path = Path(str(files("ppl_models"))) / "weights" / "digits.safetensors"
    with seeded():  # its first weights, which do not stay, are drawn
        classifier = DigitClassifier(tuple(load(path).config["widths"]))
    load(path, into=classifier, model="DigitClassifier")
    return classifier.eval().requires_grad_(False)


def train_digit_classifier(
    images: Tensor, labels: Tensor, *, steps: int = 2000, seed: int = 0
) -> DigitClassifier:
    """Train a classifier on frames of one or two digits, painted as they are needed.

    One frame in 16 has its blocks of 4 x 4 pixels in disorder, or is black: it shows no digit.

    Parameters
    ----------
    images, labels
        (N, 784) from 0 to 1, and (N,): MNIST's to train on.
    steps
        Of Adam, on 128 frames each, at a rate that rises to 3e-3 and falls to nothing.
    seed
        Of the first weights, and of the frames.

    Raises
    ------
    InputError
        Images of another shape, or as many labels as there are not images.
    """
    check_count("steps", steps)
    if images.ndim != 2 or images.shape[1] != 784 or labels.shape != images.shape[:1]:
        found = f"images {tuple(images.shape)}, labels {tuple(labels.shape)}"
        raise InputError("images", found, "(N, 784) and (N,)", "give mnist(path).train_images")
    generator = torch.Generator().manual_seed(derive(seed, "frames"))
    with seeded(derive(seed, "weights")):
        classifier = DigitClassifier()
    adam = torch.optim.Adam(classifier.parameters(), RATE)
    rate = torch.optim.lr_scheduler.OneCycleLR(adam, RATE, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        frames, shown = painted(images, labels, BATCH, generator)
        _spoil(frames, shown, generator)
        loss = functional.binary_cross_entropy_with_logits(classifier(frames), shown)
        adam.zero_grad()
        loss.backward()
        adam.step()
        rate.step()
    return classifier.eval().requires_grad_(False)


def painted(
    images: Tensor,
    labels: Tensor,
    size: int,
    generator: torch.Generator,
    counts: tuple[int, int] = (1, 2),
) -> tuple[Tensor, Tensor]:
    """Paint frames (N, 32, 32), and say which digits they show (N, 10).

    Digits of 28 or of 32 pixels stand at whole pixels of 64 x 64, sums clipped, then pixels are
    averaged by four.

    Parameters
    ----------
    images, labels
        (N, 784) from 0 to 1, and (N,).
    size
        How many frames.
    generator
        Draws all.
    counts
        Fewest and most digits of a frame, 1 and 2 at most.
    """
    which = torch.randint(len(images), (size, 2), generator=generator)
    digits = images[which].reshape(size * 2, 1, 28, 28)
    if torch.rand((), generator=generator) < 0.5:
        digits = functional.interpolate(digits, (32, 32), mode="bilinear", antialias=True)
    side = digits.shape[-1]
    there = torch.arange(2) < torch.randint(
        counts[0], counts[1] + 1, (size, 1), generator=generator
    )
    corner = torch.randint(CANVAS - side + 1, (2, size, 2, 1, 1), generator=generator)
    pixel = torch.arange(side)
    at = (corner[0] + pixel[:, None]) * CANVAS + corner[1] + pixel
    ink = digits.reshape(size, 2, side, side) * there[..., None, None]
    canvas = torch.zeros(size, CANVAS**2).scatter_add_(1, at.flatten(1), ink.flatten(1))
    frames = functional.avg_pool2d(canvas.clamp(max=1).view(size, 1, CANVAS, CANVAS), 2)[:, 0]
    shown = (functional.one_hot(labels[which], 10) * there[..., None]).amax(1).float()
    return frames, shown


def shuffled(frames: Tensor, generator: torch.Generator) -> Tensor:
    """Return frames (N, 32, 32) whose blocks of 4 x 4 pixels change places, all in one way."""
    blocks = functional.unfold(frames[:, None], 4, stride=4)
    order = torch.randperm(blocks.shape[-1], generator=generator)
    return functional.fold(blocks[..., order], (SIDE, SIDE), 4, stride=4)[:, 0]


def _spoil(frames: Tensor, shown: Tensor, generator: torch.Generator) -> None:
    """Make one frame in 16 one that shows no digit: blocks in disorder, some of them black."""
    none = slice(0, len(frames) // 16)
    frames[none], shown[none] = shuffled(frames[none], generator), 0
    frames[: len(frames) // 64] = 0
