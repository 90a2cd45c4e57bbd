from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.checkpoint import load
from inference.tasks.video import Recipe, fit_clips, fit_video, load_video, train
from ppl_models.errors import InputError
from tests.inference.video_runs import DESIGNS, SIDE, blobs, coloured

QUIET: dict[str, Any] = {"progress": False, "epochs": 2}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    def small(story: str, frame_shape: tuple[int, int, int], sizes: str = "small") -> Recipe:
        design = coloured(story) if frame_shape[0] == 3 else DESIGNS[story]
        assert design.frame_shape == frame_shape
        return Recipe(design, batch_size=2, learning_rate=1e-2 if sizes == "small" else 1e-9)

    monkeypatch.setattr(train, "recipe", small)


def weights(path: Path) -> dict[str, torch.Tensor]:
    return load(path).tensors


@pytest.mark.parametrize("story", DESIGNS)
def test_every_story_is_trained_and_kept(story: str, tmp_path: Path, untouched: None) -> None:
    lines: list[str] = []
    path = fit_video(blobs(), story=story, out=tmp_path, tell=lines.append, **QUIET)
    found = load_video(tmp_path)
    assert found.path == path and found.design == DESIGNS[story]
    assert len(lines) == 1 and lines[0].startswith("Trained 2 epochs (4 steps)")
    extra = load(path).extra
    assert extra["seed"] == 0 and extra["epochs"] == 2 and np.isfinite(extra["bound"])


def test_the_seed_and_the_sizes_make_the_numbers(tmp_path: Path) -> None:
    paths = [
        fit_video(blobs(), out=tmp_path / name, seed=seed, sizes=sizes, **QUIET)
        for name, seed, sizes in [
            ("a", 1, "small"),
            ("b", 1, "small"),
            ("c", 2, "small"),
            ("d", 1, "published"),
        ]
    ]
    one, again, seed, sizes = map(weights, paths)
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], seed[name]) for name in one)
    assert not all(torch.equal(one[name], sizes[name]) for name in one)


def test_a_run_that_stopped_goes_on_to_the_same_numbers(tmp_path: Path) -> None:
    whole = fit_video(blobs(), out=tmp_path / "whole", **QUIET)

    def stop(step: int, loss: float) -> None:
        if step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        fit_video(blobs(), out=tmp_path / "two", on_step=stop, **QUIET)
    assert load_video(tmp_path / "two").design.story == "SRVP"  # what there is so far
    two = fit_video(blobs(), out=tmp_path / "two", resume=True, **QUIET)
    one, other = weights(whole), weights(two)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_missing_frames_are_not_learned_from(tmp_path: Path) -> None:
    mask = torch.arange(8) < torch.tensor([8, 4, 3])[:, None]
    frames = np.where(mask.numpy()[..., None, None], blobs(), 0).astype(np.uint8)
    other = np.where(mask.numpy()[..., None, None], blobs(), 200).astype(np.uint8)
    both = [
        weights(fit_video(clips, out=tmp_path / name, mask=mask, **QUIET))
        for name, clips in (("a", frames), ("b", other))
    ]
    same = [torch.allclose(both[0][name], both[1][name], atol=1e-5) for name in both[0]]
    assert all(same)


@pytest.mark.parametrize("last", [False, True])
def test_colours_may_come_first_or_last(last: bool, tmp_path: Path) -> None:
    clips = np.stack([blobs(), blobs() // 2, 255 - blobs()], -1 if last else 2)
    fit_video(torch.from_numpy(clips), out=tmp_path, **QUIET)
    assert load_video(tmp_path).model.frame_shape == (3, SIDE, SIDE)


def test_epochs_are_those_of_the_steps_unless_given(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def watched(*given: Any, **settings: Any) -> None:
        seen.append(settings)

    monkeypatch.setattr(train, "fit", watched)
    chosen = Recipe(DESIGNS["SRVP"], batch_size=2)
    pair = chosen.design.pair()
    fit_clips(*pair, blobs(), chosen)
    fit_clips(*pair, blobs(), chosen, directory="here", epochs=7, seed=3, mask=torch.ones(3, 8) > 0)
    assert [one["epochs"] for one in seen] == [train.STEPS // 2, 7]
    assert [one["seed"] for one in seen] == [0, 3]
    assert [one["directory"] for one in seen] == [None, "here"]
    assert seen[0]["batch_size"] == 2


@pytest.mark.parametrize(
    "wrong",
    [blobs() / 255, blobs()[:, :1], blobs()[0], blobs()[..., :-1], blobs()[:0]],
)
def test_frames_that_are_no_clips_are_refused(wrong: Any, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="frames"):
        fit_video(wrong, out=tmp_path / "run", **QUIET)
    assert not (tmp_path / "run").exists()


def test_it_learns_what_does_not_change() -> None:
    """From the mean frame on: the bound of a still picture rises by far more than its error."""
    still = np.repeat(blobs(4, 2)[:, :1], 6, 1)
    chosen = Recipe(DESIGNS["SRVP"], batch_size=4, learning_rate=1e-2)
    model, guide = chosen.design.pair()
    run = fit_clips(model, guide, still, chosen, epochs=40, progress=False)
    losses = [row["loss"] for row in run.history]
    assert losses[-1] < losses[0] - 5
