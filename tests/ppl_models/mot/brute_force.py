"""BirthDeathMixDVAE by brute force: the sum over all lives and all assignments, from the text."""

from __future__ import annotations

import itertools
import math
from functools import cache

import torch
from torch import Tensor
from torch.distributions import Normal, Poisson

from ppl_models.mot import BirthDeathMixDVAE, Life

NOT_YET, SEEN, HIDDEN, GONE = range(4)
Data = dict[str, Tensor]


def total(model: BirthDeathMixDVAE, data: Data, boxes: Tensor) -> Tensor:
    """log p(o, score, K | boxes) of one sequence: boxes (N, T, 4), data of a batch of one."""
    slots, length = boxes.shape[:2]
    region = data["region"][0]
    frames = [
        {
            seen: _frame(model, data, boxes[:, t], seen, t)
            for seen in itertools.product([False, True], repeat=slots)
        }
        for t in range(length)
    ]
    terms: list[Tensor] = []

    @cache
    def rows(n: int, t: int, before: tuple[int, ...]) -> list[Tensor]:
        p = _next(model.life, n, t, before, boxes[:, t], region, slots)
        return [x.log() if bool(x > 0) else x.new_tensor(-math.inf) for x in p]

    def go_on(t: int, before: tuple[int, ...], so_far: Tensor) -> None:
        if t == length:
            terms.append(so_far)
            return
        for now in itertools.product(range(4), repeat=slots):
            log_prob = so_far
            for n in range(slots):
                log_prob = log_prob + rows(n, t, before)[now[n]]
            if bool(log_prob > -math.inf):
                seen = tuple(state == SEEN for state in now)
                go_on(t + 1, now, log_prob + frames[t][seen])

    go_on(0, (), boxes.new_zeros(()))
    return torch.stack(terms).logsumexp(0)


def _next(
    life: Life,
    n: int,
    t: int,
    before: tuple[int, ...],
    boxes: Tensor,
    region: Tensor,
    slots: int,
) -> list[Tensor]:
    """p(state of n in frame t), t from 0, given the states of all in the frame before."""
    zero = boxes.new_zeros(())
    if t == 0:
        hidden = life.hide / (life.hide + life.show) if life.hide else 0.0
        p = [1 - life.alive / slots, life.alive / slots * (1 - hidden)]
        return [zero + x for x in (*p, life.alive / slots * hidden, 0.0)]
    free = 1 - zero
    for m, state in enumerate(before):
        if m != n and state in (SEEN, HIDDEN):
            free = free * (1 - _cover(boxes[n], boxes[m]))
    hide = life.hide + (life.hide_behind - life.hide) * (1 - free)
    show = life.show * (1 - hide) / (1 - life.hide)
    left = slots - life.alive - life.births * (t - 1)
    birth = zero + (life.births / left if life.births else 0.0)
    birth = (birth * _border(boxes[n], region, life.border)).clamp(max=1)
    state = before[n]
    if state == NOT_YET:
        return [1 - birth, birth * (1 - hide), birth * hide, zero]
    if state == GONE:
        return [zero, zero, zero, 1 + zero]
    stay = (1 - hide, hide) if state == SEEN else (show, 1 - show)
    return [zero, (1 - life.death) * stay[0], (1 - life.death) * stay[1], zero + life.death]


def _cover(box: Tensor, other: Tensor) -> Tensor:
    """The share of a box that the other one, whose feet are lower, lies over."""
    (x, y), (w, h) = box[:2], box[2:].exp()
    (a, b), (v, g) = other[:2], other[2:].exp()
    if bool(b + g / 2 <= y + h / 2):
        return 0 * x
    across = torch.minimum(x + w / 2, a + v / 2) - torch.maximum(x - w / 2, a - v / 2)
    down = torch.minimum(y + h / 2, b + g / 2) - torch.maximum(y - h / 2, b - g / 2)
    return across.clamp(min=0) * down.clamp(min=0) / (w * h)


def _border(box: Tensor, region: Tensor, border: float) -> Tensor:
    """The factor of births, its mean by a fine grid in each direction."""
    scale = 0.05

    def far(u: Tensor) -> Tensor:
        return 1 - (torch.exp(-u / scale) + torch.exp((u - 1) / scale)) / (1 + math.exp(-1 / scale))

    u = ((box[:2] - region[0, :2]) / (region[1, :2] - region[0, :2])).clamp(0, 1)
    grid = (torch.arange(20_000, dtype=box.dtype) + 0.5) / 20_000  # exact to 1e-8
    mean = 1 + (border - 1) * (1 - far(grid).mean() ** 2)
    return (1 + (border - 1) * (1 - far(u[0]) * far(u[1]))) / mean


def _frame(
    model: BirthDeathMixDVAE, data: Data, boxes: Tensor, seen: tuple[bool, ...], t: int
) -> Tensor:
    """log p(K, o, score of one frame | who is seen): a sum over all assignments."""
    spots = data["mask"][0, t].nonzero().flatten().tolist()
    objects = [n for n, there in enumerate(seen) if there]
    clutter = len(seen)
    terms = []
    for w in itertools.product([*objects, clutter], repeat=len(spots)):
        log_prior = _assignment(model, len(objects), [n for n in w if n != clutter], len(spots))
        each = [_spot(model, data, boxes, n, t, k) for n, k in zip(w, spots, strict=True)]
        terms.append(sum(each, boxes.new_zeros(()) + log_prior))
    return torch.stack(terms).logsumexp(0)


def _assignment(model: BirthDeathMixDVAE, seen: int, owners: list[int], count: int) -> float:
    """log p(K, w) of one frame."""
    life, clutter = model.life, model.clutter_rate
    m = len(owners)
    if not model.exclusive:
        rate = life.rate * seen + clutter
        each = m * math.log(life.rate / rate) + (count - m) * math.log(clutter / rate)
        return float(Poisson(rate).log_prob(torch.tensor(float(count)).double())) + each
    if len(set(owners)) < m:
        return -math.inf
    poisson = -clutter + (count - m) * math.log(clutter) - math.lgamma(count - m + 1)
    detected = m * math.log(life.detection) + (seen - m) * math.log(1 - life.detection)
    orders = math.lgamma(count - m + 1) - math.lgamma(count + 1)  # 1 / number of places of the m
    return poisson + detected + orders


def _spot(model: BirthDeathMixDVAE, data: Data, boxes: Tensor, n: int, t: int, k: int) -> Tensor:
    """log p(o, score of one detection | whose it is)."""
    score, o, size = data["score"][0, t, k], data["o"][0, t, k], data["size"][0, t, k]
    clutter = n == len(boxes)
    masses = model.scores.masses[int(clutter)]
    index = min(int(score.nan_to_num(0.0) * len(masses)), len(masses) - 1)
    says = 0.0 if bool(score.isnan()) else (masses[index] * len(masses)).log()
    if clutter:
        low, high = data["region"][0]
        return -(high - low).log().sum() + says
    return Normal(boxes[n], math.sqrt(model.phi) * size).log_prob(o).sum() + says
