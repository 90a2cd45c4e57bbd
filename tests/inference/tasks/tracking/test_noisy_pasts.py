"""Simulated detections are what they say, and pasts are made by the guide as it is by then."""

from __future__ import annotations

import torch

from guides.dvae.deepar import DeepARGuide
from guides.dvae.srnn import SRNNGuide
from inference.tasks.tracking.noisy_pasts import (
    DETECTION_SCALE,
    FIRST_SEEN,
    EstimatedPasts,
    simulate_detections,
)
from ppl_models.data.trajectories import walking_trajectories
from ppl_models.dvae.deepar import DeepAR
from ppl_models.dvae.motion import Motion
from ppl_models.dvae.srnn import SRNN


def test_detections_are_held_where_there_is_none() -> None:
    s = walking_trajectories(400, length=40)
    evidence, held = simulate_detections(s, spread=0.0)
    observed = evidence.precision[..., 0] > 0
    assert observed[:, :FIRST_SEEN].all()
    assert 0.4 < observed.float().mean() < 0.9
    o = evidence.weighted / evidence.precision
    assert torch.allclose(held[observed], o[observed], atol=1e-5)
    missed = ~observed[:, 1:]
    assert torch.equal(held[:, 1:][missed], held[:, :-1][missed])
    error = (o - s)[observed].std(0) / torch.tensor(DETECTION_SCALE)
    # the standard deviation of n values has relative standard error 1 / sqrt(2 n)
    assert (error - 1).abs().max() < 4.5 / (2 * observed.sum()) ** 0.5


def test_gaps_are_long_and_end() -> None:
    s = torch.zeros(500, 60, 4)
    observed = simulate_detections(s)[0].precision[..., 0] > 0
    often = observed.float().mean(1)
    assert often.min() < 0.4 and (often == 1).any()
    assert simulate_detections(torch.zeros(3, 1, 4))[1].shape == (3, 1, 4)


def test_pasts_are_estimates_or_the_truth_and_follow_the_guide() -> None:
    model = DeepAR(likelihood=Motion(increments=True))
    s = walking_trajectories(64, length=20)
    pasts = EstimatedPasts(s, DeepARGuide(model), share=0.5, passes=1)
    batch = pasts.__getitems__(list(range(64)))
    true = (batch["past"] == batch["s"]).all(-1).all(-1)
    assert torch.equal(batch["s"], s) and 16 < true.sum() < 48
    torch.manual_seed(0)
    before = pasts.estimated(s)
    with torch.no_grad():
        model.emission.head[1][-1].bias += 0.5
    torch.manual_seed(0)
    assert not torch.allclose(pasts.estimated(s), before)
    assert pasts[3]["past"].shape == (20, 4)


def test_batches_come_whole_and_in_a_new_order() -> None:
    model = SRNN(likelihood=Motion(increments=True))
    loader = EstimatedPasts(walking_trajectories(50, length=8), SRNNGuide(model)).loader(16)
    epochs = [[batch["s"] for batch in loader] for _ in range(2)]
    assert [len(batch) for batch in epochs[0]] == [16, 16, 16] and len(loader) == 3
    assert not torch.equal(epochs[0][0], epochs[1][0])
