r"""What exclusive assignment buys where people cross: simulated scenes, the truth known.

    python -m benchmarks.crossings --scenes 200

Two to four people walk through one place at about the same time. A detector misses some, most of
all who is behind another, errs, and sees clutter. Their number, lives and first boxes are given;
paths and assignments are inferred by a filter and a smoother, then variational EM. Only the law of
assignments differs: *independent*, the paper's w_tk (a person may have several detections in a
frame, or all), or *exclusive* (at most one), by belief propagation or by listing all matchings.

The evidence log p(detections of a frame | true paths) is exact for both, of the same lists of
detections, so that a difference is a log Bayes factor. With paths inferred it is not compared: one
objective is a bound, the other, with the Bethe approximation inside, is none.
"""

from __future__ import annotations

import argparse
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from benchmarks.crossing_paths import Paths, back, carry, learn, noise
from benchmarks.crossing_scenes import CLUTTER, DETECTION, LENGTH, PHI, REGION, Scenes, simulate
from ppl_models.mot import covers, matchings, propagate_beliefs

ROUNDS = 10
"""Of variational EM, after the filter and the smoother."""
NEVER = -1e4
FORMS = ("independent", "exclusive, BP", "exclusive, all matchings")
NEAR = 0.3
"""Share of a box that another covers, from which on a frame counts to the crossing."""


def log_odds(scenes: Scenes, mean: Tensor, variance: Tensor, t: int | None = None) -> Tensor:
    """Return log N(o; box) - log clutter (..., N, K), boxes (..., N, 4) being this uncertain.

    Pass variance 0 of paths that are known. Of one frame ``t``, or of all.
    """
    o, source = (scenes.o, scenes.source) if t is None else (scenes.o[:, t], scenes.source[:, t])
    scale = (noise(o)[..., None, :, :] + variance[..., :, None, :]).sqrt()
    density = Normal(mean[..., :, None, :], scale).log_prob(o[..., None, :, :]).sum(-1)
    volume = (REGION[1] - REGION[0]).log().sum()
    return torch.where(source[..., None, :] >= 0, density + volume - math.log(CLUTTER), NEVER)


def assign(odds: Tensor, form: str) -> Tensor:
    """Return p(detection k is of person n), (..., N, K)."""
    if form == "independent":
        clutter = torch.zeros_like(odds[..., :1, :])
        each = torch.cat([odds + math.log(DETECTION), clutter], -2)
        return each.softmax(-2)[..., :-1, :]
    odds = odds + math.log(DETECTION)
    missed = torch.full_like(odds[..., 0], math.log(1 - DETECTION))
    if form == "exclusive, BP":
        return propagate_beliefs(odds, missed, tolerance=1e-6).marginals
    return exact(odds, missed)[0]


def exact(odds: Tensor, missed: Tensor) -> tuple[Tensor, Tensor]:
    """Return marginals (..., N, K) and log partition (...), by the sum over all matchings."""
    people, places = odds.shape[-2:]
    w = matchings(people, places)  # (M, K)
    used = (w[:, None] == torch.arange(people)[:, None]).double()  # (M, N, K)
    rest = missed.sum(-1)[..., None] - missed @ used.sum(-1).T
    flat, rest, found = odds.reshape(-1, people * places), rest.reshape(-1, len(w)), []
    for some, alone in zip(flat.split(1000), rest.split(1000), strict=True):
        weight = some @ used.flatten(1).T + alone
        total = weight.logsumexp(-1, keepdim=True)
        found.append(torch.cat([(weight - total).exp() @ used.flatten(1), total], -1))
    marginals, total = torch.cat(found).split([flat.shape[1], 1], -1)
    return marginals.reshape(odds.shape), total.reshape(odds.shape[:-2])


def follow(scenes: Scenes, form: str) -> tuple[Tensor, Paths]:
    """Infer assignments (B, T, N, K) and paths (B, T, N, 4), first boxes and speeds given."""
    first = scenes.paths[:, 0]
    begin = torch.full_like(first, PHI**2)
    start = Paths(
        first, scenes.paths[:, 1] - first, begin, torch.zeros_like(first), begin * 0 + 1e-4
    )
    found = smooth(scenes, start, form, None)
    for _ in range(ROUNDS):
        owner = assign(_expected(scenes, found), form)
        found = smooth(scenes, start, form, owner)
    return assign(_expected(scenes, found), form), found


def _expected(scenes: Scenes, q: Paths) -> Tensor:
    """Return E_q log N(o; s) - log clutter, (B, T, N, K): what variational EM assigns by."""
    certain = log_odds(scenes, q.s, torch.zeros_like(q.s))
    return certain - 0.5 * (q.ss[..., :, None, :] / noise(scenes.o)[..., None, :, :]).sum(-1)


def smooth(scenes: Scenes, start: Paths, form: str, owner: Tensor | None) -> Paths:
    """Return q(paths) given assignments; without them, those of the filter's predictions."""
    now, known, ahead = start, list[Paths](), list[Paths]()
    for t in range(LENGTH):
        if t:
            now = carry(now)
            ahead.append(now)
        share = assign(log_odds(scenes, now.s, now.ss, t), form) if owner is None else owner[:, t]
        now = learn(now, scenes.o[:, t], share)
        known.append(now)
    later = [known[-1]]
    for before, expected in zip(known[-2::-1], ahead[::-1], strict=True):
        later.append(back(before, expected, later[-1]))
    return Paths(*(torch.stack(part, 1) for part in zip(*later[::-1], strict=True)))


def evidence(scenes: Scenes) -> tuple[Tensor, Tensor]:
    """Return log p(detections, K | true paths) of each frame (B, T), less that of clutter alone.

    Of the independent form, then of the exclusive one; both exact. Each is less the same number,
    the density of clutter: their difference is that of the evidence.
    """
    people = scenes.paths.shape[2]
    odds = log_odds(scenes, scenes.paths, torch.zeros_like(scenes.paths))
    clutter = torch.zeros_like(odds[..., :1, :])
    each = torch.cat([odds + math.log(DETECTION), clutter], -2).logsumexp(-2)
    independent = each.sum(-1) - people * DETECTION
    missed = torch.full_like(odds[..., 0], math.log(1 - DETECTION))
    return independent, exact(odds + math.log(DETECTION), missed)[1]


class Measures(NamedTuple):
    """Of each scene (B)."""

    right: Tensor
    """Share of people's detections, while they cross, that are given to the right person."""
    doubled: Tensor
    """People a frame, while they cross, who are given more than one detection."""
    starved: Tensor
    """People a frame, while they cross, who are detected, and given none."""
    lost: Tensor
    """Share of people whose path ends at somebody else."""


def measure(scenes: Scenes, owner: Tensor, paths: Paths) -> Measures:
    """Judge assignments (B, T, N, K) and paths against the truth."""
    people = owner.shape[2]
    near = crossing(scenes)
    clutter = 1 - owner.sum(2, keepdim=True)
    given = torch.cat([owner, clutter], 2).argmax(2)  # (B, T, K)
    true = (scenes.source >= 0) & (scenes.source < people) & near[..., None]
    right = ((given == scenes.source) & true).sum((1, 2)) / true.sum((1, 2))
    who = torch.arange(people)
    each = ((given[..., None] == who) & (scenes.source >= 0)[..., None]).sum(2)  # (B, T, N)
    found = (scenes.source[..., None] == who).any(2)
    frames = near.sum(1)
    doubled = ((each > 1) & near[..., None]).sum((1, 2)) / frames
    starved = ((each == 0) & found & near[..., None]).sum((1, 2)) / frames
    ends, truth = paths.s[:, -5:, :, :2], scenes.paths[:, -5:, :, :2]
    apart = (ends[:, :, :, None] - truth[:, :, None]).norm(dim=-1).mean(1)  # (B, N, N)
    lost = (apart.argmin(-1) != who).double().mean(-1)
    return Measures(right, doubled, starved, lost)


def crossing(scenes: Scenes) -> Tensor:
    """Return in which frames (B, T) somebody stands before somebody else."""
    return covers(scenes.paths).amax((-1, -2)) > NEAR


def worst(scenes: Scenes, paths: Paths) -> Tensor:
    """Return the largest error (B) of the marginals of belief propagation, at these paths."""
    odds = _expected(scenes, paths)
    by_beliefs, listed = (assign(odds, form) for form in FORMS[1:])
    return (by_beliefs - listed).abs().amax((1, 2, 3))


def text(values: Tensor, scale: float = 1.0, digits: int = 1) -> str:
    """Return mean and standard error of scenes (B)."""
    mean, error = scale * values.mean(), scale * values.std() / math.sqrt(len(values))
    return f"{mean:.{digits}f} ± {error:.{digits}f}"


def table(scenes: Scenes, name: str) -> list[Measures]:
    """Print the rows of one kind of scenes; return what they say, form by form."""
    measures = []
    for form in FORMS:
        owner, paths = follow(scenes, form)
        found = measure(scenes, owner, paths)
        measures.append(found)
        cells = [text(found.right, 100), text(found.doubled, 1, 3), text(found.starved, 1, 3)]
        print(f"| {name} | {form} | " + " | ".join([*cells, text(found.lost, 100)]) + " |")
        if form == FORMS[1]:
            error = worst(scenes, paths)
    independent, exclusive = evidence(scenes)
    gain, near = exclusive - independent, crossing(scenes)
    there, right = (gain * near).sum(1) / near.sum(1), measures[1].right - measures[0].right
    print(f"  {name}: right, BP less independent, scene by scene: {text(right, 100)} points;")
    print(f"  evidence, exclusive less independent: {text(gain.mean(1), 1, 2)} nats a frame,")
    print(
        f"  {text(there, 1, 2)} while crossing; marginals of BP off by {error.mean():.3f} at most"
    )
    print(f"  in the average scene, by {error.max():.3f} in the worst")
    return measures


def draw(kinds: dict[str, list[Measures]], path: str) -> None:
    """Draw the shares that are right, and who is lost."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    for axis, measured in zip(figure.subplots(1, 2), ("right", "lost"), strict=True):
        for i, form in enumerate(FORMS):
            some = torch.stack([getattr(rows[i], measured) for rows in kinds.values()])
            error = 100 * some.std(1) / some.shape[1] ** 0.5
            place = torch.arange(len(kinds)) + 0.15 * (i - 1)
            axis.errorbar(place, 100 * some.mean(1), error, fmt="os^"[i], label=form, ms=5)
        axis.set_xticks(range(len(kinds)), [name.replace(", each ", ",\n") for name in kinds])
        axis.set_xlabel("people who cross")
    labels = ("detections given rightly (%)", "paths that end elsewhere (%)")
    for axis, label in zip(figure.axes, labels, strict=True):
        axis.set_ylabel(label)
    figure.axes[0].legend(fontsize=8)
    figure.suptitle("while people cross; bars: ± a standard error of scenes", size=9)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scenes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figure", help="a picture of the table, PNG")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| people | assignment | right (%) | doubled | starved | lost (%) |")
    kinds = {}
    for people, doubled in ((2, 0.0), (3, 0.0), (4, 0.0), (2, 0.3)):
        name = f"{people}, each box twice in {doubled:.0%}" if doubled else str(people)
        scenes = simulate(chosen.scenes, people, doubled, seed=chosen.seed)
        kinds[name] = table(scenes, name)
    if chosen.figure:
        draw(kinds, chosen.figure)


if __name__ == "__main__":
    main()
