"""Guides of the models of videos."""

from __future__ import annotations

from guides.video.base import CodeGuide, VideoGuide
from guides.video.srvp import SRVPGuide
from guides.video.sv2p import SV2PGuide
from guides.video.svg import SVGFPGuide, SVGGuide, SVGLPGuide

__all__ = [
    "CodeGuide",
    "SRVPGuide",
    "SV2PGuide",
    "SVGFPGuide",
    "SVGGuide",
    "SVGLPGuide",
    "VideoGuide",
]
