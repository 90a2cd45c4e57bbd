"""Inference: learns and judges any pair of a model and a guide.

>>> from inference import check, fit, posterior

Every name is imported when it is first asked for, so that a command that needs no Pyro does not
wait for it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from inference.checking.report import check as check
    from inference.checkpoint import load as load
    from inference.checkpoint import save as save
    from inference.diagnostics import collapse_report as collapse_report
    from inference.diagnostics import importance as importance
    from inference.diagnostics import imputations as imputations
    from inference.diagnostics import mutual_information as mutual_information
    from inference.diagnostics import posterior as posterior
    from inference.diagnostics import ppc as ppc
    from inference.diagnostics import rates as rates
    from inference.diagnostics import reconstructions as reconstructions
    from inference.diagnostics import samples as samples
    from inference.diagnostics import sbc as sbc
    from inference.diagnostics import traversal as traversal
    from inference.enumeration import enumerated as enumerated
    from inference.errors import CheckpointError as CheckpointError
    from inference.errors import NonFiniteError as NonFiniteError
    from inference.errors import PairError as PairError
    from inference.objectives.objective import FreeBits as FreeBits
    from inference.objectives.objective import Objective as Objective
    from inference.objectives.objective import TargetRate as TargetRate
    from inference.objectives.penalties import MMD as MMD
    from inference.objectives.penalties import AdversarialPrior as AdversarialPrior
    from inference.objectives.penalties import Decomposition as Decomposition
    from inference.objectives.penalties import FactorCritic as FactorCritic
    from inference.objectives.penalties import SlicedWasserstein as SlicedWasserstein
    from inference.objectives.penalties import TotalCorrelation as TotalCorrelation
    from inference.objectives.penalties import WassersteinCritic as WassersteinCritic
    from inference.tasks import rate_distortion as rate_distortion
    from inference.training.aggressive import Aggressive as Aggressive
    from inference.training.em import fit_em as fit_em
    from inference.training.fit import Run as Run
    from inference.training.fit import fit as fit

_HOME = {
    "check": "checking.report",
    "fit": "training.fit",
    "fit_em": "training.em",
    "Run": "training.fit",
    "Objective": "objectives.objective",
    "FreeBits": "objectives.objective",
    "TargetRate": "objectives.objective",
    "Aggressive": "training.aggressive",
    "AdversarialPrior": "objectives.penalties",
    "Decomposition": "objectives.penalties",
    "FactorCritic": "objectives.penalties",
    "MMD": "objectives.penalties",
    "SlicedWasserstein": "objectives.penalties",
    "TotalCorrelation": "objectives.penalties",
    "WassersteinCritic": "objectives.penalties",
    "enumerated": "enumeration",
    "posterior": "diagnostics",
    "rates": "diagnostics",
    "collapse_report": "diagnostics",
    "importance": "diagnostics",
    "imputations": "diagnostics",
    "reconstructions": "diagnostics",
    "samples": "diagnostics",
    "traversal": "diagnostics",
    "rate_distortion": "tasks",
    "mutual_information": "diagnostics",
    "sbc": "diagnostics",
    "ppc": "diagnostics",
    "save": "checkpoint",
    "load": "checkpoint",
    "PairError": "errors",
    "NonFiniteError": "errors",
    "CheckpointError": "errors",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import the module in which ``name`` lives (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


class _Package(ModuleType):
    """Keeps ``inference.check`` and ``inference.fit`` functions, not the modules they live in.

    Python binds a submodule on its package after importing it; for a module named after its one
    public function, the function is bound in its place, whichever was imported first.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if _HOME.get(name) == name and isinstance(value, ModuleType):
            value = getattr(value, name)
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
