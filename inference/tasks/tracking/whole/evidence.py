r"""Log density of a window's detections, given which of them come from the same source.

A source is an object or clutter; which, is summed. Everything that is detected is some source's
chain, so that the objective is one sum over chains c of detections,

.. math::
    \sum_c \; \log \beta(c_1) + \sum_{i > 1} \log p(c_i \mid c_1, \dots, c_{i-1})
    + \sum_i \log p(\mathrm{again\ after\ } g_i) + \log p(\mathrm{never\ again})
    + \log \sum_k p(k) \, p(\mathrm{scores} \mid k) ,

of where sources start (`starts.intensity`), boxes with paths and lasting errors integrated out
(`path_evidence`), lives (`life_evidence`), and scores (`scores`). Clutter is a Poisson process of
sources, not of single boxes: clutter stays in its place, and would else be taken for objects.
Scores count by the ratio of both kinds' laws, each for itself: with laws of its own for each chain,
as `scores` has them, joins would gain wherever chains are of one kind. What stands before others,
and where sources start, is held as it was at first, and so the terms of a chain depend on its own
detections alone.

Approximations: large errors (`path_evidence`); what covers a gap is the same in all its frames;
after its last detection a source goes straight on, covered on average as in the next second, and
has left once its centre has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from scipy.special import logsumexp

from inference.tasks.tracking.kalman import BoolArray, FloatArray, IntArray
from inference.tasks.tracking.whole.candidates import Links
from inference.tasks.tracking.whole.errors import ErrorLaw
from inference.tasks.tracking.whole.law import LINKING, MotionLaw
from inference.tasks.tracking.whole.life_evidence import log_again, log_never
from inference.tasks.tracking.whole.lives import LifeLaw
from inference.tasks.tracking.whole.occlusion import HIDDEN, cover_in_gaps, cover_of
from inference.tasks.tracking.whole.path_evidence import PathLaw, Paths, continued, filter_chains
from inference.tasks.tracking.whole.scores import Learned, seconds_of
from inference.tasks.tracking.whole.starts import Surroundings, intensity
from inference.tasks.tracking.whole.video import Video

INSET = 0.25
"""Sizes of a box: how near the border its centre is when it leaves."""
SOON = 0.12
"""Seconds between detections up to which one does not ask whether something was before it."""
LOOKS = (0.1, 0.3, 0.7, 1.2)
"""Seconds after a last detection at which one looks for what covers it."""
COVERS = 11
"""Degrees of cover that are told apart."""
SHIFT_SECONDS = 0.5
"""Over which the camera's own velocity is read."""


@dataclass(frozen=True)
class EvidenceLaw:
    """What the objective believes.

    Attributes
    ----------
    motion : MotionLaw
        Velocities and large errors; ``noise`` is not read.
    errors : ErrorLaw
        Small errors, before a video is seen; ``change`` is not read.
    life : LifeLaw
        ``life`` is of those who do not leave over the border; ``beyond`` is not read.
    surroundings : Surroundings
        Of starts.
    """

    motion: MotionLaw = LINKING
    errors: ErrorLaw = field(default_factory=ErrorLaw)
    life: LifeLaw = field(default_factory=lambda: LifeLaw(life=20.0))
    surroundings: Surroundings = field(default_factory=lambda: Surroundings(log_shape=0.2))


class Evidence:
    """The objective, for chains that cover a window's detections in part or whole.

    Parameters
    ----------
    video : Video
    chains : list of IntArray
        Rows of each source's detections, as they are at first: what covers others, and starts.
    learned : Learned
        What scores say.
    law : EvidenceLaw
    errors : ErrorLaw
        Of this video.
    detected : float
        Probability that one who is seen is detected.
    """

    def __init__(
        self,
        video: Video,
        chains: list[IntArray],
        learned: Learned,
        law: EvidenceLaw,
        errors: ErrorLaw,
        detected: float,
    ) -> None:
        self.video, self.learned, self.law = video, learned, law
        self.path = PathLaw(law.motion, errors)
        self.life = law.life.per_frame(video.rate, len(chains), video.length, detected)
        soon = np.arange(1, max(1, round(SOON * video.rate)) + 1)
        self.soon = log_again(self.life, soon, np.zeros(len(soon)))
        self._again = dict[int, float]()
        self._ahead = np.full(len(video.rows.frame), np.nan)
        self.never = log_never(self.life, video.length, np.linspace(0, 1, COVERS))
        self.paths = Paths.none(len(video.rows.frame))
        self.members: BoolArray = np.zeros(len(video.rows.frame), bool)
        self.first = np.array([chain[0] for chain in chains], np.int64)
        self.start = np.full(len(video.rows.frame), -1)
        self.start[self.first] = np.arange(len(chains))
        for chain in chains:
            self.members[chain] = True
        odds = learned.odds(learned.counts(video, chains), seconds_of(video, chains))
        share = (_sigmoid(odds).sum() + 1) / (len(chains) + 2)
        self.log_share = math.log(share), math.log(1 - share)
        filter_chains(video, chains, self.path, self.paths)

    def total(self, chains: list[IntArray]) -> float:
        """Return the objective, of chains that are filtered (`filter`)."""
        return float(self.of_chains(chains).sum())

    def filter(self, chains: list[IntArray], known: list[int] | None = None) -> None:
        """Read the paths of chains that are new, from the first detection that is not ``known``."""
        filter_chains(self.video, chains, self.path, self.paths, known)

    def of_chains(self, chains: list[IntArray]) -> FloatArray:
        """Return what each chain (N) adds to the objective, once it is filtered."""
        if not chains:
            return np.zeros(0)
        count = np.array([len(chain) for chain in chains])
        flat, end = np.concatenate(chains), np.cumsum(count)
        inner = np.ones(len(flat), bool)
        inner[end - count] = False
        rows = np.flatnonzero(inner)
        added = self.paths.density[flat]
        added[rows] += self.again(flat[rows - 1], flat[rows])
        added[end - count] += self.begins(flat[end - count])
        added[end - 1] += self.ends(flat[end - 1], self._earlier(chains))
        path = np.add.reduceat(added, end - count)
        counts = self.learned.counts(self.video, chains)
        seconds = seconds_of(self.video, chains)
        found: FloatArray = path + self.kinds(counts, seconds)
        return found

    def begins(self, rows: IntArray) -> FloatArray:
        """Log density (A) of sources that start with these detections."""
        o, (once, which) = self.video.rows.o, np.unique(rows, return_inverse=True)
        starts, weight = o[self.first], np.ones(len(self.first))
        near = self.law.surroundings
        return intensity(self.video, o[once], starts, weight, near, self.start[once])[which]

    def again(self, before: IntArray, rows: IntArray) -> FloatArray:
        """Log probability (A) to be detected at ``rows``, after ``before`` and not between."""
        count = len(self.video.rows.frame)
        gap = self.video.rows.frame[rows] - self.video.rows.frame[before]
        found: FloatArray = self.soon[np.minimum(gap, len(self.soon)) - 1]
        late = np.flatnonzero(gap > len(self.soon))
        pairs = (before[late] * count + rows[late]).tolist()
        new = np.array([pair for pair in set(pairs) if pair not in self._again], np.int64)
        new.sort()
        self._again.update(zip(new.tolist(), self._read(new // count, new % count), strict=True))
        found[late] = [self._again[pair] for pair in pairs]
        return found

    def _read(self, before: IntArray, rows: IntArray) -> list[float]:
        """Return `again` of pairs that are not soon after each other."""
        gap, count = self.video.rows.frame[rows] - self.video.rows.frame[before], len(rows)
        ends = list(np.concatenate([before, rows])[:, None])
        links = Links(np.arange(count), count + np.arange(count), gap, np.zeros(count))
        behind = cover_in_gaps(self.video, ends, links, self.members)
        found: list[float] = log_again(self.life, gap, behind).tolist()
        return found

    def ends(self, rows: IntArray, earlier: IntArray) -> FloatArray:
        """Log probability (A) never to be detected after ``rows``, given rows of the past."""
        pairs, which = np.unique(np.stack([rows, earlier]), axis=1, return_inverse=True)
        found: FloatArray = self._ends(*pairs)[which.reshape(-1)]
        return found

    def _ends(self, rows: IntArray, earlier: IntArray) -> FloatArray:
        video, boxes = self.video, self.video.boxes.ltwh
        frame = video.rows.frame[rows]
        seconds = np.maximum(frame - video.rows.frame[earlier], 1)[:, None] / video.rate
        centre = boxes[:, :2] + boxes[:, 2:] / 2
        moved = centre - video.rows.o[:, :2]  # what the camera adds
        speed = self.paths.state.mean[1][rows, :2] + (moved[rows] - moved[earlier]) / seconds
        inset = INSET * boxes[rows, 2:]
        ahead = np.asarray(video.image_size) - inset - centre[rows]
        room = np.where(speed > 0, ahead, centre[rows] - inset).clip(min=0)
        leaves = (room / np.abs(speed).clip(min=1e-6)).min(1) * video.rate
        left: IntArray = np.minimum(leaves, video.length - 1 - frame).astype(np.int64)
        behind = np.rint((COVERS - 1) * self._behind(rows, speed)).astype(np.int64)
        never: FloatArray = self.never[behind, left]
        return never

    def _behind(self, rows: IntArray, speed: FloatArray) -> FloatArray:
        """Return how far sources are covered after ``rows``, as first asked."""
        new = np.flatnonzero(np.isnan(self._ahead[rows]))
        self._ahead[rows[new]] = self._covered(rows[new], speed[new])
        found: FloatArray = self._ahead[rows]
        return found

    def _covered(self, rows: IntArray, speed: FloatArray) -> FloatArray:
        """Return how far sources are covered after ``rows``, at speeds (A, 2) in the image."""
        video, found = self.video, np.zeros(len(rows))
        for seconds in LOOKS:
            boxes, frame = video.boxes.ltwh[rows].copy(), video.rows.frame[rows]
            boxes[:, :2] += seconds * speed
            frame = np.minimum(frame + max(1, round(seconds * video.rate)), video.length - 1)
            cover = cover_of(video, boxes, frame, self.members)
            found += np.minimum(1.0, cover / HIDDEN) / len(LOOKS)
        return found

    def kinds(self, counts: FloatArray, seconds: FloatArray) -> FloatArray:
        """Log density (A) of scores by their counts, against clutter's law, the kind summed."""
        mean, share = self.learned.length[:, None], self.learned.share[1:, None]
        length = -seconds / mean - np.log(mean)  # beside that of an object, which its life tells
        clutter = self.log_share[1] + logsumexp(np.log(share / share.sum()) + length[1:], 0)
        clutter = clutter - length[0]
        scores = counts @ np.log(self.learned.law[0] / self.learned.law[1])
        return np.logaddexp(self.log_share[0] + scores, clutter)

    def continues(self, before: IntArray, tails: list[IntArray]) -> FloatArray:
        """Log density (A) of all boxes of ``tails`` after the paths of rows ``before``."""
        return continued(self.video, self.paths.state.of(before), before, tails, self.path)

    def starts_with(self, tails: list[IntArray]) -> FloatArray:
        """Log density (A) of all boxes of ``tails`` as those of new sources."""
        rows = np.array([tail[0] for tail in tails], np.int64)
        now = self.path.begin(self.video.rows.o[rows], self.video.rows.unit[rows])
        rest = continued(self.video, now, rows, [tail[1:] for tail in tails], self.path)
        return rest + self.begins(rows)

    def earlier(self, chain: IntArray, end: int) -> int:
        """Return a row of ``chain`` some time before its place ``end``."""
        frame = self.video.rows.frame
        since = frame[chain[end]] - SHIFT_SECONDS * self.video.rate
        return int(chain[min(end, int(np.searchsorted(frame[chain], since)))])

    def _earlier(self, chains: list[IntArray]) -> IntArray:
        return np.array([self.earlier(chain, len(chain) - 1) for chain in chains], np.int64)


def _sigmoid(x: FloatArray) -> FloatArray:
    return 1 / (1 + np.exp(-np.clip(x, -50, 50)))
