"""Guides of multi-object tracking, in files with the names of their models."""

from __future__ import annotations

from guides.mot.birth_death_mixdvae import BirthDeathMixDVAEGuide

__all__ = ["BirthDeathMixDVAEGuide"]
