"""Diagnostics: the posterior as ArviZ wants it, and whether to believe it.

All of them *run* the guide, take any pair, sum enumerated sites exactly, and leave the pair, the
random generators and Pyro's param store as they found them.
"""

from __future__ import annotations

from inference.diagnostics.arviz_export import posterior
from inference.diagnostics.collapse import CollapseReport, collapse_report
from inference.diagnostics.curve import Curve, Point
from inference.diagnostics.importance import Importance, importance
from inference.diagnostics.information import Information, mutual_information
from inference.diagnostics.pictures import imputations, reconstructions, samples, traversal
from inference.diagnostics.ppc import PPC, ppc
from inference.diagnostics.rates import Rate, Rates, rates
from inference.diagnostics.sbc import SBC, sbc
from inference.tasks.rate_distortion import rate_distortion

__all__ = [
    "PPC",
    "SBC",
    "CollapseReport",
    "Curve",
    "Importance",
    "Information",
    "Point",
    "Rate",
    "Rates",
    "collapse_report",
    "importance",
    "imputations",
    "mutual_information",
    "posterior",
    "ppc",
    "rate_distortion",
    "rates",
    "reconstructions",
    "samples",
    "sbc",
    "traversal",
]
