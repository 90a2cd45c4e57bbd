"""Models of videos: sequences whose frames a convolutional network paints and reads."""

from __future__ import annotations

from ppl_models.video.base import VideoModel
from ppl_models.video.coded import CodedVideoModel, Maps, Reading
from ppl_models.video.residual_path import ResidualPath, ResidualStep, SoftplusNormal
from ppl_models.video.srvp import SRVP
from ppl_models.video.sv2p import SV2P
from ppl_models.video.svg import SVG, SVGFP, SVGLP

__all__ = [
    "CodedVideoModel",
    "Maps",
    "Reading",
    "ResidualPath",
    "ResidualStep",
    "SRVP",
    "SV2P",
    "SVG",
    "SVGFP",
    "SVGLP",
    "SoftplusNormal",
    "VideoModel",
]
