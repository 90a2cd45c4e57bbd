"""Objects that come, hide and go: their boxes and how sure one is of each."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.tracking.batch import to_ltwh
from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from ppl_models.data.files import write_whole
from ppl_models.data.motchallenge import Boxes

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PRESENT = 0.5
"""p(present) from which on a box is reported."""
NONE = -1
CAMERA = ("shift x", "shift y", "log zoom", "roll")
MOST_DRAWN = 10_000_000
"""Numbers of all draws that are written: 80 MB; where there are more rows, draws are fewer."""
LEAST_DRAWS = 4


@dataclass(frozen=True)
class LiveTracks:
    """P boxes of N objects, each object's in the frames in which it may be there.

    Attributes
    ----------
    name : str
        Where the detections came from.
    first, length : int
        Number of the first frame, and how many there are.
    rate : float
        Frames a second, given or inferred.
    object : (P,) int
        From 1, by first frame, then left to right; rows are sorted by object, then frame.
    frame : (P,) int
    mean, sd : (P, 4)
        Posterior mean and standard deviation of centre x, centre y (pixels), log width and height.
    present, seen : (P,)
        Probabilities to be there, and to be there and not hidden.
    detection : (P,) int
        Row of ``detections`` that is the object's in that frame; -1 for none.
    detections : Boxes
        R detections, in the order of frames.
    camera : (T, 4)
        Shift x and y (pixels), log zoom and roll (radians) of each frame's image, as
        `ppl_models.mot.apply_camera` reads them: the sum of steps from the first frame on, 0 where
        the boxes do not speak for a camera that moves. What is slow and steady is in the objects'
        velocities, and not here.
    """

    name: str
    first: int
    length: int
    rate: float
    object: IntArray
    frame: IntArray
    mean: FloatArray
    sd: FloatArray
    present: FloatArray
    seen: FloatArray
    detection: IntArray
    detections: Boxes
    camera: FloatArray

    @property
    def objects(self) -> int:
        """N."""
        return int(self.object.max(initial=0))

    @property
    def boxes(self) -> FloatArray:
        """(P, 4): left, top, width, height at the posterior mean, in pixels."""
        return to_ltwh(self.mean)

    @property
    def assignment(self) -> NDArray[np.int64]:
        """(R,): the object of each detection, 0 for clutter."""
        owner = np.zeros(len(self.detections), np.int64)
        has = self.detection != NONE
        owner[self.detection[has]] = self.object[has]
        return owner

    def there(self, least: float = PRESENT) -> BoolArray:
        """Return which rows have p(present) of at least so much."""
        return self.present >= least

    def as_boxes(self, least: float = PRESENT) -> Boxes:
        """Return rows of a MOTChallenge file: boxes of who is there, the score p(present)."""
        kept = self.there(least)
        present = self.present[kept]
        return Boxes(self.frame[kept], self.object[kept], self.boxes[kept], present, self.name)

    def to_arviz(self, num_samples: int = 200, *, seed: int = 0) -> Any:
        """Return the posterior as an ArviZ object, a row a box.

        Groups: posterior (``box``: draw, row, coordinate; of the marginals, a row's draw knows
        nothing of the next frame's), observed_data (``detected_box``, ``detected_frame`` and
        ``score`` of each detection), constant_data (``object``, ``frame``, ``present``, ``seen``,
        ``detection``, ``mean`` and ``sd`` of each row; ``assignment`` of each detection, 0 for
        clutter; ``camera`` of each frame).
        """
        from inference.diagnostics import Variable, to_arviz

        rng = np.random.default_rng(seed)
        draws = self.mean + self.sd * rng.standard_normal((num_samples, *self.mean.shape))
        row, corner, found = ("row", False), ("coordinate", False), ("detection_row", False)
        constants = {
            name: Variable(getattr(self, name), [row], drawn=False)
            for name in ("object", "frame", "present", "seen", "detection")
        }
        for name in ("mean", "sd"):
            state = ("state", False)
            constants[name] = Variable(getattr(self, name), [row, state], drawn=False)
        moves = [("video_frame", False), ("part", False)]
        constants["camera"] = Variable(self.camera, moves, drawn=False)
        constants["assignment"] = Variable(self.assignment, [found], drawn=False)
        observed = {
            "detected_box": Variable(self.detections.ltwh, [found, corner], drawn=False),
            "detected_frame": Variable(self.detections.frame, [found], drawn=False),
            "score": Variable(self.detections.score, [found], drawn=False),
        }
        groups = {
            "posterior": {"box": Variable(to_ltwh(draws), [row, corner])},
            "observed_data": observed,
            "constant_data": constants,
        }
        coordinates = ["left", "top", "width", "height"]
        states = ["centre x", "centre y", "log width", "log height"]
        named = {"coordinate": coordinates, "state": states, "part": [*CAMERA]}
        return to_arviz(groups, named)

    def plot(self) -> Figure:
        """Plot the paths in the image, and lives over time."""
        from inference.tasks.tracking.whole.plot import plot

        return plot(self)

    def write(self, folder: str | os.PathLike[str], num_samples: int = 50) -> dict[str, Path]:
        """Write ``tracks.txt``, ``posterior.nc`` and ``tracks.png``, each whole or not at all.

        Nothing is written before all three are made. Of more than 50,000 boxes, fewer draws are
        written (`MOST_DRAWN`); their mean and standard deviation are there in any case.
        """
        most = MOST_DRAWN // max(1, self.mean.size)
        num_samples = min(num_samples, max(LEAST_DRAWS, most))
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: folder / name for name in ("tracks.txt", "posterior.nc", "tracks.png")}
        with tempfile.TemporaryDirectory() as scratch:  # netCDF is not written to memory
            file = Path(scratch) / "posterior.nc"
            self.to_arviz(num_samples).to_netcdf(str(file))
            posterior = file.read_bytes()
        picture = BytesIO()
        self.plot().savefig(picture, format="png", dpi=110)
        write_whole(paths["tracks.txt"], self._text().encode())
        write_whole(paths["posterior.nc"], posterior)
        write_whole(paths["tracks.png"], picture.getvalue())
        return paths

    def _text(self) -> str:
        """Return rows ``frame, id, left, top, width, height, p(present)``, in order."""
        rows = self.as_boxes()
        order = np.lexsort((rows.id, rows.frame))
        sides = np.round(rows.ltwh, 3)
        sides[:, 2:] = np.maximum(sides[:, 2:], 0.001)  # what was positive reads back as positive
        return "".join(
            f"{frame},{one},{left:.3f},{top:.3f},{width:.3f},{height:.3f},{present:.4f}\n"
            for frame, one, (left, top, width, height), present in zip(
                rows.frame[order].tolist(),
                rows.id[order].tolist(),
                sides[order].tolist(),
                rows.score[order].tolist(),
                strict=True,
            )
        )
