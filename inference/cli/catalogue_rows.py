"""What rows of the registry have in common: families, and sizes and examples that are looked up.

Nothing is imported before a row is used.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from inference.cli.story import Data, Story, load

VAES = "Variational autoencoders"
CLASSICS = "Classical models"
STATE_SPACE = "State-space models"
DYNAMICAL = "Dynamical VAEs"
VIDEO = "Video"
TRACKING = "Tracking"
SOUND = "Sound"
MULTIMODAL = "Several modalities"
TABLES = "Tables with gaps"


def example(name: str) -> Callable[..., Any]:
    """Return a function of `inference.cli.examples`, imported when it is first called."""
    return lambda *given: load(f"inference.cli.examples:{name}")(*given)


def width(argument: str) -> Callable[[Data], dict[str, Any]]:
    """Return a function that reads ``data_dim`` off the last axis of that argument."""
    return lambda data: {"data_dim": data[argument].shape[-1]}


def bins(argument: str) -> Callable[[Data], dict[str, Any]]:
    """Return a function that reads ``bins`` off the last axis: real parts, imaginary parts."""
    return lambda data: {"bins": data[argument].shape[-1] // 2}


def of(family: str, source: str, row: Callable[..., Story]) -> Callable[..., Story]:
    """Return a function that makes rows of one family and source, from path and sentence."""
    return lambda path, sentence, **more: row(path, family, source, sentence, **more)
