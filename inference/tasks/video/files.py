"""Models of videos on disk: a pair, and what it was built from.

>>> save_video("runs/mine", design, model, guide)  # runs/mine/video.safetensors
>>> model, guide, *_ = load_video("runs/mine")

The file holds tensors, and in its header the `VideoDesign` as JSON: the story by name, looked up in
`STORIES`, and sizes. Nothing in a stranger's file is imported or run; what would not fit into the
tensors that are there is not built.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

import guides.dvae
import guides.video
import ppl_models.dvae
import ppl_models.video
from inference.randomness import derive, seeded
from inference.tasks.designs import check_settings_sizes, load_pair, save_pair
from ppl_models.errors import InputError, unknown
from ppl_models.likelihoods import ConvFrames

VIDEO = ("SRVP", "SVGLP", "SVGFP", "SV2P")
SEQUENCE = ("DKF", "VRNN", "SRNN", "STORN", "RVAE")
STORIES = (*VIDEO, *SEQUENCE)
"""Models of videos: those of `ppl_models.video`, and dynamical VAEs over codes of frames."""
FILE = "video.safetensors"
SHIPPED = "srvp"


@dataclass(frozen=True)
class VideoDesign:
    """What a pair is built from.

    Parameters
    ----------
    story
        A name in `STORIES`.
    frame_shape
        (C, S, S).
    options, guide_options
        Other arguments of model and guide, as JSON holds them.
    frames
        For a dynamical VAE, arguments of its `ConvFrames`; else empty.
    """

    story: str = "SRVP"
    frame_shape: tuple[int, int, int] = (1, 32, 32)
    options: Mapping[str, Any] = field(default_factory=dict)
    guide_options: Mapping[str, Any] = field(default_factory=dict)
    frames: Mapping[str, Any] = field(default_factory=dict)

    def pair(self, seed: int = 0) -> tuple[Any, Any]:
        """Build model and guide, untrained.

        Raises
        ------
        InputError
            No such story, or settings that it or its guide does not take.
        """
        if self.story not in STORIES:
            raise unknown("story", self.story, STORIES)
        of_video = self.story in VIDEO
        stories, their_guides = (
            (ppl_models.video, guides.video) if of_video else (ppl_models.dvae, guides.dvae)
        )
        story, guide = getattr(stories, self.story), getattr(their_guides, f"{self.story}Guide")
        try:
            with seeded(derive(seed, "weights")):
                if of_video:
                    model = story(self.frame_shape, **self.options)
                else:
                    likelihood = ConvFrames(self.frame_shape, **self.frames)
                    size = likelihood.data_dim
                    model = story(size, likelihood=likelihood, **self.options)
                return model, guide(model, **self.guide_options)
        except InputError:
            raise
        except (TypeError, ValueError, RuntimeError, ArithmeticError, AttributeError) as error:
            found = f"{dict(self.options)}, of the guide {dict(self.guide_options)} ({error})"
            cure = f"see help({story.__module__}.{self.story})"
            raise InputError("options", found, f"what {self.story} takes", cure) from error

    def as_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, config: Any) -> VideoDesign:
        """Read the settings of a file, and trust nothing in it.

        Raises
        ------
        InputError
            A setting that is missing, unknown, or of another kind or size than it can be.
        """
        kinds = {"story": str, "frame_shape": list, "options": dict}
        kinds |= {"guide_options": dict, "frames": dict}
        cure = "give a file that save_video or `ppl fit-video` wrote"
        if not isinstance(config, dict) or config.keys() != kinds.keys():
            found = f"{sorted(config) if isinstance(config, dict) else type(config).__name__}"
            raise InputError("settings", found, f"{', '.join(kinds)}", cure)
        check_settings_sizes(config, "settings")
        for name, kind in kinds.items():
            if not isinstance(config[name], kind):
                raise InputError(name, f"{config[name]!r}", f"a {kind.__name__}", cure)
        shape = config["frame_shape"]
        if len(shape) != 3 or not all(isinstance(n, int) for n in shape):
            raise InputError("frame_shape", f"{shape}", "channels, side, side", cure)
        return cls(**{**config, "frame_shape": tuple(shape)})


class TrainedVideo(NamedTuple):
    """A trained pair in evaluation mode, what it was built from, and its file."""

    model: Any
    guide: Any
    design: VideoDesign
    path: Path


def save_video(
    path: str | os.PathLike[str],
    design: VideoDesign,
    model: nn.Module,
    guide: nn.Module,
    extra: Mapping[str, Any] | None = None,
) -> Path:
    """Write a pair so that `load_video` and ``ppl predict-video --model`` can read it.

    Parameters
    ----------
    path
        A run's folder, or a file ``*.safetensors``.
    design
        What the pair was built from.
    model, guide
    extra
        More that JSON holds: how it was trained.

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
    save_pair(target, design, model, guide, design.story, extra)
    return target


def load_video(
    model: str | os.PathLike[str] = SHIPPED, *, argument: str = "--model"
) -> TrainedVideo:
    """Read a pair that `save_video` wrote.

    Parameters
    ----------
    model
        A run's folder, a file, or the one that ships, ``srvp``: moving digits at 32 x 32.
    argument
        What an error calls ``model``.

    Raises
    ------
    CheckpointError
        It is damaged, not of videos, or too large for its tensors; or a weight is not finite, and
        is named.
    InputError
        No such file or folder.
    """
    path = _find(Path(model), argument)
    design, trained, guide, _ = load_pair(
        path, lambda kept: VideoDesign.from_json(kept.config), lambda design: design.story
    )
    return TrainedVideo(trained, guide, design, path)


def _find(path: Path, argument: str) -> Path:
    """Return the file that is meant: a folder that is no run hides no name that ships."""
    if path.is_dir() and (path / FILE).exists():
        return path / FILE
    if path.is_file():
        return path
    shipped = Path(str(files("ppl_models"))) / "weights" / f"{SHIPPED}.safetensors"
    if str(path) == SHIPPED and shipped.exists():
        return shipped
    found = f"{path}, a folder without {FILE}" if path.is_dir() else f"no {path}"
    cure = "make one with `ppl fit-video`, or finish it with --resume"
    expected = f"a run's folder, its {FILE}, or {SHIPPED!r}, which ships"
    raise InputError(argument, found, expected, cure)
