"""Search for the likeliest links between tracklets, without looking at every pair.

All tracklets that end in one frame are looked from together, in windows of frames ahead, from near
to far. In a window an upper bound of the log odds, which costs little, leaves few pairs; what has
been found already is what later windows must beat. The search ends at the first window that is
hopeless as a whole: doubt grows with distance in all but odd priors, and there it may end early.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from inference.tasks.tracking.kalman import LOG_2PI, Belief, BoolArray, FloatArray, IntArray, Motion

Links = tuple[IntArray, IntArray, FloatArray]

_TOGETHER = 256  # tracklets: what is looked at together stays in a cache


def by_last_frame(last: IntArray, end: int) -> Iterator[tuple[int, IntArray]]:
    """Give tracklets that end in one frame, before ``end``, together; not too many at a time."""
    order = np.argsort(last, kind="stable")
    for frame in np.unique(last[last < end]).tolist():
        begin, stop = np.searchsorted(last[order], [frame, frame + 1])
        for at in range(begin, stop, _TOGETHER):
            yield frame, order[at : min(at + _TOGETHER, stop)]


class Targets:
    """Tracklets to link to, in the order of their first frames.

    Parameters
    ----------
    chosen
        (M) bool: which tracklets are targets.
    first
        (M): their first frames.
    begins
        States (D, M) at their first frames.
    least
        (M): log odds that a link must beat.
    anywhere
        (M): log density of the first state where no link leads to it.
    """

    def __init__(
        self,
        chosen: BoolArray,
        first: IntArray,
        begins: Belief,
        least: FloatArray,
        anywhere: FloatArray,
    ) -> None:
        self.index = np.flatnonzero(chosen)
        self.first, self.least, self.anywhere = (x[self.index] for x in (first, least, anywhere))
        self.begins = begins.columns(self.index)
        self.lowest = float((self.least + self.anywhere).min(initial=np.inf))
        # Position and velocity apart, as in a lone detection: what is known of them at best
        self.apart = (self.begins.sz == 0).all(0)
        parts = (self.begins.ss[:, self.apart], self.begins.zz[:, self.apart])
        self.least_ss, self.least_zz = (x.min(1, initial=np.inf)[:, None, None] for x in parts)

    def peak(self, ahead: Belief) -> FloatArray:
        """Return upper bounds of `meeting` of states (D, A, F) with any of these: (A, 2, F).

        det(P + B) >= det(P + C) where B - C is no less than 0: C is 0, or what is least of those
        whose position and velocity are apart.
        """
        any_of_them = _log_det(ahead.ss, ahead.sz, ahead.zz)
        apart = _log_det(ahead.ss + self.least_ss, ahead.sz, ahead.zz + self.least_zz)
        return -0.5 * np.stack([any_of_them, apart], 1) - LOG_2PI * len(ahead.s)


class Search:
    """The best links of A tracklets that end in one frame.

    Parameters
    ----------
    ends
        States (D, A) at that frame.
    scale
        (A, D): units of motion.
    last
        The frame.
    motion
        What carries states ahead.
    gap
        At d: log probability of being seen again d frames later, as far as frames go.
    """

    def __init__(
        self, ends: Belief, scale: FloatArray, last: int, motion: Motion, gap: FloatArray
    ) -> None:
        self.ends, self.scale, self.last, self.motion, self.gap = ends, scale, last, motion, gap
        self._ahead: dict[int, Belief] = {}

    def ahead(self, frames: slice) -> Belief:
        """Return states (D, A, F) so many frames later; kept, since several targets ask."""
        if frames.start not in self._ahead:
            self._ahead[frames.start] = self.motion.course(self.ends, frames, self.scale)
        return self._ahead[frames.start]

    def best(self, targets: Targets, fan_out: int) -> Links:
        """Return row, tracklet and log odds of the best ``fan_out`` links of each row."""
        row, column = np.zeros((2, 0), np.int64)
        odds = np.zeros(0)
        floor = np.full(len(self.scale), -np.inf)  # of each row: what a link must beat
        for frames in _windows(len(self.gap) - 1):
            if not len(targets.first) or targets.first[-1] < self.last + frames.start:
                break
            reach = [self.last + frames.start, self.last + frames.stop]
            columns = slice(*np.searchsorted(targets.first, reach))
            if columns.start == columns.stop:
                continue
            window = _Window(self, targets, frames, columns, floor)
            if window.hopeless:
                break
            more = window.links()
            row, column = (np.concatenate(x) for x in zip((row, column), more[:2], strict=True))
            odds = np.concatenate([odds, more[2]])
            rank = _rank(row, odds)
            floor[row[rank == fan_out - 1]] = odds[rank == fan_out - 1]
            keep = rank < fan_out
            row, column, odds = row[keep], column[keep], odds[keep]
        return row, targets.index[column], odds


class _Window:
    """Some frames ahead: what A tracklets may be linked to there.

    Attributes
    ----------
    ahead : Belief
        States (D, A, F) of the tracklets.
    peak : FloatArray
        (A, 2, F): upper bounds of log densities (`Targets.peak`).
    hopeless : bool
        Whether nothing so far ahead, or further, could be linked: the further, the vaguer.
    """

    def __init__(
        self, search: Search, targets: Targets, frames: slice, columns: slice, floor: FloatArray
    ) -> None:
        self.targets, self.columns, self.floor = targets, columns, floor
        self.gap = search.gap[frames]
        self.frame = search.last + frames.start
        self.ahead = search.ahead(frames)
        self.peak = targets.peak(self.ahead) + self.gap
        self.hopeless = bool(self.peak.max() <= targets.lowest)

    def links(self) -> Links:
        """Return row, column of the targets and log odds of all that beat ``floor``."""
        column, steps, bound = self._bounds()
        row, near = self._near(column, steps, bound)
        column, steps = column[near], steps[near]
        at = row * len(self.gap) + steps
        states = Belief(*(x.reshape(len(x), -1).take(at, 1) for x in self.ahead.parts()))
        density = meeting(states, self.targets.begins.columns(column)) + self.gap[steps]
        odds = density - self.targets.anywhere[column]
        good = odds > np.maximum(self.targets.least[column], self.floor[row])
        return row[good], column[good], odds[good]

    def _bounds(self) -> tuple[IntArray, IntArray, FloatArray]:
        """Return the columns with a hope, their frames, and what each row has to spare (A, M).

        To spare: by how much the log odds would beat ``floor`` if positions met exactly.
        """
        targets, frames = self.targets, len(self.gap)
        begin, end = self.columns.start, self.columns.stop
        at = targets.first[begin:end] - self.frame + frames * targets.apart[begin:end]
        peak = self.peak.reshape(len(self.peak), -1)
        least = np.maximum(targets.least[begin:end], self.floor.min()) + targets.anywhere[begin:end]
        hopeful = np.flatnonzero(peak.max(0).take(at) > least)
        column, at = begin + hopeful, at[hopeful]
        bound = peak.take(at, 1)
        bound -= np.maximum(targets.least[column], self.floor[:, None])
        bound -= targets.anywhere[column]
        return column, at % frames, bound

    def _near(
        self, column: IntArray, steps: IntArray, bound: FloatArray
    ) -> tuple[IntArray, IntArray]:
        """Return row and place in ``column`` of what may still beat ``floor``.

        The bound sees positions alone: the square of position and velocity is no less than the
        position's. The coordinate that tells most apart comes first, and leaves few pairs.
        """
        begins, ahead = self.targets.begins, self.ahead
        place, spread = begins.s.take(column, 1), begins.ss.take(column, 1)
        telling = np.ptp(place, 1) ** 2 / ahead.ss.mean((1, 2)) if len(column) else np.ones(1)
        first, *others = np.argsort(-telling)
        error = ahead.s[first].take(steps, 1)
        error -= place[first]
        error *= error
        error /= ahead.ss[first].take(steps, 1) + spread[first]
        error *= 0.5
        flat = np.flatnonzero(bound > error)
        left = bound.take(flat) - error.take(flat)
        row, near = np.divmod(flat, max(1, len(column)))
        for d in others:
            at = row * len(self.gap) + steps.take(near)
            away = place[d].take(near) - ahead.s[d].reshape(-1).take(at)
            left -= 0.5 * away**2 / (ahead.ss[d].reshape(-1).take(at) + spread[d].take(near))
            kept = np.flatnonzero(left > 0)
            row, near, left = row.take(kept), near.take(kept), left.take(kept)
        return row, near


def _windows(furthest: int) -> Iterator[slice]:
    """Give frames ahead, 1 to ``furthest``, in windows that grow."""
    begin, width = 1, 64
    while begin <= furthest:
        end = min(begin + width, furthest + 1)
        yield slice(begin, end)
        begin, width = end, width * 3


def _rank(row: IntArray, odds: FloatArray) -> IntArray:
    """Return the place of each of the odds among those of its row, 0 the highest."""
    order = np.lexsort((-odds, row))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    return rank


def _log_det(ss: FloatArray, sz: FloatArray, zz: FloatArray) -> FloatArray:
    """Log determinant of covariances (D, ...) of position and velocity, all coordinates'."""
    return np.log(ss * zz - sz**2).sum(0)


def meeting(ahead: Belief, begin: Belief) -> FloatArray:
    """Log density of meeting a tracklet's first state, position and velocity; states (D, A)."""
    ss, sz, zz = ahead.ss + begin.ss, ahead.sz + begin.sz, ahead.zz + begin.zz
    ds, dz, det = begin.s - ahead.s, begin.z - ahead.z, ss * zz - sz**2
    square = (zz * ds**2 - 2 * sz * ds * dz + ss * dz**2) / det
    return -0.5 * (square + np.log(det)).sum(0) - LOG_2PI * len(ss)
