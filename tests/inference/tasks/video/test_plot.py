"""Pictures of forecasts: which futures are shown, and where what stands in them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from inference.tasks.video import Forecast, draw_fan, draw_strip, write_gif
from inference.tasks.video.choice import chosen
from inference.tasks.video.gif import GIVEN, PREDICTED
from inference.tasks.video.plot import _times
from ppl_models.errors import InputError
from tests.inference.video_runs import SIDE, blobs

PAST, LENGTH = 3, 8


def forecast(samples: int = 5, size: int = 2) -> Forecast:
    """Sample k is the truth, moved down by k - 1 rows after the past: sample 1 is the truth."""
    truth = blobs(size)
    frames = np.stack([truth] * samples)
    for k in range(samples):
        frames[k, :, PAST:] = np.roll(truth[:, PAST:], k - 1, -2)
    return Forecast(frames, PAST)


def rows(figure: Any) -> dict[str, Any]:
    """The row of each label, and what it shows."""
    return {ax.get_ylabel().split("\n")[0]: ax.images[0].get_array() for ax in figure.axes
            if ax.images}  # fmt: skip


def test_the_best_the_worst_and_a_typical_future_are_found() -> None:
    found, truth = forecast(), blobs(2)
    shown = chosen(found, truth, video=1)
    names = [name.split("\n")[0] for name in shown.films]
    assert names == ["truth", "best", "typical", "worst"]
    films = dict(zip(names, shown.films.values(), strict=True))
    assert np.array_equal(films["best"], found.frames[1, 1])
    assert np.array_equal(films["worst"], found.frames[4, 1])
    assert "best\n100.0 dB" in shown.films
    apart = found.frames[:, 1, PAST:].reshape(5, -1).astype(float)
    distances = ((apart[:, None] - apart) ** 2).sum(-1).mean(1)
    which = {name: int((found.frames[:, 1] == film).all((1, 2, 3)).argmax())
             for name, film in {**films, **chosen(found, video=1).films}.items()}  # fmt: skip
    assert distances[which["typical"]] == pytest.approx(distances.min())
    assert distances[which["farthest"]] == pytest.approx(distances.max())
    assert list(chosen(found, video=1).films) == ["typical", "farthest"]
    assert np.allclose(shown.spread, found.frames[:, 1].std(0), atol=1e-3)
    assert np.abs(shown.mean - found.frames[:, 1].mean(0)).max() <= 0.5


def test_many_samples_are_looked_at_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = chosen(forecast(), blobs(2))
    monkeypatch.setattr("inference.tasks.video.choice._MOST", 2 * LENGTH * SIDE**2)
    parts = chosen(forecast(), blobs(2))
    assert np.allclose(whole.spread, parts.spread) and np.array_equal(whole.mean, parts.mean)
    assert whole.films.keys() == parts.films.keys()


def test_a_truth_that_is_masked_or_short_is_shown_as_far_as_it_goes() -> None:
    mask = np.arange(LENGTH) < np.array([[5], [PAST]])
    shown = chosen(forecast(), blobs(2), mask)
    assert shown.films["truth"].shape == (5, SIDE, SIDE) and len(shown.films) == 4
    strip = rows(draw_strip(forecast(), blobs(2), mask=mask, columns=LENGTH))
    assert (strip["truth"][:, 5 * (SIDE + 2) :] == 255).all()
    none_after = chosen(forecast(), blobs(2), mask, video=1)
    assert list(none_after.films) == ["truth", "typical", "farthest"]
    assert np.array_equal(chosen(forecast(), blobs(2)[:, :5]).films["truth"], blobs(2)[0, :5])


def test_a_strip_shows_frames_in_their_places_and_the_line_between() -> None:
    found, truth = forecast(), blobs(2)
    figure = draw_strip(found, truth, columns=LENGTH)
    shown = rows(figure)
    assert list(shown) == ["truth", "best", "typical", "worst", "mean", "standard"]
    step = SIDE + 2
    for t in range(LENGTH):
        frame = shown["truth"][:, t * step : t * step + SIDE, 0]
        assert np.array_equal(frame, truth[0, t])
        assert (shown["truth"][:, t * step + SIDE : (t + 1) * step] == 255).all()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == list("12345678")
    line = figure.axes[0].lines[0]
    assert PAST * step - 2 <= line.get_xdata()[0] <= PAST * step and to_rgb(line.get_color())
    assert {text.get_text() for text in figure.axes[0].texts} == {"given", "predicted"}
    assert any(ax.get_ylabel() == "grey levels" for ax in figure.axes)  # the colour bar
    short = rows(draw_strip(found, truth[:, :5], columns=LENGTH))["truth"]
    assert (short[:, 5 * step :] == 255).all()


def test_a_strip_of_one_sample_or_in_colour_or_of_the_past_alone() -> None:
    assert list(rows(draw_strip(forecast(1)))) == ["future", "standard"]
    found = forecast()
    colours = Forecast(np.stack([found.frames] * 3, 3), PAST)
    shown = rows(draw_strip(colours, np.stack([blobs(2)] * 3, -1)))
    assert shown["truth"].shape[-1] == 3 and shown["standard"].ndim == 2
    known = draw_strip(Forecast(found.frames[:, :, :PAST], PAST), blobs(2))
    assert [text.get_text() for text in known.axes[0].texts] == ["given"]


@pytest.mark.parametrize(
    ("sizes", "want"),
    [
        ((8, 3, 20), [1, 2, 3, 4, 5, 6, 7, 8]),
        ((25, 5, 6), [5, 6, 11, 15, 20, 25]),
        ((25, 5, 15), [1, 3, 5, 6, 8, 9, 11, 13, 15, 16, 18, 20, 22, 23, 25]),
        ((6, 5, 2), [5, 6]),
        ((5, 5, 3), [1, 3, 5]),
        ((100, 1, 3), [1, 2, 100]),
    ],
)
def test_the_frames_beside_the_line_are_always_shown(
    sizes: tuple[int, int, int], want: list[int]
) -> None:
    assert list(_times(*sizes) + 1) == want


def test_a_film_of_a_masked_truth_is_that_of_a_shorter_one(tmp_path: Path) -> None:
    mask = np.arange(LENGTH) < np.full((2, 1), 5)
    masked = write_gif(tmp_path / "a.gif", forecast(), blobs(2), mask=mask).read_bytes()
    assert masked == write_gif(tmp_path / "b.gif", forecast(), blobs(2)[:, :5]).read_bytes()


@pytest.mark.parametrize("truth", [True, False])
def test_a_film_has_a_page_a_frame_and_a_border_that_says_what_is_known(
    truth: bool, tmp_path: Path
) -> None:
    path = write_gif(tmp_path / "a.gif", forecast(), blobs(2)[:, :6] if truth else None)
    with Image.open(path) as film:
        assert film.n_frames == LENGTH and film.info["loop"] == 0  # type: ignore[attr-defined]
        for t in range(LENGTH):
            film.seek(t)
            page = np.asarray(film.convert("RGB")).astype(int)
            colour = GIVEN if t < PAST else PREDICTED
            edge = np.abs(page - colour).sum(-1) < 30
            panels = 5 if truth and t < 6 else 4 if truth else 3
            scale = 128 // SIDE
            side = scale * SIDE + 8
            assert (edge.sum() - panels * (side**2 - (side - 8) ** 2)) in range(0, 3000)
        assert film.info["duration"] == 800  # the last page stays


def test_a_film_enlarges_pixels_as_they_are(tmp_path: Path) -> None:
    found = forecast(1, 1)
    write_gif(tmp_path / "a.gif", found, milliseconds=40)
    with Image.open(tmp_path / "a.gif") as film:
        assert film.info["duration"] == 40
        page = np.asarray(film.convert("L")).astype(int)
    top, left, scale = 10 + 13 + 4 + 4, 10 + 4, 128 // SIDE
    middles = page[top + scale // 2 :, left + scale // 2 :][::scale, ::scale][:SIDE, :SIDE]
    assert np.abs(middles - found.frames[0, 0, 0]).max() <= 3  # of 256 colours
    with pytest.raises(InputError, match="milliseconds"):
        write_gif(tmp_path / "b.gif", found, milliseconds=1)


def test_a_video_that_stands_still_has_all_its_pages(tmp_path: Path) -> None:
    still = Forecast(np.zeros((2, 1, 6, SIDE, SIDE), np.uint8), 2)
    with Image.open(write_gif(tmp_path / "a.gif", still)) as film:
        assert film.n_frames == 6  # type: ignore[attr-defined]


def test_a_fan_has_paths_bands_truth_and_walls() -> None:
    rng = np.random.default_rng(0)
    places = 10 + rng.normal(size=(400, 6, 2)).cumsum(1)
    truth, given = places[0], np.full((3, 2), 10.0)
    figure = draw_fan(places, truth, given=given, wall=(2, 29), paths=7, title="a digit")
    down, across = figure.axes
    assert figure.get_suptitle() == "a digit" and "down" in down.get_title()
    for axis, ax in enumerate((down, across)):
        names = [line.get_label() for line in ax.lines]
        assert names.count("samples") == 1 and names.count("wall") == 2
        assert sum(line.get_linewidth() == 0.5 for line in ax.lines) == 7
        shown = next(line for line in ax.lines if line.get_label() == "truth")
        assert np.array_equal(shown.get_ydata(), truth[:, axis])
        assert list(shown.get_xdata()) == [4, 5, 6, 7, 8, 9]
        for band, share in zip(ax.collections, (0.95, 0.8, 0.5), strict=True):
            path = band.get_paths()[0].vertices
            last = path[path[:, 0] == 9][:, 1]
            want = np.quantile(places[:, -1, axis], [(1 - share) / 2, (1 + share) / 2])
            assert [last.min(), last.max()] == pytest.approx(list(want))
    assert down.yaxis_inverted()
    bare = draw_fan(places)
    assert list(bare.axes[0].lines[0].get_xdata()) == [1, 2, 3, 4, 5, 6]


def test_wrong_pictures_are_refused() -> None:
    found = forecast()
    with pytest.raises(InputError, match="video: saw 2\n.*0 to 1"):
        draw_strip(found, video=2)
    with pytest.raises(InputError, match="columns=15"):
        draw_strip(found, columns=1)
    with pytest.raises(InputError, match="truth"):
        draw_strip(found, blobs(3))
    places = np.zeros((4, 6, 2))
    with pytest.raises(InputError, match=r"places\[None\]"):
        draw_fan(places[0])
    with pytest.raises(InputError, match=r"truth\[:6\]"):
        draw_fan(places, np.zeros((8, 2)))
    with pytest.raises(InputError, match="given"):
        draw_fan(places, given=np.zeros((8, 3)))
