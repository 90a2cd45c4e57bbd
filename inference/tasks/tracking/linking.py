"""Chains of tracklets: links scored by motion and sight, the best disjoint chains by flow."""

from __future__ import annotations

import math

import numpy as np

from inference.tasks.tracking.kalman import LOG_2PI, Belief, FloatArray, IntArray, Motion
from inference.tasks.tracking.link_search import Links, Search, Targets, by_last_frame
from inference.tasks.tracking.min_cost_flow import best_flow
from inference.tasks.tracking.tracklets import Clip, Settings, Tracklet, object_scale


def best_chains(
    clip: Clip, runs: list[Tracklet], objects: int, motion: Motion, settings: Settings
) -> list[list[int]]:
    """Return up to N disjoint chains of tracklets (indices), the likeliest together.

    ``runs`` are in the order of their first frames.
    """
    if not runs:
        return []
    sight = Sight(runs, len(clip.o), settings)
    begin, source, target, link = gains(clip, runs, objects, motion, sight, settings)
    begins, follows = best_flow(begin, source, target, link, min(objects, len(runs)))
    follow = dict(zip(source[follows].tolist(), target[follows].tolist(), strict=True))
    chains = []
    for run in np.flatnonzero(begins).tolist():
        chain = [run]
        while chain[-1] in follow:
            chain.append(follow[chain[-1]])
        chains.append(chain)
    return chains


class Sight:
    """Odds of being seen and unseen: a chain of two states, visible (at a rate) and hidden.

    Attributes
    ----------
    gap : FloatArray
        At d: log p(unseen d - 1 frames, then seen | seen).
    tail : FloatArray
        At d: log p(unseen d frames, to the end | seen).
    head : FloatArray
        At d: log p(unseen d frames, then seen), from the chain's long run.
    """

    def __init__(self, runs: list[Tracklet], frames: int, settings: Settings) -> None:
        hide, show = settings.hide, settings.show
        chain = np.array([[1 - hide, hide], [show, 1 - show]])
        long = [(len(run.frames), run.frames[-1] - run.frames[0] + 1) for run in runs]
        seen, span = np.array([x for x in long if x[0] >= 5] or [(7, 10)]).sum(0)
        rate = float(np.clip(seen / span, 0.3, 0.98))
        shown, self.tail = _sight(np.array([1.0, 0.0]), chain, rate, frames)
        self.gap = np.concatenate([[0.0], shown])
        self.head, _ = _sight(np.array([show, hide]) / (show + hide), chain, rate, frames)


def _sight(
    state: FloatArray, chain: FloatArray, rate: float, frames: int
) -> tuple[FloatArray, FloatArray]:
    """Log p(unseen d frames, then seen) for d < frames; log p(unseen d frames) for d <= frames."""
    shown, unseen, offset = [], [0.0], 0.0
    for _ in range(frames):
        state = state @ chain
        shown.append(offset + math.log(state[0] * rate))
        state = state * [1 - rate, 1.0]
        offset += math.log(state.sum())
        state = state / state.sum()
        unseen.append(offset)
    return np.array(shown), np.array(unseen)


def gains(
    clip: Clip,
    runs: list[Tracklet],
    objects: int,
    motion: Motion,
    sight: Sight,
    settings: Settings,
) -> tuple[FloatArray, IntArray, IntArray, FloatArray]:
    """Return what beginning with each tracklet adds in log odds, and the links and what they add.

    The total of a chain is its log odds of being an object's rather than clutter.
    """
    worth = np.array([_worth(clip, run, sight, objects, settings) for run in runs])
    source, target, odds = links(clip, runs, worth, motion, sight, settings)
    first, last = (np.array([run.frames[i] for run in runs]) for i in (0, -1))
    tail = sight.tail[len(clip.o) - 1 - last]
    begin = worth + sight.head[first] + tail
    return begin, source, target, odds + worth[target] + tail[target] - tail[source]


def _worth(clip: Clip, run: Tracklet, sight: Sight, objects: int, settings: Settings) -> float:
    """Log odds of a tracklet, being an object's rather than clutter.

    Its first detection stands anywhere, as clutter does; the others follow the motion model.
    """
    weight, count = settings.clutter_weight, len(run.frames)
    prior = count * math.log((1 - weight) / (objects * weight))
    unseen = float(sight.gap[np.diff(run.frames)].sum())
    return run.fit - (count - 1) * clip.log_clutter + prior + unseen


def links(
    clip: Clip,
    runs: list[Tracklet],
    worth: FloatArray,
    motion: Motion,
    sight: Sight,
    settings: Settings,
) -> Links:
    """Return the likeliest links (source, target) and their log odds.

    Of each tracklet's links those with log odds, plus what the target is worth (if anything), above
    -hope; of these the best ``fan_out`` to targets that are worth something, and as many to others.
    The pairs are many: `link_search` looks at few of them.
    """
    ends, begins, scale = _ends(clip, runs, motion, settings)
    first, last = (np.array([run.frames[i] for run in runs]) for i in (0, -1))
    wide = (motion.speed * scale) ** 2
    # What a first state (position anywhere, velocity of the prior) would have been worth
    anywhere = clip.log_clutter - 0.5 * (begins.z**2 / wide + np.log(wide) + LOG_2PI).sum(-1)
    least = -settings.hope - worth.clip(min=0)
    # Apart: what is worth nothing need not be looked at from far, nor crowd out what is
    ends, begins = ends.turned(), begins.turned()
    groups = [Targets(x, first, begins, least, anywhere) for x in (worth > 0, worth <= 0)]
    none = np.zeros(0, np.int64)
    found = [(none, none, np.zeros(0))]
    for t, sources in by_last_frame(last, first[-1]):
        search = Search(
            ends.columns(sources), scale[sources], t, motion, sight.gap[: first[-1] - t + 1]
        )
        for group in groups:
            row, target, odds = search.best(group, settings.fan_out)
            found.append((sources[row], target, odds))
    source, target, odds = (np.concatenate(x) for x in zip(*found, strict=True))
    return source, target, odds


def _ends(
    clip: Clip, runs: list[Tracklet], motion: Motion, settings: Settings
) -> tuple[Belief, Belief, FloatArray]:
    """Filter each tracklet forward and backward: states at its last and first frame, and scale."""
    scale = object_scale(np.stack([clip.size[run.frames[0], run.slots[0]] for run in runs]))
    order = [(run.frames, run.slots) for run in runs]
    ends = _filter(clip, order, scale, motion, settings)
    back = [(frames[::-1], slots[::-1]) for frames, slots in order]
    begins = _filter(clip, back, scale, motion, settings)
    begins.z, begins.sz = -begins.z, -begins.sz  # in the direction of time
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
    offset = np.cumsum(count) - count
    frame, slot = (np.concatenate([x[i] for x in order]) for i in (0, 1))
    o, variance = clip.o[frame, slot], (settings.noise * clip.size[frame, slot]) ** 2
    beliefs = motion.begin(o[offset], variance[offset], scale)
    for step in range(1, count.max()):
        rows = np.flatnonzero(count > step)
        at = offset[rows] + step
        ahead = motion.predict(beliefs.take(rows), np.abs(frame[at] - frame[at - 1]), scale[rows])
        beliefs.put(rows, ahead.learn(o[at], variance[at])[0])
    return beliefs
