"""Frames as a likelihood: what pixels are scored by, and models of sequences over frame codes."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor

from guides.dvae import DKFGuide, VRNNGuide
from inference import Objective, check, fit
from ppl_models.dvae import DKF, VRNN
from ppl_models.errors import InputError
from ppl_models.likelihoods import Bernoulli, ConvFrames, Gaussian, LevelGaussian, PixelGaussian
from tests.videos import D, blobs, ragged

SHAPE, NOISE = (1, 8, 8), 0.05


@pytest.mark.parametrize("scale", ["shared", "pixel", "decoded", 0.3])
def test_grey_levels_are_gaussian_about_a_sigmoid(scale: Any) -> None:
    part = PixelGaussian(6, scale)
    raw, x = torch.randn(4, part.raw_dim), torch.rand(4, 6)
    deviation = (raw[:, 6:].exp().square() + 1e-6).sqrt() if scale == "decoded" else part.scale
    wanted = dist.Normal(raw[:, :6].sigmoid(), deviation).log_prob(x).sum(-1)
    assert torch.allclose(part(raw).log_prob(x), wanted, atol=1e-4)
    assert torch.allclose(part.point(raw), raw[:, :6].sigmoid())


def test_levels_that_are_painted_already_need_no_sigmoid() -> None:
    part, raw, x = LevelGaussian(6, 0.2), torch.rand(4, 6), torch.rand(4, 6)
    assert torch.allclose(part(raw).log_prob(x), dist.Normal(raw, 0.2).log_prob(x).sum(-1))
    for wrong in (2 * torch.ones(1, 6), torch.ones(1, 6, dtype=torch.uint8)):
        with pytest.raises(InputError, match="0 \\(black\\) to 1 \\(white\\)"):
            part.check(wrong)


@pytest.mark.parametrize("pixels", ["gaussian", "bernoulli", "part"])
@pytest.mark.parametrize("skips", [False, True])
def test_pixels_are_those_of_the_decoder(pixels: str, skips: bool) -> None:
    given: Any = Gaussian(D, "decoded") if pixels == "part" else pixels
    part = ConvFrames(SHAPE, 5, read_dim=4, pixels=given, scale=0.3, skips=skips, width=2)
    x, code = torch.rand(2, 3, D), torch.randn(2, 3, 5)
    read, maps = part.read_maps(x)
    assert read.shape == (2, 3, 4) == (2, 3, part.feature_dim)
    assert torch.equal(part.features(x), read)
    raw = part.decoder(code, maps if skips else None)
    painted = part.painted(code, maps if skips else None)
    assert painted.batch_shape == (2, 3) and painted.event_shape == (D,)
    x = x.round() if pixels == "bernoulli" else x
    assert torch.allclose(painted.log_prob(x), part.pixels(raw).log_prob(x), rtol=1e-5)
    if not skips:
        assert torch.allclose(part(code).log_prob(x), painted.log_prob(x), rtol=1e-5)


def test_a_published_loss_is_a_likelihood() -> None:
    """The sum of squares is minus the log density of scale sqrt(1/2), up to a constant."""
    part, raw, x = PixelGaussian(6, 0.5**0.5), torch.randn(4, 6), torch.rand(4, 6)
    rest = part(raw).log_prob(x) + (x - raw.sigmoid()).square().sum(-1)
    assert torch.allclose(rest, rest[:1].expand(4), atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "cure"),
    [
        ({"pixels": "laplace"}, {"pixels": "gaussian"}),
        ({"pixels": Gaussian(5)}, {"pixels": Gaussian(D)}),
        ({"frame_shape": (1, 9, 9)}, {"frame_shape": (1, 16, 16)}),
        ({"code_dim": 0}, {"code_dim": 1}),
        ({"kind": "resnet"}, {"kind": "dcgan"}),
        ({"norm": "layer"}, {"norm": "batch"}),
    ],
)
def test_unusable_settings(wrong: dict[str, Any], cure: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        ConvFrames(**{"frame_shape": SHAPE, "code_dim": 4, "width": 2} | wrong)
    ConvFrames(**{"frame_shape": SHAPE, "code_dim": 4, "width": 2} | cure)


@pytest.mark.parametrize("pixels", ["gaussian", "bernoulli"])
def test_frames_that_are_no_levels(pixels: Any) -> None:
    part = ConvFrames(SHAPE, 4, width=2, pixels=pixels)
    for wrong in (255 * torch.rand(2, D) + 2, torch.rand(2, D) - 2, torch.ones(2, D).byte()):
        with pytest.raises(InputError, match="float_frames"):
            part.check(wrong)
    part.check(torch.rand(2, D))
    assert isinstance(part.pixels, PixelGaussian if pixels == "gaussian" else Bernoulli)


SIZES: dict[str, Any] = {"recurrent_dim": 16}
PAIRS: list[tuple[Any, Any, dict[str, Any], dict[str, Any]]] = [
    (DKF, DKFGuide, {}, {}),
    (VRNN, VRNNGuide, SIZES, {}),
]


@pytest.mark.parametrize(("model_class", "guide_class", "options", "guide_options"), PAIRS)
def test_models_of_sequences_become_models_of_videos(
    model_class: Any, guide_class: Any, options: Any, guide_options: Any
) -> None:
    """They pass `check`, and learn more than what is the same in every frame.

    With a noise of 0.15, three times this one, DKF's posterior collapses without a warm-up.
    """
    torch.manual_seed(0)
    frames = ConvFrames(SHAPE, 16, width=16, scale=NOISE)
    model = model_class(D, 4, likelihood=frames, **options)
    guide = guide_class(model, **guide_options)
    s = blobs(64, 6).float()
    check(model, guide, s[:3])
    check(model, guide, *ragged(s[:3]))
    how: Any = {"objective": Objective("meanfield"), "learning_rate": 3e-3}
    fit(model, guide, s, epochs=40, batch_size=16, report_every=40, **how)
    bound = Objective("meanfield").bound(model, guide, (s,)).mean()
    assert bound > still(s)


def still(s: Tensor) -> Tensor:
    """Log density of videos (B, T, D) that are all one picture: what is reached without latents."""
    return dist.Normal(s.mean((0, 1)), NOISE).log_prob(s).sum((1, 2)).mean()
