from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from inference.checkpoint import load
from inference.tasks.speech import load_speech
from inference.tasks.speech import recipes as speech_training
from inference.tasks.speech.recipes import Recipe
from tests.inference.cli.sounds import Ppl, ppl, written
from tests.inference.speech import DESIGNS

__all__ = ["ppl"]


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        speech_training.RECIPES, "RVAE", Recipe(DESIGNS["RVAE"], epochs=2, piece=20)
    )


def test_a_folder_of_sounds_becomes_a_source(ppl: Ppl) -> None:
    """Short notes too, and one of a single sample."""
    for number, count in enumerate((600, 100, 30)):
        written(f"notes/{number}.wav", count, seed=number)
    soundfile.write("notes/one.wav", np.full(1, 0.5), 1000)
    code, out, err = ppl("fit-source", "notes", "--out", "runs/piano")
    assert code == 0, err
    assert out.startswith("5 pieces of up to 20 frames\nTrained 2 epochs")
    assert out.endswith("saved: runs/piano/pair.safetensors\n")
    assert load("runs/piano/pair.safetensors").extra == {"corpus": "notes", "seed": 0, "epochs": 2}
    assert load_speech("runs/piano").design.model == "RVAE"
    written("mix.wav", 100)
    code, out, err = ppl("separate", "mix.wav", "--sources", "runs/piano", "speech", "--out", "out")
    assert code == 0 and Path("out/mix/piano.wav").exists(), err


def test_a_run_that_is_there_is_gone_on_with_only_if_asked(ppl: Ppl) -> None:
    written("notes/a.wav", 400)
    command = ("fit-source", "notes", "--out", "run", "--epochs", "1")
    assert ppl(*command)[0] == 0
    code, _, err = ppl(*command)
    assert code == 1 and "--resume goes on" in err
    assert ppl(*command, "--resume")[0] == 0


def test_a_stopped_training_says_how_to_go_on_and_ends_at_the_same_numbers(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os
    import signal

    for number in range(9):
        written(f"notes/{number}.wav", 400, seed=number)
    command = ("fit-source", "notes", "--out")
    assert ppl(*command, "whole")[0] == 0
    real = speech_training.fit

    def stopping(*arguments: Any, **named: Any) -> Any:
        def stop(step: int, loss: float) -> None:
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return real(*arguments, **named, on_step=stop)

    monkeypatch.setattr(speech_training, "fit", stopping)
    code, _, err = ppl(*command, "two")
    assert code == 130 and "the same command with --resume goes on" in err
    monkeypatch.setattr(speech_training, "fit", real)
    assert ppl(*command, "two", "--resume")[0] == 0
    pairs = [load(f"{name}/pair.safetensors").tensors for name in ("whole", "two")]
    assert all(torch.equal(pairs[0][name], pairs[1][name]) for name in pairs[0])


def test_a_recording_that_cannot_be_used_ends_it_or_is_named_and_left_out(ppl: Ppl) -> None:
    written("notes/a.wav", 400), written("notes/silence.wav", 400, level=0.0)
    written("notes/slow.wav", 400, rate=500)
    code, _, err = ppl("fit-source", "notes", "--out", "run")
    assert code == 1 and "notes/silence.wav: saw silence" in err and not Path("run").exists()
    code, out, err = ppl("fit-source", "notes", "--out", "run", "--skip-errors")
    assert code == 0 and "1 pieces of up to 20 frames"[2:] in out
    assert err.count("skipped: ") == 2 and "slow.wav: saw 500 Hz" in err


def test_wrong_words_are_named(ppl: Ppl) -> None:
    written("notes/a.wav", 100)
    Path("empty").mkdir()
    for arguments, message in {
        ("notes", "--out", "run", "--architecture", "GAN"): "GAN",
        ("empty", "--out", "run"): "files of sound that match",
        ("nowhere", "--out", "run"): "no such folder",
        ("notes", "--out", "run.wav"): "a folder",
    }.items():
        code, _, err = ppl("fit-source", *arguments)
        assert code == 1 and message in err, err
        assert not Path("run").exists()
