from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.errors import CheckpointError, NonFiniteError
from inference.tasks.speech import recipes as speech_training
from inference.tasks.speech.recipes import Recipe, recipe_of
from inference.tracing.layout import layout
from inference.training.run_folder import RunFolder
from ppl_models.data.speech import speech_folder
from ppl_models.errors import InputError
from tests.inference.speech import DESIGNS, STFT_SMALL, powers, recording
from tests.inference.training.fitting import same

QUIET = {"progress": False}


def recipe(name: str) -> Recipe:
    return Recipe(DESIGNS[name], epochs=4, piece=10, batch_size=4)


def pieces() -> torch.Tensor:
    """Ten pieces: batches of 4, 4 and 2."""
    return powers(16 * 110)[:100].unflatten(0, (10, 10))


def interrupt_at(step: int) -> Callable[[int, float], None]:
    def hook(now: int, loss: float) -> None:
        if now == step:
            os.kill(os.getpid(), signal.SIGINT)

    return hook


@pytest.mark.parametrize("name", ["LigHTDVAE", "SRNN"])
def test_a_run_killed_in_the_middle_goes_on_to_the_same_numbers(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit for bit, with what is random in each: forgotten frames; coins of scheduled sampling.

    Of 12 steps, 3 an epoch, it is killed after 5: by then SRNN reads its own frames now and then.
    """
    monkeypatch.setattr(RunFolder, "SHARE", 0.0)
    whole = recipe(name).train(pieces(), tmp_path / "whole", **QUIET)
    broken = recipe(name).train(pieces(), tmp_path / "two", on_step=interrupt_at(5), **QUIET)
    assert broken.interrupted and broken.epochs == 1
    resumed = recipe(name).train(pieces(), tmp_path / "two", resume=True, **QUIET)
    assert same(resumed, whole) and not resumed.interrupted
    assert (whole.model.sampling is not None) == DESIGNS[name].scheduled


@pytest.mark.parametrize("name", DESIGNS)
def test_every_latent_has_its_kl_weight(name: str) -> None:
    run = recipe(name).train(pieces(), epochs=1, **QUIET)
    sites = layout(run.model, run.guide, (pieces(),)).drawn
    found = {k: value for k, value in run.history[-1].items() if k.startswith("kl_weight")}
    assert found == {f"kl_weight {site}": 1.0 if site in "wv" else 0.01 for site in sites}


def test_a_model_without_latents_learns() -> None:
    design = replace(speech_training.RECIPES["DeepAR"].design, stft=STFT_SMALL)
    run = Recipe(design, epochs=8, piece=10, batch_size=4).train(pieces(), **QUIET)
    first, last = run.history[0], run.history[-1]
    assert last["loss"] < first["loss"] - 5


def test_scheduled_sampling_begins_and_ends() -> None:
    run = recipe("SRNN").train(pieces(), epochs=10, **QUIET)
    chances = [run.model.sampling(step) for step in range(30)]
    assert chances[0] == 0 and 0 < chances[1] < 1 and chances[3] == 1


def test_a_seed_is_of_the_weights_and_of_the_noise() -> None:
    first, again, other = (
        recipe("SRNN").train(pieces(), seed=seed, epochs=1, **QUIET) for seed in (1, 1, 2)
    )
    assert same(first, again) and not same(first, other)


def test_another_recipe_does_not_go_on(tmp_path: Path) -> None:
    recipe("FrameVAE").train(pieces(), tmp_path, epochs=2, **QUIET)
    with pytest.raises(CheckpointError, match="learning_rate was"):
        recipe("FrameVAE").train(pieces(), tmp_path, epochs=3, resume=True, **QUIET)


def test_data_that_are_no_numbers_are_named() -> None:
    broken = pieces()
    broken[7, 3, 2] = float("nan")
    with pytest.raises((NonFiniteError, InputError)):
        recipe("LigHTDVAE").train(broken, epochs=1, **QUIET)


def test_a_corrupt_file_of_a_corpus_is_named_or_skipped(tmp_path: Path) -> None:
    for number in range(3):
        recording(tmp_path / f"a_{number}.wav", seed=number)
    (tmp_path / "a_1.wav").write_bytes(b"RIFF nothing")
    utterances = speech_folder(tmp_path, validation=0.0, test=0.0).train
    with pytest.raises(InputError, match=r"a_1\.wav"):
        recipe("DKF").pieces(utterances)
    found, [why] = recipe("DKF").pieces(utterances, on_error="skip")
    assert found.shape[1:] == (10, STFT_SMALL.bins) and "a_1.wav" in why


def test_recipes_are_found_by_name() -> None:
    assert recipe_of("lightdvae").design.model == "LigHTDVAE"
    assert recipe_of("srnn", STFT_SMALL).design == replace(
        speech_training.RECIPES["SRNN"].design, stft=STFT_SMALL
    )
    with pytest.raises(InputError, match="did you mean RVAE"):
        recipe_of("RVEA")
