from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest
import torch
from torch import nn

from inference import check
from inference.cli.catalogue import STORIES, find
from inference.cli.story import Story
from inference.randomness import seeded
from ppl_models.errors import InputError
from ppl_models.likelihoods.basic import Bernoulli

ROOT = Path(__file__).parents[3]
# Parts that sample for a story that has them; the guide of that story looks back at their sites.
PARTS = {"simple.py", "base.py", "motion_recurrence.py"}
MODALITIES = ["JMVAE", "MVAE", "DMVAE", "MMVAE", "MoPoE"]
NAMES = [story.name for story in STORIES]


def samples(path: Path) -> bool:
    """Whether a file tells or looks back at a story: it calls ``pyro.sample``.

    Or it says what frames are, and `DynamicalVAE` samples them.
    """
    nodes = list(ast.walk(ast.parse(path.read_text())))
    calls = (ast.unparse(node.func) for node in nodes if isinstance(node, ast.Call))
    classes = (node for node in nodes if isinstance(node, ast.ClassDef))
    bases = (ast.unparse(base) for node in classes for base in node.bases)
    return "pyro.sample" in calls or "DynamicalVAE" in bases


def test_the_order_is_the_one_to_read_them_in() -> None:
    assert (
        NAMES
        == [
            "VAE",
            "VampPrior",
            "CVAE",
            "HierarchicalVAE",
            "TextVAE",
            "PPCA",
            "ICA",
            "MADE",
            "RBM",
            "GaussianMixture",
            "HMM",
            "LDS",
            "SLDS",
            "KVAE",
            "FrameVAE",
            "DKF",
            "STORN",
            "VRNN",
            "SRNN",
            "DeepAR",
            "RVAE",
            "DSAE",
            "HiTDVAE",
            "LigHTDVAE",
            "MixDVAE",
        ]
        + MODALITIES
    )


@pytest.mark.parametrize("story", STORIES, ids=NAMES)
def test_a_story_and_its_guide_are_exported_and_mirror_each_other(story: Story) -> None:
    import guides
    import ppl_models

    model_file, guide_file = story.model.partition(":")[0], story.guide.partition(":")[0]
    assert model_file.removeprefix("ppl_models") == guide_file.removeprefix("guides")
    name = story.model.partition(":")[2]  # a title may differ from it
    assert getattr(ppl_models, name) is getattr(import_module(model_file), name)
    assert getattr(guides, story.guide_name).__name__ == name + "Guide"
    assert story.sentence.endswith(".") and story.source


def test_every_story_told_in_ppl_models_has_its_guide_s_file() -> None:
    told = {p.name for p in (ROOT / "ppl_models").rglob("*.py") if samples(p)} - PARTS
    looked_back_at = {p.name for p in (ROOT / "guides").rglob("*.py")}
    assert told <= looked_back_at
    listed = {story.model.partition(":")[0].rpartition(".")[2] + ".py" for story in STORIES}
    assert listed <= told
    assert told - listed <= {"linear_motion.py"}, "add the new story to inference/cli/catalogue.py"


@pytest.mark.parametrize("story", STORIES, ids=NAMES)
def test_every_pair_passes_check_on_its_example(story: Story, untouched: None) -> None:
    model, guide, data = story.example(size=6)
    assert isinstance(model, nn.Module) and isinstance(guide, nn.Module)
    assert data[story.first_argument].shape[0] == 6
    with seeded(0):
        assert check(model, guide, **data).sites


@pytest.mark.parametrize("name", ["VAE", "GaussianMixture", "SRNN"])
def test_an_example_is_its_seed_s(name: str) -> None:
    first, second, third = (find(name).example(seed, size=4) for seed in (1, 1, 2))
    key = find(name).first_argument
    assert torch.equal(first[2][key], second[2][key])
    assert not torch.equal(first[2][key], third[2][key])
    pairs = zip(first[1].parameters(), second[1].parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_data_are_not_told_by_the_pair_that_is_to_learn_them() -> None:
    model, _, _ = find("VAE").example(seed=0, size=4)
    with seeded(0):
        same_seed = type(model)()
    assert torch.equal(model.decoder[0].weight, same_seed.decoder[0].weight)
    simulated = find("VAE").simulate(same_seed, 4)["x"]
    assert not torch.equal(find("VAE").example(seed=0, size=4)[2]["x"], simulated)


def test_sizes_are_the_data_s_and_settings_go_where_they_belong() -> None:
    data = {"x": torch.zeros(3, 7)}
    model, guide = find("VAE").pair(data, {"latent_dim": 2, "likelihood": "bernoulli"})
    assert model.data_dim == 7 and guide.model is model
    assert model.latent_dim == 2 and isinstance(model.likelihood, Bernoulli)


@pytest.mark.parametrize(("typo", "cure"), [("vea", "VAE"), ("gausian", "GaussianMixture")])
def test_a_typo_gets_the_nearest_name(typo: str, cure: str) -> None:
    with pytest.raises(InputError, match=f"did you mean {cure}"):
        find(typo)


def test_names_are_found_in_any_case() -> None:
    assert find("gaussianmixture").name == "GaussianMixture"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dims": 3}, "did you mean latent_dim"),
        ({"latent_dim": "many"}, "latent_dim"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"latent_dim": -1}, "latent_dim"),
        ({"decoder": "mine"}, "decoder"),
        ({"model": "mine"}, "model"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        find("VAE").pair({"x": torch.zeros(3, 7)}, settings)
