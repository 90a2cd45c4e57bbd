"""Guides of the models of videos."""

from __future__ import annotations

from guides.video.base import VideoGuide
from guides.video.srvp import SRVPGuide
from guides.video.svg import SVGFPGuide, SVGGuide, SVGLPGuide

__all__ = ["SRVPGuide", "SVGFPGuide", "SVGGuide", "SVGLPGuide", "VideoGuide"]
