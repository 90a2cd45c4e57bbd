from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from guides.multimodal import DMVAEGuide, JMVAEGuide, MMVAEGuide, MoPoEGuide, MVAEGuide
from inference import Objective, importance
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli
from ppl_models.likelihoods.discrete import Categorical
from ppl_models.modalities import read_rows
from ppl_models.multimodal import DMVAE, JMVAE, MMVAE, MVAE, MoPoE
from tests.modalities import LATENT, PATTERNS, evidence, exact_pair, posterior, simulated

PAIRS = [
    (JMVAE, JMVAEGuide),
    (MVAE, MVAEGuide),
    (DMVAE, DMVAEGuide),
    (MMVAE, MMVAEGuide),
    (MoPoE, MoPoEGuide),
]
IDS = [model.__name__ for model, _ in PAIRS]
PARTS = {"image": Bernoulli(6), "label": Categorical(1, 3), "sound": 4}


def rows_of(data: dict[str, Tensor], mask: Tensor | None) -> Any:
    return read_rows({n: x.shape[1] for n, x in data.items()}, (), data, mask, None, 1)


@pytest.mark.parametrize("mask", PATTERNS, ids=lambda m: "".join("01"[int(b)] for b in m))
def test_exact_experts_make_the_exact_posterior_and_the_bound_is_the_evidence(mask: Tensor) -> None:
    model, guide = exact_pair()
    data = simulated(model, 5)
    every = mask.expand(5, 3)
    distribution, known = guide.distribution(rows_of(data, every)), posterior(model, data, mask)
    assert (distribution.mean - known.mean).abs().max() < 1e-6
    assert (torch.diag_embed(distribution.variance) - known.covariance_matrix).abs().max() < 1e-6
    bound = Objective().bound(model, guide, (), {**data, "mask": every})
    assert (bound - evidence(model, data, mask)).abs().max() < 1e-6


def test_one_batch_holds_rows_of_every_pattern() -> None:
    model, guide = exact_pair()
    data = simulated(model, 8)
    bound = Objective().bound(model, guide, (), {**data, "mask": PATTERNS})
    each = [
        evidence(model, {n: x[i : i + 1] for n, x in data.items()}, mask)
        for i, mask in enumerate(PATTERNS)
    ]
    assert (bound - torch.cat(each)).abs().max() < 1e-6


def test_a_mixture_of_all_products_holds_the_exact_posterior_as_one_part() -> None:
    model, product = exact_pair()
    guide = MoPoEGuide(model, encoders=product.encoders).double()
    distribution = guide.distribution(rows_of(data := simulated(model, 4), None))
    whole = guide.family.all(-1).nonzero()[0, 0]
    known = posterior(model, data, torch.ones(3).bool())
    assert (distribution.loc[:, whole] - known.mean).abs().max() < 1e-6
    bound = Objective("trace", num_particles=40).bound(model, guide, (), data)
    truth = evidence(model, data, torch.ones(3).bool())
    assert (bound < truth).all()


@pytest.mark.parametrize(("model_class", "guide_class"), PAIRS, ids=IDS)
def test_what_stands_in_the_padding_reaches_neither_value_nor_gradient(
    model_class: Any, guide_class: Any
) -> None:
    model = model_class(PARTS, 3, hidden_dims=(8, 8))
    guide = guide_class(model)
    data = {name: x.detach().float() for name, x in model(size=8).items()}
    answers = []
    for padding in (torch.nan, 0.0, torch.inf):
        padded = {
            name: torch.where(PATTERNS[:, m, None], x, padding)
            for m, (name, x) in enumerate(data.items())
        }
        torch.manual_seed(1)
        parameters = [*model.parameters(), *guide.parameters()]
        loss = Objective().loss(model, guide, (), {**padded, "mask": PATTERNS})
        grads = torch.autograd.grad(loss, parameters)
        assert loss.isfinite() and all(g.isfinite().all() for g in grads)
        answers.append([loss.detach(), *grads])
    for other in answers[1:]:
        assert all(torch.equal(a, b) for a, b in zip(answers[0], other, strict=True))


@pytest.mark.parametrize(("model_class", "guide_class"), PAIRS, ids=IDS)
def test_rows_together_are_rows_one_by_one(model_class: Any, guide_class: Any) -> None:
    model = model_class(PARTS, 3, hidden_dims=(8, 8))
    guide = guide_class(model)
    data = model(size=8)
    codes = {n: torch.randn(8, 2) for n in ("z_image", "z_label", "z_sound")}
    codes["z"] = torch.randn(8, 3)

    def score(rows: slice) -> Tensor:
        part = {n: x[rows] for n, x in data.items()} | {"mask": PATTERNS[rows]}
        held = {n: z[rows] for n, z in codes.items()}
        total: Any = 0.0
        for fn, sign in ((model, 1), (guide, -1)):
            trace = poutine.trace(poutine.condition(fn, held)).get_trace(**part)
            trace.compute_log_prob()
            sites = (s for s in trace.nodes.values() if s["type"] == "sample" and "log_prob" in s)
            total = total + sign * sum(s["log_prob"] for s in sites if s["name"] != "data")
        return torch.as_tensor(total)

    together = score(slice(0, 8))
    alone = torch.cat([score(slice(i, i + 1)) for i in range(8)])
    assert torch.allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize(("model_class", "guide_class"), PAIRS, ids=IDS)
def test_a_row_of_which_nothing_is_observed_has_the_prior_and_a_bound_of_zero(
    model_class: Any, guide_class: Any
) -> None:
    model = model_class(PARTS, 3, hidden_dims=(8, 8))
    guide = guide_class(model)
    data = model(size=3)
    mask = torch.tensor([[1, 0, 1], [0, 0, 0], [0, 0, 0]]).bool()
    for kind in ("trace", "meanfield"):
        bound = Objective(kind).bound(model, guide, (), {**data, "mask": mask})
        assert bound[0] != 0 and bound[1:].abs().max() < 1e-6


@pytest.mark.parametrize(("model_class", "guide_class"), PAIRS, ids=IDS)
def test_the_number_of_parameters_is_linear_in_the_number_of_modalities(
    model_class: Any, guide_class: Any
) -> None:
    def count(modalities: int) -> int:
        model = model_class({f"modality{m}": 5 for m in range(modalities)}, 3, hidden_dims=(8, 8))
        return sum(p.numel() for part in (model, guide_class(model)) for p in part.parameters())

    first, second, third = count(3), count(4), count(5)
    grown = second - first
    mask_inputs = 8 if model_class is JMVAE else 0  # its joint encoder reads the mask too
    assert third - second == grown and grown < first and mask_inputs < grown


def test_a_mixture_of_experts_weighs_observed_modalities_alike() -> None:
    model, product = exact_pair()
    guide = MMVAEGuide(model, encoders=product.encoders).double()
    data = simulated(model, 2)
    mask = torch.tensor([[True, False, True], [False, True, False]])
    distribution = guide.distribution(rows_of(data, mask))
    z = torch.randn(2, LATENT).double()
    loc, scale = guide.experts(rows_of(data, mask))
    each = torch.distributions.Normal(loc, scale).log_prob(z[:, None]).sum(-1)
    known = torch.stack([each[0, [0, 2]].logsumexp(0) - torch.tensor(2.0).log(), each[1, 1]])
    assert torch.allclose(distribution.log_prob(z), known)


def test_of_many_modalities_a_part_of_the_subsets_stands_for_all() -> None:
    model = MoPoE({f"modality{m}": 2 for m in range(12)}, 2, hidden_dims=(4, 4))
    guide = MoPoEGuide(model, max_subsets=20)
    assert guide.family.shape == (20, 12) and len(guide.family.unique(dim=0)) == 20
    assert guide.family.all(-1).any() and (guide.family.sum(-1) == 1).sum() >= 12
    again = MoPoEGuide(model, max_subsets=20, seed=1)
    assert not torch.equal(guide.family, again.family)
    mask = torch.zeros(3, 12, dtype=torch.bool)
    mask[0, 3], mask[1] = True, True
    data = {name: x.detach() for name, x in model(size=3).items()}
    bound = Objective().bound(model, guide, (), {**data, "mask": mask})
    assert bound[:2].isfinite().all() and bound[2].abs() < 1e-6


def test_jmvae_reads_one_modality_by_its_own_encoder_and_several_by_the_joint_one() -> None:
    model = JMVAE(PARTS, 3, hidden_dims=(8, 8))
    guide = JMVAEGuide(model)
    data = model(size=8)
    distribution = guide.distribution(rows_of(data, PATTERNS))
    other = copy.deepcopy(guide)
    nn.init.zeros_(other.joint[-1].weight)
    nn.init.zeros_(other.encoders["image"][-1].weight)
    changed = (other.distribution(rows_of(data, PATTERNS)).mean != distribution.mean).any(-1)
    several, image = PATTERNS.sum(-1) > 1, torch.tensor([True, False, False])
    assert torch.equal(changed, several | (PATTERNS == image).all(-1))


def test_two_modalities_are_joined_without_a_mask() -> None:
    model = JMVAE({"image": 4, "sound": 5}, 3, hidden_dims=(8, 8))
    assert JMVAEGuide(model).joint[0].in_features == 16


def test_a_private_code_follows_its_modality_and_costs_nothing_without_it() -> None:
    model = DMVAE(PARTS, 3, hidden_dims=(8, 8))
    guide = DMVAEGuide(model)
    data = model(size=8)
    trace = poutine.trace(guide).get_trace(**data, mask=PATTERNS)
    for m, name in enumerate(PARTS):
        fn = trace.nodes[f"z_{name}"]["fn"]
        rests = (fn.mean == 0).all(-1) & (fn.variance == 1).all(-1)
        assert torch.equal(rests, ~PATTERNS[:, m])


@pytest.mark.parametrize("peek", [False, True])
def test_a_private_code_of_what_is_not_observed_is_inferred_only_with_peek(peek: bool) -> None:
    model = DMVAE(PARTS, 3, hidden_dims=(8, 8))
    guide = DMVAEGuide(model, peek=peek)
    data = model(size=8)
    observed = torch.tensor([True, False, False]).expand(8, 3)
    cross = poutine.trace(guide).get_trace(**data, observed=observed).nodes
    whole = poutine.trace(guide).get_trace(**data).nodes
    assert not torch.equal(cross["z"]["fn"].mean, whole["z"]["fn"].mean)
    assert torch.equal(cross["z_image"]["fn"].mean, whole["z_image"]["fn"].mean)
    assert torch.equal(cross["z_sound"]["fn"].mean, whole["z_sound"]["fn"].mean) is peek
    assert bool((cross["z_sound"]["fn"].mean == 0).all()) is not peek


def test_one_modality_is_scored_with_codes_inferred_from_all() -> None:
    model, guide = exact_pair()
    data = simulated(model, 20)
    mask = torch.tensor([True, False, False]).expand(20, 3)
    truth = evidence(model, data, mask[0])
    observed = torch.ones_like(mask)
    found = importance(model, guide, **data, mask=mask, observed=observed, num_samples=4000)
    # The posterior given all is narrower than that given one: the bound is tight in most rows only
    gap = truth - found.iwae
    assert (found.elbo < truth).all() and gap.median() < 0.15
    assert gap.mean() < 0.2 * (truth - found.elbo).mean()


def test_a_joint_encoder_needs_a_hidden_layer_and_single_ones_do_not() -> None:
    model = JMVAE({"image": 4, "sound": 3}, 2, hidden_dims=())
    assert isinstance(MVAEGuide(model).encoders["image"][0], nn.Linear)
    with pytest.raises(InputError, match="hidden_dims"):
        JMVAEGuide(model)
