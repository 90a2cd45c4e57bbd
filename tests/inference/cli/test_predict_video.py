"""``ppl predict-video``: what it writes, what it says of wrong input, and that its cures work."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inference.cli import video_jobs
from inference.cli.app import main
from inference.tasks.video import Forecast, forecast, load_video, score_forecast
from inference.training.run_folder import WEIGHTS
from ppl_models.data import resize_frames, to_grey
from tests.inference.video_runs import SIDE, blobs, coloured, saved

Ppl = Callable[..., tuple[int, str, str]]
SHORT = ("--past", "3", "--length", "6", "--samples", "4")


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in a folder with a run and clips; return exit code and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    saved("run")
    np.savez("clips.npz", frames=blobs())

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def predict(ppl: Ppl, *more: str, clips: str = "clips.npz", code: int = 0) -> tuple[str, str]:
    out = () if "--out" in more else ("--out", "out")
    model = () if "--model" in more else ("--model", "run")
    short = () if "--past" in more else SHORT
    found, told, err = ppl("predict-video", clips, *model, *out, *short, *more)
    assert found == code, told + err
    assert "Traceback" not in err
    return told, err


def frames_of(folder: str = "out") -> Any:
    with np.load(f"{folder}/samples.npz") as held:
        return held["frames"]


# -- what is written -------------------------------------------------------------------------------


def test_samples_film_strip_and_scores_are_those_of_python(ppl: Ppl, untouched: None) -> None:
    told, _ = predict(ppl, "--seed", "3")
    trained = load_video("run")
    clips = blobs()
    found = forecast(trained.model, trained.guide, clips[:, :3], length=6, num_samples=4, seed=3)
    assert np.array_equal(frames_of(), found.frames) and frames_of().shape == (4, 3, 6, SIDE, SIDE)
    assert frames_of().dtype == np.uint8 and int(np.load("out/samples.npz")["past"]) == 3
    report = score_forecast(found, clips)
    assert report is not None and told == f"{report}\nsaved: out\n"
    kept = json.loads(Path("out/scores.json").read_text())
    assert kept["psnr"] == report.as_json()["psnr"] and kept["story"] == "SRVP"
    with Image.open("out/futures.gif") as film, Image.open("out/futures.png") as strip:
        assert film.n_frames == 6 and strip.width > 500  # type: ignore[attr-defined]
    there = {path.name for path in Path("out").iterdir()}
    assert there == {"samples.npz", "futures.gif", "futures.png", "scores.json", "SHA256SUMS"}


@pytest.mark.parametrize("story", ["SVGLP", "SV2P", "DKF"])
def test_other_stories_predict_too(ppl: Ppl, story: str) -> None:
    saved("other", story)
    predict(ppl, "--model", "other")
    assert frames_of().shape == (4, 3, 6, SIDE, SIDE)


def test_the_same_seed_gives_the_same_bytes_and_another_others(ppl: Ppl) -> None:
    for seed, out in (("1", "a"), ("1", "b"), ("2", "c")):
        predict(ppl, "--seed", seed, "--out", out)
    assert Path("a/samples.npz").read_bytes() == Path("b/samples.npz").read_bytes()
    assert not np.array_equal(frames_of("a")[..., 3:, :, :], frames_of("c")[..., 3:, :, :])


def test_what_is_there_is_kept_unless_it_may_be_replaced(ppl: Ppl) -> None:
    predict(ppl)
    before = Path("out/samples.npz").read_bytes()
    _, err = predict(ppl, "--seed", "1", code=1)
    assert "out/samples.npz, which is there" in err and "--overwrite" in err
    assert Path("out/samples.npz").read_bytes() == before
    np.savez("clips.npz", frames=blobs()[:, :3])  # no truth now: the old scores go
    told, _ = predict(ppl, "--seed", "1", "--overwrite")
    assert "nothing to compare with" in told and not Path("out/scores.json").exists()
    assert Path("out/samples.npz").read_bytes() != before


def test_a_truth_longer_or_shorter_than_the_futures_is_compared_where_both_are(ppl: Ppl) -> None:
    told, _ = predict(ppl)
    assert "3 clips, frames 4 to 6 of each" in told
    told, _ = predict(ppl, "--past", "3", "--length", "12", "--samples", "2", "--out", "long")
    assert "3 clips, frames 4 to 8 of each" in told and frames_of("long").shape[2] == 12


def test_the_clip_that_is_shown_is_chosen(ppl: Ppl) -> None:
    predict(ppl, "--show", "2")
    predict(ppl, "--out", "other")
    films = [Path(f"{name}/futures.gif").read_bytes() for name in ("out", "other")]
    assert films[0] != films[1]
    _, err = predict(ppl, "--show", "3", "--out", "third", code=1)
    assert "one of the 3 clips, from 0" in err and "--show 2" in err


def test_clips_of_other_lengths_are_each_as_alone(ppl: Ppl) -> None:
    """What stands at missing frames, and in other clips, reaches no clip's futures or scores."""
    frames, mask = blobs(), np.arange(8) < np.array([8, 4, 3])[:, None]
    np.savez("ragged.npz", frames=np.where(mask[..., None, None], frames, 99), mask=mask)
    told, _ = predict(ppl, clips="ragged.npz")
    assert "2 clips, frames 4 to 4-6 of each; 1 without a frame to compare" in told
    predict(ppl, "--out", "whole")
    assert np.array_equal(frames_of(), frames_of("whole"))
    ours, theirs = (json.loads(Path(f"{n}/scores.json").read_text()) for n in ("out", "whole"))
    assert ours["psnr"]["best"]["clips"][0] == theirs["psnr"]["best"]["clips"][0]
    assert ours["frames_compared"] == [6, 4, 0]


def test_a_video_that_stands_still_is_predicted_and_copying_is_right(ppl: Ppl) -> None:
    np.savez("still.npz", frames=np.repeat(blobs(2, 2)[:, :1], 8, 1))
    predict(ppl, clips="still.npz")
    kept = json.loads(Path("out/scores.json").read_text())
    assert kept["psnr"]["copied"]["mean"] == 100 and kept["ssim"]["copied"]["mean"] == 1
    assert np.isfinite(kept["psnr"]["best"]["mean"])
    np.savez("black.npz", frames=np.zeros((1, 8, SIDE, SIDE), np.uint8))
    predict(ppl, "--out", "black", clips="black.npz")


def test_one_sample_and_one_frame_given_are_enough(ppl: Ppl) -> None:
    told, _ = predict(ppl, "--past", "1", "--length", "2", "--samples", "1")
    assert frames_of().shape == (1, 3, 2, SIDE, SIDE)
    assert "the future" in told and "best of" not in told and "reconstruction" not in told


# -- frames that are not the model's ---------------------------------------------------------------


def test_frames_of_another_size_are_refused_with_cures_that_work(ppl: Ppl) -> None:
    large = blobs(side=32)
    np.savez("large.npz", frames=large)
    _, err = predict(ppl, clips="large.npz", code=1)
    assert "frames of 32 x 32" in err and "16 x 16, as the model's" in err
    assert "--resize" in err and f"resize_frames(frames, {SIDE})" in err
    _, err = predict(ppl, "--resize", clips="large.npz")
    assert "resized: 32 x 32 to 16 x 16" in err
    np.savez("small.npz", frames=resize_frames(large, SIDE))
    predict(ppl, "--out", "same", clips="small.npz")
    assert np.array_equal(frames_of(), frames_of("same"))
    np.savez("wide.npz", frames=np.pad(large, [(0, 0)] * 3 + [(4, 4)]))
    _, err = predict(ppl, "--resize", "--out", "wide", clips="wide.npz")
    assert "of the square in the middle" in err and np.array_equal(frames_of("wide"), frames_of())


def test_colours_for_a_grey_model_are_refused_or_made_grey(ppl: Ppl) -> None:
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (2, 8, SIDE, SIDE, 3), dtype=np.uint8)
    np.savez("colours.npz", frames=colours)
    _, err = predict(ppl, clips="colours.npz", code=1)
    assert "frames in colour" in err and "cure: --grey" in err
    predict(ppl, "--grey", clips="colours.npz")
    np.savez("grey.npz", frames=to_grey(colours))
    predict(ppl, "--out", "same", clips="grey.npz")
    assert np.array_equal(frames_of(), frames_of("same"))


def test_a_model_of_colours_takes_and_writes_colours_last(ppl: Ppl) -> None:
    saved("colours", coloured())
    frames = np.repeat(blobs()[..., None], 3, -1)
    np.savez("colours.npz", frames=frames)
    predict(ppl, "--model", "colours", clips="colours.npz")
    assert frames_of().shape == (4, 3, 6, SIDE, SIDE, 3)
    _, err = predict(ppl, "--model", "colours", "--out", "no", code=1)
    assert "grey frames" in err and "np.repeat(frames[..., None], 3, -1)" in err


# -- wrong input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--past", "3", "--length", "3"), "--length: saw 3\n.*--past\n.*--length 4"),
        (("--past", "9", "--length", "12"), "clip 0 has 8 frames\n.*\n.*--past 8"),
        (("--past", "3", "--length", "30000"), "at most 20,000 frames"),
        (("--model", "nowhere"), "--model: saw no nowhere"),
        (("--out", "clips.npz"), "clips.npz"),
    ],
)
def test_wrong_words_are_named(ppl: Ppl, more: tuple[str, ...], message: str) -> None:
    import re

    _, err = predict(ppl, *more, code=1)
    assert re.search(message, err), err
    assert not Path("out").exists()


@pytest.mark.parametrize("word", ["--samples", "--past"])
def test_none_of_something_is_wrong_usage(ppl: Ppl, word: str) -> None:
    _, err = predict(ppl, word, "0", code=2)
    assert word in err and "1" in err


def _array(**arrays: Any) -> Callable[[Path], None]:
    return lambda path: np.savez(path, **arrays)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b""), "damaged, or no file of numbers"),
        (lambda path: path.write_text("frame 1, frame 2"), "damaged, or no file of numbers"),
        (_array(clips=blobs()), "an array named frames"),
        (_array(frames=blobs() / 255.0), r"float64 of shape .*\n.*uint8\n.*\* 255\)\.round"),
        (_array(frames=np.full((2, 8, 4, 4), np.nan)), "with 256 NaN"),
        (_array(frames=blobs()[0]), r"shape \(8, 16, 16\)\n.*\n.*frames\[None\]"),
        (_array(frames=blobs()[:, :1]), "one frame"),
        (_array(frames=blobs()[:0]), "shape"),
        (_array(frames=np.zeros((2, 8, 16, 16, 3, 1), np.uint8)), "shape"),
        (
            _array(frames=blobs(), mask=np.arange(8) < np.array([8, 2, 2])[:, None]),
            r"clip 1 has 2 frames\n.*the 3 of --past.*\n.*--past 2, or.*mask\.sum\(1\) >= 3",
        ),
        (_array(frames=blobs(), mask=np.arange(8) > 3), "mask"),
    ],
)
def test_files_that_hold_no_clips_are_named(
    ppl: Ppl, write: Callable[[Path], None], message: str
) -> None:
    import re

    write(Path("bad.npz"))
    _, err = predict(ppl, clips="bad.npz", code=1)
    assert re.search(message, err), err
    assert "bad.npz" in err and not Path("out").exists()


def test_a_run_that_is_not_finished_and_other_models_are_named(ppl: Ppl) -> None:
    Path("half").mkdir()
    (Path("half") / WEIGHTS).touch()
    _, err = predict(ppl, "--model", "half", code=1)
    assert "half, a folder without video.safetensors" in err and "--resume" in err
    from tests.inference.speech import saved as saved_speech

    path = saved_speech(Path("voice"))
    _, err = predict(ppl, "--model", str(path / "pair.safetensors"), code=1)
    assert "settings" in err and "fit-video" in err
    model = load_video("run")
    next(model.model.parameters()).data[:] = torch.nan
    from inference.tasks.video import save_video

    save_video("nan", *(model.design, model.model, model.guide))
    _, err = predict(ppl, "--model", "nan", code=1)
    assert "not finite" in err or "finite" in err
    assert not Path("out").exists()


# -- memory ----------------------------------------------------------------------------------------


def test_more_samples_than_memory_are_refused_with_a_number_that_fits(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = 3 * 6 * SIDE**2
    monkeypatch.setattr(video_jobs, "MOST_BYTES", 7 * one + 5)
    _, err = predict(ppl, "--past", "3", "--length", "6", "--samples", "8", code=1)
    cure = err.split("cure: ")[1].strip()
    assert cure == "--samples 7" and not Path("out").exists()
    predict(ppl, "--past", "3", "--length", "6", *shlex.split(cure))
    monkeypatch.setattr(video_jobs, "MOST_BYTES", one - 1)
    _, err = predict(ppl, "--out", "less", code=1)
    assert "--samples 1, and 2 clips at a time: frames[:2]" in err


def test_eight_gigabytes_are_the_limit(ppl: Ppl) -> None:
    _, err = predict(ppl, "--past", "3", "--length", "20000", "--samples", "1000", code=1)
    assert f"at most {2**33:,}" in err and f"--samples {2**33 // (3 * 20000 * SIDE**2)}" in err


def test_a_million_frames_are_cut_to_those_that_are_looked_at(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    np.savez("film.npz", frames=np.zeros((1, 10**6, 4, 4), np.uint8))
    seen: list[Any] = []
    real = video_jobs.write_answers

    def watched(out: Path, found: Forecast, clips: Any, *more: Any) -> None:
        seen.append(clips.frames.shape)
        real(out, found, clips, *more)

    from inference.cli import video

    monkeypatch.setattr(video, "write_answers", watched)
    predict(ppl, "--resize", clips="film.npz")
    assert seen == [(1, 6, SIDE, SIDE)]


def test_a_full_disk_leaves_no_part_of_a_file(ppl: Ppl, monkeypatch: pytest.MonkeyPatch) -> None:
    import errno
    import os

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(video_jobs.os, "fsync", full)
    monkeypatch.setattr("inference.cli.video.make_folder", lambda path: path.mkdir())
    _, err = predict(ppl, code=1)
    assert "the disk is full" in err and os.listdir("out") == []
