"""Dynamical VAEs: deep state-space models of sequences."""

from __future__ import annotations

from ppl_models.dvae.base import DynamicalVAE
from ppl_models.dvae.conditionals import FrameConditionals
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.dkf import DKF, LinearTransition
from ppl_models.dvae.dsae import DSAE
from ppl_models.dvae.frame_vae import FrameVAE
from ppl_models.dvae.kvae import KVAE
from ppl_models.dvae.motion import Inertia, Motion
from ppl_models.dvae.past import Memory, Past, Rollout
from ppl_models.dvae.pseudo_path import CompletedPath, PseudoPath
from ppl_models.dvae.rvae import RVAE
from ppl_models.dvae.scheduled_sampling import SamplingSchedule
from ppl_models.dvae.srnn import SRNN
from ppl_models.dvae.storn import STORN
from ppl_models.dvae.transformer import HiTDVAE, LigHTDVAE, TransformerDVAE
from ppl_models.dvae.vrnn import VRNN

__all__ = [
    "CompletedPath",
    "DKF",
    "DSAE",
    "DeepAR",
    "DynamicalVAE",
    "FrameConditionals",
    "FrameVAE",
    "HiTDVAE",
    "Inertia",
    "KVAE",
    "LigHTDVAE",
    "LinearTransition",
    "Memory",
    "Motion",
    "Past",
    "PseudoPath",
    "RVAE",
    "Rollout",
    "SRNN",
    "STORN",
    "SamplingSchedule",
    "TransformerDVAE",
    "VRNN",
]
