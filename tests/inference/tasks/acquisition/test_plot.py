"""Pictures say what they show: names, units, legends, and what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from inference.tasks.acquisition import (
    RandomOrder,
    Variance,
    compare,
    draw_areas,
    draw_curves,
    draw_latents,
    draw_sequence,
)
from ppl_models import InputError
from tests.inference.tasks.acquisition.toys import linear, people, random_states


@pytest.fixture(scope="module")
def scene() -> tuple[Any, ...]:
    predictor = linear()
    x = people(predictor, 10)
    return predictor, x, compare(predictor, x, {"random": RandomOrder(), "variance": Variance()})


def words(figure: Any) -> str:
    """All that is written in a figure."""
    import matplotlib.text

    return " ".join(t.get_text() for t in figure.findobj(matplotlib.text.Text))


def test_curves_have_bands_units_and_a_threshold(scene: Any) -> None:
    _, _, curves = scene
    figure = draw_curves(curves, unit="dB", threshold=0.5, title="Hearing")
    assert figure._repr_png_()
    for word in ("measurements", "(dB)", "variance", "threshold 0.5", "10 people", "Hearing"):
        assert word in words(figure)
    (line,) = (t for t in figure.axes[0].lines if t.get_label() == "variance")
    assert np.allclose(line.get_ydata(), curves["variance"].mean())
    assert "nats" in words(draw_curves(curves, "nll"))
    assert "standard units" in words(draw_curves(curves))


def test_areas_are_bars_of_the_mean_area(scene: Any) -> None:
    _, _, curves = scene
    figure = draw_areas(curves, "nll", unit="bits", title="Areas")
    widths = [bar.get_width() for bar in figure.axes[0].patches]
    assert np.allclose(widths, [float(curve.area("nll").mean()) for curve in curves.values()])
    assert "bits" in words(figure) and "Areas" in words(figure)


def test_a_sequence_marks_what_was_measured(scene: Any) -> None:
    predictor, x, curves = scene
    exists = torch.ones_like(x, dtype=torch.bool)
    figure = draw_sequence(
        predictor,
        x,
        curves["variance"],
        3,
        mask=exists,
        truth=x,
        measured=["x1"],
        steps=(0, 2),
        num_samples=50,
        seed=1,
        unit="mm",
    )
    assert figure._repr_png_()
    for word in ("80 % band", "measured last", "truth", "mm", "x6", "after 2 measurements"):
        assert word in words(figure)
    dots = [t for t in figure.axes[1].lines if t.get_label() == "measured"]
    order = curves["variance"].order[3, :2].tolist()
    assert sorted(dots[0].get_xdata()) == sorted({0, *order})
    assert len(draw_sequence(predictor, x, curves["variance"]).axes) == 6
    other = draw_sequence(predictor, x, curves["variance"], steps=(1,), seed=2, num_samples=50)
    first, second = (
        [t for t in f.axes[0].lines if t.get_label() == "mean"][0].get_ydata()
        for f in (figure, other)
    )
    assert not np.allclose(first, second)


def test_a_map_shows_people_somebody_s_draws_and_marks(scene: Any) -> None:
    predictor, x, _ = scene
    mask = torch.ones_like(x, dtype=torch.bool)
    mask[:, 0] = False
    figure = draw_latents(
        predictor, x, "x3", mask=mask, person=2, marks={"mine": x[0]}, num_samples=30, seed=4
    )
    for word in ("$z_1$", "x3", "draws of person 2", "mine", "people"):
        assert word in words(figure)
    sizes = [len(c.get_offsets()) for c in figure.axes[0].collections]
    assert sizes[:2] == [10, 30]


def test_what_cannot_be_drawn_is_an_error(scene: Any) -> None:
    predictor, x, curves = scene
    one = curves["variance"]
    for make, argument in (
        (lambda: draw_curves({}), "curves"),
        (lambda: draw_areas({}), "curves"),
        (lambda: draw_sequence(predictor, x, one, 10), "person"),
        (lambda: draw_sequence(predictor, x, one, steps=(9,)), "steps"),
        (lambda: draw_latents(predictor, x, "x3", person=99), "person"),
        (lambda: draw_latents(predictor, x, "y"), "column"),
    ):
        with pytest.raises(InputError) as caught:
            make()
        assert caught.value.argument == argument
    rows = torch.zeros(2, 4).double()
    with pytest.raises(InputError, match="latent_dim=2"):
        draw_latents(random_states(), rows, 0)
