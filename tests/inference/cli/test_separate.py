"""``ppl separate`` on a stand-in of the inference behind it: files in, files out, bad input."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import xarray
from PIL import Image

import inference.tasks.separation as separation
from inference.cli import separate as separate_command
from inference.cli import separate_jobs
from inference.errors import NonFiniteError
from tests.inference.cli.sounds import Ppl, ppl, samples, separate_many, written
from tests.inference.speech import saved

__all__ = ["ppl"]
TWO = ("--sources", "speech", "flute")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Draw no pictures, which take most of the time, but in the tests that look at them."""
    if "picture" not in request.node.name:
        monkeypatch.setattr(separate_jobs, "_picture", lambda *_: b"picture")


def separate(ppl: Ppl, *arguments: str, code: int = 0, out: str = "out") -> tuple[str, str]:
    sources = () if any(a.startswith("--sources") for a in arguments) else TWO
    found, told, err = ppl("separate", *arguments, *sources, "--out", out)
    assert found == code, err
    assert "Traceback" not in err
    return told, err


def files(folder: str = "out") -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in Path(folder).rglob("*.*"))


# -- what is written ---------------------------------------------------------------------------


def test_sixteen_bits_add_up_to_the_mixture_to_the_last_bit(ppl: Ppl) -> None:
    written("mix.wav")
    told, _ = separate(ppl, "mix.wav")
    assert told.startswith("mix.wav -> out/mix/  speech ") and "% of the power" in told
    parts = [samples(f"out/mix/{name}.wav").astype(int) for name in ("speech", "flute")]
    assert soundfile.info("out/mix/speech.wav").subtype == "PCM_16"
    assert (parts[0] + parts[1] == samples("mix.wav")).all()
    [found] = separate_many([_float("mix.wav")], ["speech", "flute"])
    exact = 2**15 * found.waves.double().numpy()
    assert np.abs(np.stack(parts) - exact).max() <= 1 + 1e-3


def _float(path: str) -> Any:
    import torch

    return torch.from_numpy(samples(path, "float32"))


@pytest.mark.parametrize("subtype", ["FLOAT", "PCM_24", "DOUBLE"])
def test_floats_stay_floats_also_beyond_full_scale(ppl: Ppl, subtype: str) -> None:
    written("mix.wav", level=3.0 if subtype != "PCM_24" else 1.0, subtype=subtype)
    separate(ppl, "mix.wav")
    assert soundfile.info("out/mix/flute.wav").subtype == "FLOAT"
    parts = [samples(f"out/mix/{name}.wav", "float64") for name in ("speech", "flute")]
    mixture = samples("mix.wav", "float64")
    assert np.abs(sum(parts) - mixture).max() <= 3e-7 * np.abs(mixture).max()


def test_a_source_that_16_bits_cannot_hold_makes_all_of_them_floats(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two sources may be louder than their sum."""
    written("mix.wav")

    def loud(waves: Any, sources: Any, **how: Any) -> Any:
        found = separate_many(waves, sources, **how)[0]
        apart = 2 * (waves[0] > 0) - 1.0
        found.waves[0] += apart
        found.waves[1] -= apart
        return [found]

    monkeypatch.setattr(separation, "separate_many", loud)
    _, err = separate(ppl, "mix.wav")
    assert "louder than 16 bits can say: all are written as floats" in err
    parts = [samples(f"out/mix/{name}.wav", "float64") for name in ("speech", "flute")]
    assert np.abs(parts[0]).max() > 1
    assert np.abs(sum(parts) - samples("mix.wav", "float64")).max() < 1e-6


def test_the_posterior_is_netcdf_with_seconds_hertz_and_names(ppl: Ppl) -> None:
    written("mix.wav")
    separate(ppl, "mix.wav", "--share", "own", "--seed", "3")
    [found] = separate_many([_float("mix.wav")], ["speech", "flute"], share="own", seed=3)
    with xarray.open_dataset("out/mix/posterior.nc") as data:
        assert list(data["source"].values) == ["speech", "flute"]
        assert data["mean_re"].dims == ("source", "time", "frequency")
        np.testing.assert_allclose(data["mean_im"], found.mean.imag, rtol=1e-6)
        np.testing.assert_allclose(data["sd"], found.variance.sqrt(), rtol=1e-6)
        np.testing.assert_allclose(data["responsibility"], found.responsibilities, rtol=1e-6)
        assert float(data["time"][1]) == 0.016 and float(data["frequency"][-1]) == 500
        assert data.attrs["bound"] == float(found.bound)
        assert data.attrs["bound_is"] == "evidence lower bound"


def test_a_picture_is_a_picture(ppl: Ppl) -> None:
    """What is in it: `tests/inference/tasks/separation/test_plot.py`."""
    written("mix.wav", 200)
    separate(ppl, "mix.wav", "--sources", "speech")
    picture = np.asarray(Image.open("out/mix/spectrograms.png"))
    assert min(picture.shape[:2]) > 600 and picture[..., :3].std() > 20


def test_checksums_are_kept_of_all_that_is_written(ppl: Ppl) -> None:
    written("mix.wav")
    separate(ppl, "mix.wav")
    lines = Path("out/SHA256SUMS").read_text().splitlines()
    names = ["flute.wav", "posterior.nc", "spectrograms.png", "speech.wav"]
    assert [line.split("  ")[1] for line in lines] == [f"mix/{name}" for name in names]


# -- names of sources --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sources",
    [
        ("--sources", "speech", "flute"),
        ("--sources", "speech", "--sources", "flute"),
        ("--sources", "speech,flute"),
        ("--sources=speech", "flute"),
    ],
)
def test_sources_are_named_as_people_write_them(ppl: Ppl, sources: tuple[str, ...]) -> None:
    written("mix.wav", 50)
    separate(ppl, "mix.wav", *sources)
    assert {"mix/speech.wav", "mix/flute.wav"} < set(files())


def test_a_source_may_be_a_run_and_may_come_twice(ppl: Ppl, tmp_path: Path) -> None:
    written("mix.wav", 50)
    saved(tmp_path / "runs" / "piano")
    separate(ppl, "mix.wav", "--sources", "runs/piano", "speech", "speech")
    assert {"mix/piano.wav", "mix/speech-1.wav", "mix/speech-2.wav"} < set(files())


def test_a_single_source_is_the_mixture(ppl: Ppl) -> None:
    written("mix.wav")
    separate(ppl, "mix.wav", "--sources", "speech")
    assert (samples("out/mix/speech.wav") == samples("mix.wav")).all()


def test_a_source_that_there_is_not_is_named_with_those_that_there_are(ppl: Ppl) -> None:
    written("mix.wav", 50)
    _, err = separate(ppl, "mix.wav", "--sources", "speech", "oboe", code=1)
    assert "oboe" in err and "flute, speech" in err and not Path("out").exists()
    code, _, err = ppl("separate", "mix.wav", "--sources", ",", "--out", "out")
    assert code == 2 and "--sources takes names or runs" in err
    code, _, err = ppl("separate", "mix.wav", "--out", "out")
    assert code == 2 and "--sources" in err


# -- what bad input gets -----------------------------------------------------------------------


def test_silence_has_silent_sources(ppl: Ppl) -> None:
    written("mix.wav", level=0.0)
    told, _ = separate(ppl, "mix.wav")
    assert told == "mix.wav -> out/mix/  silence\n"
    assert not samples("out/mix/speech.wav").any() and not samples("out/mix/flute.wav").any()


@pytest.mark.parametrize("count", [1, 2, 15, 17, 63])
def test_mixtures_shorter_than_a_frame_have_their_length(ppl: Ppl, count: int) -> None:
    soundfile.write("mix.wav", np.full(count, 0.5), 1000)
    separate(ppl, "mix.wav")
    parts = [samples(f"out/mix/{name}.wav").astype(int) for name in ("speech", "flute")]
    assert (parts[0] + parts[1] == samples("mix.wav")).all()


@pytest.mark.parametrize("rate", [2205, 800])
def test_another_rate_is_refused_or_kept_and_still_adds_up(ppl: Ppl, rate: int) -> None:
    written("mix.wav", 3001, rate=rate)
    _, err = separate(ppl, "mix.wav", code=1)
    assert f"mix.wav: saw {rate} Hz" in err and "or give --resample" in err
    separate(ppl, "mix.wav", "--resample")
    parts = [samples(f"out/mix/{name}.wav").astype(int) for name in ("speech", "flute")]
    assert soundfile.info("out/mix/speech.wav").samplerate == rate
    assert (parts[0] + parts[1] == samples("mix.wav")).all()
    with xarray.open_dataset("out/mix/posterior.nc") as data:
        assert data.attrs["rate"] == 1000


def test_a_channel_is_chosen_or_they_are_mixed(ppl: Ppl) -> None:
    both = np.random.default_rng(0).integers(-(2**14), 2**14, (500, 2)).astype(np.int16)
    soundfile.write("mix.wav", both, 1000)
    _, err = separate(ppl, "mix.wav", code=1)
    assert "2 channels" in err and "--channel mix, 0 or 1" in err
    for channel, wanted in (("1", both[:, 1]), ("mix", both.mean(1))):
        separate(ppl, "mix.wav", "--channel", channel, out=channel)
        parts = [samples(f"{channel}/mix/{name}.wav").astype(int) for name in ("speech", "flute")]
        assert np.abs(parts[0] + parts[1] - wanted).max() <= 0.501  # a mean may lie half way


def test_clipping_is_said_and_separated(ppl: Ppl) -> None:
    written("mix.wav", level=8.0)
    _, err = separate(ppl, "mix.wav")
    assert "recorded too loud" in err and Path("out/mix/speech.wav").exists()


@pytest.mark.parametrize("kind", ["empty", "text", "nan", "cut", "missing"])
def test_a_file_that_is_no_recording_is_named_or_left_out(ppl: Ppl, kind: str) -> None:
    written("a.wav", 50)
    path = written("b.wav", 50)
    content = {"empty": b"", "text": b"no sound", "cut": path.read_bytes()[:60]}
    if kind == "nan":
        soundfile.write(path, np.array([0.1, np.nan]), 1000, subtype="FLOAT")
    elif kind == "missing":
        path.unlink()
    else:
        path.write_bytes(content[kind])
    _, err = separate(ppl, "a.wav", "b.wav", code=1)
    assert "b.wav" in err and not Path("out/b").exists()
    told, err = separate(ppl, "a.wav", "b.wav", "--skip-errors")
    assert "skipped: b.wav" in err and told.splitlines()[-1] == "1 written, 1 skipped"
    assert Path("out/a/speech.wav").exists()
    _, err = separate(ppl, "b.wav", "--skip-errors", code=1)
    assert "1, all skipped" in err


def test_sources_that_are_not_finite_are_refused_by_the_name_of_the_recording(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(waves: Any, sources: Any, **how: Any) -> Any:
        found = separate_many(waves, sources, **how)
        found[0].waves[:, 3] = np.nan
        return found

    monkeypatch.setattr(separation, "separate_many", odd)
    written("a.wav", 50), written("b.wav", 50)
    told, err = separate(ppl, "a.wav", "b.wav", "--skip-errors")
    assert "skipped: a.wav: saw sources that are not finite" in err
    assert not Path("out/a").exists() and Path("out/b/speech.wav").exists()
    assert told.splitlines()[-1] == "1 written, 1 skipped"


def test_a_batch_that_stopped_being_finite_is_separated_one_by_one(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(waves: Any, sources: Any, **how: Any) -> Any:
        if any(len(wave) == 51 for wave in waves):
            raise NonFiniteError("flute", "a rate that is not finite", "finite", "train longer")
        return separate_many(waves, sources, **how)

    monkeypatch.setattr(separation, "separate_many", odd)
    written("a.wav", 51), written("b.wav", 50)
    _, err = separate(ppl, "a.wav", "b.wav", code=1)
    assert "a.wav, b.wav: saw flute: a rate" in err and "--skip-errors" in err
    told, err = separate(ppl, "a.wav", "b.wav", "--skip-errors")
    assert "skipped: a.wav: saw flute: a rate" in err and Path("out/b/speech.wav").exists()
    assert told.splitlines()[-1] == "1 written, 1 skipped" and not Path("out/a").exists()


def test_a_run_of_another_stft_is_refused(ppl: Ppl, tmp_path: Path) -> None:
    from dataclasses import replace

    from inference.tasks.speech import save_speech
    from ppl_models.data.stft import STFT
    from tests.inference.speech import DESIGNS

    written("mix.wav", 50)
    design = replace(DESIGNS["RVAE"], stft=STFT(rate=2000))
    save_speech(tmp_path / "other", design, *design.pair())
    _, err = separate(ppl, "mix.wav", "--sources", "speech", "other", code=1)
    assert "--sources: saw" in err and "other: STFT(rate=2000" in err and not Path("out").exists()


def test_a_long_posterior_is_left_out_and_said_so(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an earlier command's, too, which is not of these sources."""
    written("mix.wav")
    separate(ppl, "mix.wav")
    monkeypatch.setattr(separate_jobs, "MOST_BINS", 2 * 95 * 33 - 1)
    _, err = separate(ppl, "mix.wav", "--overwrite")
    assert "posterior.nc is left out: 6,270 bins" in err
    left = ["mix/flute.wav", "mix/spectrograms.png", "mix/speech.wav", "separate.json"]
    assert files() == left


# -- places ------------------------------------------------------------------------------------


def test_places_that_cannot_be_are_refused(ppl: Ppl) -> None:
    for name in ("a.wav", "a.flac", "speech/speech.wav"):
        written(name, 50)
    Path("file").touch()
    for arguments, out, message in (
        (("a.wav", "a.flac"), "out", "both a.wav and a.flac"),
        (("a.wav",), "out.wav", "a folder for several"),
        (("a.wav",), "file", "a file where a folder must be"),
        (("a.wav", "speech/speech.wav"), ".", "a recording itself"),
        (("speech",), "speech", "the folder of recordings itself"),
    ):
        _, err = separate(ppl, *arguments, code=1, out=out)
        assert message in err, err
    assert not Path("out").exists() and not Path("a").exists()
    assert len(samples("speech/speech.wav")) == 50


def test_answers_may_lie_beside_their_recordings(ppl: Ppl) -> None:
    written("mix.wav", 50), written("in/a.wav", 50)
    separate(ppl, "mix.wav", "in", out=".")
    assert {"mix/speech.wav", "a/flute.wav", "mix.wav"} < set(files("."))
    separate(ppl, "in", out="in/parts")
    assert Path("in/parts/a/speech.wav").exists()


def test_folders_are_mirrored(ppl: Ppl) -> None:
    written("in/a/one.wav", 50), written("in/two.flac", 50)
    separate(ppl, "in", out="in/out")
    found = [name for name in files("in/out") if name.endswith("speech.wav")]
    assert found == ["a/one/speech.wav", "two/speech.wav"]
    told, _ = separate(ppl, "in", out="in/out")  # its own answers are no mixtures
    assert told == "0 written, 2 already there (--overwrite makes them again)\n"


def test_answers_of_two_commands_are_not_mixed(ppl: Ppl) -> None:
    written("mix.wav", 50)
    separate(ppl, "mix.wav")
    before = Path("out/mix/speech.wav").read_bytes()
    _, err = separate(ppl, "mix.wav", "--seed", "1", code=1)
    assert "made with another model or other options" in err
    assert Path("out/mix/speech.wav").read_bytes() == before
    _, err = separate(ppl, "mix.wav", "--overwrite", "--sources", "speech", "speech")
    assert "also there: flute.wav, speech.wav, not of this separation" in err


# -- batches, stopping -------------------------------------------------------------------------


def test_files_share_batches_that_headers_alone_decide(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second a batch: 0.2 + 0.2, then one of 2, then the last; the broken one counts 0."""
    for number, count in enumerate((200, 200, 2000, 200)):
        written(f"in/{number}.wav", count)
    Path("in/4.wav").write_bytes(b"broken")
    seen: list[list[int]] = []

    def watched(waves: Any, sources: Any, **how: Any) -> Any:
        seen.append([len(wave) for wave in waves])
        return separate_many(waves, sources, **how)

    monkeypatch.setattr(separation, "separate_many", watched)
    monkeypatch.setattr(separate_jobs, "SECONDS", 1.0)
    separate(ppl, "in", "--skip-errors")
    assert seen == [[200, 200], [2000], [200]]
    monkeypatch.setattr(separate_jobs, "AT_ONCE", 1)
    separate(ppl, "in", "--skip-errors", "--overwrite")
    assert [len(batch) for batch in seen[3:]] == [1, 1, 1, 1]


def test_a_log_says_which_recordings_and_which_iteration(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[tuple[str, int]] = []

    @contextmanager
    def watched(total: int) -> Iterator[Callable[..., None]]:
        assert total == 5
        yield lambda what, done: said.append((what, done))

    for number in range(5):
        written(f"in/{number}.wav", 50)
    monkeypatch.setattr(separate_command, "progress", watched)
    monkeypatch.setattr(separate_jobs, "AT_ONCE", 4)
    separate(ppl, "in")
    first = "0.wav, 1.wav, 2.wav ..."
    last = "4.wav"
    assert said == [
        (first, 0),
        (f"{first}: iteration 1 of 2", 0),
        (last, 4),
        (f"{last}: iteration 1 of 2", 4),
    ]


def test_a_stopped_command_goes_on_to_the_same_files(
    ppl: Ppl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped in the second of two batches, when one of its two answers is written."""
    for number in range(4):
        written(f"in/{number}.wav", 200, seed=number)
    monkeypatch.setattr(separate_jobs, "AT_ONCE", 2)
    separate(ppl, "in", out="whole")
    real, calls = separation.write_parts, []

    def stopping(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(separation, "write_parts", stopping)
    _, err = separate(ppl, "in", code=130)
    assert "stopped: 3 of 4 are there, each whole; the same command goes on" in err
    assert "2/speech.wav" in Path("out/SHA256SUMS").read_text()
    monkeypatch.setattr(separation, "write_parts", real)
    told, _ = separate(ppl, "in")
    assert told.splitlines()[-1].startswith("1 written, 3 already there")
    assert files() == files("whole")
    for name in files():
        if name.endswith(("wav", "png", "SUMS")) and "SUMS" not in name:
            assert Path("out", name).read_bytes() == Path("whole", name).read_bytes(), name
