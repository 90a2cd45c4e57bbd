"""Speech models on disk: a pair of the dynamical VAE family, and how its spectra are taken.

>>> save_speech("runs/mine", design, model, guide)  # runs/mine/pair.safetensors
>>> model, guide, stft, *_ = load_speech("runs/mine")

The file holds tensors, and in its header the `Design` as JSON: the model by name, looked up in
`FAMILY`, and sizes. Nothing in a stranger's file is imported or run; what would not fit into the
tensors that are there is not built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor, nn

import guides
import ppl_models
from inference.checkpoint import load
from inference.errors import CheckpointError
from inference.randomness import derive, seeded
from inference.tasks.designs import check_settings_sizes, load_pair, save_pair
from inference.training import WEIGHTS
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError, unknown
from ppl_models.likelihoods import QUIET, ComplexGaussian

LATENT_FREE = ("DeepAR",)
"""Models without latents: sources of `ppl separate`, but not for analysis and re-synthesis."""
_WITH_LATENTS = ("FrameVAE", "DKF", "RVAE", "DSAE", "KVAE", "STORN", "VRNN", "SRNN")
FAMILY = (*_WITH_LATENTS, "HiTDVAE", "LigHTDVAE", *LATENT_FREE)
"""Models of speech."""
FILE = "pair.safetensors"


@dataclass(frozen=True)
class Design:
    """What a pair is built from.

    Parameters
    ----------
    model
        A name in `FAMILY`.
    latent_dim
        L; 0 for a model in `LATENT_FREE`.
    options, guide_options
        Other arguments of model and guide, as JSON holds them.
    stft
        How spectra are taken.
    floor
        Least power, of `ComplexGaussian`.
    scheduled
        Whether the model is trained to read the means of frames that it decoded itself. Generation
        then feeds means back, and not draws.
    """

    model: str
    latent_dim: int = 16
    options: Mapping[str, Any] = field(default_factory=dict)
    guide_options: Mapping[str, Any] = field(default_factory=dict)
    stft: STFT = STFT()
    floor: float = QUIET
    scheduled: bool = False

    def pair(self, frames: Tensor | None = None, seed: int = 0) -> tuple[Any, Any]:
        """Build model and guide, untrained; ``frames`` (..., F) of powers set the levels.

        Raises
        ------
        InputError
            No such model, or settings that it or its guide does not take.
        """
        if self.model not in FAMILY:
            raise unknown("model", self.model, FAMILY)
        family, guide = getattr(ppl_models, self.model), getattr(guides, f"{self.model}Guide")
        try:
            likelihood = ComplexGaussian(self.stft.bins, self.floor)
            with seeded(derive(seed, "weights")):
                free = self.model in LATENT_FREE and not self.latent_dim
                sizes = (self.stft.bins,) if free else (self.stft.bins, self.latent_dim)
                model = family(*sizes, likelihood=likelihood, **self.options)
                make = getattr(guide, "of", guide)
                pair = model, make(model, **self.guide_options)
        except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
            found = f"{dict(self.options)}, of the guide {dict(self.guide_options)} ({error})"
            cure = f"see help({family.__module__}.{self.model})"
            raise InputError("options", found, f"what {self.model} takes", cure) from error
        if frames is not None:
            likelihood.start_from(frames)
        return pair

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "stft"}
        own |= {name: dict(own[name]) for name in ("options", "guide_options")}
        stft = {f.name: getattr(self.stft, f.name) for f in fields(self.stft)}
        return own | {"stft": stft}

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> Design:
        """Read the settings of a file, and trust nothing in it.

        Raises
        ------
        InputError
            A setting that is missing, unknown, or of another kind or size than it can be.
        """
        names = [f.name for f in fields(cls)]
        config = config if isinstance(config, dict) else {}
        if missing := [name for name in names if name not in config]:
            cure = "give a file that save_speech or `ppl fit-speech` wrote"
            found = f"no {', '.join(missing)}"
            raise InputError("settings", found, "those of a model of speech", cure)
        if strange := [name for name in config if name not in names]:
            raise unknown("setting", strange[0], names)
        check_settings_sizes(config, "settings")
        stft = config["stft"]
        if not isinstance(stft, dict) or stft.keys() != {f.name for f in fields(STFT)}:
            expected = "rate, window_ms and hop_ms"
            raise InputError("stft", f"{stft}", expected, "save it again with save_speech")
        kinds = {"model": str, "latent_dim": int, "options": dict, "guide_options": dict}
        kinds |= {"floor": float, "scheduled": bool}
        for name, kind in kinds.items():
            if not isinstance(config[name], kind):
                cure = "save it again with save_speech"
                raise InputError(name, f"{config[name]!r}", f"a {kind.__name__}", cure)
        return cls(**{**config, "stft": STFT(**stft)})


class SpeechModel(NamedTuple):
    """A trained pair in evaluation mode, what it was built from, and its file."""

    model: Any
    guide: Any
    stft: STFT
    design: Design
    path: Path


def save_speech(
    path: str | os.PathLike[str],
    design: Design,
    model: nn.Module,
    guide: nn.Module,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a pair so that `load_speech` and ``ppl resynth --model`` can read it.

    Parameters
    ----------
    path
        A run's folder, or a file ``*.safetensors``.
    design
        What the pair was built from.
    model, guide
    extra
        More that JSON holds: how it was trained, how good it is.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    InputError
        The design is not that of this pair: nothing is written.
    CheckpointError
        The file cannot be written.
    """
    target = Path(path)
    target = target if target.suffix == ".safetensors" else target / FILE
    save_pair(target, design, model, guide, design.model, extra)
    return target


def load_speech(model: str | os.PathLike[str], *, argument: str = "--model") -> SpeechModel:
    """Read a pair that `save_speech` wrote.

    Parameters
    ----------
    model
        A run's folder, a file, or the name of one that ships (`shipped`).
    argument
        What an error calls ``model``.

    Raises
    ------
    CheckpointError
        It is missing, damaged, not of speech, or too large for its tensors; or a weight is not
        finite, and is named.
    InputError
        No such file, folder or name.
    """
    path = _find(model, argument)
    design, trained, guide, _ = load_pair(
        path, lambda kept: Design.from_json(kept.config), lambda design: design.model
    )
    return SpeechModel(trained, guide, design.stft, design, path)


def shipped() -> list[str]:
    """Return the names of the speech models that come with the package."""
    folder = Path(str(files("ppl_models"))) / "weights"
    return sorted(p.stem for p in folder.glob("*.safetensors") if "stft" in load(p).config)


def _find(model: str | os.PathLike[str], argument: str) -> Path:
    """Return the file that is meant: a folder that is no run hides no name that ships."""
    path = Path(model)
    named = len(path.parts) == 1 and not path.suffix
    run = path.is_dir() and any((path / name).exists() for name in (FILE, WEIGHTS))
    if named and not run and not path.is_file() and path.name in (names := shipped()):
        return Path(str(files("ppl_models"))) / "weights" / f"{path.name}.safetensors"
    if path.is_dir():
        if run and not (path / FILE).exists():
            found = f"{WEIGHTS} of a run, but no {FILE}, which names the pair"
            cure = "let the run end (--resume), or save_speech(folder, design, model, guide)"
            raise CheckpointError(path, found, FILE, cure)
        return path / FILE
    if path.exists() or not named:
        return path
    listed = ", ".join(names) or "none in this version"
    expected = f"a run's folder, a .safetensors file, or a name of those that ship: {listed}"
    cure = "make one with `ppl fit-speech` or `ppl fit-source`"
    raise InputError(argument, repr(path.name), expected, cure)
