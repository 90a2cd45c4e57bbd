"""Guides of the models of videos."""

from __future__ import annotations

from guides.video.base import CodeGuide, VideoGuide
from guides.video.srvp import SRVPGuide
from guides.video.svg import SVGFPGuide, SVGGuide, SVGLPGuide

__all__ = ["CodeGuide", "SRVPGuide", "SVGFPGuide", "SVGGuide", "SVGLPGuide", "VideoGuide"]
