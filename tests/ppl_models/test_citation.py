from __future__ import annotations

import re

import pytest
import torch

from inference import DensityRatio, Objective, importance
from inference.cli.catalogue import STORIES
from inference.cli.story import load
from ppl_models import VAE, InputError, VampPrior, citation
from ppl_models.citation import Reference, parse, references_of
from ppl_models.networks import MLP

FIELDS = r"((?:  \w+ = \{.+\},\n)+)"
ENTRY = re.compile(rf"@(inproceedings|article|phdthesis|misc)\{{([a-z0-9]+),\n{FIELDS}\}}")
CLASSES = sorted({path for row in STORIES for path in (row.model, row.guide)})


def entries(text: str) -> dict[str, dict[str, str]]:
    """Parse BibTeX: all of the text must be entries, each line a field with balanced braces."""
    found = {}
    for block in text.split("\n\n"):
        match = ENTRY.fullmatch(block)
        assert match, block
        lines = [line.strip().rstrip(",").partition(" = ") for line in match[3].splitlines()]
        assert all(value.count("{") == value.count("}") for _, _, value in lines)
        found[match[2]] = {name: value.strip("{}") for name, _, value in lines}
    return found


@pytest.mark.parametrize("path", CLASSES)
def test_every_registered_model_and_guide_can_be_cited(path: str) -> None:
    found = entries(citation(load(path)))
    assert found
    for entry in found.values():
        assert {"author", "title", "year"} <= entry.keys()


def test_keys_are_unique_to_a_publication() -> None:
    titles: dict[str, set[str]] = {}
    for reference in (r for path in CLASSES for r in references_of(load(path))):
        titles.setdefault(reference.key, set()).add(reference.title.lower())
    for key, found in titles.items():
        longest = max(found, key=len)  # a title may be cut short in passing, never be another
        assert all(longest.startswith(title) for title in found), (key, found)


def test_citation_of_a_model_and_its_guide_has_each_publication_once() -> None:
    text = citation(load("ppl_models.vae:VAE"), load("guides.vae:VAEGuide"), VAE(4, 2))
    assert text.count("@") == len(entries(text)) and text.count("Auto-Encoding Variational") == 1


def test_parts_of_an_instance_are_cited() -> None:
    encoder = MLP(4, 8, 4)
    model = VAE(4, 2, prior=VampPrior(encoder, torch.rand(3, 4)))
    assert "tomczak2018vae" in entries(citation(model))
    assert "tomczak2018vae" not in entries(citation(VAE))


def test_objectives_and_functions_are_cited() -> None:
    objective = Objective(penalties=(DensityRatio(MLP(2, 4, 1)),))
    assert "takahashi2019variational" in entries(citation(objective))
    assert "burda2016importance" in entries(citation(importance))


def test_a_guide_without_references_has_those_of_its_model() -> None:
    assert citation(load("guides.hmm:HMMGuide")) == citation(load("ppl_models.hmm:HMM"))


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        (
            'Kingma and Welling, "Auto-Encoding Variational Bayes", ICLR 2014, sections 2-3.',
            Reference(("Kingma", "Welling"), "Auto-Encoding Variational Bayes", "2014", "ICLR"),
        ),
        (
            'By L. Girin et al., "Dynamical\nvariational autoencoders", 2021, arXiv:2008.12595,',
            Reference(
                ("L. Girin", "others"),
                "Dynamical variational autoencoders",
                "2021",
                arxiv="2008.12595",
            ),
        ),
        (
            'Tipping and Bishop, "Probabilistic Principal Component Analysis", JRSS B 61, 1999.',
            Reference(
                ("Tipping", "Bishop"),
                "Probabilistic Principal Component Analysis",
                "1999",
                "JRSS B 61",
            ),
        ),
        (
            '(Burda, Grosse and Salakhutdinov 2016, "Importance weighted autoencoders", eq. 8)',
            Reference(
                ("Burda", "Grosse", "Salakhutdinov"), "Importance weighted autoencoders", "2016"
            ),
        ),
        (
            'S. Doe, J.-L. de Roe, "Of 2 parts", Proc. IEEE 1989, doi:10.1000/xyz.7.',
            Reference(
                ("S. Doe", "J.-L. de Roe"),
                "Of 2 parts",
                "1989",
                "Proc. IEEE",
                doi="10.1000/xyz.7",
            ),
        ),
    ],
)
def test_a_reference_in_a_docstring_is_read(text: str, reference: Reference) -> None:
    assert list(parse(text)) == [reference]


def test_several_references_in_one_paragraph_are_separated() -> None:
    text = (
        'Bell and Sejnowski, "One", JASA 7, 1995. MacKay, "Two", 1996, section 2: '
        'the likelihood; M. Chen, "Three", PhD thesis, Sorbonne Université 2020.'
    )
    found = list(parse(text))
    assert [(r.title, r.year) for r in found] == [
        ("One", "1995"),
        ("Two", "1996"),
        ("Three", "2020"),
    ]
    assert (
        "@phdthesis" in found[2].bibtex() and "school = {Sorbonne Université}" in found[2].bibtex()
    )


def test_two_mentions_are_merged_into_the_fuller_one() -> None:
    short = Reference(("X. Lin", "others"), "Mixture of things", "2023", "TMLR")
    full = Reference(("X. Lin", "L. Girin", "A. Third"), "Mixture of things", "2023", arxiv="1.2")
    assert short.key == full.key == "lin2023mixture"
    assert short.merged(full).authors == full.authors
    assert short.merged(full).venue == "TMLR" and short.merged(full).arxiv == "1.2"


def test_what_has_no_reference_is_an_error() -> None:
    with pytest.raises(InputError, match="Authors, "):
        citation(object())
