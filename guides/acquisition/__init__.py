"""Guides of models of tables with gaps."""

from __future__ import annotations

from guides.acquisition.not_miwae import NotMIWAEGuide
from guides.acquisition.partial_vae import PartialVAEGuide

__all__ = ["NotMIWAEGuide", "PartialVAEGuide"]
