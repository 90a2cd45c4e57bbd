from __future__ import annotations

from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor
from torch.distributions import kl_divergence

from guides.multimodal import DMVAEGuide, JMVAEGuide, MoPoEGuide, MVAEGuide
from inference import Objective, fit
from inference.errors import PairError
from inference.objectives.multimodal import SubsetKL, SubsetObjective, presence, subsets
from inference.randomness import seeded
from inference.schedules import linear
from inference.tasks.imputation import impute
from ppl_models.errors import InputError
from ppl_models.modalities import read_rows
from ppl_models.multimodal import DMVAE, JMVAE, MVAE, MoPoE
from tests.modalities import ALL, PATTERNS, WIDTHS, evidence, exact_pair, simulated

NAMES = tuple(WIDTHS)


def test_own_terms_are_the_evidence_of_the_whole_and_of_each_single_modality() -> None:
    model, guide = exact_pair()
    data = simulated(model, 6)
    masks = [ALL, *torch.eye(3).bool()]
    known = -sum(evidence(model, data, mask).mean() for mask in masks)
    loss = SubsetObjective(modalities=NAMES).loss(model, guide, (), data)
    assert (loss - known).abs() < 1e-6


def test_a_part_counts_once_in_a_row() -> None:
    model, guide = exact_pair()
    data = simulated(model, 8)
    known = torch.zeros(()).double()
    for i, mask in enumerate(PATTERNS):
        row = {name: x[i : i + 1] for name, x in data.items()}
        parts = {tuple(mask.tolist())} | {tuple((mask & s).tolist()) for s in torch.eye(3).bool()}
        known -= sum(evidence(model, row, torch.tensor(part)).sum() for part in parts) / 8
    loss = SubsetObjective(modalities=NAMES).loss(model, guide, (), {**data, "mask": PATTERNS})
    assert (loss - known).abs() < 1e-6


def test_random_subsets_are_larger_than_one_and_smaller_than_all() -> None:
    drawn = list(subsets(5, 40))
    assert len(drawn) == 45 and all(2 <= int(s.sum()) <= 4 for s in drawn[5:])
    assert len({tuple(s.tolist()) for s in drawn[5:]}) > 10
    assert not list(subsets(1, 3)) and len(list(subsets(2, 3))) == 2


def test_cross_terms_generate_all_modalities_given_each_one() -> None:
    model, guide = exact_pair()
    data = simulated(model, 5)
    torch.manual_seed(3)
    loss = SubsetObjective(modalities=NAMES, terms="cross").loss(model, guide, (), data)
    torch.manual_seed(3)
    whole = {"mask": ALL.expand(5, 3)}
    known = Objective().loss(model, guide, (), data)
    for single in torch.eye(3).bool():
        known += Objective().loss(
            model, guide, (), data | whole | {"observed": single.expand(5, 3)}
        )
    assert (loss - known).abs() < 1e-9
    # a looser bound on the same evidence
    assert loss > -4 * evidence(model, data, ALL).mean()


def test_weights_shape_the_loss_and_not_what_is_reported() -> None:
    model, guide = exact_pair()
    data = simulated(model, 5)
    plain, weighted = Objective(), SubsetObjective(modalities=NAMES, weights=(1.0, 1.0, 50.0))
    torch.manual_seed(0)
    bound = plain.bound(model, guide, (), data)
    torch.manual_seed(0)
    assert torch.equal(weighted.bound(model, guide, (), data), bound)
    unweighted = SubsetObjective(modalities=NAMES, weights=(1.0, 1.0, 1.0))
    torch.manual_seed(0)
    one = unweighted.loss(model, guide, (), data)
    torch.manual_seed(0)
    assert weighted.loss(model, guide, (), data) > one + 10


def test_penalties_are_those_of_the_whole_and_count_once() -> None:
    model, guide = exact_pair()
    data = simulated(model, 5)
    plain = SubsetObjective(modalities=NAMES).loss(model, guide, (), data)
    penalties = (SubsetKL(NAMES, 2.0),)
    penalised = SubsetObjective(modalities=NAMES, penalties=penalties).loss(model, guide, (), data)
    assert (penalised - plain - 2 * _divergence(model, guide, data)).abs() < 1e-6


def test_a_kl_weight_is_that_of_every_term() -> None:
    model, guide = exact_pair()
    data = simulated(model, 5)
    weight = linear(10)
    torch.manual_seed(0)
    loss = SubsetObjective(kl_weight=weight, modalities=NAMES).loss(model, guide, (), data, step=5)
    torch.manual_seed(0)
    known = Objective(kl_weight=0.5).loss(model, guide, (), data)
    for single in torch.eye(3).bool():
        masks = {"mask": single.expand(5, 3), "observed": single.expand(5, 3)}
        known += Objective(kl_weight=0.5).loss(model, guide, (), data | masks)
    assert (loss - known).abs() < 1e-9


def test_a_further_subset_adds_its_own_divergence() -> None:
    """Of three modalities a larger subset is one of three pairs; the site may have another name."""
    model, guide = exact_pair()
    data = simulated(model, 5)
    found = []
    for random in (0, 1):
        torch.manual_seed(0)
        penalty = SubsetKL(NAMES, 1.0, random, site="z")
        found.append(Objective(penalties=(penalty,)).loss(model, guide, (), data))
    pairs = torch.stack([_apart(guide, data, ~single) for single in torch.eye(3).bool()])
    assert ((found[1] - found[0] - pairs).abs() < 1e-6).sum() == 1
    with pytest.raises(PairError, match="code"):
        objective = Objective(penalties=(SubsetKL(NAMES, 1.0, site="code"),))
        objective.loss(model, guide, (), data)


def _apart(guide: MVAEGuide, data: dict[str, Tensor], subset: Tensor) -> Tensor:
    """Mean KL(q(z | all) || q(z | subset)), in closed form."""
    all_, some = (
        guide.distribution(read_rows(WIDTHS, (), data, None, observed.expand(5, 3), 1))
        for observed in (ALL, subset)
    )
    return torch.distributions.kl_divergence(all_, some).mean()


def _divergence(model: Any, guide: MVAEGuide, data: dict[str, Tensor]) -> Tensor:
    """Sum KL(q(z | all) || q(z | one)) over the modalities, in closed form."""
    return torch.stack([_apart(guide, data, single) for single in torch.eye(3).bool()]).sum()


def test_the_penalty_teaches_encoders_that_no_bound_of_complete_rows_does() -> None:
    model = JMVAE({"image": 4, "sound": 3}, 2, hidden_dims=(8, 8))
    guide = JMVAEGuide(model)
    data = {name: x.detach() for name, x in model(size=6).items()}

    def reached(objective: Objective) -> bool:
        guide.zero_grad()
        objective.loss(model, guide, (), data).backward()
        return all(p.grad is not None and p.grad.any() for p in guide.encoders.parameters())

    assert not reached(Objective())
    assert reached(Objective(penalties=(SubsetKL(("image", "sound")),)))


def test_the_penalty_counts_rows_that_have_more_than_one_modality() -> None:
    model, guide = exact_pair()
    data = simulated(model, 4)
    single = torch.eye(3).bool()[0].expand(4, 3)
    objective = Objective(penalties=(SubsetKL(NAMES, 1.0),))
    torch.manual_seed(0)
    plain = Objective().loss(model, guide, (), {**data, "mask": single})
    torch.manual_seed(0)
    assert objective.loss(model, guide, (), {**data, "mask": single}) == plain


def test_a_mixture_has_its_divergence_at_the_draw() -> None:
    model = MoPoE({"image": 4, "sound": 3}, 2, hidden_dims=(8, 8))
    objective = Objective(penalties=(SubsetKL(("image", "sound")),))
    assert objective.loss(model, MoPoEGuide(model), (), model(size=5)).isfinite()


def test_what_is_present_is_read_from_mask_places_or_names() -> None:
    x = torch.zeros(4, 2)
    assert torch.equal(presence(("a", "b"), (x, None), {}), torch.tensor([[True, False]] * 4))
    assert torch.equal(presence(("a", "b"), (), {"b": x}), torch.tensor([[False, True]] * 4))
    mask = torch.eye(2).bool()
    assert presence(("a", "b"), (), {"b": x, "mask": mask}) is mask
    with pytest.raises(InputError, match="3 names for 2 columns"):
        presence(("a", "b", "c"), (), {"mask": mask})


@pytest.mark.parametrize("wrong", [{"terms": "all"}, {"weights": (1.0,)}])
def test_settings_that_have_no_meaning_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="terms|weights"):
        SubsetObjective(modalities=NAMES, **wrong)


def _classes(size: int) -> tuple[dict[str, Tensor], Tensor]:
    """Draw pairs of noisy copies of four patterns, of which pairs have the number in common."""
    label = torch.randint(4, (size,))
    patterns = {"image": torch.eye(4).repeat(1, 2), "sound": 1 - torch.eye(4).roll(1, 0)}
    data = {n: 2 * p[label] + 0.3 * torch.randn(size, p.shape[1]) for n, p in patterns.items()}
    return data, label


@pytest.mark.slow
@pytest.mark.parametrize(("model_class", "guide_class"), [(MVAE, MVAEGuide), (DMVAE, DMVAEGuide)])
def test_one_modality_is_generated_given_the_other(model_class: Any, guide_class: Any) -> None:
    data, _ = _classes(2000)
    model = model_class({"image": 8, "sound": 4}, 4, hidden_dims=(32, 32))
    guide = guide_class(model)
    fit(
        model,
        guide,
        data,
        epochs=20,
        batch_size=50,
        objective=SubsetObjective("meanfield", modalities=("image", "sound"), terms="cross"),
        learning_rate=3e-3,
        progress=False,
    )
    test, label = _classes(200)
    sound = impute(model, guide, image=test["image"], num_samples=20).draws["sound"]
    image = impute(model, guide, sound=test["sound"], num_samples=20).draws["image"]
    heard = (sound.argmin(-1) + 1) % 4
    observed = image.unflatten(-1, (2, 4)).sum(-2).argmax(-1)
    for predicted in (heard, observed):
        assert (predicted == label).double().mean() > 0.9  # by chance 0.25


def test_the_penalty_of_incomplete_rows_is_that_of_each_row_over_all_rows() -> None:
    model, guide = exact_pair()
    data = simulated(model, 4)
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 1, 1]]).bool()
    objective = Objective(penalties=(SubsetKL(NAMES, 1.0),))
    with seeded(3):
        found = objective.measure(model, guide, (), {**data, "mask": mask}).figures["SubsetKL"]
    total = 0.0
    for row, present in enumerate(mask):
        one = {name: x[row : row + 1] for name, x in data.items()}
        whole = code(guide, one, present)
        for subset in torch.eye(3).bool():
            part = present & subset
            if part.any() and part.sum() < present.sum():
                total += float(kl_divergence(whole, code(guide, one, part)).sum())
    assert float(found) == pytest.approx(total / 4)


def code(guide: MVAEGuide, data: dict[str, Tensor], observed: Tensor) -> Any:
    masks = {"mask": observed[None], "observed": observed[None]}
    fn = poutine.trace(guide).get_trace(**data, **masks).nodes["z"]["fn"]
    return fn.base_dist if isinstance(fn, torch.distributions.Independent) else fn
