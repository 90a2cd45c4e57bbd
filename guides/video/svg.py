r"""The guide of SVG: prod_{t >= 2} q(z_t | s_{1:t}), an LSTM over the codes of frames.

References: those of `ppl_models.video.svg`.
"""

from __future__ import annotations

import pyro
from torch import Tensor

from guides.video.base import CodeGuide
from ppl_models.distributions import independent_path
from ppl_models.networks import LSTM, ConditionalNormal
from ppl_models.video import SVG


class SVGGuide(CodeGuide[SVG]):
    """q(z | s) of `SVG`.

    Parameters
    ----------
    model : SVG
    recurrent_dim : int
        Of the LSTM.
    """

    def __init__(self, model: SVG, *, recurrent_dim: int = 256) -> None:
        super().__init__(model)
        self.onward = LSTM(model.likelihood.feature_dim, recurrent_dim)
        self.encoder = ConditionalNormal(recurrent_dim, 0, (), model.latent_dim)

    def latents(self, codes: Tensor, mask: Tensor | None) -> Tensor:
        """Sample z."""
        moments = self.encoder(self.onward(codes)[..., 1:, :])
        z: Tensor = pyro.sample(
            "z", independent_path(moments, None if mask is None else mask[:, 1:])
        )
        return z


class SVGFPGuide(SVGGuide):
    """q(z | s) of `SVGFP`. Parameters are those of `SVGGuide`."""


class SVGLPGuide(SVGGuide):
    """q(z | s) of `SVGLP`. Parameters are those of `SVGGuide`."""
