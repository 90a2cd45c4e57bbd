"""What is told so far scores every site: in plates, padded, and by what a guide left on its way."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pyro
import pytest
import torch
from pyro import poutine
from torch import Tensor

from ppl_models.dvae.conditionals import Told
from tests.sequences import (
    FAMILY,
    STORIES,
    STORY,
    D,
    Member,
    gradients,
    paths,
    ragged,
    scores,
)

# Sites that wait for one another ------------------------------------------------------------------


@pytest.mark.parametrize("title", ["VRNN", "DSAE"])
def test_sites_are_scored_once_the_story_is_told(title: str) -> None:
    story = next(m for m in STORIES if m.title == title).pair()[0]
    told = Told(story, 5, None)
    told.w = torch.randn(2, story.code_dim).double() if story.code_dim else None
    z = told.latent().expand((2,)).sample()
    with pytest.raises(RuntimeError, match="once z is told"):
        told.frames().log_prob(torch.zeros(2, 5, D).double())
    if story.feeds_back:
        with pytest.raises(RuntimeError, match="once s is told"):
            told.latent().log_prob(z)


# Plates and padding -------------------------------------------------------------------------------


@STORY
def test_a_padded_batch_is_scored_as_one_by_one(member: Member) -> None:
    story = member.pair()[0].eval()
    values, lengths = paths(story), (7, 4, 1)
    padded, mask = ragged(values["s"], lengths)
    scored = scores(story, values | {"s": padded}, mask)
    for row, length in enumerate(lengths):
        alone = {n: v[row : row + 1] for n, v in values.items()}
        alone |= {n: alone[n][:, :length] for n in ("z", "s") if n in alone}
        for name, score in scores(story, alone).items():
            assert torch.allclose(scored[name][row], score[0], rtol=1e-5)
    total = sum(scored.values()).sum()
    assert all(torch.isfinite(grad).all() for grad in gradients(story, total))


@STORY
def test_told_in_plates_of_sources_and_of_draws(member: Member) -> None:
    story = member.pair()[0].eval()

    def many() -> Any:
        with pyro.plate("draws", 4, dim=-2), pyro.plate("data", 3, dim=-1):
            return story.path(5)

    trace = poutine.trace(many).get_trace()
    trace.compute_log_prob()
    nodes = {n: s for n, s in trace.nodes.items() if "log_prob" in s and n in "swvz"}
    for name, site in nodes.items():
        assert site["value"].shape[:2] == site["log_prob"].shape == (4, 3), name
    alone = scores(story, {name: site["value"][2] for name, site in nodes.items()})
    for name, site in nodes.items():
        assert torch.allclose(alone[name], site["log_prob"][2])


@STORY
def test_z_replayed_and_s_free_is_the_posterior_predictive(member: Member) -> None:
    story = member.pair()[0].eval()
    values = {n: v[:1].expand(500, *v.shape[1:]) for n, v in paths(story).items() if n != "s"}
    trace = poutine.trace(poutine.condition(story, values)).get_trace(size=500, length=7)
    s = trace.nodes["s"]["value"]
    assert s.shape == (500, 7, D) and s.std(0).min() > 0
    trace.compute_log_prob()
    assert torch.isfinite(trace.log_prob_sum())


# What a guide leaves ------------------------------------------------------------------------------


def left(member: Member) -> tuple[Any, Any, Tensor, Any]:
    story, guide = member.pair()
    s = paths(story)["s"]
    return story, guide, s, poutine.trace(guide).get_trace(s)


LEAVING = pytest.mark.parametrize(
    "member",
    [m for m in FAMILY if m.title in ("VRNN", "SRNN")],
    ids=["VRNN", "SRNN"],
)


@LEAVING
def test_what_a_guide_left_is_used_once(member: Member) -> None:
    story, _, s, guided = left(member)
    z = guided.nodes["z"]["value"]
    reading = story.take(z, s)
    assert reading is not None and reading.z is z
    h = story.read(story.told_past(story.features(s), z))
    assert torch.allclose(reading.h, h)
    assert story.take(z, s) is None


@pytest.mark.parametrize(
    "cause", ["other z", "other s", "a step since", "no graph", "a copy", "a pickle"]
)
@LEAVING
def test_what_a_guide_left_is_never_stale(member: Member, cause: str) -> None:
    story, guide, s, guided = left(member)
    z = guided.nodes["z"]["value"]
    if cause == "a step since":
        with torch.no_grad():
            next(story.parameters()).mul_(1.1)
    elif cause == "no graph":
        with torch.no_grad():
            z = poutine.trace(guide).get_trace(s).nodes["z"]["value"]
    elif cause == "a copy":
        story, _ = copy.deepcopy((story, guide))
    elif cause == "a pickle":
        story = pickle.loads(pickle.dumps(story))
    z = z.clone() if cause == "other z" else z
    assert story.take(z, s + 1 if cause == "other s" else s) is None


@pytest.mark.parametrize("probability", [0.0, 0.5])
@LEAVING
def test_a_padded_batch_finds_what_the_guide_left(member: Member, probability: float) -> None:
    """With scheduled sampling, story and guide would else read different frames."""
    story, guide, s, _ = left(member)
    story.sampling_probability = probability
    padded, mask = ragged(s, (7, 4, 1))
    guided = poutine.trace(guide).get_trace(padded, mask)
    reading = story._reading
    assert reading is not None
    trace = poutine.trace(poutine.replay(story, guided)).get_trace(padded, mask)
    trace.compute_log_prob()
    assert story._reading is None
    raw = reading[0].raw
    if probability:
        wanted = story.likelihood(raw).log_prob(torch.where(mask[..., None], s, 0.0))
        assert torch.allclose(trace.nodes["s"]["log_prob"], (wanted * mask).sum(-1))
