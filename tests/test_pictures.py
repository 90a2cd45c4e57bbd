"""Every picture that the package makes shows itself as the last line of a notebook's cell."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch

import guides
import inference
import ppl_models
from guides import VAEGuide
from inference import check, collapse_report, importance, ppc, sbc
from inference.diagnostics import (
    Curve,
    Point,
    plot_imputations,
    plot_reconstructions,
    plot_samples,
    plot_traversal,
)
from inference.diagnostics.canvas import Panels, draw_rows
from inference.diagnostics.sbc_plots import plot_ecdf, plot_histogram
from inference.tasks.tracking.plot import plot
from inference.tasks.tracking.tracks import Tracks
from ppl_models import VAE

MADE = ("plot", "draw_rows")


def modules() -> Iterator[Any]:
    for package in (ppl_models, guides, inference):
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            yield importlib.import_module(found.name)


def makers() -> dict[str, Callable[..., Any]]:
    """Every public function and method of ours whose name says that it plots."""
    found: dict[str, Callable[..., Any]] = {}
    for module in modules():
        for name, thing in vars(module).items():
            if getattr(thing, "__module__", "") != module.__name__ or name.startswith("_"):
                continue
            if inspect.isfunction(thing) and name.startswith(MADE):
                found[name] = thing
            if inspect.isclass(thing):
                own = {n: m for n, m in vars(thing).items() if inspect.isfunction(m)}
                plots = {n: m for n, m in own.items() if n.startswith(MADE)}
                found |= {f"{name}.{n}": m for n, m in plots.items()}
    return found


def shows_itself(thing: Any) -> bool:
    png = getattr(thing, "_repr_png_", lambda: None)()
    return isinstance(png, bytes) and png.startswith(b"\x89PNG") and len(png) > 200


def tracks() -> Tracks:
    mean = np.zeros((2, 5, 4)) + np.arange(5.0)[:, None] + 10 * np.arange(2.0)[:, None, None]
    detections = np.full((5, 1, 4), 3.0)
    return Tracks("x", 1, mean, mean * 0 + 1, detections, np.ones((5, 1, 3)) / 3, 0.1, np.zeros(2))


def pair() -> tuple[VAE, VAEGuide]:
    model = VAE(4, 2, hidden_dims=(8,))
    return model, VAEGuide(model)


X = torch.linspace(-2, 2, 80).reshape(20, 4)
MISSING = torch.tensor([True, False, False, False])
QUICK: dict[str, Any] = {"num_samples": 2, "num_particles": 5}
PICTURES: dict[str, Callable[[], Any]] = {
    "Tracks.plot": lambda: tracks().plot(),
    "Report.plot": lambda: check(*pair(), X).plot(),
    "plot": lambda: plot(tracks()),
    "Curve.plot": lambda: curve().plot(),
    "CollapseReport.plot": lambda: collapse_report(
        *pair(), X, num_samples=2, num_particles=5
    ).plot(),
    "Importance.plot": lambda: importance(*pair(), X, num_samples=30).plot(),
    "PPC.plot": lambda: ppc(*pair(), X, num_samples=20).plot(),
    "SBC.plot": lambda: sbc(*pair(), X, simulations=20, num_samples=9).plot(),
    "plot_ecdf": lambda: plot_ecdf(torch.rand(20, 1), 9, "z", None, 0),
    "plot_histogram": lambda: plot_histogram(torch.rand(20, 1), 9, "z", None, 0),
    "plot_samples": lambda: plot_samples(*pair(), X, num_images=2),
    "plot_reconstructions": lambda: plot_reconstructions(*pair(), X, num_images=2),
    "plot_traversal": lambda: plot_traversal(*pair(), X, most=1),
    "plot_imputations": lambda: plot_imputations(
        *pair(), X, missing=MISSING, rounds=1, num_images=2
    ),
    "draw_rows": lambda: draw_rows([[torch.eye(3)]], ["a"]),
}
SHOWN = (
    "Picture",
    "axes_of(",
    "axes_row(",
    "draw_rows(",
    "draw_plates(",
    "_draw(",
    "plot(",
    "plot_",
)
"""What a function is made with whose picture shows itself."""


def curve() -> Curve:
    point = Point("rate 4", 0.1, 0.2, 0.1, 9.0, 0.1, -9.2, 0.1, 0.2, 9.0, 4.0)
    return Curve((point,))


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_shows_itself_and_is_unknown_to_pyplot(name: str) -> None:
    before = plt.get_fignums()
    assert shows_itself(PICTURES[name]())
    assert plt.get_fignums() == before


def test_every_maker_of_pictures_is_among_them_or_made_in_the_same_way() -> None:
    """One that is new here should have a row above."""
    found = makers()
    assert set(PICTURES) <= set(found), "a row of something that is gone"
    for name, maker in found.items():
        source = inspect.getsource(maker)
        body = source.replace(f"def {maker.__name__}", "")
        assert any(word in body for word in SHOWN), name


def test_axes_of_the_caller_are_shown_by_the_caller() -> None:
    figure, axes = plt.subplots()
    assert curve().plot(axes) is axes and tracks().plot(axes) is figure
    plt.close(figure)
    assert Panels()._repr_png_() is None
    assert Panels([axes])._repr_png_() is None and not hasattr(axes, "_repr_png_")
