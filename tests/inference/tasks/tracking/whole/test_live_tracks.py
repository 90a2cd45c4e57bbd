"""Answers made by hand: boxes that are told, files that read back, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray

from inference.tasks.tracking import LiveTracks, to_centre, track
from inference.tasks.tracking.whole import live_tracks
from inference.tasks.tracking.whole.plot import MOST
from ppl_models.data.motchallenge import read_boxes
from tests.inference.tasks.tracking.whole.made import boxes_of

FILES = ["tracks.txt", "posterior.nc", "tracks.png"]
DETECTIONS = boxes_of([(3, 100, 300), (3, 500, 200), (4, 103, 300), (4, 900, 500), (6, 106, 301)])


def answer(
    rows: list[tuple[int, int, float, int]] | None = None, first: int = 3, length: int = 5
) -> LiveTracks:
    """An answer of rows (object, frame, p(present), detection); by default of two objects."""
    if rows is None:
        rows = [(1, 3, 1.0, 0), (1, 4, 1.0, 2), (1, 5, 0.7, -1), (1, 6, 0.9, 4), (1, 7, 0.3, -1)]
        rows += [(2, 3, 0.5, 1), (2, 4, 0.1, -1)]
    table = np.array(rows).reshape(-1, 4)
    one, frame, detection = (table[:, i].astype(np.int64) for i in (0, 1, 3))
    ltwh = np.stack([100.0 * one + 3 * frame, 250 + frame, 40 + 0 * one, 100 + 0 * one], -1)
    mean, present = to_centre(ltwh.astype(float)), table[:, 2]
    sd = np.tile([2.0, 3.0, 0.05, 0.02], (len(table), 1))
    seen = np.where(detection >= 0, present, 0.2 * present)
    rows = one, frame, mean, sd, present, seen, detection
    camera = np.arange(length)[:, None] * np.array([1.0, 2.0, 0.0, 0.0])
    return LiveTracks("clip", first, length, 25.0, *rows, DETECTIONS, camera)


def nobody() -> LiveTracks:
    return answer([])


def test_boxes_and_owners_of_detections() -> None:
    found = answer()
    assert found.objects == 2
    assert found.boxes[0] == pytest.approx([109, 253, 40, 100])
    assert found.assignment.tolist() == [1, 2, 1, 0, 1]


def test_who_is_there_is_told_from_even_odds_on_or_from_as_much_as_asked() -> None:
    found = answer()
    assert found.there().tolist() == [True, True, True, True, False, True, False]
    assert found.there(0.05).all() and found.there(least=0.95).sum() == 2
    for least, kept in ((None, 5), (0.2, 6), (0.8, 3), (1.1, 0)):
        boxes = found.as_boxes() if least is None else found.as_boxes(least=least)
        assert len(boxes) == kept and (np.diff(boxes.frame) >= 0).all()
    boxes = found.as_boxes(0.8)
    assert boxes.id.tolist() == [1, 1, 1] and boxes.score.tolist() == [1.0, 1.0, 0.9]
    assert boxes.name == "clip"


def test_files_are_written_and_read_back(tmp_path: Path) -> None:
    paths = answer().write(tmp_path / "out", num_samples=30)
    assert list(paths) == FILES and sorted(p.name for p in (tmp_path / "out").iterdir()) == sorted(
        FILES
    )
    text = paths["tracks.txt"].read_text().splitlines()
    assert text[0] == "3,1,109.000,253.000,40.000,100.000,1.0000"
    order = [tuple(map(int, row.split(",")[:2])) for row in text]
    assert order == sorted(order) == [(3, 1), (3, 2), (4, 1), (5, 1), (6, 1)]
    back = read_boxes(paths["tracks.txt"])
    assert np.allclose(back.score, [1, 0.5, 1, 0.7, 0.9])
    assert paths["tracks.png"].read_bytes().startswith(b"\x89PNG")
    with xarray.open_dataset(paths["posterior.nc"], group="posterior", engine="h5netcdf") as data:
        assert data["box"].sizes["row"] == 7 and data["box"].sizes["draw"] == 30
    with xarray.open_dataset(paths["posterior.nc"], group="constant_data") as data:
        assert data["object"].to_numpy().tolist() == answer().object.tolist()
        assert np.allclose(data["present"], answer().present)
        assert data["assignment"].to_numpy().tolist() == [1, 2, 1, 0, 1]


def test_draws_have_the_moments_of_the_answer() -> None:
    """Means of 4,000 draws, 5 standard errors; a box's width is wide by 5 %."""
    found, count = answer(), 4000
    box = found.to_arviz(count, seed=1).posterior["box"].to_numpy()[0]
    centre = to_centre(box)
    assert (np.abs(centre.mean(0) - found.mean) < 5 * found.sd / np.sqrt(count)).all()
    assert np.allclose(centre.std(0), found.sd, rtol=0.1)


def test_draws_follow_their_seed(untouched: None) -> None:
    a, b, c = (answer().to_arviz(5, seed=seed).posterior["box"].to_numpy() for seed in (1, 1, 2))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_observed_data_are_the_detections() -> None:
    data = answer().to_arviz(5)
    assert np.allclose(data.observed_data["detected_box"], DETECTIONS.ltwh)
    assert data.observed_data["detected_frame"].to_numpy().tolist() == [3, 3, 4, 4, 6]
    assert data.constant_data["detection"].to_numpy().tolist() == answer().detection.tolist()


def test_an_answer_of_nobody_is_told_and_written(tmp_path: Path) -> None:
    found = nobody()
    assert found.objects == 0 and not len(found.as_boxes()) and not found.assignment.any()
    paths = found.write(tmp_path)
    assert paths["tracks.txt"].read_text() == ""
    with xarray.open_dataset(paths["posterior.nc"], group="constant_data") as data:
        assert data["assignment"].size == 5


def test_small_boxes_read_back_with_a_size(tmp_path: Path) -> None:
    found = answer()
    found.mean[:, 2:] = np.log(1e-6)
    assert len(read_boxes(found.write(tmp_path)["tracks.txt"])) == 5


def test_writing_again_replaces_the_files(tmp_path: Path) -> None:
    answer().write(tmp_path)
    nobody().write(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(FILES)
    assert (tmp_path / "tracks.txt").read_text() == ""


@pytest.mark.parametrize("objects", [1, 2, 20, MOST, MOST + 5])
def test_pictures_show_each_object_and_its_life(objects: int) -> None:
    rows = [(n + 1, 3 + t, 0.9, -1) for n in range(objects) for t in range(3)]
    image, lives, across = answer(rows).plot().axes
    assert len(image.collections) == len(lives.collections) == objects
    told = objects if objects <= MOST else 0  # of more, labels and boxes would hide all
    assert len(across.collections) == objects + told  # lines and bands
    assert f"{objects} objects" in image.get_title() and len(image.patches) == told
    assert lives.get_xlim() == across.get_xlim() == (2.5, 7.5)
    assert lives.get_ylim() == (objects + 1, 0) and len(lives.get_yticks()) <= 13
    labels = [text.get_text() for text in image.texts]
    assert labels == [str(n + 1) for n in range(told)]


def test_pictures_are_as_opaque_as_one_is_sure_and_thin_where_one_is_hidden() -> None:
    image, lives, across = answer().plot().axes
    for ax in (lives, image, across):
        line = ax.collections[0]
        assert np.allclose(line.get_colors()[:, 3], [1, 0.7, 0.9, 0.3])
        wide, thin, again, _ = line.get_linewidths()
        assert wide == again == pytest.approx(4 * thin)
    [clutter] = [line for line in image.lines if line.get_label() == "clutter"]
    assert np.allclose(clutter.get_xydata(), [[900, 550]])  # the foot of the box


def test_pictures_have_a_gap_where_there_is_no_row_and_a_dash_for_a_single_one() -> None:
    image, lives, _ = (
        answer([(1, 3, 1.0, 0), (1, 4, 1.0, 2), (1, 6, 1.0, 4), (2, 5, 1.0, -1)]).plot().axes
    )
    first, second = (line.get_segments() for line in lives.collections)
    assert [piece[:, 0].tolist() for piece in first] == [[3, 4]]
    assert [piece[:, 0].tolist() for piece in second] == [[4.5, 5.5]]


def test_bands_are_two_standard_deviations_wide() -> None:
    _, _, across = answer().plot().axes
    band = across.collections[1].get_paths()[0].vertices
    at_first = band[band[:, 0] == 3, 1]
    assert np.ptp(at_first) == pytest.approx(2 * 1.96 * 2.0)


def test_a_picture_of_nobody_is_drawn() -> None:
    empty = answer([])
    figure = empty.plot()
    figure.canvas.draw()
    assert "0 objects" in figure.axes[0].get_title()
    for ax in figure.axes:
        assert [text.get_text() for text in ax.texts] == ["nobody was followed"]
    [unseen] = track([boxes_of([])], frames=(1, 10))
    assert unseen.plot().axes[0].texts[0].get_text() == "no detection, so nobody"


def test_pieces_that_look_the_same_are_one_line() -> None:
    rows = [(1, 3 + t, 0.9 if t < 40 else 0.4, -1) for t in range(60)]
    _, lives, _ = answer(rows, length=60).plot().axes
    segments = lives.collections[0].get_segments()
    ends = [(piece[0, 0], piece[-1, 0]) for piece in segments]
    assert ends == [(3, 42), (42, 62)]


def test_a_long_video_has_fewer_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for most, draws in ((10**6, 50), (300, 10), (0, 4)):
        monkeypatch.setattr(live_tracks, "MOST_DRAWN", most)
        answer().write(tmp_path)
        with xarray.open_dataset(
            tmp_path / "posterior.nc", group="posterior", engine="h5netcdf"
        ) as posterior:
            assert posterior.sizes["draw"] == draws


def test_mean_and_sd_are_written(tmp_path: Path) -> None:
    answer().write(tmp_path)
    file = tmp_path / "posterior.nc"
    with xarray.open_dataset(file, group="constant_data", engine="h5netcdf") as told:
        assert np.allclose(told["mean"], answer().mean) and np.allclose(told["sd"], answer().sd)
