"""SVG: frames from the frames before them, at once and one after another."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor

from guides.video import SVGFPGuide
from inference import Objective, fit
from ppl_models.dvae import Memory
from ppl_models.errors import InputError
from ppl_models.likelihoods import ConvFrames
from ppl_models.video import SVG, SVGFP, SVGLP, VideoModel
from tests.videos import B, D, T, assert_alike, blobs, gradients, latents, pair, ragged, scores

both = pytest.mark.parametrize("name", ["SVGFP", "SVGLP"])


def by_hand(model: Any, s: Tensor, z: Tensor) -> Tensor:
    """Log p(z, s_{2:T} | s_1), frame by frame, of the equations in the module's docstring."""
    memory, total = Memory(stepwise=True), torch.zeros(len(s)).double()
    for t in range(1, s.shape[1]):
        code, maps = model.likelihood.read_maps(s[:, t - 1])
        mean, scale = model.latent(memory, code[:, None])
        g = model.predict(memory, code[:, None], z[:, t - 1 : t])[:, 0]
        if t > model.past:  # known by heart: the last of the first `past` frames
            maps = model.likelihood.read_maps(s[:, model.past - 1])[1]
        frame = model.likelihood.painted(g, maps if model.likelihood.decoder.skips else None)
        normal = dist.Normal(mean[:, 0], scale[:, 0]).to_event(1)
        total = total + normal.log_prob(z[:, t - 1]) + frame.log_prob(s[:, t])
    return total


@both
@pytest.mark.parametrize("skips", [True, False])
def test_at_once_is_frame_by_frame_in_value_and_gradient(name: str, skips: bool) -> None:
    model, guide = pair(name)
    if not skips:
        options: Any = {"recurrent_dim": 6, "width": 4, "code_dim": 6, "skips": False}
        model = type(model)((1, 8, 8), 2, **options).double().eval()
        guide = SVGFPGuide(model).double()
    s = blobs()
    z = latents(guide, s)
    found, wanted = scores(model, z, s), by_hand(model, s, z["z"])
    assert_alike(found, wanted, 1e-8)
    assert_alike(gradients(found.sum(), model), gradients(wanted.sum(), model), 1e-7)


def test_the_fixed_prior_is_standard_and_the_learned_one_reads_the_past() -> None:
    s = blobs()
    for name in ("SVGFP", "SVGLP"):
        model, _ = pair(name)
        mean, scale = model.latent(Memory(), model.features(s)[:, :-1])
        other = s.clone()
        other[:, 2] = 0
        moved = (model.latent(Memory(), model.features(other)[:, :-1])[0] - mean).abs().amax((0, 2))
        fixed = name == "SVGFP"
        assert fixed == bool((mean == 0).all() and (scale == 1).all())
        assert (moved > 0).tolist() == [False, False, not fixed, not fixed]


@both
@pytest.mark.parametrize(("past", "known", "wanted"), [(3, 5, [0, 1, 2, 2]), (9, 5, [0, 1, 2, 3])])
def test_maps_are_those_of_the_last_frame_known_by_heart(
    name: str, past: int, known: int, wanted: list[int]
) -> None:
    model, _ = pair(name)
    model.past = past
    maps = model.read(blobs(length=known)).maps
    found = model.by_heart(maps, 0, known - 1)
    assert torch.equal(found[0], maps[0][:, wanted])
    (one,) = model.by_heart(maps, known - 1, 6)  # of a future: one for all of its frames
    assert torch.equal(one, maps[0][:, [min(past, known) - 1]])


def test_a_pair_reads_its_frames_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """With and without padding; but anew after a step of training, and of other frames."""
    for name in ("SVGLP", "SRVP"):
        model, guide = pair(name)
        read, count = model.likelihood.read_maps, [0]

        def counted(x: Tensor, read: Any = read, count: Any = count) -> Any:
            count[0] += 1
            return read(x)

        monkeypatch.setattr(model.likelihood, "read_maps", counted)
        for data in ((blobs(),), ragged(blobs())):
            count[0] = 0
            z = latents(guide, *data)
            scores(model, z, *data)
            assert count[0] == 1
            latents(guide, *data)
            with torch.no_grad():
                next(model.parameters()).mul_(1.0)
            scores(model, z, *data)
            assert count[0] == 3


def test_networks_have_the_settings_asked_for() -> None:
    sizes: Any = {"recurrent_dim": 6, "width": 16, "code_dim": 6, "kind": "vgg"}
    model = SVG(frame_shape=(3, 8, 8), norm="batch", **sizes)
    kinds = {type(part).__name__ for part in model.modules()}
    assert "BatchNorm2d" in kinds and "GroupNorm" not in kinds
    assert model.frame_shape == (3, 8, 8) and model.data_dim == 192


def test_sizes_and_unusable_settings() -> None:
    sizes: Any = {"recurrent_dim": 6, "predictor_layers": 1, "width": 4, "code_dim": 6}
    model = SVGLP((1, 8, 8), 2, decoder_dims=(5,), **sizes)
    assert model.likelihood.decoder.hidden[0].out_features == 5
    assert isinstance(model, VideoModel) and len(model.predictor) == 1 and model.data_dim == D
    assert not model.forecasts_from_prior
    likelihood = ConvFrames((1, 8, 8), 7, read_dim=5, width=4, kind="vgg", pixels="bernoulli")
    assert SVGFP(likelihood=likelihood, recurrent_dim=6)(blobs().float()).shape == (B, T, D)
    for options in ({"latent_dim": 0}, {"past": 0}, {"likelihood": "gaussian"}):
        with pytest.raises(InputError, match=next(iter(options))):
            SVGFP(**options)


def test_a_moving_blob_is_told_better_than_by_the_last_frame() -> None:
    """Squared error of one frame ahead, of videos it has not seen: below copying."""
    torch.manual_seed(1)
    train, test = blobs(64, 7).float(), blobs(16, 7).float()
    model = SVGFP((1, 8, 8), 2, recurrent_dim=32, predictor_layers=1, width=16, scale=0.1)
    guide = SVGFPGuide(model, recurrent_dim=16)
    fit(model, guide, train, objective=Objective("meanfield"), epochs=60, learning_rate=5e-3)
    with torch.no_grad():
        trace = poutine.trace(model).get_trace(test)
    means = trace.nodes["s"]["fn"].distribution(test[:, 1:]).mean[:, 2:]
    error, copying = ((x - test[:, 3:]).square().mean() for x in (means, test[:, 2:-1]))
    assert error < copying
