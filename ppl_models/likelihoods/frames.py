r"""Frames of a video as a likelihood: a convolutional network paints each, and another reads it.

With `ConvFrames` as its likelihood any model of sequences is one of videos: what its emission gives
is a code, which the decoder paints, and what its networks and its guide read of a frame is the
encoder's code of it. ``DKF(1024, 8, likelihood=ConvFrames((1, 32, 32)))`` is a deep Kalman filter
over frame codes.

A published loss is a likelihood: sum_pixels (x - mean)^2 is that of a Gaussian of scale sqrt(1/2),
and a mean over D pixels times a KL weight beta, as SVG has it, one of scale sqrt(D beta / 2)
with weight 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import torch
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor, nn

from ppl_models.distributions import SphericalNormal
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli, Gaussian, Likelihood
from ppl_models.networks import ConvDecoder, ConvEncoder, split_normal

Shape = tuple[int, int, int]


class PixelGaussian(Gaussian):
    """x_d ~ Normal(sigmoid(raw_d), scale_d): grey levels or colours, in [0, 1].

    Parameters are those of `Gaussian`; with ``scale="decoded"`` the last D outputs are log scales.
    """

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of D levels."""
        if self.kind != "decoded":
            return super().distribution(raw.sigmoid())
        mean, scale = split_normal(raw)
        return super().distribution(torch.cat([mean.sigmoid(), scale.log()], -1))


class LevelGaussian(Gaussian):
    """x_d ~ Normal(raw_d, scale_d), for outputs that are levels already; parameters as there."""

    def _check_support(self, x: Tensor) -> None:
        check_levels(x)


class ConvFrames(Likelihood):
    """Frames (..., C S S), painted and read by convolutional networks.

    Parameters
    ----------
    frame_shape : tuple of int
        (C, S, S), channels and sides.
    code_dim : int
        Numbers of the code that is painted: ``raw_dim``.
    read_dim : int, optional
        Numbers of the code that a frame is read as: ``feature_dim``; by default ``code_dim``.
    pixels : "gaussian", "bernoulli" or Likelihood
        Of the pixels, given the decoder's numbers: a `PixelGaussian` of ``scale``; bits.
    scale : "shared", "pixel", "decoded" or float
        Standard deviation of grey levels, of which white is 1.
    skips : bool
        Whether the decoder also reads the maps of a known frame (`read_maps`).
    decoder_dims : sequence of int
        Layers of the decoder before its first maps (``hidden_dims`` there).
    width, kind, norm
        Of both networks: `ppl_models.networks.ConvEncoder`.

    Raises
    ------
    InputError
        Frames that are not square with a side of 4 * 2^n, or another unknown setting.
    """

    def __init__(
        self,
        frame_shape: Shape = (1, 32, 32),
        code_dim: int = 128,
        *,
        read_dim: int | None = None,
        pixels: str | Likelihood = "gaussian",
        scale: Literal["shared", "pixel", "decoded"] | float = 0.5,
        skips: bool = False,
        decoder_dims: Sequence[int] = (),
        width: int = 64,
        kind: str = "dcgan",
        norm: str = "group",
    ) -> None:
        networks: dict[str, Any] = {"width": width, "kind": kind, "norm": norm}
        encoder = ConvEncoder(frame_shape, read_dim or code_dim, **networks)
        channels, side, _ = frame_shape
        super().__init__(channels * side * side, code_dim)
        self.feature_dim = encoder.code_dim
        self.frame_shape: Shape = (channels, side, side)
        self.pixels = _pixels(pixels, self.data_dim, scale)
        per_pixel = self.pixels.raw_dim // (side * side)
        self.encoder = encoder
        networks |= {"out_channels": per_pixel, "skips": skips, "hidden_dims": decoder_dims}
        self.decoder = ConvDecoder(self.frame_shape, code_dim, **networks)

    @torch.no_grad()
    def start_from(self, x: Tensor) -> None:
        """Let the decoder paint, at first, frames of the mean level of data (..., C S S).

        Most pixels of most videos are dark, which a decoder that starts at grey has to learn first.
        Only for means that are the sigmoid of what is decoded.
        """
        level = x.float().mean().clamp(0.01, 0.99)
        *_, last = (
            m for m in self.decoder.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
        )
        assert last.bias is not None
        last.bias[: self.frame_shape[0]] = level.logit()

    def distribution(self, raw: Tensor) -> TorchDistribution:
        """Return the distribution of the pixels, given codes (..., code_dim)."""
        return self.pixels.distribution(self.decoder(raw))

    def painted(self, code: Tensor, maps: Sequence[Tensor] | None = None) -> TorchDistribution:
        """Return p(frame | code, maps of a known frame), event shape (C S S,)."""
        raw = self.decoder(code, maps)
        if isinstance(self.pixels, PixelGaussian) and self.pixels.kind in ("fixed", "shared"):
            return SphericalNormal(raw.sigmoid(), self.pixels.scale)
        return self.pixels.distribution(raw).to_event(1)

    def features(self, x: Tensor, before: Tensor | None = None) -> Tensor:
        """Return the code (..., feature_dim) of each frame."""
        code: Tensor = self.encoder(self.pixels.features(x))
        return code

    def read_maps(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the code of each frame, and the encoder's maps for skip connections."""
        read: tuple[Tensor, tuple[Tensor, ...]] = self.encoder.with_maps(self.pixels.features(x))
        return read

    def _check_support(self, x: Tensor) -> None:
        check_levels(x)
        self.pixels.check(x)


def check_levels(x: Tensor) -> None:
    """Raise InputError unless frames are of floats from 0 to 1."""
    if not x.is_floating_point():
        found = f"numbers of type {x.dtype}"
    elif not (bool(x.min() >= 0) and bool(x.max() <= 1)):
        found = f"numbers from {float(x.min()):.3g} to {float(x.max()):.3g}"
    else:
        return
    cure = "ppl_models.data.float_frames(frames), which takes uint8"
    raise InputError("s", found, "frames as floats from 0 (black) to 1 (white)", cure)


def _pixels(pixels: str | Likelihood, data_dim: int, scale: Any) -> Likelihood:
    """Return the part that a name stands for."""
    if pixels == "gaussian":
        return PixelGaussian(data_dim, scale)
    if pixels == "bernoulli":
        return Bernoulli(data_dim, grey=True)
    if isinstance(pixels, Likelihood) and pixels.data_dim == data_dim:
        return pixels
    found = repr(pixels) if isinstance(pixels, str) else f"{type(pixels).__name__}"
    expected = f'"gaussian", "bernoulli", or a part with data_dim {data_dim}'
    raise InputError("pixels", found, expected, 'pixels="gaussian"')
