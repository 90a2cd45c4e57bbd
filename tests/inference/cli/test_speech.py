from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from inference.cli.app import main
from inference.tasks import speech
from inference.tasks.speech import files as speech_files
from inference.tasks.speech import recipes as speech_training
from inference.tasks.speech.files import FILE, load_speech
from inference.tasks.speech.recipes import Recipe
from inference.tasks.speech.resynthesis import resynthesise
from ppl_models.data.sound import read_sound
from tests.inference.speech import DESIGNS, recording, saved, voice

Ppl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in a folder with a run of random weights; return exit code and texts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("NO_COLOR", "1")
    saved(tmp_path / "run")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def resynth(ppl: Ppl, *arguments: str, code: int = 0) -> tuple[str, str]:
    found, out, err = ppl("resynth", *arguments, "--model", "run")
    assert found == code, err
    return out, err


def folder(path: Path, count: int = 3) -> Path:
    for number in range(count):
        recording(path / f"speaker{number % 2}" / f"{number}.wav", seed=number)
    return path


def times(paths: list[Path]) -> list[int]:
    return [path.stat().st_mtime_ns for path in paths]


# -- ppl resynth: one file ---------------------------------------------------------------------


def test_a_recording_has_a_copy_and_a_score(ppl: Ppl, tmp_path: Path) -> None:
    recording(tmp_path / "in.wav")
    out, _ = resynth(ppl, "in.wav", "--out", "new/out.wav")
    assert out.startswith("in.wav -> new/out.wav  SI-SDR ")
    model, guide, stft, *_ = load_speech("run")
    expected = resynthesise(model, guide, read_sound("in.wav", 1000).wave, stft).wave
    written = read_sound("new/out.wav", 1000).wave
    scale = max(1.0, float(expected.abs().max()))
    torch.testing.assert_close(scale * written, expected, atol=2e-4, rtol=1e-3)


def test_a_report_has_every_score(ppl: Ppl, tmp_path: Path) -> None:
    """PESQ is not defined at this rate."""
    recording(tmp_path / "in.wav")
    out, _ = resynth(ppl, "in.wav", "--out", "out.wav", "--report")
    line, mean = out.splitlines()
    assert "SI-SDR" in line and "PESQ nan" in line and "ESTOI" in line
    assert mean.startswith("mean of 1: SI-SDR")


def test_a_copy_that_is_there_is_not_lost(ppl: Ppl, tmp_path: Path) -> None:
    recording(tmp_path / "in.wav")
    (tmp_path / "out.wav").write_text("mine")
    _, err = resynth(ppl, "in.wav", "--out", "out.wav", code=1)
    assert "out.wav, which is there" in err and (tmp_path / "out.wav").read_text() == "mine"
    resynth(ppl, "in.wav", "--out", "out.wav", "--overwrite")
    _, err = resynth(ppl, "in.wav", "--out", "in.wav", "--overwrite", code=1)
    assert "the recording itself" in err
    assert torch.allclose(read_sound("in.wav", 1000).wave, voice(), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "rate", "shape", "refused", "cures"),
    [
        ("slow", 500, (800,), "500 Hz", ["--resample"]),
        ("stereo", 1000, (800, 2), "2 channels", ["--channel", "mix"]),
        ("stereo", 1000, (800, 2), "--channel mix, 0 or 1", ["--channel", "1"]),
        ("both", 2000, (800, 2), "2 channels", ["--channel", "0", "--resample"]),
    ],
)
def test_sounds_of_another_kind_are_refused_or_mended_as_asked(
    ppl: Ppl, name: str, rate: int, shape: tuple[int, ...], refused: str, cures: list[str]
) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, shape)
    soundfile.write(f"{name}.wav", noise, rate)
    _, err = resynth(ppl, f"{name}.wav", "--out", "out.wav", code=1)
    assert f"{name}.wav: saw" in err and refused in err and not Path("out.wav").exists()
    resynth(ppl, f"{name}.wav", "--out", "out.wav", *cures)
    assert len(read_sound("out.wav", 1000).wave) == 800 * 1000 // rate


def test_a_cure_is_an_option_of_the_command(ppl: Ppl) -> None:
    soundfile.write("slow.wav", np.zeros(8), 500)
    _, err = resynth(ppl, "slow.wav", "--out", "out.wav", code=1)
    assert "or give --resample" in err and "resample=True" not in err


def broken(path: Path, kind: str) -> None:
    sound = recording(path)
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "no samples":
        soundfile.write(path, np.zeros(0), 1000)
    elif kind == "cut":
        path.write_bytes(sound.read_bytes()[:30])
    elif kind == "text":
        path.write_text("not a sound")
    elif kind == "nan":
        soundfile.write(path, np.array([0.1, np.nan, 0.2]), 1000, subtype="FLOAT")
    else:
        path.unlink()


KINDS = ["empty", "no samples", "cut", "text", "nan", "missing"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_is_no_recording_is_named(ppl: Ppl, tmp_path: Path, kind: str) -> None:
    broken(tmp_path / "bad.wav", kind)
    _, err = resynth(ppl, "bad.wav", "--out", "out.wav", code=1)
    assert "bad.wav" in err and "Traceback" not in err and not Path("out.wav").exists()


def test_silence_one_sample_and_clipping(ppl: Ppl, tmp_path: Path) -> None:
    Path("in").mkdir()
    soundfile.write("in/silence.wav", np.zeros(300), 1000)
    soundfile.write("in/one.wav", np.full(1, 0.5), 1000)
    soundfile.write("in/loud.wav", (8 * voice()).clamp(-1, 1).numpy(), 1000)
    out, err = resynth(ppl, "in", "--out", "out", "--report")
    assert "silence.wav -> out/silence.wav  silence" in out
    assert (read_sound("out/silence.wav", 1000).wave == 0).all()
    assert len(read_sound("out/one.wav", 1000).wave) == 1
    assert "loud.wav: " in err and "recorded too loud" in err and "one.wav" not in err


# -- ppl resynth: folders ----------------------------------------------------------------------


def test_folders_are_mirrored(ppl: Ppl, tmp_path: Path) -> None:
    folder(tmp_path / "in")
    recording(tmp_path / "in" / "top.flac")
    (tmp_path / "in" / "notes.txt").write_text("no sound")
    out, _ = resynth(ppl, "in", "--out", "in/copies")
    wanted = {"speaker0/0.wav", "speaker1/1.wav", "speaker0/2.wav", "top.wav"}
    made = Path("in/copies")
    assert {p.relative_to(made).as_posix() for p in made.rglob("*.wav")} == wanted
    assert out.splitlines()[-1] == "4 written"
    out, _ = resynth(ppl, "in", "--out", "in/copies")  # its own copies are no recordings
    assert out.splitlines() == ["0 written, 4 already there (--overwrite makes them again)"]


def test_a_folder_may_be_mirrored_into_the_one_that_it_lies_in(ppl: Ppl, tmp_path: Path) -> None:
    folder(tmp_path / "in", 2)
    out, _ = resynth(ppl, "in", "--out", ".")
    assert out.splitlines()[-1] == "2 written" and Path("speaker0/0.wav").exists()


def test_a_corrupt_file_ends_it_or_is_skipped(ppl: Ppl, tmp_path: Path) -> None:
    folder(tmp_path / "in")
    broken(tmp_path / "in" / "speaker0" / "2.wav", "cut")
    out, err = resynth(ppl, "in", "--out", "out", code=1)
    made = sorted(Path("out").rglob("*.wav"))
    assert "in/speaker0/2.wav: saw" in err and "--skip-errors" in err
    assert [path.as_posix() for path in made] == ["out/speaker0/0.wav"]
    out, err = resynth(ppl, "in", "--out", "out", "--skip-errors")
    assert "skipped: in/speaker0/2.wav" in err
    assert out.splitlines()[-1].startswith("1 written, 1 already there")
    assert out.endswith("1 skipped\n")


def test_all_skipped_is_an_error(ppl: Ppl, tmp_path: Path) -> None:
    broken(tmp_path / "bad.wav", "text")
    _, err = resynth(ppl, "bad.wav", "--out", "out", "--skip-errors", code=1)
    assert "1, all skipped" in err


def test_a_stopped_command_goes_on(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at the second: the first is whole, and it is not made again."""
    folder(tmp_path / "in")
    resynth(ppl, "in", "--out", "whole", "--report")
    report, _ = resynth(ppl, "in", "--out", "whole", "--report")
    real, calls = speech.resynthesise_long, []

    def stopping(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(speech, "resynthesise_long", stopping)
    _, err = resynth(ppl, "in", "--out", "out", code=130)
    assert "stopped: 1 of 3 are there, each whole" in err and "Traceback" not in err
    [first] = Path("out").rglob("*.*av")
    before = times([first])
    again, _ = resynth(ppl, "in", "--out", "out", "--report")
    assert times([first]) == before
    for path in Path("whole").rglob("*.wav"):
        assert (Path("out") / path.relative_to("whole")).read_bytes() == path.read_bytes()
    assert "2 written, 1 already there" in again
    assert again.splitlines()[:4] == report.replace("whole", "out").splitlines()[:4]


def test_copies_of_two_models_are_not_mixed(ppl: Ppl, tmp_path: Path) -> None:
    folder(tmp_path / "in")
    resynth(ppl, "in", "--out", "out")
    made = sorted(Path("out").rglob("*.wav"))
    before = [path.read_bytes() for path in made]
    saved(tmp_path / "run", seed=1)
    _, err = resynth(ppl, "in", "--out", "out", code=1)
    assert "made with another model or other options" in err
    assert [path.read_bytes() for path in made] == before
    resynth(ppl, "in", "--out", "out", "--overwrite")
    assert all(p.read_bytes() != old for p, old in zip(made, before, strict=True))


def test_places_that_cannot_be_are_refused(ppl: Ppl, tmp_path: Path) -> None:
    recording(tmp_path / "a.wav"), recording(tmp_path / "a.flac")
    Path("file").touch(), Path("nothing").mkdir()
    for arguments, message in {
        ("a.wav", "a.flac", "--out", "out"): "both a.wav and a.flac",
        ("a.wav", "a.flac", "--out", "out.wav"): "a folder for several",
        ("a.wav", "--out", "."): "the recording itself",
        ("a.wav", "--out", "file"): "a file where a folder must be",
        ("nothing", "--out", "out"): "files of sound that match",
    }.items():
        _, err = resynth(ppl, *arguments, code=1)
        assert message in err, err
    assert not Path("out").exists()


def test_nothing_is_half_written(ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording(tmp_path / "a.wav")

    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    _, err = resynth(ppl, "a.wav", "--out", "out.wav", code=1)
    assert "No space left" in err
    assert [p.name for p in tmp_path.glob("*.wav")] == ["a.wav"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith(".out")]


# -- voices, models ----------------------------------------------------------------------------


def test_another_voice(ppl: Ppl, tmp_path: Path) -> None:
    for number, name in enumerate(("a.wav", "b.wav")):
        recording(tmp_path / name, seed=number)
    resynth(ppl, "a.wav", "--out", "own.wav")
    out, _ = resynth(ppl, "a.wav", "--out", "other.wav", "--swap", "b.wav")
    assert out == "a.wav -> other.wav\n"
    resynth(ppl, "a.wav", "--out", "same.wav", "--swap", "a.wav")
    own, other, same = (read_sound(f"{n}.wav", 1000).wave for n in ("own", "other", "same"))
    torch.testing.assert_close(own, same, atol=1e-3, rtol=0)
    assert not torch.allclose(own, other, atol=1e-2)
    code, _, err = ppl(
        "resynth", "a.wav", "--model", "run", "--out", "x", "--swap", "b", "--report"
    )
    assert code == 2 and "--swap" in err
    saved(tmp_path / "run", "SRNN")
    _, err = resynth(ppl, "a.wav", "--out", "x.wav", "--swap", "b.wav", code=1)
    assert "SRNN, which has no global latent" in err


def test_a_model_that_cannot_be_read_is_named(ppl: Ppl, tmp_path: Path) -> None:
    recording(tmp_path / "a.wav")
    for name in ("nowhere", "no/where", "a.wav"):
        code, _, err = ppl("resynth", "a.wav", "--out", "b.wav", "--model", name)
        assert code == 1 and name in err and "Traceback" not in err
    model, guide = DESIGNS["SRNN"].pair()
    with torch.no_grad():
        model.recurrence.cell.weight_hh_l0[0, 0] = float("nan")
    speech_files.save_speech("run", DESIGNS["SRNN"], model, guide)
    _, err = resynth(ppl, "a.wav", "--out", "b.wav", code=1)
    assert "model.recurrence.cell.weight_hh_l0 holds 1 of" in err and not Path("b.wav").exists()


def test_a_missing_package_is_named_before_the_work(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    from importlib import util

    real = util.find_spec
    monkeypatch.setattr(util, "find_spec", lambda n: None if n == "pesq" else real(n))
    _, err = resynth(ppl, "no.wav", "--out", "b.wav", "--report", code=1)
    assert "no pesq here" in err and "ppl-models[audio]" in err
    _, err = resynth(ppl, "no.wav", "--out", "b.wav", code=1)
    assert "no.wav" in err
    code, _, err = ppl("resynth", "a.wav", "--model", "run", "--out", "b", "--channel", "left")
    assert code == 2 and "--channel takes mix, 0, 1" in err


# -- ppl generate ------------------------------------------------------------------------------


def test_a_seed_makes_the_same_sounds(ppl: Ppl) -> None:
    options = ["--model", "run", "--seconds", "0.1"]
    for name, more in {"a": ["--count", "2"], "b": ["--count", "3"], "c": ["--seed", "1"]}.items():
        code, out, err = ppl("generate", *options, "--out", name, *more)
        assert code == 0, err
    assert out.splitlines() == [f"c/generated-00{number}.wav" for number in range(4)]
    sounds = {name: (Path(name) / "generated-001.wav").read_bytes() for name in "abc"}
    assert sounds["a"] == sounds["b"] != sounds["c"]
    wave = read_sound("a/generated-001.wav", 1000).wave
    assert len(wave) == 100 and wave.abs().max() > 0
    assert not torch.allclose(wave, read_sound("a/generated-000.wav", 1000).wave, atol=1e-3)


def test_generated_sounds_are_not_lost(ppl: Ppl) -> None:
    options = ["--model", "run", "--seconds", "0.1", "--count", "1", "--out", "a"]
    assert ppl("generate", *options)[0] == 0
    code, _, err = ppl("generate", *options, "--seed", "1")
    assert code == 1 and "generated-000.wav, which is there" in err
    assert ppl("generate", *options, "--overwrite")[0] == 0


def test_a_model_trained_on_its_own_means_reads_them_now(
    ppl: Ppl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[bool] = []
    real = speech.generate

    def watched(*arguments: Any, point: bool, **named: Any) -> Any:
        seen.append(point)
        return real(*arguments, point=point, **named)

    monkeypatch.setattr(speech, "generate", watched)
    for name in ("LigHTDVAE", "SRNN"):
        saved(tmp_path / "run", name)
        options = ["--model", "run", "--seconds", "0.1", "--count", "1", "--out", name]
        assert ppl("generate", *options)[0] == 0
    assert seen == [False, True]


# -- ppl fit-speech ----------------------------------------------------------------------------


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = Recipe(DESIGNS["LigHTDVAE"], epochs=2, piece=20)
    monkeypatch.setitem(speech_training.RECIPES, "LigHTDVAE", recipe)


def test_a_model_is_trained_on_a_folder_and_used(ppl: Ppl, tmp_path: Path, small: None) -> None:
    folder(tmp_path / "in", 10)
    code, out, err = ppl("fit-speech", "in", "--out", "mine", "--architecture", "lightdvae")
    assert code == 0, err
    assert "in: 8 train, 1 validation, 1 test utterances" in out and "32 pieces" in out
    assert "saved: mine/pair.safetensors" in out and (tmp_path / "mine" / FILE).exists()
    head = speech_files.load(tmp_path / "mine" / FILE)
    assert head.extra == {"corpus": "in", "seed": 0, "epochs": 2}
    code, out, err = ppl("resynth", "in/speaker0/0.wav", "--model", "mine", "--out", "copy.wav")
    assert code == 0 and "SI-SDR" in out
    code, _, err = ppl("fit-speech", "in", "--out", "mine")
    assert code == 1 and "--resume goes on" in err
    assert ppl("fit-speech", "in", "--out", "mine", "--resume")[0] == 0


def test_a_stopped_training_says_how_to_go_on(
    ppl: Ppl, tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder(tmp_path / "in", 5)
    assert ppl("fit-speech", "in", "--out", "whole")[0] == 0
    real = speech_training.fit

    def stopping(*arguments: Any, **named: Any) -> Any:
        def stop(step: int, loss: float) -> None:
            if step == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return real(*arguments, **named, on_step=stop)

    monkeypatch.setattr(speech_training, "fit", stopping)
    code, _, err = ppl("fit-speech", "in", "--out", "two")
    assert code == 130 and "the same command with --resume goes on" in err
    monkeypatch.setattr(speech_training, "fit", real)
    assert ppl("fit-speech", "in", "--out", "two", "--resume")[0] == 0
    pairs = [speech_files.load(tmp_path / name / FILE).tensors for name in ("whole", "two")]
    assert all(torch.equal(pairs[0][name], pairs[1][name]) for name in pairs[0])


def test_a_corpus_of_which_a_file_is_broken(ppl: Ppl, tmp_path: Path, small: None) -> None:
    folder(tmp_path / "in", 10)
    for path in (tmp_path / "in" / "speaker0").iterdir():
        path.write_text("nothing")
    code, _, err = ppl("fit-speech", "in", "--out", "mine")
    assert code == 1 and "in/speaker0/" in err and not (tmp_path / "mine").exists()
    code, _, err = ppl("fit-speech", "in", "--out", "mine", "--skip-errors", "--epochs", "1")
    assert code == 0 and err.count("skipped: ") in (3, 4, 5)


def test_published_corpora_have_their_own_layout(ppl: Ppl, tmp_path: Path, small: None) -> None:
    recording(tmp_path / "c" / "si_tr_s" / "011" / "a.wav")
    code, out, err = ppl("fit-speech", "c", "--layout", "wsj0", "--out", "mine")
    assert code == 0 and out.startswith("wsj0: 1 train"), err


def test_help_names_the_commands(ppl: Ppl) -> None:
    code, out, _ = ppl("--help")
    assert code == 0 and all(name in out for name in ("resynth", "generate", "fit-speech"))


def test_the_silent_file_of_a_corpus_is_named(ppl: Ppl, tmp_path: Path, small: None) -> None:
    """Put into the part to train on, whichever that is."""
    folder(tmp_path / "in", 10)
    for number in range(4):
        soundfile.write(tmp_path / "in" / "speaker1" / f"silent{number}.wav", np.zeros(900), 1000)
    code, _, err = ppl("fit-speech", "in", "--out", "mine")
    assert code == 1 and "in/speaker1/silent" in err and "saw silence" in err
    assert ppl("fit-speech", "in", "--out", "mine", "--skip-errors", "--epochs", "1")[0] == 0


def test_a_silent_voice_is_named(ppl: Ppl, tmp_path: Path) -> None:
    recording(tmp_path / "in.wav")
    soundfile.write("silent.wav", np.zeros(900), 1000)
    _, err = resynth(ppl, "in.wav", "--out", "out.wav", "--swap", "silent.wav", code=1)
    assert "--swap silent.wav: saw silence" in err and not Path("out.wav").exists()


def test_a_recording_cut_short_is_not_resynthesised(ppl: Ppl, tmp_path: Path) -> None:
    whole = recording(tmp_path / "in.wav").read_bytes()
    (tmp_path / "in.wav").write_bytes(whole[:-500])
    _, err = resynth(ppl, "in.wav", "--out", "out.wav", code=1)
    assert "in.wav: saw" in err and "cut short" in err and not Path("out.wav").exists()


@pytest.mark.parametrize("level", [1e-30, 1e-6])
def test_a_very_soft_recording_has_no_score_that_is_no_number(
    ppl: Ppl, tmp_path: Path, level: float
) -> None:
    soundfile.write("soft.wav", level * voice().numpy(), 1000, subtype="FLOAT")
    out, _ = resynth(ppl, "soft.wav", "--out", "out.wav")
    assert "nan" not in out
    assert ("softer than 16 bits can say" in out) == (level == 1e-30)


def test_a_kind_of_file_that_is_not_written_is_no_folder(ppl: Ppl, tmp_path: Path) -> None:
    recording(tmp_path / "in.wav")
    _, err = resynth(ppl, "in.wav", "--out", "x.mp3", code=1)
    assert "x.mp3, a kind of file that is not written" in err and "--out x.wav" in err
    assert not Path("x.mp3").exists()
    resynth(ppl, "in.wav", "--out", "x.wav")  # the cure
    Path("y.mp3").mkdir()  # a folder, whatever its name
    resynth(ppl, "in.wav", "--out", "y.mp3")
    assert Path("y.mp3/in.wav").exists()


def test_what_was_written_can_be_checked_by_its_sums(ppl: Ppl, tmp_path: Path) -> None:
    folder(tmp_path / "in")
    resynth(ppl, "in", "--out", "out")
    assert ppl("generate", "--model", "run", "--out", "new", "--count", "2")[0] == 0
    for made, count in (("out", 3), ("new", 2)):
        sums = Path(made, "SHA256SUMS")
        assert len(sums.read_text().splitlines()) == count
        check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
        assert subprocess.run(check, cwd=made).returncode == 0


def test_a_damaged_record_of_how_copies_were_made_is_not_believed(ppl: Ppl, tmp_path: Path) -> None:
    folder(tmp_path / "in")
    resynth(ppl, "in", "--out", "out")
    record = Path("out/resynth.json")
    record.write_text(record.read_text().replace("null", "true"))
    _, err = resynth(ppl, "in", "--out", "out", code=1)
    assert "made with another model or other options" in err
    resynth(ppl, "in", "--out", "out", "--overwrite")
    resynth(ppl, "in", "--out", "out")
