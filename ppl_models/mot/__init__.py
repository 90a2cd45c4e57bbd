"""Multi-object tracking: the parts of a story of whole videos, and the story itself."""

from __future__ import annotations

from ppl_models.mot.belief_propagation import Beliefs, propagate_beliefs
from ppl_models.mot.birth_death_mixdvae import BirthDeathMixDVAE
from ppl_models.mot.camera import Camera, CameraWalk, apply_camera, undo_camera
from ppl_models.mot.detector import LastingError, box_units
from ppl_models.mot.joint_beliefs import Objects, infer_objects
from ppl_models.mot.life import (
    GONE,
    HIDDEN,
    NEVER,
    NOT_YET,
    SEEN,
    STATES,
    Life,
    Lives,
    infer_lives,
)
from ppl_models.mot.matching import Exclusive, Independent, matchings
from ppl_models.mot.occlusion import border_factor, covered, covers
from ppl_models.mot.score import BinnedScore, BinnedScores

__all__ = [
    "GONE",
    "HIDDEN",
    "NEVER",
    "NOT_YET",
    "SEEN",
    "STATES",
    "Beliefs",
    "BinnedScore",
    "BinnedScores",
    "BirthDeathMixDVAE",
    "Camera",
    "CameraWalk",
    "Exclusive",
    "Independent",
    "LastingError",
    "Life",
    "Lives",
    "Objects",
    "apply_camera",
    "border_factor",
    "box_units",
    "covered",
    "covers",
    "infer_lives",
    "infer_objects",
    "matchings",
    "propagate_beliefs",
    "undo_camera",
]
