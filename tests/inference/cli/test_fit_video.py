"""``ppl fit-video``: what is cut out of a user's videos, and a run that is trained on it."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from inference.checkpoint import load
from inference.cli import video_jobs
from inference.cli.app import main
from inference.cli.video_jobs import training_clips
from inference.tasks.video import load_video, train
from inference.tasks.video.files import FILE
from inference.tasks.video.recipes import Recipe
from ppl_models.data import resize_frames
from ppl_models.errors import InputError
from tests.inference.video_runs import DESIGNS, SIDE, blobs, coloured

Ppl = Callable[..., tuple[int, str, str]]
FIT = ("--length", "4", "--side", str(SIDE), "--epochs", "2")


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in a folder with clips, on small recipes; return exit code and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")

    def small(story: str, frame_shape: tuple[int, int, int], sizes: str = "small") -> Recipe:
        design = coloured(story) if frame_shape[0] == 3 else DESIGNS[story]
        assert design.frame_shape == frame_shape and sizes == "small"
        return Recipe(design, batch_size=2)

    monkeypatch.setattr(train, "recipe", small)
    np.savez("clips.npz", frames=blobs())

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def fit(ppl: Ppl, *more: str, data: str = "clips.npz", code: int = 0) -> tuple[str, str]:
    out = () if "--out" in more else ("--out", "run")
    found, told, err = ppl("fit-video", data, *out, *FIT, *more)
    assert found == code, told + err
    assert "Traceback" not in err
    return told, err


# -- training --------------------------------------------------------------------------------------


@pytest.mark.parametrize("story", ["srvp", "SVGLP", "SV2P", "DKF"])
def test_a_run_is_trained_and_predicts(ppl: Ppl, story: str) -> None:
    told, _ = fit(ppl, "--story", story)
    assert told.startswith("6 clips of 4 frames, 16 x 16, grey, from 3 videos\nTrained 2 epochs")
    assert told.endswith(f"saved: run/{FILE}\n")
    assert load_video("run").design.story.lower() == story.lower()
    short = ("--past", "2", "--length", "4", "--samples", "2")
    code, _, err = ppl("predict-video", "clips.npz", "--model", "run", "--out", "out", *short)
    assert code == 0, err


def test_colours_are_kept_if_asked_for(ppl: Ppl) -> None:
    rng = np.random.default_rng(0)
    np.savez("colours.npz", frames=rng.integers(0, 256, (9, SIDE, SIDE, 3), dtype=np.uint8))
    told, _ = fit(ppl, "--colour", data="colours.npz")
    assert "2 clips of 4 frames, 16 x 16, in colour, from 1 video\n" in told
    assert load_video("run").model.frame_shape == (3, SIDE, SIDE)
    told, _ = fit(ppl, "--out", "other", data="colours.npz")
    assert "grey" in told


def test_a_run_that_is_there_is_gone_on_with_only_if_asked(ppl: Ppl) -> None:
    fit(ppl)
    _, err = fit(ppl, code=1)
    assert "--resume" in err
    fit(ppl, "--resume")


def test_a_stopped_training_says_how_to_go_on_and_ends_at_the_same_numbers(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(ppl, "--out", "whole")
    real = train.fit

    def stopping(*arguments: Any, **named: Any) -> Any:
        def stop(step: int, loss: float) -> None:
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return real(*arguments, **named, on_step=stop)

    monkeypatch.setattr(train, "fit", stopping)
    _, err = fit(ppl, "--out", "two", code=130)
    assert "the same command with --resume goes on" in err
    monkeypatch.setattr(train, "fit", real)
    fit(ppl, "--out", "two", "--resume")
    one, two = (load(f"{name}/{FILE}").tensors for name in ("whole", "two"))
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (("--story", "SVRP"), 1, "--story: saw 'SVRP'"),
        (("--side", "20"), 2, "--side takes one of 8, 16, 32"),
        (("--length", "1"), 2, "--length"),
        (("--length", "9"), 1, "3 videos of at most 8 frames\n"),
        (("--sizes", "huge"), 2, "--sizes"),
    ],
)
def test_wrong_words_are_named(ppl: Ppl, more: tuple[str, ...], code: int, message: str) -> None:
    _, err = fit(ppl, *more, code=code)
    assert message in err and not Path("run").exists()


# -- clips of a user's videos ----------------------------------------------------------------------


def clips(data: str = "data", length: int = 4, **more: Any) -> Any:
    how = {"side": SIDE, "stride": None, "colour": False} | more
    return training_clips(Path(data), length, **how)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def _pictures(folder: str, film: Any) -> None:
    Path(folder).mkdir(parents=True)
    for place, frame in enumerate(film):
        Image.fromarray(frame).save(f"{folder}/{place}.png")


def _gif(path: str, film: Any) -> None:
    first, *rest = (Image.fromarray(frame) for frame in film)
    first.save(path, save_all=True, append_images=rest, duration=100)


def test_every_kind_of_video_gives_the_same_clips(here: None) -> None:
    film = blobs(1, 9)[0]
    Path("data").mkdir()
    np.savez("data/a.npz", frames=film)
    np.save("data/b.npy", film)
    _gif("data/c.gif", film)
    _pictures("data/d", film)
    want = film[:8].reshape(2, 4, SIDE, SIDE)
    for name in ("a.npz", "b.npy", "c.gif", "d"):
        assert np.array_equal(clips(f"data/{name}"), want), name
    assert np.array_equal(clips(), np.tile(want, (4, 1, 1, 1)))


def test_clips_are_cut_at_the_stride_and_to_the_size(
    here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    film = blobs(1, 9, side=32)[0]
    np.save("film.npy", film)
    found, small = clips("film.npy", stride=2), resize_frames(film, SIDE)
    assert np.array_equal(found, np.stack([small[i : i + 4] for i in (0, 2, 4)]))
    assert capsys.readouterr().out == "3 clips of 4 frames, 16 x 16, grey, from 1 video\n"
    wide = np.pad(film, [(0, 0), (0, 0), (6, 6)])
    np.save("wide.npy", wide)
    assert np.array_equal(clips("wide.npy", stride=2), found)


def test_short_videos_are_named_and_left_out(
    here: None, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("data").mkdir()
    for length in (3, 4):
        np.save(f"data/{length}.npy", blobs(1, length)[0])
    assert clips().shape == (1, 4, SIDE, SIDE)
    assert "left out: data/3.npy, 3 frames of 4\n" in capsys.readouterr().err
    with pytest.raises(InputError, match="2 videos of at most 4 frames\n.*\n.*--length 4"):
        clips(length=5)


def test_masked_frames_are_in_no_clip(here: None) -> None:
    frames, mask = blobs(), np.arange(8) < np.array([8, 5, 3])[:, None]
    np.savez("ragged.npz", frames=np.where(mask[..., None, None], frames, 99), mask=mask)
    want = np.stack([frames[0, :4], frames[0, 4:], frames[1, :4]])
    assert np.array_equal(clips("ragged.npz"), want)


def test_grey_videos_among_colours_have_three_equal_channels(here: None) -> None:
    Path("data").mkdir()
    grey, colours = blobs(1, 4)[0], np.stack([blobs(1, 4)[0]] * 3, -1)
    colours[..., 0] = 7
    np.save("data/a.npy", grey)
    np.save("data/b.npy", colours)
    found = clips(colour=True)
    assert np.array_equal(found, np.stack([np.stack([grey] * 3, -1), colours]))
    assert clips().shape == (2, 4, SIDE, SIDE)


def test_data_that_are_no_videos_are_named(here: None) -> None:
    Path("empty").mkdir()
    Path("films").mkdir()
    Path("films/one.avi").touch()
    Path("text.npz").write_text("one, two")
    Path("nothing.gif").touch()
    np.save("floats.npy", blobs(1)[0] / 255)
    np.save("one.npy", blobs(1)[0, :1])
    for name, message in {
        "empty": "no picture",
        "films": "ffmpeg -i films/one.avi",
        "text.npz": "no file of numbers",
        "nothing.gif": "damaged",
        "floats.npy": "uint8",
        "one.npy": "one frame",
    }.items():
        with pytest.raises(InputError, match=message) as caught:
            clips(name)
        assert name in str(caught.value)
    with pytest.raises(OSError):
        clips("nowhere.npz")


def test_more_clips_than_memory_are_refused(here: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A film of a million frames too: cut anew at each frame, it would be many times its size."""
    np.save("film.npy", np.zeros((10**6, 8, 8), np.uint8))
    with pytest.raises(InputError, match=r"clips of .* bytes, up to film\.npy\n.*\n.*--stride"):
        clips("film.npy", length=200, side=8, stride=1)
    monkeypatch.setattr(video_jobs, "MOST_BYTES", 10**6 * 64)
    assert clips("film.npy", length=200, side=8).shape == (5000, 200, 8, 8)
