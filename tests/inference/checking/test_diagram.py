"""Plate diagrams: what is drawn is the model."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from matplotlib.patches import Ellipse, FancyArrowPatch, FancyBboxPatch

from inference import PairError, check
from inference.cli.catalogue import STORIES
from tests import pairs

NAMES = "GaussianMixture", "HierarchicalVAE", "MixDVAE", "BinMixture", "NotMIWAE", "DMVAE", "SRVP"
SHORT = [story for story in STORIES if story.name in NAMES]


def parts(figure: Any) -> tuple[dict[str, Ellipse], dict[str, FancyBboxPatch], list[Any]]:
    """Sites by name, plates by label, and arrows of a drawing."""
    ax = figure.axes[0]
    nodes = [p for p in ax.patches if isinstance(p, Ellipse)]
    boxes = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    labels = [t for t in ax.texts if t.get_horizontalalignment() == "right"]
    names = [t for t in ax.texts if t.get_horizontalalignment() == "center"]
    arrows = [p for p in ax.patches if isinstance(p, FancyArrowPatch)]
    texts = (t.get_text() for t in names)
    plates = dict(zip((t.get_text() for t in labels), boxes, strict=True))
    return dict(zip(texts, nodes, strict=True)), plates, arrows


def holds(box: FancyBboxPatch, node: Ellipse) -> bool:
    """Whether a plate encloses a whole site."""
    (x, y), half, high = node.center, node.width / 2, node.height / 2
    inside_x = box.get_x() < x - half and x + half < box.get_x() + box.get_width()
    return inside_x and box.get_y() < y - high and y + high < box.get_y() + box.get_height()


def touches(box: FancyBboxPatch, node: Ellipse) -> bool:
    """Whether a plate has any part of a site."""
    (x, y), half, high = node.center, node.width / 2, node.height / 2
    apart_x = x + half < box.get_x() or box.get_x() + box.get_width() < x - half
    apart_y = y + high < box.get_y() or box.get_y() + box.get_height() < y - high
    return not (apart_x or apart_y)


@pytest.mark.parametrize("story", SHORT, ids=lambda s: s.name)
def test_each_plate_encloses_its_sites_and_no_others(story: Any) -> None:
    model, guide, data = story.example(size=4)
    report = check(model, guide, **data)
    nodes, boxes, _ = parts(report.plot())
    rows = [row for row in report.sites if row.kind != "auxiliary"]
    assert len(nodes) == len(rows)
    for label, box in boxes.items():
        plate = label.partition(":")[0]
        for row, node in zip(rows, nodes.values(), strict=True):
            member = plate in row.plates
            assert holds(box, node) if member else not touches(box, node), (label, row.name)


def test_arrows_follow_the_model_and_the_past_is_dashed() -> None:
    story = next(s for s in STORIES if s.name == "VRNN")
    model, guide, data = story.example(size=4)
    figure = check(model, guide, **data).plot()
    nodes, boxes, arrows = parts(figure)
    assert list(nodes) == ["$z$", "$s$"] and list(boxes) == ["data: 4"]
    assert [a.get_linestyle() for a in arrows] == ["dashed", "solid"]  # s to z, z to s
    labels = [t.get_text() for t in figure.axes[0].get_legend().get_texts()]
    assert labels == ["latent", "observed", "of earlier steps"]


def test_an_arrow_bends_around_what_is_in_between() -> None:
    def chain(x: torch.Tensor) -> None:
        a = pyro.sample("a", dist.Normal(0.0, 1.0))
        b = pyro.sample("b", dist.Normal(a, 1.0))
        pyro.sample("x_out", dist.Normal(a + b, 1.0).expand([3]).to_event(1), obs=x)

    def guide(x: torch.Tensor) -> None:
        for name in "ab":
            pyro.sample(name, dist.Normal(pyro.param(f"loc_{name}", torch.tensor(0.0)), 1.0))

    nodes, boxes, arrows = parts(check(chain, guide, torch.zeros(3)).plot())
    assert list(nodes) == ["$a$", "$b$", "$x_{\\mathrm{out}}$"] and not boxes
    bends = {a.get_connectionstyle().rad for a in arrows}
    assert len(arrows) == 3 and bends == {0.0, 0.3}


def test_a_summed_site_is_drawn_dashed_and_the_drawing_changes_nothing() -> None:
    x = torch.randn(5)
    report = check(pairs.TwoComponents(), pairs.NoLatents(), x)
    state = torch.get_rng_state()
    figure = report.plot()
    assert torch.equal(state, torch.get_rng_state())
    nodes, boxes, _ = parts(figure)
    assert nodes["$w$"].get_linestyle() != "solid" and nodes["$x$"].get_linestyle() == "solid"
    assert figure._repr_png_().startswith(b"\x89PNG") and len(boxes) == 1


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("z", "$z$"),
        ("h_1", r"$h_{\mathrm{1}}$"),
        ("weights", "weights"),
        ("speech/z", "speech/z"),
        ("z_a_b", "z_a_b"),
        ("_z", "_z"),
        ("$", r"\$"),
        ("x_%", "x_%"),
    ],
)
def test_any_name_can_be_drawn(name: str, shown: str) -> None:
    def model(x: torch.Tensor) -> None:
        pyro.sample(name, dist.Normal(0.0, 1.0).expand([3]).to_event(1), obs=x)

    figure = check(model, lambda x: None, torch.zeros(3)).plot()
    nodes, _, arrows = parts(figure)
    assert list(nodes) == [shown] and not arrows and figure._repr_png_()


def test_a_model_without_sites_has_no_drawing() -> None:
    report = check(lambda x: None, lambda x: None, torch.zeros(3))
    with pytest.raises(PairError, match="without any site"):
        report.plot()


def test_a_model_whose_only_sites_are_the_guide_s_has_no_drawing() -> None:
    def guide(x: torch.Tensor) -> None:
        pyro.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    with pytest.raises(PairError, match="without any site"):
        check(lambda x: None, guide, torch.zeros(3)).plot()
