"""``ppl separate`` and ``ppl enhance`` with the sources and models that ship."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from inference.cli.app import main

Ppl = Callable[..., tuple[int, str, str]]


def _public(module: str, name: str) -> Any:
    try:
        return getattr(importlib.import_module(module), name, None)
    except ImportError:
        return None


def _ships(*names: str) -> bool:
    listed = _public("inference.tasks.separation", "shipped_sources")
    return listed is not None and set(names) <= set(listed())


pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not _ships("speech", "flute"), reason="speech and flute do not ship yet"),
]


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def sound(name: str, samples: int = 6000, rate: int = 16000, **how: Any) -> Any:
    """A tone with harmonics beside noise that comes and goes, of 16 bits."""
    time = np.arange(samples) / rate
    tone = sum(np.sin(2 * np.pi * 440 * k * time) / k for k in range(1, 6))
    noise = np.random.default_rng(0).normal(size=samples) * (np.sin(12 * time) > 0)
    wave = 0.2 * tone + 0.1 * noise
    soundfile.write(name, wave, rate, **how)
    return soundfile.read(name, dtype="int16")[0]


@pytest.mark.parametrize("share", ["add", "own"])
@pytest.mark.parametrize("sources", [["speech"], ["speech", "flute"], ["speech", "speech"]])
def test_sources_add_up_to_the_mixture_and_are_named(
    ppl: Ppl, share: str, sources: list[str]
) -> None:
    mixture = sound("mix.wav")
    code, _, err = ppl("separate", "mix.wav", "--sources", *sources, "--out", "o", "--share", share)
    assert code == 0, err
    names = {"speech", "flute"} if "flute" in sources else {"speech-1", "speech-2"}
    files = sorted(Path("o/mix").glob("*.wav"))
    assert {file.stem for file in files} == (names if len(sources) > 1 else {"speech"})
    parts = [soundfile.read(file, dtype="int16")[0].astype(int) for file in files]
    assert (sum(parts) == mixture).all()


@pytest.mark.parametrize("share", ["add", "own"])
@pytest.mark.parametrize("samples", [1, 100, 1023])
def test_silence_and_less_than_a_frame(ppl: Ppl, samples: int, share: str) -> None:
    mixture = sound("short.wav", samples)
    soundfile.write("silence.wav", np.zeros(samples), 16000)
    command = ("--sources", "speech", "flute", "--out", "o", "--share", share)
    code, _, err = ppl("separate", "short.wav", "silence.wav", *command)
    assert code == 0, err
    for name, wanted in {"short": mixture, "silence": np.zeros(samples)}.items():
        files = [f"o/{name}/{source}.wav" for source in ("speech", "flute")]
        parts = [soundfile.read(file, dtype="int16")[0].astype(int) for file in files]
        assert (sum(parts) == wanted).all()
        assert name == "short" or not np.any(parts)


def test_a_source_that_does_not_exist_is_named_with_those_that_do(ppl: Ppl) -> None:
    sound("mix.wav")
    code, _, err = ppl("separate", "mix.wav", "--sources", "speech", "oboe", "--out", "o")
    assert code == 1 and "oboe" in err and "flute" in err and not Path("o").exists()


def test_a_folder_of_the_name_of_a_source_is_not_that_source(ppl: Ppl) -> None:
    """People keep recordings of speech in a folder named so."""
    Path("speech").mkdir()
    sound("speech/one.wav")
    code, _, err = ppl("separate", "speech/one.wav", "--sources", "speech", "flute", "--out", "o")
    assert code == 0, err


@pytest.mark.parametrize("method", ["unda", "und", "una", "nmf"])
@pytest.mark.parametrize("samples", [1, 9000])
def test_every_method_enhances_what_it_is_given(ppl: Ppl, method: str, samples: int) -> None:
    if _public("inference.tasks.enhancement", "enhance") is None:
        pytest.skip("enhancement does not ship yet")
    sound("in.wav", samples)
    code, _, err = ppl("enhance", "in.wav", "--out", "out.wav", "--method", method)
    assert code == 0, err
    about = soundfile.info("out.wav")
    assert (about.frames, about.samplerate, about.subtype) == (samples, 16000, "PCM_16")
