"""Guides of dynamical VAEs: what they read, their draws and moments, padding, and the bounds."""

from __future__ import annotations

import copy
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from pyro.distributions import Delta
from torch import Tensor
from torch.distributions import Normal

from guides.dvae.frame_vae import FrameVAEGuide
from inference import Objective, check
from inference.randomness import seeded
from ppl_models.dvae.frame_vae import FrameVAE
from ppl_models.errors import InputError
from ppl_models.likelihoods.spectra import ComplexGaussian
from ppl_models.networks.lstm import Span
from ppl_models.networks.mlp import LSTM
from tests.sequences import (
    AUTOREGRESSIVE,
    EACH,
    FAMILY,
    LATENT,
    LATENT_IN_TABLE,
    D,
    L,
    Member,
    chain_of,
    global_of,
    gradients,
    paths,
    ragged,
    reached,
    reads,
)

KINDS = pytest.mark.parametrize("kind", ["trace", "meanfield"])


def latents(model: Any, size: int = 3, length: int = 7) -> tuple[Tensor, Tensor, Tensor | None]:
    values = paths(model, size, length)
    return values["s"], values["z"], global_of(values)


# What is read -------------------------------------------------------------------------------------


@LATENT_IN_TABLE
def test_every_latent_is_read_off_what_the_table_says(member: Member) -> None:
    model, guide = member.pair()
    leaves = [None if v is None else v.requires_grad_() for v in latents(model, 1)]
    s, z, w = leaves
    moments = chain_of(guide, s, w).moments(z)
    assert torch.equal(reached(moments, s), reads(member.posterior, "s", 7))
    assert torch.equal(reached(moments, z), reads(member.posterior, "z", 7))
    if w is not None:
        assert model.global_site in member.posterior.split(", ") and reached(moments, w).all()
        code = guide.encode_global(model.features(s), None)
        (grad,) = torch.autograd.grad(sum(part.sum() for part in code), s)
        assert (grad != 0).any(-1).all()


# Draws and moments --------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [1, 7])
@LATENT
def test_the_moments_kept_of_a_draw_are_those_of_its_path(member: Member, length: int) -> None:
    """In value, and the draw has them as its own: z = mean + scale e at noise e of the seed."""
    model, guide = member.pair()
    s, _, w = latents(model, length=length)
    chain = chain_of(guide, s, w)
    state = torch.get_rng_state()
    z = chain.draw(torch.Size((3,)))
    torch.set_rng_state(state)
    kept, afresh = chain.moments(z), chain.moments(z.clone())
    for a, b in zip(kept, afresh, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-9)
    mean, scale = kept
    assert torch.allclose(z, mean + scale * torch.empty_like(z).normal_())


@LATENT
def test_without_noise_a_draw_is_the_path_of_means(member: Member) -> None:
    model, guide = member.pair()
    s, _, _ = latents(model)
    nodes = poutine.trace(guide.path).get_trace(s, None, 0.0).nodes
    z, w = nodes["z"]["value"], nodes[model.global_site]["value"] if model.global_dim else None
    assert torch.allclose(chain_of(guide, s, w).moments(z.clone())[0], z)
    if w is not None:
        assert isinstance(nodes[model.global_site]["fn"], Delta)
        assert torch.allclose(w, guide.encode_global(model.features(s), None)[0])
    again = poutine.trace(guide.path).get_trace(s, None, 0.0).nodes["z"]["value"]
    assert torch.equal(again, z)


@LATENT
def test_noise_is_the_share_of_the_scale_that_is_drawn(member: Member) -> None:
    model, guide = member.pair()
    s, _, _ = latents(model)
    s = s.repeat(40, 1, 1)
    torch.manual_seed(0)
    nodes = poutine.trace(guide.path).get_trace(s, None, 0.5).nodes
    z, w = nodes["z"]["value"], nodes[model.global_site]["value"] if model.global_dim else None
    mean, scale = chain_of(guide, s, w).moments(z.clone())
    share = ((z - mean) / scale).detach()
    # four standard errors of a standard deviation
    assert abs(float(share.std()) - 0.5) < 4 * 0.5 / (2 * share.numel()) ** 0.5


@LATENT
def test_draws_reach_the_guide_s_parameters(member: Member) -> None:
    """The gradient of z_T in the seed's noise is that of finite differences of a weight."""
    model, guide = member.pair()
    s, _, _ = latents(model, length=4)

    def end() -> Tensor:
        with seeded(3):
            return guide(s)[:, -1].sum()

    weight = guide.encoder.context.weight
    (grad,) = torch.autograd.grad(end(), weight)
    step = 1e-6 * torch.randn_like(weight)
    with torch.no_grad():
        weight += step
        above = end()
        weight -= 2 * step
        below = end()
    assert torch.allclose((above - below) / 2, (grad * step).sum(), rtol=1e-4, atol=1e-12)


@LATENT
def test_long_sequences_in_segments_have_the_same_gradient(member: Member) -> None:
    """Truncated, the same value, and another gradient wherever something is recurrent."""
    model, guide = member.pair()
    s = paths(model)["s"]
    found = []
    for span in (Span(), Span(3), Span(3, truncated=True)):
        guide.span = span
        with seeded(2):
            loss = Objective(kind="meanfield").loss(model, guide, (s,))
        found.append([loss, *gradients(guide, loss)])
    whole, segments, truncated = found
    assert all(torch.allclose(a, b) for a, b in zip(whole, segments, strict=True))
    assert torch.allclose(whole[0], truncated[0])
    same = all(torch.allclose(a, b) for a, b in zip(whole, truncated, strict=True))
    recurrent = any(isinstance(part, LSTM) for net in (model, guide) for part in net.modules())
    assert same == (not recurrent)


# Padding and extremes -----------------------------------------------------------------------------


@LATENT
def test_a_padded_batch_equals_one_by_one(member: Member) -> None:
    """Densities and moments at given latents, and the path of means; whatever the padding holds."""
    model, guide = member.pair()
    s, z, w = latents(model)
    padded, mask = ragged(s, (7, 4, 1))
    cleaned = torch.where(mask[..., None], s, 0.0)
    moments = chain_of(guide, cleaned, w, mask).moments(z)
    means = poutine.trace(guide.path).get_trace(padded, mask, 0.0).nodes["z"]["value"]
    for row, n in enumerate((7, 4, 1)):
        one, code = s[row : row + 1, :n], None if w is None else w[row : row + 1]
        alone = chain_of(guide, one, code).moments(z[row : row + 1, :n])
        for a, b in zip(moments, alone, strict=True):
            assert torch.allclose(a[row, :n], b[0], rtol=1e-5)
        mean = poutine.trace(guide.path).get_trace(one, None, 0.0).nodes["z"]["value"]
        assert torch.allclose(means[row, :n], mean[0], rtol=1e-5)


@KINDS
@EACH
def test_padding_reaches_neither_value_nor_gradient(member: Member, kind: str) -> None:
    model, guide = member.pair()
    s = paths(model)["s"]
    padded, mask = ragged(s, (7, 4, 1))
    found = []
    for filled in (padded, torch.where(mask[..., None], s, 1e3)):
        with seeded(1):
            loss = Objective(kind=kind).loss(model, guide, (filled, mask))
        found.append([loss, *gradients(model, loss)])
    assert all(torch.isfinite(part).all() for part in found[0])
    assert all(torch.allclose(a, b) for a, b in zip(*found, strict=True))


@EACH
def test_one_frame_of_one_sequence(member: Member) -> None:
    model, guide = member.pair()
    s = paths(model, 1, 1)["s"]
    loss = Objective().loss(model, guide, (s,))
    assert loss.shape == () and torch.isfinite(loss)
    assert torch.isfinite(Objective().bound(model, guide, (s,))).all()


@EACH
def test_silence_and_clipping_are_generated(member: Member) -> None:
    """Powers of 0, and of 1e8, in single precision: finite bounds and gradients."""
    model, guide = member.pair(ComplexGaussian(D))
    model, guide = model.float(), guide.float()
    s = torch.cat([torch.zeros(2, 6, D), torch.full((1, 6, D), 1e8), torch.rand(1, 6, D)])
    s[1, 3:] = 1e8
    loss = Objective().loss(model, guide, (s,))
    loss.backward()
    grads = [p.grad for m in (model, guide) for p in m.parameters() if p.grad is not None]
    assert torch.isfinite(loss) and all(torch.isfinite(grad).all() for grad in grads)


# The bounds ---------------------------------------------------------------------------------------


@EACH
def test_the_pair_passes_the_check(member: Member, untouched: None) -> None:
    with seeded(0):
        model, guide = member.pair()
        padded, mask = ragged(paths(model)["s"], (7, 7, 4))
        report = check(model, guide, padded, mask)
    shapes = {row.name: (row.batch_shape, row.event_shape) for row in report.sites}
    assert shapes.pop("s") == ((3,), (7, D))
    assert shapes.pop("z", None) == (((3,), (7, L)) if model.latent_dim else None)
    assert shapes == ({model.global_site: ((3,), (2,))} if model.global_dim else {})


@LATENT
def test_sampled_and_closed_form_bounds_agree(member: Member) -> None:
    """Within 4 standard errors of 600 draws of each."""
    model, guide = member.pair()
    s = paths(model, 3, 5)["s"].repeat(200, 1, 1)
    a, b = (Objective(kind=kind).bound(model, guide, (s,)) for kind in ("trace", "meanfield"))
    a, b = (part.reshape(200, 3) for part in (a, b))
    error = ((a.var(0) + b.var(0)) / 200).sqrt()
    assert ((a.mean(0) - b.mean(0)).abs() < 4 * error).all()


@KINDS
@EACH
def test_validation_changes_no_loss(member: Member, kind: str) -> None:
    """Also where Pyro's traces are not used, and where generated frames are read again."""
    model, guide = member.pair()
    s, mask = ragged(paths(model)["s"], (7, 4, 2))
    for probability in (0.0, 0.5):
        model.sampling_probability, losses = probability, []
        for validate in (True, False):
            pyro.enable_validation(validate)
            with seeded(2):
                losses.append(Objective(kind=kind).loss(model, guide, (s, mask)))
        assert torch.allclose(*losses)


@KINDS
@LATENT
def test_the_kl_weight_takes_effect(member: Member, kind: str) -> None:
    """Linear in it: D + beta R, at the same draws."""
    model, guide = member.pair()
    s = paths(model)["s"]
    losses = []
    for beta in (0.0, 0.5, 1.0):
        with seeded(2):
            losses.append(Objective(kind=kind, kl_weight=beta).loss(model, guide, (s,)))
    assert torch.allclose(losses[0] + losses[2], 2 * losses[1])
    assert not torch.allclose(losses[0], losses[2])


@LATENT
def test_many_draws_at_once_are_draws_one_by_one(member: Member) -> None:
    """IWAE in a plate of draws, in chunks to the same value; each draw scored as if alone."""
    model, guide = member.pair()
    s, mask = ragged(paths(model)["s"], (7, 4, 2))

    def draws(run: Any, *data: Tensor) -> Tensor:
        with pyro.plate("draws", 5, dim=-2):
            return run(*data)

    guided = poutine.trace(draws).get_trace(guide, s, mask)
    trace = poutine.trace(poutine.replay(draws, guided)).get_trace(model, s, mask)
    for each in (guided, trace):
        each.compute_log_prob()
    one = {n: guided.nodes[n]["value"][2] for n in ("z", "w", "v") if n in guided.nodes}
    again = poutine.trace(poutine.condition(guide, one)).get_trace(s, mask)
    alone = poutine.trace(poutine.condition(model, one)).get_trace(s, mask)
    for many, single in ((guided, again), (trace, alone)):
        single.compute_log_prob()
        for name in (*one, "s"):
            if name in many.nodes:
                assert many.nodes[name]["log_prob"].shape == (5, 3)
                wanted = single.nodes[name]["log_prob"]
                assert torch.allclose(many.nodes[name]["log_prob"][2], wanted)


@LATENT
def test_several_particles_and_bounds_of_many_draws(member: Member) -> None:
    """A bound of many draws is tighter; chunks only save memory."""
    model, guide = member.pair()
    s = paths(model, 2, 5)["s"].repeat(50, 1, 1)
    with torch.no_grad():
        one = Objective(num_particles=2).loss(model, guide, (s,))
        many = Objective(kind="iwae", num_particles=8, chunk=4).loss(model, guide, (s,))
    assert many < one
    chunked = Objective(kind="iwae", num_particles=4, chunk=2).loss(model, guide, (s[:2],))
    assert all(torch.isfinite(grad).all() for grad in gradients(guide, chunked))


@AUTOREGRESSIVE
def test_scheduled_sampling_trains(member: Member) -> None:
    """Where frames are read by chance the loss still has a gradient in every parameter."""
    model, guide = member.pair()
    s = paths(model)["s"]
    model.sampling_probability = 0.5
    with seeded(1):
        loss = Objective(kind="meanfield").loss(model, guide, (s,))
    loss.backward()
    for parameter in (*model.parameters(), *guide.parameters()):
        assert torch.isfinite(parameter.grad).all() and parameter.grad.abs().sum() > 0


# Ownership, and mistakes --------------------------------------------------------------------------


@LATENT
def test_model_and_guide_own_disjoint_parameters_and_are_copied_together(member: Member) -> None:
    model, guide = member.pair()
    assert not {id(p) for p in model.parameters()} & {id(p) for p in guide.parameters()}
    again, twin = copy.deepcopy((model, guide))
    assert twin.model is again
    s = paths(model)["s"]
    losses = []
    for pair in ((model, guide), (again, twin)):
        with seeded(1):
            losses.append(Objective().loss(*pair, (s,)))
    assert torch.equal(*losses)


def test_guides_say_what_they_need() -> None:
    guide = FrameVAEGuide(FrameVAE(D, L))
    with pytest.raises(InputError, match="simulate with the model"):
        guide()
    with pytest.raises(InputError, match="paths, frames, 3"):
        guide(torch.zeros(3, 4))


def test_normal_latents_are_scored_by_their_moments() -> None:
    model, guide = FAMILY[0].pair()
    s, _, _ = latents(model)
    site = poutine.trace(guide).get_trace(s).nodes["z"]
    mean, scale = guide.encoder(s)
    wanted = Normal(mean, scale).log_prob(site["value"]).sum((-2, -1))
    assert torch.allclose(site["fn"].log_prob(site["value"]), wanted)
