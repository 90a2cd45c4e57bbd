"""``ppl enhance`` on a stand-in of the inference behind it: files in, files out, bad input."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from inference.errors import NonFiniteError
from inference.metrics import si_sdr
from tests.inference.cli.sounds import Ppl, enhance, ppl, samples, written
from tests.inference.speech import saved

__all__ = ["ppl"]


def clean(ppl: Ppl, *arguments: str, code: int = 0) -> tuple[str, str]:
    found, told, err = ppl("enhance", *arguments)
    assert found == code, err
    assert "Traceback" not in err
    return told, err


def expected(path: str, **how: Any) -> Any:
    wave = torch.from_numpy(samples(path, "float32"))
    return enhance(wave, **how).wave.numpy()


# -- files and folders -------------------------------------------------------------------------


def test_a_file_has_a_file(ppl: Ppl) -> None:
    written("in.wav")
    told, _ = clean(ppl, "in.wav", "--out", "new/out.wav", "--method", "una", "--seed", "2")
    assert told == "in.wav -> new/out.wav\n"
    got = samples("new/out.wav", "float32")
    want = expected("in.wav", method="una", seed=2)
    assert np.abs(got - want).max() <= 2**-15  # half a step of 16 bits, and its rounding
    _, err = clean(ppl, "in.wav", "--out", "new/out.wav", code=1)
    assert "out.wav, which is there" in err
    _, err = clean(ppl, "in.wav", "--out", "in.wav", "--overwrite", code=1)
    assert "the recording itself" in err


def test_a_folder_has_a_folder_of_the_same_names_rates_lengths_and_kinds(ppl: Ppl) -> None:
    kinds = {"a/one.wav": {}, "two.flac": {}, "three.wav": {"subtype": "FLOAT"}}
    for seed, (name, how) in enumerate(kinds.items()):
        written(f"in/{name}", 700 + seed, seed=seed, **how)
    written("in/four.ogg")
    told, _ = clean(ppl, "in", "--out", "out")
    assert told.splitlines()[-1] == "4 written"
    made = sorted(p.relative_to("out").as_posix() for p in Path("out").rglob("*.*"))
    assert made == ["a/one.wav", "enhance.json", "four.wav", "three.wav", "two.flac"]
    for name in kinds:
        before, after = soundfile.info(f"in/{name}"), soundfile.info(f"out/{name}")
        assert before.frames == after.frames and before.samplerate == after.samplerate
        assert (before.subtype, before.format) == (after.subtype, after.format)


def test_what_was_made_in_another_way_is_not_mixed_in(ppl: Ppl) -> None:
    written("in/a.wav", 100)
    clean(ppl, "in", "--out", "out")
    told, _ = clean(ppl, "in", "--out", "out")
    assert told == "0 written, 1 already there (--overwrite makes them again)\n"
    before = Path("out/a.wav").read_bytes()
    _, err = clean(ppl, "in", "--out", "out", "--method", "una", code=1)
    assert "made with another model or other options" in err
    assert Path("out/a.wav").read_bytes() == before
    clean(ppl, "in", "--out", "out", "--method", "una", "--overwrite")
    assert Path("out/a.wav").read_bytes() != before


def test_a_stopped_command_goes_on_to_the_same_files(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        written(f"in/{number}.wav", 100, seed=number)
    clean(ppl, "in", "--out", "whole")
    calls: list[int] = []

    def stopping(*arguments: Any, **how: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return enhance(*arguments, **how)

    monkeypatch.setattr(sys.modules["inference.tasks.enhancement"], "enhance", stopping)
    _, err = clean(ppl, "in", "--out", "out", code=130)
    assert "stopped: 1 of 3 are there, each whole" in err
    told, _ = clean(ppl, "in", "--out", "out")
    assert told.splitlines()[-1].startswith("2 written, 1 already there")
    for path in Path("whole").glob("*.wav"):
        assert Path("out", path.name).read_bytes() == path.read_bytes()
    assert len(calls) == 4


# -- what bad input gets -----------------------------------------------------------------------


def test_silence_one_sample_and_clipping(ppl: Ppl) -> None:
    written("in/silence.wav", level=0.0), written("in/loud.wav", level=8.0)
    soundfile.write("in/one.wav", np.full(1, 0.5), 1000)
    _, err = clean(ppl, "in", "--out", "out")
    assert not samples("out/silence.wav").any() and len(samples("out/one.wav")) == 1
    assert "in/loud.wav: " in err and "recorded too loud" in err


def test_a_corrupt_file_ends_it_or_is_skipped(ppl: Ppl) -> None:
    for name in "abc":
        written(f"in/{name}.wav", 100)
    Path("in/b.wav").write_bytes(b"RIFF")
    _, err = clean(ppl, "in", "--out", "out", code=1)
    assert "in/b.wav" in err and "--skip-errors" in err and Path("out/a.wav").exists()
    told, err = clean(ppl, "in", "--out", "out", "--skip-errors")
    assert "skipped: in/b.wav" in err
    assert told.splitlines()[-1].endswith(
        "1 already there (--overwrite makes them again), 1 skipped"
    )
    assert Path("out/c.wav").exists() and not Path("out/b.wav").exists()


def test_numbers_that_are_not_finite_are_refused(ppl: Ppl) -> None:
    soundfile.write("in.wav", np.array([0.1, np.nan]), 1000, subtype="FLOAT")
    _, err = clean(ppl, "in.wav", "--out", "out.wav", code=1)
    assert "in.wav: saw 2 samples of 2, 1 of them not finite" in err


@pytest.mark.parametrize("rate", [2000, 800])
def test_another_rate_is_refused_or_kept(ppl: Ppl, rate: int) -> None:
    """The noise, of the same stand-in, and what is written add up to the recording."""
    written("in.wav", 1601, rate=rate, subtype="FLOAT")
    _, err = clean(ppl, "in.wav", "--out", "out.wav", code=1)
    assert f"{rate} Hz" in err and "--resample" in err
    clean(ppl, "in.wav", "--out", "out.wav", "--resample")
    about = soundfile.info("out.wav")
    assert (about.frames, about.samplerate, about.subtype) == (1601, rate, "FLOAT")
    heard, noisy = samples("out.wav", "float32"), samples("in.wav", "float32")
    share = np.abs(heard).mean() / np.abs(noisy).mean()  # the stand-in keeps about a half
    assert 0.35 < share < 0.75


def test_a_channel_is_chosen(ppl: Ppl) -> None:
    both = 0.5 * np.random.default_rng(0).uniform(-1, 1, (500, 2))
    soundfile.write("in.wav", both, 1000)
    _, err = clean(ppl, "in.wav", "--out", "out.wav", code=1)
    assert "2 channels" in err
    clean(ppl, "in.wav", "--out", "out.wav", "--channel", "1")
    soundfile.write("one.wav", both[:, 1], 1000)
    assert np.abs(samples("out.wav", "float32") - expected("one.wav")).max() <= 2**-14


# -- noise learned from a collection -----------------------------------------------------------


def test_noise_is_learned_first_kept_and_used_again(ppl: Ppl) -> None:
    for number in range(2):
        written(f"noisy/{number}.wav", 100)
    written("in.wav", 100)
    told, _ = clean(ppl, "in.wav", "--out", "a.wav", "--train-noise", "noisy", "--model", "runs/n")
    assert told.splitlines() == [
        "noise of 2, resume=False",
        "saved: runs/n/pair.safetensors; --model runs/n takes it next time",
        "in.wav -> a.wav",
    ]
    clean(ppl, "in.wav", "--out", "b.wav", "--model", "runs/n")
    assert Path("a.wav").read_bytes() == Path("b.wav").read_bytes()
    told, _ = clean(ppl, "in.wav", "--out", "c.wav", "--train-noise", "noisy")
    assert "--model c-noise takes it" in told and Path("c-noise").is_dir()
    told, _ = clean(ppl, "in.wav", "--out", "d.wav", "--train-noise", "noisy", "--model", "c-noise")
    assert "resume=True" in told
    code, _, err = ppl(
        "enhance", "in.wav", "--out", "d", "--train-noise", "noisy", "--method", "una"
    )
    assert code == 2 and "--method una makes no use" in err
    code, _, err = ppl("enhance", "in.wav", "--out", "d", "--model", "c-noise", "--method", "nmf")
    assert code == 2 and "--model, of which --method nmf makes no use" in err


def test_the_default_method_is_nmf_and_with_noise_of_ones_own_unda(ppl: Ppl) -> None:
    written("in/a.wav", 100), written("noisy/a.wav", 100)
    for out, extra, method in (
        ("one", (), "nmf"),
        ("two", ("--train-noise", "noisy", "--model", "run"), "unda"),
        ("three", ("--model", "run"), "unda"),
        ("four", ("--model", "run", "--method", "und"), "und"),
    ):
        clean(ppl, "in", "--out", out, *extra)
        assert json.loads(Path(out, "enhance.json").read_text())["method"] == method


def test_numbers_that_stopped_being_finite_are_named_by_their_recording(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(wave: Any, **how: Any) -> Any:
        if len(wave) == 101:
            raise NonFiniteError("speech", "variances that are not finite", "finite", "another")
        return enhance(wave, **how)

    monkeypatch.setattr(sys.modules["inference.tasks.enhancement"], "enhance", odd)
    written("in/a.wav", 101), written("in/b.wav", 100)
    told, err = clean(ppl, "in", "--out", "out", "--skip-errors")
    assert "skipped: in/a.wav: saw speech: variances that are not finite" in err
    assert told.splitlines()[-1] == "1 written, 1 skipped" and Path("out/b.wav").exists()


def test_stopped_while_learning_it_says_so(ppl: Ppl, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(*arguments: Any, **how: Any) -> Any:
        raise KeyboardInterrupt

    written("in.wav", 100)
    monkeypatch.setattr(sys.modules["inference.tasks.enhancement"], "train_noise", stopping)
    _, err = clean(ppl, "in.wav", "--out", "o.wav", "--train-noise", "in", code=130)
    assert "stopped while learning the noise; the same command goes on" in err


def test_nothing_is_learned_for_a_place_that_cannot_be(ppl: Ppl) -> None:
    written("in.wav", 100)
    Path("there.wav").touch(), Path("file").touch()
    for out, message in {"there.wav": "which is there", "file": "a file where a folder"}.items():
        _, err = clean(ppl, "in.wav", "--out", out, "--train-noise", ".", code=1)
        assert message in err and not list(Path().glob("*-noise")), err


def test_recordings_of_two_models_are_not_mixed(ppl: Ppl, tmp_path: Path) -> None:
    written("in/a.wav", 100)
    saved(tmp_path / "n")
    clean(ppl, "in", "--out", "out", "--model", "n")
    saved(tmp_path / "n", seed=1)
    _, err = clean(ppl, "in", "--out", "out", "--model", "n", code=1)
    assert "made with another model or other options" in err


# -- scores ------------------------------------------------------------------------------------


def test_a_report_scores_what_is_written_beside_what_was_there(ppl: Ppl) -> None:
    """A folder of clean speech, of any kind of file, at another rate too; the mean of both."""
    for number in range(2):
        written(f"in/{number}.wav", 1500, seed=number)
    written("clean/0.flac", 1500, seed=5), written("clean/1.wav", 3000, seed=6, rate=2000)
    told, _ = clean(ppl, "in", "--out", "out", "--report", "clean")
    first, _, mean, _ = told.splitlines()
    for name in ("SI-SDR", "PESQ nan", "ESTOI", "RMSE", "noisy: SI-SDR"):
        assert name in first and name in mean
    waves = [torch.from_numpy(samples(f"{f}", "float32")) for f in ("clean/0.flac", "in/0.wav")]
    assert f"noisy: SI-SDR {float(si_sdr(*waves)):.2f} dB" in first
    assert mean.startswith("mean of 2: ")
    again, _ = clean(ppl, "in", "--out", "out", "--report", "clean")
    assert again.splitlines()[0] == first


def test_a_report_without_its_reference_is_refused_before_the_work(ppl: Ppl) -> None:
    written("in/a.wav", 100), written("clean/b.wav", 100)
    _, err = clean(ppl, "in", "--out", "out", "--report", "clean", code=1)
    assert "no clean/a (.wav, .flac, .sph, .ogg)" in err and not Path("out").exists()
    _, err = clean(ppl, "in/a.wav", "--out", "a.wav", "--report", "nothing", code=1)
    assert "nothing, no such folder" in err and not Path("a.wav").exists()
    _, err = clean(ppl, "in", "--out", "out", "--report", "in/a.wav", code=1)
    assert "in/a.wav, no such folder" in err
    written("clean/a.wav", 90)
    _, err = clean(ppl, "in", "--out", "out", "--report", "clean", code=1)
    assert "saw 90 samples at 1000 Hz, for 100 of in/a.wav" in err
    told, _ = clean(ppl, "in/a.wav", "--out", "a.wav", "--report", "clean/b.wav")
    assert "SI-SDR" in told
    told, _ = clean(ppl, "in/a.wav", "--out", "b.wav", "--report", "in")  # itself, in a folder
    assert "noisy: SI-SDR inf dB" in told
    written("clean/silence.wav", 100, level=0.0)
    told, _ = clean(ppl, "in/a.wav", "--out", "c.wav", "--report", "clean/silence.wav")
    assert "silence, which has no scores" in told
