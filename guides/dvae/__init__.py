"""Guides of the dynamical VAEs, in files with the names of their models."""

from __future__ import annotations

from guides.dvae.deepar import DeepARGuide
from guides.dvae.dkf import DKFGuide
from guides.dvae.dsae import DSAEGuide
from guides.dvae.frame_vae import FrameVAEGuide
from guides.dvae.kvae import KVAEGuide, impute
from guides.dvae.motion_filter import Evidence, SourcePosterior
from guides.dvae.motion_rate import White
from guides.dvae.rvae import RVAEGuide
from guides.dvae.srnn import SRNNGuide
from guides.dvae.storn import STORNGuide
from guides.dvae.transformer import HiTDVAEGuide, LigHTDVAEGuide
from guides.dvae.vrnn import VRNNGuide

__all__ = [
    "DKFGuide",
    "DSAEGuide",
    "DeepARGuide",
    "Evidence",
    "FrameVAEGuide",
    "HiTDVAEGuide",
    "KVAEGuide",
    "LigHTDVAEGuide",
    "RVAEGuide",
    "SRNNGuide",
    "STORNGuide",
    "SourcePosterior",
    "VRNNGuide",
    "White",
    "impute",
]
