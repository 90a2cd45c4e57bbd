"""Frames generated from frames: what is read at each."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppl_models.dvae import Memory
from ppl_models.video import Reading
from ppl_models.video.closed_loop import FedBackFrames, rollout
from tests.videos import B, D, T, assert_alike, blobs, latents, pair, ragged

both = pytest.mark.parametrize("name", ["SVGFP", "SVGLP"])
FUTURE = 4


def means_by_hand(model: Any, s: Tensor, z: Tensor) -> Tensor:
    """Means of the frames after s (B, K, D), of latents z (B, K - 1 + F, L)."""
    memory, known, frame, means = Memory(stepwise=True), s.shape[1], s[:, 0], []
    for t in range(z.shape[1]):
        frame = s[:, t] if t < known else frame
        code = model.likelihood.read_maps(frame)[0][:, None]
        model.latent(memory, code)
        g = model.predict(memory, code, z[:, t : t + 1])[:, 0]
        at = min(t + 1, model.past, known) - 1
        frame = model.likelihood.painted(g, model.likelihood.read_maps(s[:, at])[1]).mean
        means.append(frame)
    return torch.stack(means[known - 1 :], 1)


@both
def test_a_future_reads_the_means_of_its_own_frames(name: str) -> None:
    model, guide = pair(name)
    s, z = blobs(), latents(guide, blobs())
    held = poutine.condition(model, z)
    trace = poutine.trace(held).get_trace(s, future=FUTURE)
    assert torch.equal(trace.nodes["z"]["value"], z["z"])
    whole = torch.cat([z["z"], trace.nodes["z_next"]["value"]], 1)
    assert_alike(trace.nodes["s_next"]["fn"].mean, means_by_hand(model, s, whole), 1e-9)


@both
def test_a_future_has_the_density_of_the_same_values_given(name: str) -> None:
    model, _ = pair(name)
    s = blobs()
    drawn = poutine.trace(model).get_trace(s, future=FUTURE)
    values = {n: drawn.nodes[n]["value"].detach() for n in ("z", "z_next", "s_next")}
    given = poutine.trace(poutine.condition(model, values)).get_trace(s, future=FUTURE)
    for trace in (drawn, given):
        trace.compute_log_prob()
    for site in ("z", "s", "z_next", "s_next"):
        assert_alike(drawn.nodes[site]["log_prob"], given.nodes[site]["log_prob"], 1e-9)


@both
def test_the_future_does_not_change_what_is_said_of_the_frames_given(name: str) -> None:
    model, guide = pair(name)
    s, z = blobs(), latents(guide, blobs())
    found = []
    for future in (0, FUTURE):
        trace = poutine.trace(poutine.condition(model, z)).get_trace(s, future=future)
        trace.compute_log_prob()
        found.append([trace.nodes[n]["log_prob"] for n in ("z", "s")])
    assert_alike(*found, 1e-12)


@both
def test_a_rollout_of_true_frames_has_the_moments_of_all_at_once(name: str) -> None:
    """Where every frame is known the prior's moments are those of the recurrences run at once."""
    model, guide = pair(name)
    s, z = blobs(), latents(guide, blobs())["z"]
    reading = model.read(s)
    wanted = model.latent(Memory(), reading.codes)
    for known in range(1, T + 1):
        first = Reading(reading.codes[:, :known], tuple(m[:, :known] for m in reading.maps))
        drawn = rollout(model, first, known, torch.Size((B,)), z)  # one frame is generated
        assert drawn.s.shape == (B, 1, D)
        moments = [m[:, known - 1 : known] for m in wanted]
        assert_alike([m.expand(B, 1, -1) for m in drawn.moments], moments, 1e-9)
    nothing = rollout(model, reading, 0, torch.Size((7, B)))
    assert nothing.z.shape == (7, B, 0, 2) and nothing.s.shape == (7, B, 0, D)


@both
def test_what_is_drawn_in_place_of_given_frames_is_read(name: str) -> None:
    model, guide = pair(name)
    s = blobs()
    frames = FedBackFrames(model, s, model.read(s))
    frames.z = latents(guide, s)["z"]
    drawn = frames.frames().expand((2, B)).sample()
    assert drawn.shape == (2, B, T - 1, D)
    frames.later = drawn
    whole = torch.cat([s[:, :1].expand(*drawn.shape[:-2], 1, -1), drawn], -2)
    assert_alike(frames.reading().codes, model.features(whole), 1e-12)


@both
def test_padding_counts_in_neither_site(name: str) -> None:
    model, guide = pair(name)
    s, mask = ragged(blobs(), 0.0)
    z, found = latents(guide, s)["z"], []
    for given in (None, mask):
        frames = FedBackFrames(model, s, model.read(s), mask=given)
        frames.z = z
        found.append([frames.latents().score_frames(z), frames.frames().score_frames(s[:, 1:])])
    for full, cut in zip(*found, strict=True):
        assert_alike(cut, full * mask[:, 1:], 1e-12)
