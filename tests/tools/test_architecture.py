"""The picture of the architecture shows the imports that there are."""

from __future__ import annotations

import pytest

from tools import architecture as drawn

GRAPH = {
    "inference.fit": frozenset({"inference.trace", "inference.errors"}),
    "inference.trace": frozenset({"inference.errors"}),
    "inference.errors": frozenset[str](),
}


@pytest.mark.parametrize("path", [drawn.PICTURE, drawn.PAGE], ids=lambda p: p.name)
def test_picture_and_list_are_in_step_with_the_imports(path: drawn.Path) -> None:
    assert path.read_text() == dict(drawn.wanted())[path], "run python -m tools.architecture"


def test_every_room_is_in_the_picture_and_in_the_list() -> None:
    page, picture = drawn.PAGE.read_text(), drawn.PICTURE.read_text()
    for room in drawn.rooms():
        assert f"\n{room} " in page
        assert room.endswith("*") or f">{room.partition('.')[2]}</text>" in picture


def test_models_and_guides_share_a_box_each() -> None:
    assert drawn.room_of("ppl_models.vae") == drawn.room_of("ppl_models.ppca") == "ppl_models.*"
    assert drawn.room_of("guides.vae") == "guides.*"
    assert drawn.room_of("guides.dvae.srnn") == "guides.dvae"
    assert drawn.room_of("inference.training.fit") == "inference.training"


def test_levels_are_the_longest_ways_down() -> None:
    expected = {"inference.errors": 0, "inference.trace": 1, "inference.fit": 2}
    assert drawn.levels(GRAPH) == expected


def test_an_arrow_that_follows_from_others_is_not_drawn() -> None:
    assert drawn.reduced(GRAPH)["inference.fit"] == {"inference.trace"}


def test_a_circle_is_an_error_that_names_it() -> None:
    circle = {"a.b": frozenset({"a.c"}), "a.c": frozenset({"a.b"}), "a.d": frozenset[str]()}
    with pytest.raises(ValueError, match=r"circle of imports among a\.b, a\.c"):
        drawn.levels(circle)
