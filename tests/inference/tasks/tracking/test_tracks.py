from __future__ import annotations

import errno
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from inference.tasks.tracking.plot import colours
from inference.tasks.tracking.tracks import Tracks
from ppl_models.data.motchallenge import read_boxes

FILES = ["posterior.nc", "tracks.png", "tracks.txt"]
FIRST, OBJECTS, FRAMES, PLACES = 7, 2, 5, 3


@pytest.fixture
def tracks() -> Tracks:
    """Two objects in frames 7 to 11, three places for detections, one of them clutter."""
    rng = np.random.default_rng(0)
    mean = rng.normal(size=(OBJECTS, FRAMES, 4)) * 0.1 + [50.0, 80.0, 3.0, 4.0]
    mean[1, :, 0] += 200
    detections = np.full((FRAMES, PLACES, 4), np.nan)
    responsibilities = np.zeros((FRAMES, PLACES, OBJECTS + 1))
    for t in range(FRAMES):
        for k, n in enumerate(rng.permutation(OBJECTS)):
            size = np.exp(mean[n, t, 2:])
            detections[t, k] = [*(mean[n, t, :2] - size / 2), *size]
            responsibilities[t, k] = [0.02, 0.02, 0.02]
            responsibilities[t, k, n] = 0.96
    detections[2, 2] = [400, 20, 30, 60]
    responsibilities[2, 2] = [0.05, 0.15, 0.8]
    sd = np.full_like(mean, 0.5)
    sd[..., 2:] = 0.02
    bounds = -120.5, 0.4, np.arange(10.0)
    return Tracks("a.txt", FIRST, mean, sd, detections, responsibilities, 0.04, *bounds)


def test_boxes_are_corners_and_sizes_at_the_mean(tracks: Tracks) -> None:
    left, top, width, height = np.moveaxis(tracks.boxes, -1, 0)
    assert np.allclose(left + width / 2, tracks.mean[..., 0])
    assert np.allclose(top + height / 2, tracks.mean[..., 1])
    assert np.allclose(np.log([width, height]), np.moveaxis(tracks.mean[..., 2:], -1, 0))


def test_assignments_are_the_likeliest(tracks: Tracks) -> None:
    assert (tracks.assignment[:, 2] == [-1, -1, 2, -1, -1]).all()
    assert (np.sort(tracks.assignment[:, :2], 1) == [0, 1]).all()
    best = tracks.responsibilities[:, :2].argmax(-1)
    assert (tracks.assignment[:, :2] == best).all()


def test_rows_of_a_file_have_a_box_for_every_object_and_frame(tracks: Tracks) -> None:
    rows = tracks.as_boxes()
    assert rows.frame.tolist() == [7, 7, 8, 8, 9, 9, 10, 10, 11, 11]
    assert rows.id.tolist() == [1, 2] * FRAMES and rows.name == "a.txt"
    for n in range(OBJECTS):
        assert np.array_equal(rows.ltwh[rows.id == n + 1], tracks.boxes[n])


def test_the_posterior_has_names_for_all_it_holds(tracks: Tracks) -> None:
    """Means of 4,000 draws to 5 standard errors, shares of w alike."""
    idata = tracks.to_arviz(num_samples=4000)
    posterior, box = idata["posterior"], idata["posterior"]["box"]
    assert box.dims == ("chain", "draw", "object", "frame", "coordinate")
    assert box.shape == (1, 4000, OBJECTS, FRAMES, 4)
    assert posterior["object"].values.tolist() == [1, 2]
    assert posterior["frame"].values.tolist() == [7, 8, 9, 10, 11]
    assert posterior["coordinate"].values.tolist() == ["left", "top", "width", "height"]
    width = np.log(box.sel(coordinate="width").to_numpy()[0])
    off = (width.mean(0) - tracks.mean[..., 2]) / 0.02
    assert np.abs(off).max() < 5 / np.sqrt(4000)
    assert np.abs(width.std(0) / 0.02 - 1).max() < 5 / np.sqrt(2 * 4000)
    centre = box.sel(coordinate="left") + box.sel(coordinate="width") / 2
    off = (centre.to_numpy()[0].mean(0) - tracks.mean[..., 0]) / 0.5
    assert np.abs(off).max() < 5 / np.sqrt(4000)
    assert idata["observed_data"]["detection"].shape == (FRAMES, PLACES, 4)
    assert idata["constant_data"]["objective"].values.tolist() == list(range(10))
    assert idata["constant_data"]["elbo"].item() == -120.5
    assert idata["constant_data"]["elbo_error"].item() == 0.4
    assert idata["constant_data"]["noise"].item() == 0.04


def test_drawn_assignments_count_objects_from_1_and_clutter_as_0(tracks: Tracks) -> None:
    assignment = tracks.to_arviz(num_samples=4000)["posterior"]["assignment"]
    assert assignment.dims == ("chain", "draw", "frame", "detection_slot")
    drawn = assignment.to_numpy()[0]
    assert (drawn[:, [0, 1, 3, 4], 2] == -1).all() and (drawn[:, :, :2] >= 0).all()
    shares = [(drawn[:, 2, 2] == n).mean() for n in (1, 2, 0)]
    error = 5 * np.sqrt(0.8 * 0.2 / 4000)
    assert np.allclose(shares, [0.05, 0.15, 0.8], rtol=0, atol=error)
    frame, place = 0, 0
    source = tracks.assignment[frame, place]
    assert abs((drawn[:, frame, place] == source + 1).mean() - 0.96) < error


def test_without_a_clutter_class_none_is_drawn(tracks: Tracks) -> None:
    some = tracks.responsibilities[..., :2]
    detections = tracks.detections.copy()
    detections[2, 2] = np.nan
    tracks = replace(tracks, responsibilities=some, detections=detections)
    drawn = tracks.to_arviz()["posterior"]["assignment"].to_numpy()
    assert set(np.unique(drawn)) == {-1, 1, 2}


def test_draws_are_the_seeds(tracks: Tracks, untouched: None) -> None:
    one, two, other = (
        tracks.to_arviz(num_samples=5, seed=seed)["posterior"]["box"].to_numpy()
        for seed in (0, 0, 1)
    )
    assert np.array_equal(one, two) and not np.array_equal(one, other)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_arviz_plots_and_sums_up_the_posterior(tracks: Tracks) -> None:
    import arviz

    idata = tracks.to_arviz(num_samples=50)
    table = arviz.summary(idata, var_names=["box"], kind="stats")
    assert len(table) == OBJECTS * FRAMES * 4
    assert table["mean"].iloc[0] == pytest.approx(tracks.boxes[0, 0, 0], abs=0.5)
    if arviz.__version__ < "1":
        axes = arviz.plot_forest(
            idata, var_names=["box"], coords={"frame": [7], "object": [1]}, combined=True
        )
        assert axes[0].figure is not None
        plt.close("all")


def test_arviz_and_pictures_wait_until_they_are_asked_for() -> None:
    code = (
        "import sys, inference.tasks.tracking.tracks\n"
        "print({'arviz', 'matplotlib'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_a_folder_holds_tracks_posterior_and_picture(tracks: Tracks, tmp_path: Path) -> None:
    import xarray

    paths = tracks.write(tmp_path / "deep" / "out")
    assert sorted(paths) == FILES
    assert sorted(x.name for x in (tmp_path / "deep" / "out").iterdir()) == FILES
    rows = read_boxes(paths["tracks.txt"])
    assert np.allclose(rows.ltwh, tracks.as_boxes().ltwh, atol=6e-4)
    assert paths["tracks.png"].read_bytes().startswith(b"\x89PNG")
    with xarray.open_dataset(paths["posterior.nc"], group="posterior", engine="h5netcdf") as file:
        assert file["box"].dims == ("chain", "draw", "object", "frame", "coordinate")
        assert file["frame"].values.tolist() == [7, 8, 9, 10, 11]


def test_writing_again_gives_the_same_tracks_and_posterior(tracks: Tracks, tmp_path: Path) -> None:
    import xarray

    one, two = tracks.write(tmp_path / "one"), tracks.write(tmp_path / "two")
    assert one["tracks.txt"].read_bytes() == two["tracks.txt"].read_bytes()
    same = [
        xarray.load_dataset(x["posterior.nc"], group="posterior", engine="h5netcdf")
        for x in (one, two)
    ]
    assert same[0].equals(same[1])


def test_a_full_disk_loses_nothing(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks.write(tmp_path)
    before = {x.name: x.read_bytes() for x in tmp_path.iterdir()}

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        replace(tracks, mean=tracks.mean + 1).write(tmp_path)
    assert {x.name: x.read_bytes() for x in tmp_path.iterdir()} == before


def test_a_picture_that_fails_leaves_the_old_files_together(
    tracks: Tracks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracks.write(tmp_path)
    before = {x.name: x.read_bytes() for x in tmp_path.iterdir()}
    monkeypatch.setattr(Tracks, "plot", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        replace(tracks, mean=tracks.mean + 1).write(tmp_path)
    assert {x.name: x.read_bytes() for x in tmp_path.iterdir()} == before


def test_a_picture_of_ones_own(tracks: Tracks) -> None:
    figure = tracks.plot()
    assert isinstance(figure, Figure) and not plt.get_fignums()  # nothing is left to pyplot
    image, x, y = figure.axes
    assert image.get_title() == "2 objects, frames 7 to 11; boxes: the last"
    assert len(image.patches) == OBJECTS
    assert (x.get_ylabel(), y.get_ylabel()) == ("centre x (pixels)", "centre y (pixels)")
    assert len(x.collections) == len(y.collections) == OBJECTS  # the bands
    line = next(one for one in x.lines if one.get_linestyle() != "None")
    assert np.array_equal(line.get_ydata(), tracks.mean[0, :, 0])
    assert line.get_xdata().tolist() == [7, 8, 9, 10, 11]
    low, high = x.collections[0].get_paths()[0].get_extents().intervaly
    edges = tracks.mean[0, :, 0].min() - 0.98, tracks.mean[0, :, 0].max() + 0.98
    assert (low, high) == pytest.approx(edges)


def test_marks_have_the_colour_of_their_object(tracks: Tracks) -> None:
    image = tracks.plot().axes[0]
    marks = [line for line in image.lines if line.get_linestyle() == "None"]
    counts = {to_rgba(line.get_color()): len(line.get_xdata()) for line in marks}
    first, second = (tuple(colour) for colour in colours(2))
    assert counts == {first: FRAMES, second: FRAMES, to_rgba("0.6"): 1}


def test_a_picture_in_axes_that_are_there(tracks: Tracks) -> None:
    figure, (left, right) = plt.subplots(1, 2)
    assert tracks.plot(right) is figure
    assert right.lines and not left.lines
    plt.close(figure)


@pytest.mark.parametrize("count", [1, 10, 20, 25])
def test_there_are_colours_for_all(count: int) -> None:
    some = colours(count)
    assert some.shape == (count, 4) and len(np.unique(some, axis=0)) == min(count, 20)


def test_one_frame_can_be_drawn_and_written(tracks: Tracks, tmp_path: Path) -> None:
    one = replace(
        tracks,
        mean=tracks.mean[:, :1],
        sd=tracks.sd[:, :1],
        detections=tracks.detections[:1],
        responsibilities=tracks.responsibilities[:1],
    )
    assert sorted(one.write(tmp_path)) == FILES
