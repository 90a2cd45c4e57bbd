"""Whether two functions are a model and its guide, and if not, what is wrong."""

from __future__ import annotations

from inference.checking.first_look import bound_pair, first_look
from inference.checking.report import check

__all__ = ["bound_pair", "check", "first_look"]
