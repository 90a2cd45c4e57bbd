r"""Where to start: N paths through the detections, one detection a path and frame, by network flow.

Coordinate ascent finds the nearest optimum, so the start decides. This one looks at the whole clip:

1. *Tracklets*: runs of detections that a Kalman filter of the linear prior joins beyond doubt (each
   other's best, by a margin; frames may be missed, ambiguous detections begin anew).
2. *Links*: log p(b | a) / p(b) for each tracklet b that begins after a ends, with position and
   velocity carried over the gap, and the odds of being unseen that long (a chain of two states,
   visible and hidden).
3. *Flow*: the N disjoint chains of tracklets that together have the highest log odds against
   clutter, an integral linear program.

The story says that each of the N objects is there in every frame, so a path may have its first
detection at any frame; where more than N detections stand in the first frames, the flow decides,
by the whole clip, which of them are the objects. Paths are numbered by their first detection's
frame, then from left to right.

References: L. Zhang, Y. Li, R. Nevatia, "Global data association for multi-object tracking using
network flows", CVPR 2008; the linear prior is `ppl_models.state_space.LinearMotion`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import coo_matrix

from ppl_models.state_space import LinearMotion

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
_LOG_2PI = math.log(2 * math.pi)


class Clip(NamedTuple):
    """One sequence as the flow sees it."""

    o: FloatArray
    """(T, K, D) detections; D = 4: centre x and y, log width and height."""
    mask: NDArray[np.bool_]
    """(T, K)."""
    size: FloatArray
    """(T, K, D): standard deviation of a detection is noise * size."""
    log_clutter: float
    """Log density of clutter."""


@dataclass(frozen=True)
class Settings:
    """What the flow believes of detections.

    Attributes
    ----------
    noise : float
        Standard deviation of a detection, in its size.
    clutter_weight : float
        Prior share of clutter.
    motion_scale : float
        Factor on both noises of the linear prior: below 1 for calm clips.
    patience : int
        A tracklet ends after so many frames without detection.
    margin, gate : float
        Log odds by which a match must beat its rivals, and the least log density (in units of
        the noise) that a match may have.
    hide, show : float
        Probability a frame that a visible object is hidden, and that a hidden one shows again.
    fan_out : int
        Links kept a tracklet.
    """

    noise: float = 0.04
    clutter_weight: float = 0.1
    motion_scale: float = 1.0
    patience: int = 6
    margin: float = 6.0
    gate: float = -14.0
    hide: float = 1 / 60
    show: float = 1 / 30
    fan_out: int = 30


@dataclass
class Belief:
    """Kalman state of A tracklets: position and velocity of each coordinate, (A, D) each."""

    s: FloatArray
    z: FloatArray
    ss: FloatArray
    sz: FloatArray
    zz: FloatArray

    def take(self, index: IntArray) -> Belief:
        """Return the states at ``index``."""
        return Belief(*(getattr(self, name)[index] for name in _PARTS))

    def put(self, index: IntArray, other: Belief) -> None:
        """Overwrite the states at ``index``."""
        for name in _PARTS:
            getattr(self, name)[index] = getattr(other, name)

    def learn(self, o: FloatArray, variance: FloatArray) -> tuple[Belief, FloatArray]:
        """Condition on detections (A, D); return the states, and log densities (A)."""
        total, error = self.ss + variance, o - self.s
        gs, gz = self.ss / total, self.sz / total
        fit = -0.5 * (error**2 / total + np.log(total) + _LOG_2PI).sum(-1)
        known = Belief(
            self.s + gs * error,
            self.z + gz * error,
            self.ss - gs * self.ss,
            self.sz - gs * self.sz,
            self.zz - gz * self.sz,
        )
        return known, fit


_PARTS = ("s", "z", "ss", "sz", "zz")


class Motion:
    """The linear prior over any number of frames, in closed form by a table over gaps."""

    def __init__(self, prior: LinearMotion, frames: int, scale: float) -> None:
        self.speed, sigma, epsilon = (
            x.detach().double().exp().numpy()
            for x in (prior.log_speed, prior.log_speed_noise, prior.log_position_noise)
        )
        sigma, epsilon, decay = scale * sigma, scale * epsilon, prior.decay.double().numpy()
        rows = [(np.zeros_like(decay), np.ones_like(decay), *np.zeros((3, len(decay))))]
        for _ in range(frames):
            reach, kept, ss, sz, zz = rows[-1]
            zz2 = decay**2 * zz + sigma**2
            sz2 = decay * sz + zz2
            ss2 = ss + 2 * decay * sz + zz2 + epsilon**2
            kept = kept * decay
            rows.append((reach + kept, kept, ss2, sz2, zz2))
        self.table = np.array(rows)  # (frames + 1, 5, D)

    def predict(self, now: Belief, steps: IntArray, scale: FloatArray) -> Belief:
        """Carry states (A, D) over ``steps`` (A) frames; ``scale`` (A, D) is the object's size."""
        reach, kept, ss, sz, zz = np.moveaxis(self.table[steps], 1, 0)
        noise = scale**2
        return Belief(
            now.s + reach * now.z,
            kept * now.z,
            now.ss + 2 * reach * now.sz + reach**2 * now.zz + ss * noise,
            kept * (now.sz + reach * now.zz) + sz * noise,
            kept**2 * now.zz + zz * noise,
        )

    def begin(self, o: FloatArray, variance: FloatArray, scale: FloatArray) -> Belief:
        """Return states that know one detection (A, D) each, and a wide prior of velocity."""
        zero = np.zeros_like(o)
        return Belief(o.copy(), zero, variance.copy(), zero.copy(), (self.speed * scale) ** 2)


@dataclass
class Tracklet:
    """A run of detections that belong together."""

    frames: list[int] = field(default_factory=list)
    slots: list[int] = field(default_factory=list)
    fit: float = 0.0
    """Log density of the detections after the first."""


def start_paths(clip: Clip, objects: int, prior: LinearMotion, settings: Settings) -> FloatArray:
    """Return N starting paths (N, T, D): straight lines between the detections of each chain.

    Paths that no chain is left for (fewer tracklets than objects) stand in the middle of all
    detections, the first of them exactly, the others apart from it by half a typical size.
    """
    length = len(clip.o)
    motion = Motion(prior, length, settings.motion_scale)
    runs = tracklets(clip, motion, settings)
    chains = best_chains(clip, runs, objects, motion, settings)
    paths = [_join(clip, [runs[i] for i in chain], length) for chain in chains]
    order = sorted(range(len(chains)), key=lambda i: (runs[chains[i][0]].frames[0], paths[i][0, 0]))
    return np.stack([paths[i] for i in order] + _spare_paths(clip, objects - len(paths)))


def tracklets(clip: Clip, motion: Motion, settings: Settings) -> list[Tracklet]:
    """Join detections frame by frame where nothing else could be meant."""
    variance = (settings.noise * clip.size) ** 2
    all_runs: list[Tracklet] = []
    active: IntArray = np.zeros(0, np.int64)  # indices of all_runs
    beliefs, last, scale = _nothing(clip.o.shape[-1])
    for t, present in enumerate(clip.mask):
        slots = np.flatnonzero(present)
        ended = t - last >= settings.patience
        taken: IntArray = np.zeros(0, np.int64)
        if len(active) and len(slots):
            ahead = motion.predict(beliefs, t - last, scale)
            match, blocked = _matches(clip.o[t, slots], variance[t, slots], ahead, scale, settings)
            rows = np.flatnonzero(match >= 0)
            taken = match[rows]
            known, fit = ahead.take(rows).learn(clip.o[t, slots[taken]], variance[t, slots[taken]])
            beliefs.put(rows, known)
            last[rows] = t
            for row, slot, value in zip(rows, slots[taken], fit, strict=True):
                run = all_runs[active[row]]
                run.frames.append(t)
                run.slots.append(int(slot))
                run.fit += float(value)
            ended = (ended & (match < 0)) | blocked
        fresh = np.setdiff1d(slots, slots[taken])
        new_scale = _object_scale(clip.size[t, fresh])
        beliefs = _append(
            beliefs.take(np.flatnonzero(~ended)),
            motion.begin(clip.o[t, fresh], variance[t, fresh], new_scale),
        )
        active = np.concatenate([active[~ended], len(all_runs) + np.arange(len(fresh))])
        last = np.concatenate([last[~ended], np.full(len(fresh), t)])
        scale = np.concatenate([scale[~ended], new_scale])
        all_runs += [Tracklet([t], [int(slot)]) for slot in fresh]
    return all_runs


def best_chains(
    clip: Clip, runs: list[Tracklet], objects: int, motion: Motion, settings: Settings
) -> list[list[int]]:
    """Return up to N disjoint chains of tracklets (indices), the likeliest together."""
    if not runs:
        return []
    sight = _Sight(runs, len(clip.o), settings)
    worth = np.array([_worth(clip, run, sight, objects, settings) for run in runs])
    source, target, gain = _links(clip, runs, sight, motion, settings)
    first = np.array([run.frames[0] for run in runs])
    last = np.array([run.frames[-1] for run in runs])
    tail = sight.tail[len(clip.o) - 1 - last]
    begin = worth + sight.head[first] + tail
    link = gain + worth[target] + tail[target] - tail[source]
    chosen_begin, chosen_link = _flow(begin, source, target, link, min(objects, len(runs)))
    follow = dict(zip(source[chosen_link].tolist(), target[chosen_link].tolist(), strict=True))
    chains = []
    for run in np.flatnonzero(chosen_begin).tolist():
        chain = [run]
        while chain[-1] in follow:
            chain.append(follow[chain[-1]])
        chains.append(chain)
    return chains


def _matches(
    o: FloatArray, variance: FloatArray, ahead: Belief, scale: FloatArray, settings: Settings
) -> tuple[IntArray, NDArray[np.bool_]]:
    """Return each tracklet's detection or -1 (A), and which tracklets met an ambiguity (A)."""
    total = ahead.ss[:, None] + variance
    error = (o - ahead.s[:, None]) ** 2 / total
    score = -0.5 * (error + np.log(total / (settings.noise * scale[:, None]) ** 2)).sum(-1)
    best = score.argmax(1)
    top = score[np.arange(len(best)), best]
    near = top > settings.gate
    margin = settings.margin
    clear = (top - _second(score) > margin) & (score.argmax(0)[best] == np.arange(len(best)))
    clear &= top - _second(score.T)[best] > margin
    return np.where(near & clear, best, -1), near & ~clear


def _second(score: FloatArray) -> FloatArray:
    """Second highest value of each row, -inf where there is one column."""
    if score.shape[1] < 2:
        return np.full(len(score), -np.inf)
    return np.partition(score, -2, axis=1)[:, -2]


def _object_scale(size: FloatArray) -> FloatArray:
    """Unit of motion of objects seen with ``size`` (A, D): their height for both positions."""
    scale = np.ones_like(size)
    scale[:, :2] = size[:, 1:2]
    return scale


class _Sight:
    """Odds of being seen and unseen: a chain of two states, visible (at a rate) and hidden.

    ``gap[d]``: log p(unseen d - 1 frames, then seen | seen); ``tail[d]``: log p(unseen d frames to
    the end | seen); ``head[d]``: log p(unseen d frames, then seen), from the chain's long run.
    """

    def __init__(self, runs: list[Tracklet], frames: int, settings: Settings) -> None:
        hide, show = settings.hide, settings.show
        chain = np.array([[1 - hide, hide], [show, 1 - show]])
        long = [(len(run.frames), run.frames[-1] - run.frames[0] + 1) for run in runs]
        seen, span = np.array([x for x in long if x[0] >= 5] or [(7, 10)]).sum(0)
        rate = float(np.clip(seen / span, 0.3, 0.98))
        self.gap, self.tail = self._run(np.array([1.0, 0.0]), chain, rate, frames)
        self.gap = np.concatenate([[0.0], self.gap])
        self.head, _ = self._run(np.array([show, hide]) / (show + hide), chain, rate, frames)

    @staticmethod
    def _run(
        state: FloatArray, chain: FloatArray, rate: float, frames: int
    ) -> tuple[FloatArray, FloatArray]:
        shown, unseen, offset = [], [0.0], 0.0
        for _ in range(frames):
            state = state @ chain
            shown.append(offset + math.log(state[0] * rate))
            state = state * [1 - rate, 1.0]
            offset += math.log(state.sum())
            state = state / state.sum()
            unseen.append(offset)
        return np.array(shown), np.array(unseen)


def _worth(clip: Clip, run: Tracklet, sight: _Sight, objects: int, settings: Settings) -> float:
    """Log odds of a tracklet, being an object's rather than clutter.

    Its first detection stands anywhere, as clutter does; the others are told by the motion.
    """
    weight = settings.clutter_weight
    prior = len(run.frames) * math.log((1 - weight) / (objects * weight))
    return (
        run.fit
        - (len(run.frames) - 1) * clip.log_clutter
        + prior
        + float(sight.gap[np.diff(run.frames)].sum())
    )


def _links(
    clip: Clip, runs: list[Tracklet], sight: _Sight, motion: Motion, settings: Settings
) -> tuple[IntArray, IntArray, FloatArray]:
    """Return the likeliest links (source, target) and their log odds, none better than hopeless."""
    ends, begins, scale = _ends(clip, runs, motion, settings)
    first = np.array([run.frames[0] for run in runs])
    last = np.array([run.frames[-1] for run in runs])
    wide = (motion.speed * scale) ** 2
    # What a first state (position anywhere, velocity of the prior) would have been worth
    anywhere = clip.log_clutter - 0.5 * (begins.z**2 / wide + np.log(wide) + _LOG_2PI).sum(-1)
    sources, targets, gains = [], [], []
    for i in range(len(runs)):
        later = np.flatnonzero(first > last[i])
        if not len(later):
            continue
        steps = first[later] - last[i]
        at = np.full(len(later), i)
        odds = _meeting(motion.predict(ends.take(at), steps, scale[at]), begins.take(later))
        odds += sight.gap[steps] - anywhere[later]
        best = np.argsort(-odds, kind="stable")[: settings.fan_out]
        sources.append(at[best])
        targets.append(later[best])
        gains.append(odds[best])
    if not sources:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    source, target, gain = (np.concatenate(x) for x in (sources, targets, gains))
    hope = gain > -200.0
    return source[hope], target[hope], gain[hope]


def _meeting(ahead: Belief, begin: Belief) -> FloatArray:
    """Log density of meeting a tracklet's first state, position and velocity."""
    ss, sz, zz = ahead.ss + begin.ss, ahead.sz + begin.sz, ahead.zz + begin.zz
    ds, dz, det = begin.s - ahead.s, begin.z - ahead.z, ss * zz - sz**2
    square = (zz * ds**2 - 2 * sz * ds * dz + ss * dz**2) / det
    return -0.5 * (square + np.log(det) + 2 * _LOG_2PI).sum(-1)


def _ends(
    clip: Clip, runs: list[Tracklet], motion: Motion, settings: Settings
) -> tuple[Belief, Belief, FloatArray]:
    """Filter each tracklet forward and backward: states at its last and first frame, and scale."""
    scale = np.concatenate([_object_scale(clip.size[r.frames[0], [r.slots[0]]]) for r in runs])
    order = [(run.frames, run.slots) for run in runs]
    ends = _filter(clip, order, scale, motion, settings)
    back = [(frames[::-1], slots[::-1]) for frames, slots in order]
    begins = _filter(clip, back, scale, motion, settings)
    begins.z, begins.sz = -begins.z, -begins.sz  # told in the direction of time
    return ends, begins, scale


def _filter(
    clip: Clip,
    order: list[tuple[list[int], list[int]]],
    scale: FloatArray,
    motion: Motion,
    settings: Settings,
) -> Belief:
    """Filter all tracklets side by side, in the order given; return their last states."""
    count = np.array([len(frames) for frames, _ in order])
    frame, slot = (np.zeros((len(order), count.max()), np.int64) for _ in range(2))
    for i, (frames, slots) in enumerate(order):
        frame[i, : len(frames)], slot[i, : len(slots)] = frames, slots
    variance = (settings.noise * clip.size) ** 2
    at = frame[:, 0], slot[:, 0]
    beliefs = motion.begin(clip.o[at], variance[at], scale)
    for step in range(1, count.max()):
        rows = np.flatnonzero(count > step)
        gap = np.abs(frame[rows, step] - frame[rows, step - 1])
        ahead = motion.predict(beliefs.take(rows), gap, scale[rows])
        at = frame[rows, step], slot[rows, step]
        beliefs.put(rows, ahead.learn(clip.o[at], variance[at])[0])
    return beliefs


def _flow(
    begin: FloatArray, source: IntArray, target: IntArray, link: FloatArray, count: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Choose ``count`` disjoint chains of the highest total; which tracklets begin, which links.

    A tracklet is entered at most once, and left only if entered: the constraint matrix is totally
    unimodular, so the linear program has an integral optimum.
    """
    m, e = len(begin), len(link)
    node, edge = np.arange(m), m + np.arange(e)
    rows = np.concatenate([node, target, m + node, m + target, m + source])
    columns = np.concatenate([node, edge, node, edge, edge])
    values = np.concatenate([np.ones(m + e), -np.ones(m + e), np.ones(e)])
    limits = coo_matrix((values, (rows, columns)), shape=(2 * m, m + e)).tocsr()
    total = coo_matrix((np.ones(m), (np.zeros(m, np.int64), node)), shape=(1, m + e)).tocsr()
    answer = linprog(
        -np.concatenate([begin, link]),
        A_ub=limits,
        b_ub=np.concatenate([np.ones(m), np.zeros(m)]),
        A_eq=total,
        b_eq=[count],
        bounds=(0, 1),
        method="highs",
    )
    if answer.x is None:
        raise RuntimeError(f"the flow of the starting paths was not solved: {answer.message}")
    return answer.x[:m] > 0.5, answer.x[m:] > 0.5


def _join(clip: Clip, runs: list[Tracklet], length: int) -> FloatArray:
    """Return one path (T, D): straight between detections, held before and after them."""
    frames = [t for run in runs for t in run.frames]
    slots = [k for run in runs for k in run.slots]
    seen = clip.o[frames, slots]
    return np.stack([np.interp(np.arange(length), frames, x) for x in seen.T], -1)


def _spare_paths(clip: Clip, count: int) -> list[FloatArray]:
    """Paths for objects that no detection is left for: still, in the middle of everything."""
    if count <= 0:
        return []
    if not clip.mask.any():
        middle, size = np.zeros(clip.o.shape[-1]), np.ones(clip.o.shape[-1])
    else:
        middle, size = np.median(clip.o[clip.mask], 0), np.median(clip.size[clip.mask], 0)
    apart = np.zeros_like(middle)
    apart[0] = 0.5 * size[0]
    return [np.tile(middle + i * apart, (len(clip.o), 1)) for i in range(count)]


def _nothing(dim: int) -> tuple[Belief, IntArray, FloatArray]:
    empty = np.zeros((0, dim))
    return Belief(*(empty.copy() for _ in _PARTS)), np.zeros(0, np.int64), empty


def _append(old: Belief, new: Belief) -> Belief:
    return Belief(*(np.concatenate([getattr(old, n), getattr(new, n)]) for n in _PARTS))
