"""The guide of SRVP: the first frames give the first state, frames up to its own a noise."""

from __future__ import annotations

from typing import Any

import torch
from pyro import poutine
from torch.distributions import Normal

from guides.video import SRVPGuide
from ppl_models.video import SRVP
from tests.videos import T, assert_alike, blobs, latents, pair, ragged, scores


def means(guide: Any, *data: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    nodes = poutine.trace(guide).get_trace(*data).nodes
    return nodes["h_1"]["fn"].mean, nodes["z"]["fn"].moments(None)[0]


def test_what_each_latent_reads() -> None:
    _, guide = pair("SRVP")  # of two first frames
    s = blobs()
    h, z = means(guide, s)
    for frame, first, noise in ((1, True, [True] * 4), (3, False, [False, False, True, True])):
        other = s.clone()
        other[:, frame] = 0
        now = means(guide, other)
        assert bool((now[0] != h).any()) == first
        assert ((now[1] - z).abs().amax((0, 2)) > 0).tolist() == noise


def test_its_density_is_that_of_its_networks_run_frame_by_frame() -> None:
    model, guide = pair("SRVP")
    s = blobs()
    given = latents(guide, s)
    codes = [model.likelihood.read_maps(frame)[0] for frame in s.unbind(1)]
    start = Normal(*guide.start.moments(torch.cat(codes[:2], -1)))
    total = start.log_prob(given["h_1"]).sum(-1)
    state = guide.onward.start((len(s),), s)
    for t in range(T):
        state = guide.onward.step(codes[t], state)
        if t:
            noise = Normal(*guide.noise.moments(state[0]))
            total = total + noise.log_prob(given["z"][:, t - 1]).sum(-1)
    assert_alike(scores(guide, given, s), total, 1e-9)


def test_a_video_shorter_than_its_first_frames_repeats_its_last_one() -> None:
    sizes: Any = {"state_dim": 3, "content_dim": 4, "hidden_dims": (7,), "width": 4}
    model = SRVP((1, 8, 8), 2, **sizes).double().eval()
    guide = SRVPGuide(model, start_frames=4, start_dims=(5,), recurrent_dim=6).double()
    s, mask = ragged(blobs())
    h, _ = means(guide, s, mask)
    for row, n in enumerate((5, 3, 1)):
        frames = [min(t, n - 1) for t in range(4)]
        alone, _ = means(guide, s[row : row + 1, frames])
        assert_alike(h[row], alone[0], 1e-10)


def test_without_noise_there_is_no_network_of_it() -> None:
    sizes: Any = {"state_dim": 3, "content_dim": 4, "hidden_dims": (7,), "width": 4}
    guide = SRVPGuide(SRVP((1, 8, 8), 2, stochastic=False, **sizes))
    assert not hasattr(guide, "noise") and not hasattr(guide, "onward")
