from __future__ import annotations

import io
import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib import pyplot
from torch import nn

from inference.diagnostics.pictures import (
    plot_imputations,
    plot_reconstructions,
    plot_samples,
    plot_traversal,
)
from inference.errors import PairError
from ppl_models.errors import InputError
from tests.inference.diagnostics.odd_pairs import Tracks, TracksGuide, TwoViews, TwoViewsGuide
from tests.pairs import Amortised, AmortisedGuide


class Bits(nn.Module):
    """Two levels of codes, and six bits of which the first code decides all."""

    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            a = pyro.sample("a", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("b", dist.Normal(a, 1.0).to_event(1))
            logits = 3 * a[..., :1].expand(*a.shape[:-1], 6)
            pyro.sample("x", dist.Bernoulli(logits=logits).to_event(1), obs=x)


class BitsGuide(nn.Module):
    def forward(self, x: torch.Tensor) -> None:
        with pyro.plate("data", len(x), dim=-1):
            loc = torch.stack([2 * x.mean(-1) - 1, 0 * x[..., 0]], -1)
            a = pyro.sample("a", dist.Normal(loc, 0.1).to_event(1))
            pyro.sample("b", dist.Normal(a, 1.0).to_event(1))


def images(figure) -> list[list[torch.Tensor]]:
    """The first image of every axes, row by row."""
    grid = figure.axes[0].get_subplotspec().get_gridspec()
    found = [torch.as_tensor(a.images[0].get_array()) for a in figure.axes if a.images]
    return [found[i : i + grid.ncols] for i in range(0, len(found), grid.ncols)]


@pytest.mark.usefixtures("untouched")
def test_every_picture_is_a_figure_that_a_notebook_shows_and_pyplot_does_not_know():
    x = torch.linspace(-2, 2, 80).reshape(20, 4)
    with torch.random.fork_rng():
        model, guide = Amortised(), AmortisedGuide()
    missing = torch.tensor([True, False, False, False])
    before = pyplot.get_fignums()
    for figure in (
        plot_samples(model, guide, x),
        plot_reconstructions(model, guide, x, num_images=5),
        plot_traversal(model, guide, x, row=3),
        plot_imputations(model, guide, x, missing=missing, num_images=4, rounds=2),
    ):
        assert figure._repr_png_().startswith(b"\x89PNG")
        figure.savefig(io.BytesIO())
    assert pyplot.get_fignums() == before


def test_reconstructions_show_the_data_first():
    x = torch.randn(7, 4)
    rows = images(
        plot_reconstructions(Amortised(), AmortisedGuide(), x, num_images=5, num_samples=3)
    )
    assert [len(row) for row in rows] == [5] * 4
    assert torch.allclose(rows[0][2], x[2].reshape(2, 2))
    assert not torch.allclose(rows[1][2], rows[2][2])  # two draws of a code


def test_a_traversal_turns_one_number_and_puts_the_busy_ones_first():
    x = (torch.rand(30, 1) < 0.5).float().expand(30, 6)
    figure = plot_traversal(Bits(), BitsGuide(), x, latent="a", values=(-2, 0, 2), shape=(2, 3))
    first, second = images(figure)
    assert figure.axes[0].get_ylabel().startswith("a 0")
    means = [float(image.mean()) for image in first]
    assert means == pytest.approx([1 / (1 + math.exp(-3 * v)) for v in (-2, 0, 2)])
    assert torch.equal(second[0], second[2])  # the second number changes nothing


def test_an_imputation_keeps_what_was_observed_and_fills_in_the_rest():
    x = torch.tensor([[1.0] * 6, [0.0] * 6]).repeat(3, 1)
    missing = torch.tensor([True, True, False, False, False, False])
    figure = plot_imputations(Bits(), BitsGuide(), x, missing=missing, shape=(2, 3), rounds=20)
    data, *filled = images(figure)
    for row in filled:
        for truth, image in zip(data, row, strict=True):
            assert torch.equal(image.flatten()[2:], truth.flatten()[2:])
            assert abs(float(image[0, 0] - truth[0, 0])) < 0.4  # five of six bits say so


def test_samples_are_of_the_prior_and_keep_to_the_data_s_number():
    x = torch.ones(40, 6)
    rows = images(plot_samples(Bits(), BitsGuide(), x, shape=(2, 3), num_images=16))
    assert 0.15 < torch.stack(rows[1]).mean() < 0.85


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: plot_samples(Bits(), BitsGuide(), x), InputError, "rows of 6 numbers"),
        (lambda x: plot_samples(Bits(), BitsGuide(), x, shape=(3, 3)), InputError, r"\(3, 3\)"),
        (lambda x: plot_samples(Bits(), BitsGuide(), x, site="y"), PairError, "observed sites"),
        (lambda x: plot_traversal(Bits(), BitsGuide(), x, shape=(2, 3)), PairError, "latent sites"),
        (lambda x: plot_traversal(Bits(), BitsGuide(), x, row=5), InputError, "one of 5 data"),
        (
            lambda x: plot_imputations(
                Bits(), BitsGuide(), x, missing=x > 2, shape=(2, 3), num_images=0
            ),
            InputError,
            "num_images",
        ),
        (
            lambda x: plot_imputations(Bits(), BitsGuide(), x, missing=x[0], shape=(2, 3)),
            InputError,
            "float32",
        ),
    ],
)
def test_what_is_no_image_says_so(call, error, words):
    with pytest.raises(error, match=words):
        call(torch.ones(5, 6))


def test_two_views_and_enumerated_sites():
    x = torch.randn(6)
    figure = plot_reconstructions(TwoViews(), TwoViewsGuide(), x, x, site="y", shape=(1, 1))
    assert len(images(figure)) == 3
    o = torch.randn(4, 3, 3)
    assert images(plot_reconstructions(Tracks(), TracksGuide(), o, shape=(3, 3)))
