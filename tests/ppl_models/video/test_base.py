"""What holds for every story of videos."""

from __future__ import annotations

import copy
import pickle

import pyro
import pytest
import torch
from pyro import poutine

from inference import check
from tests.videos import (
    ENDS,
    MAKE,
    B,
    D,
    T,
    assert_alike,
    assert_bound_rises,
    assert_draws_score_alone,
    assert_padding_reaches_nothing,
    assert_refuses_other_frames,
    assert_rows_alone,
    blobs,
    latents,
    pair,
    ragged,
    scores,
)

every = pytest.mark.parametrize("name", MAKE)


@every
def test_pairs_pass_check(name: str) -> None:
    model, guide = pair(name)
    model.train()
    guide.train()
    s = blobs()
    check(model, guide, s)
    check(model, guide, *ragged(s))


@every
def test_a_row_of_a_ragged_batch_is_that_row_alone(name: str) -> None:
    assert_rows_alone(name)


@every
def test_padding_reaches_neither_value_nor_gradient(name: str) -> None:
    assert_padding_reaches_nothing(name)


@every
def test_draws_at_once_are_each_alone_and_are_kept_in_a_forecast(name: str) -> None:
    assert_draws_score_alone(name)


@every
def test_the_bound_rises_with_the_number_of_draws(name: str) -> None:
    assert_bound_rises(name)


@every
def test_other_frames_are_refused_with_a_cure_that_works(name: str) -> None:
    assert_refuses_other_frames(name)


@every
def test_what_is_simulated_is_scored(name: str) -> None:
    """Sites drawn one after another have the density of the same values given at once."""
    model, _ = pair(name)
    s = blobs()
    with torch.no_grad():
        drawn = poutine.trace(poutine.uncondition(model)).get_trace(s)
    drawn.compute_log_prob()
    whole = drawn.nodes["_RETURN"]["value"]
    assert whole.shape == (B, T, D) and not torch.equal(whole[:, 1:], s[:, 1:])
    z = {n: drawn.nodes[n]["value"] for n in ("h_1", "z") if n in drawn.nodes}
    total = sum(drawn.nodes[n]["log_prob"] for n in (*z, "s"))
    if name.startswith("SRVP"):  # its content is that of the frames given
        s_site = drawn.nodes["s"]
        assert_alike(s_site["log_prob"], s_site["fn"].log_prob(whole))
        return
    with pyro.validation_enabled(False):  # draws are no levels
        assert_alike(total, scores(model, z, whole), 1e-8)


@every
@pytest.mark.parametrize("constant", [0.0, 0.5, 1.0])
def test_a_constant_video_and_one_of_a_single_frame(name: str, constant: float) -> None:
    model, guide = pair(name)
    s = torch.full((2, 4, D), constant).double()
    assert scores(model, latents(guide, s), s).isfinite().all()
    one = s[:, :1]
    z = latents(guide, one)
    assert scores(model, z, one).isfinite().all() and scores(guide, z, one).isfinite().all()
    assert model(one, future=3).shape == (2, 4, D)


@every
def test_copies_of_a_pair_give_the_same_numbers(name: str) -> None:
    model, guide = pair(name)
    s, mask = ragged(blobs())
    z = latents(guide, s, mask)
    guide(s, mask)  # a reading is kept for the model: it is not copied
    wanted = scores(model, z, s, mask)
    for ours, theirs in (
        copy.deepcopy((model, guide)),
        pickle.loads(pickle.dumps((model, guide))),
    ):
        assert theirs.model is ours
        assert torch.equal(scores(ours, z, s, mask), wanted)
        assert torch.equal(scores(theirs, z, s, mask), scores(guide, z, s, mask))


@every
def test_a_mask_of_ones_is_none(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    z, full = latents(guide, s), torch.ones(B, T, dtype=torch.bool)
    assert_alike(scores(model, z, s), scores(model, z, s, full), 1e-12)
    assert_alike(scores(guide, z, s), scores(guide, z, s, full), 1e-12)
    assert len(ENDS) == B
