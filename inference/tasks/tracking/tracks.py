"""The result of tracking: boxes with their uncertainty, and the assignment of detections."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from inference.tasks.tracking.batch import to_ltwh
from ppl_models.data.files import write_whole
from ppl_models.data.motchallenge import Boxes, write_tracks

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Tracks:
    """N objects followed through T frames.

    Attributes
    ----------
    name : str
        Where the detections came from.
    first : int
        Number of the first frame.
    mean, sd : (N, T, 4)
        Mean of q(s | o), and standard deviation with the detector's errors that last (`bands`), of
        centre x, centre y (pixels), log width and log height.
    detections : (T, K, 4)
        Left, top, width, height in pixels; NaN where there is none.
    responsibilities : (T, K, N) or (T, K, N + 1)
        q(w = n) of each detection, clutter last if there is that class; 0 where there is none.
    noise : float
        Standard deviation of a detection, as a share of its width and height.
    elbo : float
        The ELBO of this posterior, nats: a lower bound of log p(detections, noise). Where the
        camera moves, nearly: its path is integrated out by Laplace's approximation.
    elbo_error : float
        Its standard error: of a network prior it is estimated from draws; 0 where it is exact.
    objective : (iterations,)
        What the inference climbed. With the linear prior, VEM's is the ELBO itself; VEM with a
        network prior climbs a plug-in form, no bound; SVI's are estimates of the ELBO by one draw.
        Where the camera moves, it is that of boxes at rest.
    camera : (T, 4)
        The camera's path from the first frame on: shift x, shift y (pixels), log zoom, roll; see
        `ppl_models.mot.apply_camera`. Zeros where it stands.
    """

    name: str
    first: int
    mean: FloatArray
    sd: FloatArray
    detections: FloatArray
    responsibilities: FloatArray
    noise: float
    elbo: float
    elbo_error: float = np.nan
    objective: FloatArray = field(default_factory=lambda: np.zeros(0))
    camera: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))

    @property
    def objects(self) -> int:
        """N."""
        return len(self.mean)

    @property
    def boxes(self) -> FloatArray:
        """(N, T, 4): left, top, width, height at the posterior mean, in pixels."""
        return to_ltwh(self.mean)

    @property
    def assignment(self) -> NDArray[np.int64]:
        """(T, K): likeliest source of each detection; N for clutter, -1 where there is none."""
        best = self.responsibilities.argmax(-1)
        return np.where(np.isnan(self.detections[..., 0]), -1, best)

    def as_boxes(self) -> Boxes:
        """Return rows of a MOTChallenge file: a box for every object and frame, ids from 1."""
        n, t = self.mean.shape[:2]
        frame = np.repeat(np.arange(t) + self.first, n)
        ids = np.tile(np.arange(n) + 1, t)
        ltwh = np.moveaxis(self.boxes, 1, 0).reshape(-1, 4)
        return Boxes(frame, ids, ltwh, np.ones(n * t), self.name)

    def to_arviz(self, num_samples: int = 200, *, seed: int = 0) -> Any:
        """Return the posterior as an ArviZ object: draws of every box and of every assignment.

        Draws are of the marginals q(s_tn) and q(w_tk): a frame's draw knows nothing of the next
        frame's. Groups: posterior (``box``: draw, object, frame, coordinate; ``assignment``:
        draw, frame, detection, numbered as objects, 0 for clutter, -1 where there is no
        detection), observed_data (``detection``) and constant_data (``elbo``, ``elbo_error``,
        ``objective``, ``noise``).
        """
        from inference.diagnostics import Variable, to_arviz

        rng = np.random.default_rng(seed)
        box = to_ltwh(self.mean + self.sd * rng.standard_normal((num_samples, *self.mean.shape)))
        places = [(name, False) for name in ("frame", "detection_slot")]
        corners, objects = ("coordinate", False), ("object", False)
        groups = {
            "posterior": {
                "box": Variable(box, [objects, places[0], corners]),
                "assignment": Variable(self._draw_assignment(rng, num_samples), places),
            },
            "observed_data": {
                "detection": Variable(self.detections, [*places, corners], drawn=False)
            },
            "constant_data": {
                "objective": Variable(self.objective, [("iteration", False)], drawn=False),
                **{
                    name: Variable(np.array([value]), [("sequence", False)], drawn=False)
                    for name, value in (
                        ("elbo", self.elbo),
                        ("elbo_error", self.elbo_error),
                        ("noise", self.noise),
                    )
                },
            },
        }
        n, t = self.mean.shape[:2]
        coords = {
            "object": np.arange(n) + 1,
            "frame": np.arange(t) + self.first,
            "coordinate": ["left", "top", "width", "height"],
        }
        return to_arviz(groups, coords)

    def plot(self, ax: Axes | None = None) -> Figure:
        """Plot the boxes' centres in the image and over time, with their credible bands."""
        from inference.tasks.tracking.plot import plot

        return plot(self, ax)

    def write(self, folder: str | os.PathLike[str]) -> dict[str, Path]:
        """Write ``tracks.txt``, ``posterior.nc`` and ``tracks.png``, each whole or not at all.

        Nothing is written before all three are made.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        paths = {name: folder / name for name in ("tracks.txt", "posterior.nc", "tracks.png")}
        with tempfile.TemporaryDirectory() as scratch:  # netCDF is not written to memory
            file = Path(scratch) / "posterior.nc"
            self.to_arviz().to_netcdf(str(file))
            posterior = file.read_bytes()
        picture = BytesIO()
        self.plot().savefig(picture, format="png", dpi=110)
        write_tracks(paths["tracks.txt"], self.boxes, self.first)
        write_whole(paths["posterior.nc"], posterior)
        write_whole(paths["tracks.png"], picture.getvalue())
        return paths

    def _draw_assignment(self, rng: np.random.Generator, num_samples: int) -> NDArray[np.int64]:
        n = len(self.mean)
        cumulative = self.responsibilities.cumsum(-1)
        total = cumulative[..., -1:]
        where = rng.random((num_samples, *self.responsibilities.shape[:-1], 1)) * total
        drawn = (where >= cumulative).sum(-1).clip(max=self.responsibilities.shape[-1] - 1)
        numbered = np.where(drawn == n, 0, drawn + 1)
        return np.where(np.isnan(self.detections[..., 0]), -1, numbered)
