"""The registry of models, and every pair in it."""

from __future__ import annotations

import ast
from importlib import import_module
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

import guides
import ppl_models
from inference import check
from inference.cli.catalogue import STORIES, find
from inference.cli.story import Story
from inference.randomness import seeded
from ppl_models.errors import InputError

ROOT = Path(__file__).parents[3]
# Files that sample for the models which are built of them; the guides are of those models.
PARTS = {"simple.py", "base.py", "dialog_wae.py"}  # the last has no bound that rows are tried by
NAMES = [row.name for row in STORIES]
EACH = pytest.mark.parametrize("row", STORIES, ids=NAMES)


def samples(path: Path) -> bool:
    """Whether a file has a model or a guide: it calls ``pyro.sample``.

    Or it says what frames are, and `DynamicalVAE` samples them.
    """
    nodes = list(ast.walk(ast.parse(path.read_text())))
    calls = (ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call))
    classes = (node for node in nodes if isinstance(node, ast.ClassDef))
    bases = (ast.unparse(base) for node in classes for base in node.bases)
    return "pyro.sample" in calls or "DynamicalVAE" in bases


def test_names_are_unique_and_families_stand_together() -> None:
    assert len({name.lower() for name in NAMES}) == len(NAMES)
    families = [family for family, _ in groupby(row.family for row in STORIES)]
    assert len(set(families)) == len(families)


@EACH
def test_a_model_and_its_guide_are_public(row: Story) -> None:
    for package, path in ((ppl_models, row.model), (guides, row.guide)):
        module, _, name = path.partition(":")
        cure = "run python -m tools.tables"
        assert name in dir(package), cure
        assert getattr(package, name, cure) is getattr(import_module(module), name)


@EACH
def test_a_row_has_one_plain_sentence_and_a_source(row: Story) -> None:
    assert row.sentence.endswith(".") and ". " not in row.sentence and row.source
    assert len(row.sentence) <= 90  # a line of `ppl stories` fits a wide terminal


def test_every_model_of_ppl_models_is_registered() -> None:
    models = {p.name for p in (ROOT / "ppl_models").rglob("*.py") if samples(p)} - PARTS
    listed = {row.model.partition(":")[0].rpartition(".")[2] + ".py" for row in STORIES}
    assert models <= listed, "register the new model in inference/cli/catalogue.py"
    # the others are another model's, changed: iVAE has the sites of the conditional VAE
    assert listed <= {p.name for p in (ROOT / "ppl_models").rglob("*.py")}
    assert listed <= {p.name for p in (ROOT / "guides").rglob("*.py")}


def test_every_dynamical_vae_is_in_the_family_that_the_sequence_tests_run_over() -> None:
    from inference.cli.catalogue import DYNAMICAL
    from tests.sequences import FAMILY

    tested = {member.model.__name__ for member in FAMILY}
    assert {row.model_name for row in STORIES if row.family == DYNAMICAL} == tested


@EACH
def test_every_pair_passes_check_on_its_example(row: Story, untouched: None) -> None:
    model, guide, data = row.example(size=6)
    assert isinstance(model, nn.Module) and isinstance(guide, nn.Module)
    assert data[row.first_argument].shape[0] == 6
    with seeded(0):
        assert check(model, guide, **data).sites


@EACH
def test_every_pair_can_be_built_from_data_alone(row: Story) -> None:
    _, _, data = row.example(size=4)
    model, guide = row.pair(data)
    assert type(model).__name__ == row.model_name
    assert type(guide).__name__ == row.guide_name


@pytest.mark.parametrize("name", ["VAE", "LDS"])
def test_sizes_follow_the_data(name: str) -> None:
    row = find(name)
    data = {row.first_argument: torch.zeros(3, 5, 7)[:, 0 if name == "VAE" else slice(None)]}
    assert row.settings(data) == {"data_dim": 7}


@pytest.mark.parametrize(("typo", "cure"), [("vea", "VAE"), ("gausian", "GaussianMixture")])
def test_a_typo_gets_the_nearest_name(typo: str, cure: str) -> None:
    with pytest.raises(InputError, match=f"did you mean {cure}"):
        find(typo)


def test_names_are_found_in_any_case() -> None:
    assert find("gaussianmixture").name == "GaussianMixture"


# The children of these are latents, discrete ones and paths, and no data.
FURTHER_UP = {
    "GaussianMixture": {"weights"},
    "MixDVAE": {"z"},
    "BirthDeathMixDVAE": {"z"},
    "BinMixture": {"voice/z", "tune/h"},
    "SourceSum": {"voice/z", "tune/h"},
}


@EACH
def test_the_density_of_the_data_reaches_every_latent_drawn_with_a_path(row: Story) -> None:
    """By itself, apart from the prior: a bound whose data term is cut off would still train."""
    model, guide, data = row.example(size=4)
    with seeded(0):
        drawn: Any = poutine.trace(guide).get_trace(**data)
        leaves = {
            name: site["value"].detach().requires_grad_()
            for name, site in drawn.nodes.items()
            if site["type"] == "sample" and not site["is_observed"] and site["fn"].has_rsample
        }
        told = poutine.trace(poutine.condition(model, {**values(drawn), **leaves}))
        trace = told.get_trace(**data)
    trace.compute_log_prob()
    observed = [
        site["log_prob_sum"]
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and site["is_observed"] and name not in values(drawn)
    ]
    total = sum(observed, torch.zeros(()))
    for name, leaf in leaves.items():
        if name in FURTHER_UP.get(row.name, ()):
            continue
        gradient = torch.autograd.grad(total, leaf, retain_graph=True, allow_unused=True)[0]
        assert gradient is not None and bool(gradient.abs().sum() > 0), name


def values(trace: Any) -> dict[str, Tensor]:
    """Return what a guide has drawn."""
    return {
        name: site["value"]
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site["is_observed"]
    }
