"""Every site is scored once all have values: in plates, and padded."""

from __future__ import annotations

from typing import Any

import pyro
import pytest
import torch
from pyro import poutine

from ppl_models.dvae.conditionals import FrameConditionals
from tests.sequences import (
    EACH_MODEL,
    MODELS,
    D,
    Member,
    gradients,
    paths,
    ragged,
    scores,
)

# Sites that wait for one another ------------------------------------------------------------------


@pytest.mark.parametrize("title", ["VRNN", "DSAE"])
def test_sites_are_scored_once_all_have_values(title: str) -> None:
    model = next(m for m in MODELS if m.title == title).pair()[0]
    sites = FrameConditionals(model, 5)
    sites.w = torch.randn(2, model.global_dim).double() if model.global_dim else None
    z = sites.latent().expand((2,)).sample()
    with pytest.raises(RuntimeError, match="once z has a value"):
        sites.frames().log_prob(torch.zeros(2, 5, D).double())
    if model.autoregressive:
        with pytest.raises(RuntimeError, match="once s has a value"):
            sites.latent().log_prob(z)


# Plates and padding -------------------------------------------------------------------------------


@EACH_MODEL
def test_a_padded_batch_is_scored_as_one_by_one(member: Member) -> None:
    model = member.pair()[0].eval()
    values, lengths = paths(model), (7, 4, 1)
    padded, mask = ragged(values["s"], lengths)
    scored = scores(model, values | {"s": padded}, mask)
    for row, length in enumerate(lengths):
        alone = {n: v[row : row + 1] for n, v in values.items()}
        alone |= {n: alone[n][:, :length] for n in ("z", "s") if n in alone}
        for name, score in scores(model, alone).items():
            assert torch.allclose(scored[name][row], score[0], rtol=1e-5)
    total = sum(scored.values()).sum()
    assert all(torch.isfinite(grad).all() for grad in gradients(model, total))


@EACH_MODEL
def test_sampled_in_plates_of_sources_and_of_draws(member: Member) -> None:
    model = member.pair()[0].eval()

    def many() -> Any:
        with pyro.plate("draws", 4, dim=-2), pyro.plate("data", 3, dim=-1):
            return model.path(5)

    trace = poutine.trace(many).get_trace()
    trace.compute_log_prob()
    nodes = {n: s for n, s in trace.nodes.items() if "log_prob" in s and n in "swvz"}
    for name, site in nodes.items():
        assert site["value"].shape[:2] == site["log_prob"].shape == (4, 3), name
    alone = scores(model, {name: site["value"][2] for name, site in nodes.items()})
    for name, site in nodes.items():
        assert torch.allclose(alone[name], site["log_prob"][2])


@EACH_MODEL
def test_z_replayed_and_s_free_is_the_posterior_predictive(member: Member) -> None:
    model = member.pair()[0].eval()
    values = {n: v[:1].expand(500, *v.shape[1:]) for n, v in paths(model).items() if n != "s"}
    trace = poutine.trace(poutine.condition(model, values)).get_trace(size=500, length=7)
    s = trace.nodes["s"]["value"]
    assert s.shape == (500, 7, D) and s.std(0).min() > 0
    trace.compute_log_prob()
    assert torch.isfinite(trace.log_prob_sum())
