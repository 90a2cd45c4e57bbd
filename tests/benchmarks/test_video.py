"""The parts of the benchmarks of videos that compute: tiny, untrained stories."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import video_answers, video_law, video_rows, video_speed, video_street
from benchmarks.video import table
from benchmarks.video_law import law_scores
from benchmarks.video_rivals import RIVALS
from benchmarks.video_rows import judge, variants
from inference.metrics import digit_classifier
from inference.tasks.video import Recipe, VideoDesign, recipe
from ppl_models.data import Digits, float_frames
from ppl_models.errors import InputError
from tests.rivals import assert_same_gradients

TINY: dict[str, dict[str, Any]] = {
    "SRVP": {"width": 2, "code_dim": 8, "content_dim": 8, "hidden_dims": [8]},
    "SVGLP": {"width": 2, "code_dim": 8, "recurrent_dim": 8},
}
GUIDES: dict[str, dict[str, Any]] = {
    "SRVP": {"start_dims": [8], "recurrent_dim": 8},
    "SVGLP": {"recurrent_dim": 8},
}


def tiny(story: str = "SRVP", **options: Any) -> Recipe:
    design = VideoDesign(story, (1, 32, 32), TINY[story] | options, GUIDES[story])
    return replace(recipe(story), design=design)


def pair(story: str = "SRVP") -> tuple[Any, Any]:
    model, guide = tiny(story).design.pair()
    return model.eval(), guide.eval()


def digits(count: int = 12) -> Digits:
    images = torch.zeros(count, 28, 28)
    images[:, 6:22, 8:20] = torch.rand(count, 16, 12, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(count) % 10
    return Digits(images.flatten(1), labels, images.flatten(1), labels)


# --- against plain torch --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("story", "options"), [("SRVP", {}), ("SRVP", {"skips": True}), ("SVGLP", {})]
)
def test_a_rival_has_the_loss_and_the_gradient(story: str, options: dict[str, bool]) -> None:
    s = float_frames(video_speed.clips(2, 7))
    assert_same_gradients(video_speed.losses(story, s, tiny(story, **options)))


def test_a_rival_of_another_loss_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(RIVALS["SRVP"]):  # type: ignore[misc]
        def forward(self, s: torch.Tensor) -> torch.Tensor:
            return 1.001 * super().forward(s)

    monkeypatch.setitem(RIVALS, "SRVP", Other)
    with pytest.raises(ValueError, match="and the rival's is"):
        video_speed.losses("SRVP", float_frames(video_speed.clips(2, 7)), tiny())


# --- answers --------------------------------------------------------------------------------------


def test_a_centroid_is_where_the_light_is_and_the_middle_in_the_dark() -> None:
    frames = np.zeros((2, 1, 32, 32), np.uint8)
    frames[0, 0, 4:7, 10:15] = 200
    frames[0, 0, 30, 30] = video_answers.DARK
    assert video_answers.centroids(frames).tolist() == [[[5.0, 12.0]], [[15.5, 15.5]]]


def test_paths_are_correlated_about_their_means() -> None:
    rng = np.random.default_rng(0)
    path = rng.normal(size=(3, 9, 2))
    still = path * [1, 0] + [0, 4]
    assert video_answers.path_correlations(path, 2 * path + 5) == pytest.approx(1)
    assert video_answers.path_correlations(path, -path) == pytest.approx(-1)
    assert video_answers.path_correlations(still, still) == pytest.approx(1)
    assert video_answers.path_correlations(0 * path, path) == pytest.approx(0)


def test_steps_are_counted_in_the_direction_of_the_end() -> None:
    way = np.array([[0, 0], [1, 0], [2, 1], [1.5, 1], [4, 0]])
    assert video_answers.share_forward(way) == 0.75


def test_the_most_probable_digit_is_that_of_most_frames() -> None:
    class Sure:
        def probabilities(self, frames: Any) -> torch.Tensor:
            return torch.eye(10)[torch.from_numpy(frames[..., 0, 0]).long()]

    frames = np.array([[3, 3, 7], [1, 9, 9]], np.uint8)[..., None, None]
    assert video_answers.most_probable(Sure(), frames).tolist() == [3, 9]
    assert digit_classifier().training is False


def test_an_untrained_story_gets_all_answers() -> None:
    model, guide = pair()
    found = video_answers.swap(model, guide, digits(), 3)
    assert -1 <= found.correlation <= 1
    assert all(0 <= share <= 1 for share in found[1:])
    sure = video_answers.far(model, guide, digits(), 2, 2)
    assert [*sure] == [10, 25, 50, 75, 95] and all(0 <= value <= 1 for value in sure.values())
    assert 0 <= video_answers.forward_steps(model, guide, digits(), 2, 4) <= 1


def test_settings_are_scored_and_one_digit_has_coverage() -> None:
    every = list(video_answers.settings())
    assert len(every) == 18 and {s["process"] for s in every} == {"srvp", "svg", "deterministic"}
    model, guide = pair()
    for setting in (every[0], every[-1]):
        test = video_answers.test_digits(digits(), 3, **setting)
        found = video_answers.setting_scores(model, guide, test, 3)
        assert found["psnr best"] >= found["psnr mean"] > 0
        assert ("80 % after" in found) == (setting["num_digits"] == 1)


# --- the street -----------------------------------------------------------------------------------


def film(path: Path, length: int = 100) -> Path:
    rng = np.random.default_rng(0)
    frames = np.repeat(rng.integers(0, 200, (1, 32, 40), np.uint8), length, 0)
    frames[np.arange(length), 8 + np.arange(length) % 16] = 255
    np.savez(path, frames=frames)
    return path


def test_clips_of_test_are_later_than_those_of_training(tmp_path: Path) -> None:
    frames = np.arange(100, dtype=np.uint8)[:, None, None].repeat(32, 1).repeat(32, 2)
    np.savez(tmp_path / "film.npz", frames=frames)
    clips = video_street.street(tmp_path / "film.npz")
    assert clips.training.shape[1:] == clips.test.shape[1:] == (15, 32, 32)
    assert clips.training.max() < 75 <= clips.test.min()
    assert clips.training[1, 0, 0, 0] - clips.training[0, 0, 0, 0] == 3


def test_the_truth_scores_best_and_the_last_frame_as_copied() -> None:
    clips = np.random.default_rng(0).integers(0, 255, (2, 15, 32, 32), np.uint8)
    still = clips.copy()
    still[:, 5:] = clips[:, 4:5]
    found = video_street.second_scores(clips, np.stack([clips, still]))
    assert found["the best future"] == 100 and found["the past, again"] == 100
    assert found["the last frame"] < found["the futures' mean"] < 100
    copied = found["the same, copied"]
    assert found["the first frame predicted"] == pytest.approx((100 + copied) / 2)
    assert found["one future"] == pytest.approx((100 + found["the last frame"]) / 2)


def test_motion_is_the_change_from_frame_to_frame() -> None:
    frames = np.zeros((2, 3, 4, 4), np.uint8)
    frames[0, 1] = 8  # up, then down; the other clip stands still
    assert video_street.motion(frames) == pytest.approx((8**2 / 2) ** 0.5)


def test_a_street_is_learned_once_and_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(video_street, "street_recipe", lambda: tiny(skips=True))
    monkeypatch.setattr(video_street, "step_seconds", lambda chosen, clips: 1.0)
    path = film(tmp_path / "film.npz")
    video_street.report(path, tmp_path / "out", 0.05)
    first = capsys.readouterr().out
    assert "the last frame" in first
    assert json.loads((tmp_path / "out" / "plan.json").read_text())["epochs"] == 3
    monkeypatch.setattr(video_street, "fit_clips", None)  # it is not fitted again
    video_street.report(path, tmp_path / "out", 0.05)
    assert capsys.readouterr().out == first


# --- the table ------------------------------------------------------------------------------------


def test_a_row_is_judged_and_printed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_rows, "SAMPLES", 3)
    found = judge(*pair(), video_rows.test_clips(digits(), "one digit", 4)) | {
        "steps": 7,
        "minutes": 0,
    }
    assert found["kl"] > 0 and len(found["psnr"]) == 4
    for seed in (0, 1):
        folder = tmp_path / f"one digit, SRVP, {seed}"
        folder.mkdir()
        (folder / "result.json").write_text(json.dumps(found))
    lines = table(tmp_path, "one digit", ["SRVP", "DKF"]).splitlines()
    assert any(line.startswith("| SRVP | 2 | 7 |") for line in lines)
    assert any(line.startswith("| the last frame") for line in lines)
    assert any(line.startswith("| the true law") for line in lines)
    assert {line.count("|") for line in lines if line.startswith("|")} == {11}


def test_the_true_law_of_mirrors_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_rows, "SAMPLES", 3)
    test = video_rows.test_clips(digits(), "mirrors", 20)
    found = judge(*pair(), test, "deterministic")
    assert abs(found["exact_after crps"]) < 1e-6
    assert judge(*pair(), test)["exact_after crps"] > 0.5  # by the law of another process


def test_rows_share_their_networks_and_differ_in_what_they_say() -> None:
    rows = variants()
    assert rows["SRVP without z"].design.options["stochastic"] is False
    assert rows["SV2P, z a frame"].design.options["time_variant"] is True
    assert "stochastic" not in rows["SRVP"].design.options
    assert rows["SVGLP, z weighted"].kl_weight == rows["SRVP"].kl_weight != rows["SVGLP"].kl_weight
    assert rows["SRVP, z unweighted"].kl_weight == rows["SVGLP"].kl_weight


def test_a_story_that_has_no_content_has_no_swap() -> None:
    with pytest.raises(InputError, match="an SRVP"):
        video_answers.swap(*pair("SVGLP"), digits(), 2)


# --- futures of the law ---------------------------------------------------------------------------


def test_the_law_of_mirrors_reaches_what_painting_allows() -> None:
    images = digits()
    test = video_rows.test_clips(images, "mirrors", 6)
    options: dict[str, Any] = {"samples": 3, "process": "deterministic"}
    assert law_scores(images, test, 20.0, 0.0, **options) == pytest.approx((20.0, 20.0), abs=1e-6)
    best, one = law_scores(images, test, 20.0, 0.3, **options)
    assert one < best < 19.9


def test_what_is_known_of_velocity_bounds_the_best_future() -> None:
    images = digits()
    test = video_rows.test_clips(images, "two digits", 6)
    found = [law_scores(images, test, 25.0, error, samples=8) for error in (0.0, 0.5)]
    assert 25 > found[0][0] > found[1][0] > found[1][1]
    assert law_scores(images, test, 18.0, 0.0, samples=8)[0] < found[0][0]


def test_known_frames_are_scored_apart_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    test = video_rows.test_clips(digits(), "one digit", 2)
    test = test._replace(frames=np.zeros_like(test.frames))
    futures = np.zeros((2, *test.frames.shape), np.uint8)
    futures[:, :, 1:5], futures[1, :, 5:] = 51, 102  # a fifth of white, and two fifths
    forecast = SimpleNamespace(frames=futures)
    monkeypatch.setattr(video_law, "forecast", lambda *_, **__: forecast)
    fifth, two_fifths = (-20 * np.log10(level) for level in (0.2, 0.4))
    expected = (fifth, 100, (100 + two_fifths) / 2)
    assert video_law.scores(None, None, test) == pytest.approx(expected, abs=1e-3)
