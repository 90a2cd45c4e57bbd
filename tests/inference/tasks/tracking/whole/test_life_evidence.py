"""Evidence of lives against the forward pass of `ppl_models.mot.Life`, and all paths by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from inference.tasks.tracking.whole.life_evidence import log_again, log_never
from ppl_models.mot import GONE, HIDDEN, SEEN, Life, infer_lives
from ppl_models.mot.life import NEVER

LIFE = Life(death=0.05, hide=0.1, hide_behind=0.6, show=0.2, detection=0.8)
FRAMES, LENGTH = [0, 1, 3, 7], 9


def steps_of(behind: float) -> torch.Tensor:
    return LIFE.step(torch.zeros((), dtype=torch.double), torch.tensor(behind, dtype=torch.double))


def chained(behind: float) -> float:
    gaps = np.diff(FRAMES)
    again = log_again(LIFE, gaps, np.full(len(gaps), behind))
    never = log_never(LIFE, LENGTH, np.array([0.0, behind]))
    return float(again.sum() + never[1, LENGTH - 1 - FRAMES[-1]])


def evidence() -> torch.Tensor:
    found = torch.zeros(LENGTH, 4, dtype=torch.double)
    found[:, SEEN] = math.log(1 - LIFE.detection)
    found[FRAMES] = NEVER
    found[FRAMES, SEEN] = math.log(LIFE.detection)
    found[0, SEEN] = 0.0
    return found


@pytest.mark.parametrize("behind", [0.0, 0.7, 1.0])
def test_a_life_is_the_product_of_what_follows_each_detection(behind: float) -> None:
    steps = steps_of(behind).expand(LENGTH - 1, 4, 4)
    initial = torch.tensor([NEVER, 0.0, NEVER, NEVER]).double()
    whole = infer_lives(initial, steps, evidence()).log_evidence
    assert chained(behind) == pytest.approx(float(whole), abs=1e-9)


def test_a_life_is_the_sum_of_all_lives() -> None:
    steps, seen = steps_of(0.7).exp().numpy(), evidence().exp().numpy()
    total = 0.0
    for path in itertools.product((SEEN, HIDDEN, GONE), repeat=LENGTH - 1):
        p, now = 1.0, SEEN
        for t, state in enumerate(path, 1):
            p *= steps[now, state] * seen[t, state]
            now = state
        total += p
    assert chained(0.7) == pytest.approx(math.log(total), abs=1e-9)


def test_covered_one_is_away_longer() -> None:
    gaps, open_, covered = np.array([1, 40]), np.zeros(2), np.ones(2)
    bare, behind = log_again(LIFE, gaps, open_), log_again(LIFE, gaps, covered)
    assert bare[0] > behind[0] and bare[1] < behind[1]
    never = log_never(LIFE, 40, np.array([0.0, 1.0]))
    assert never[0, 20] < never[1, 20] and (np.diff(never, axis=1) < 0).all()


def test_nothing_is_asked() -> None:
    none = np.zeros(0)
    assert log_again(LIFE, none.astype(np.int64), none).shape == (0,)
    assert log_never(LIFE, 0, np.zeros(1)).tolist() == [[0.0]]
