from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from inference.metrics import video_scores
from inference.tasks.video import Forecast, score_forecast
from ppl_models.errors import InputError
from tests.inference.video_runs import SIDE, blobs

PAST = 3


def found(truth: Any, samples: int = 4, noise: int = 40, seed: int = 0) -> Forecast:
    """Futures that are the truth and noise."""
    rng = np.random.default_rng(seed)
    moved = truth + rng.integers(-noise, noise + 1, (samples, *truth.shape))
    return Forecast(moved.clip(0, 255).astype(np.uint8), PAST)


def test_scores_are_those_of_the_metrics() -> None:
    truth = blobs()
    futures = found(truth)
    report = score_forecast(futures, truth)
    want = video_scores(truth, futures.frames, past=PAST)
    assert report is not None and report.lengths == (8, 8, 8) and report.samples == 4
    for name, of, copied in [
        ("psnr", want.psnr, want.copied_psnr),
        ("ssim", want.ssim, want.copied_ssim),
    ]:
        rows = {"best": of.value, "mean": of.mean, "worst": of.worst, "copied": copied}
        for part, values in rows.items():
            assert report.scores[name][part] == pytest.approx(values.tolist(), rel=1e-6)
            assert report.mean(name, part)[0] == pytest.approx(float(values.mean()), rel=1e-6)
        assert report.mean(name, "best")[1] == pytest.approx(of.error, rel=1e-5)
        assert {*report.scores[name]} == {*rows, "past"}


def test_the_past_is_scored_from_its_second_frame_on_and_moves_no_score_of_the_future() -> None:
    truth = blobs()
    futures = found(truth)
    one = score_forecast(futures, truth)
    for frame, kept in ((0, True), (1, False)):
        changed = futures.frames.copy()
        changed[:, :, frame] = 255 - changed[:, :, frame]
        other = score_forecast(Forecast(changed, PAST), truth)
        assert one is not None and other is not None
        assert (one.scores["psnr"]["past"] == other.scores["psnr"]["past"]) is kept
        assert one.scores["psnr"]["best"] == other.scores["psnr"]["best"]


def test_frames_that_one_of_them_lacks_do_not_count() -> None:
    truth = blobs(length=9)
    futures = found(truth)
    cut = score_forecast(Forecast(futures.frames[:, :, :6], PAST), truth[:, :6])
    assert cut == score_forecast(futures, truth[:, :6])
    assert cut == score_forecast(Forecast(futures.frames[:, :, :6], PAST), truth)
    assert cut is not None and cut.lengths == (6, 6, 6)


def test_masked_frames_do_not_count_and_clips_without_any_are_left_out() -> None:
    truth, mask = blobs(), np.arange(8) < np.array([8, 5, PAST])[:, None]
    futures = found(truth)
    report = score_forecast(futures, np.where(mask[..., None, None], truth, 77), mask)
    assert report is not None and report.lengths == (8, 5, 0)
    alone = [
        score_forecast(Forecast(futures.frames[:, b : b + 1, :n], PAST), truth[b : b + 1, :n])
        for b, n in ((0, 8), (1, 5))
    ]
    for part, values in report.scores["psnr"].items():
        assert list(values) == [one.scores["psnr"][part][0] for one in alone if one is not None]
    assert "2 clips, frames 4 to 5-8 of each; 1 without a frame to compare" in str(report)


def test_nothing_to_compare_is_none() -> None:
    truth = blobs()
    futures = found(truth)
    assert score_forecast(futures, truth[:, :PAST]) is None
    assert score_forecast(Forecast(futures.frames[:, :, :PAST], PAST), truth) is None
    mask = np.arange(8) < np.full((3, 1), PAST)
    assert score_forecast(futures, truth, mask) is None


@pytest.mark.parametrize("last", [False, True])
def test_colours_may_come_first_or_last(last: bool) -> None:
    grey = blobs()
    truth = np.stack([grey, grey, grey], 2)
    futures = found(truth)
    given = np.moveaxis(truth, 2, -1) if last else truth
    report = score_forecast(futures, given)
    want = video_scores(truth, futures.frames, past=PAST)
    assert report is not None
    assert report.scores["psnr"]["best"] == pytest.approx(want.psnr.value.tolist(), rel=1e-6)


def test_small_frames_have_no_ssim() -> None:
    report = score_forecast(found(blobs(side=8)), blobs(side=8))
    assert report is not None and report.scores.keys() == {"psnr"}


def test_a_table_and_json_say_the_same() -> None:
    report = score_forecast(found(blobs(2)), blobs(2))
    assert report is not None
    kept = json.loads(json.dumps(report.as_json()))
    lines = str(report).splitlines()
    assert [line[:16].strip() for line in lines[1:-1]] == [
        "best of 4",
        "mean of them",
        "worst of them",
        "last frame again",
        "reconstruction",
    ]
    for line, part in zip(lines[1:], ("best", "mean", "worst", "copied", "past"), strict=False):
        for name, digits in (("psnr", 2), ("ssim", 3)):
            value = kept[name][part]
            assert f"{value['mean']:.{digits}f} ± {value['error']:.{digits}f}" in line
    assert lines[-1] == "2 clips, frames 4 to 8 of each"
    single = score_forecast(found(blobs(1), samples=1), blobs(1))
    assert single is not None and single.as_json()["psnr"]["best"]["error"] is None
    assert math.isnan(single.mean("psnr", "best")[1])
    assert "the future" in str(single) and "±" not in str(single) and "best" not in str(single)


def test_other_clips_are_refused() -> None:
    truth = blobs()
    for wrong in (truth[:2], truth[..., :-1], truth / 255, truth[0]):
        with pytest.raises(InputError, match=rf"uint8, \(3, frames, {SIDE}, {SIDE}\)"):
            score_forecast(found(truth), wrong)
