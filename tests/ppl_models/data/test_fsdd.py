from __future__ import annotations

import math
import sys
from pathlib import Path

import pytest
import torch

from ppl_models.data.fsdd import RATE, find_takes, fsdd, log_mel, read
from ppl_models.data.stft import mel_filters
from ppl_models.errors import InputError

soundfile = pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")
REAL = Path(__file__).parents[4] / "shared" / "data" / "fsdd"


def tone(hertz: float, seconds: float = 0.3) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(int(RATE * seconds)) / RATE)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two speakers, two digits, seven takes each: tones."""
    (tmp_path / "recordings").mkdir()
    for speaker, shift in (("ann", 0), ("bob", 50)):
        for digit in (3, 7):
            for take in range(7):
                sound = 0.5 * tone(200 * digit + shift + take)
                name = f"{digit}_{speaker}_{take}.wav"
                soundfile.write(tmp_path / "recordings" / name, sound.numpy(), RATE)
    return tmp_path


def test_a_tone_is_loudest_in_its_own_band_and_silence_after_it() -> None:
    for hertz in (300.0, 1000.0, 3000.0):
        picture = log_mel(tone(hertz))
        assert picture.shape == (32, 32) and picture.min() == 0 and picture.max() == 1
        band = int(mel_filters(32, RATE, 257)[:, round(hertz / (RATE / 512))].argmax())
        assert abs(int(picture.mean(1).argmax()) - band) <= 1
        assert (picture[:, 17:] == 0).all()  # 0.3 s are 15 steps of 20 ms


def test_units_are_decibels_below_the_loudest_cell() -> None:
    loud, soft = tone(500, 1.0), tone(2500, 1.0)
    ratio = log_mel(loud + soft) - log_mel(loud + soft / 10)
    band = int(mel_filters(32, RATE, 257)[:, round(2500 / (RATE / 512))].argmax())
    assert torch.allclose(ratio[band, 5:], torch.tensor(20 / 60), atol=0.01)  # a tenth is 20 dB
    assert torch.equal(log_mel(loud), log_mel(0.25 * loud))
    assert not log_mel(torch.zeros(800)).any()


def test_takes_are_split_as_the_data_set_says_or_by_speaker(folder: Path) -> None:
    digits = fsdd(folder)
    assert digits.train_sounds.shape == (8, 1024) and digits.test_sounds.shape == (20, 1024)
    assert sorted(digits.train_labels.tolist()) == [3] * 4 + [7] * 4
    other = fsdd(folder / "recordings", test=["bob"], mels=16, frames=8)
    assert other.train_sounds.shape == other.test_sounds.shape == (14, 128)
    assert [t.speaker for t in find_takes(folder)] == ["ann"] * 14 + ["bob"] * 14


def test_what_is_wrong_is_named(folder: Path) -> None:
    with pytest.raises(InputError, match="eve.*\n.*ann, bob"):
        fsdd(folder, test=["eve"])
    with pytest.raises(InputError, match="28 of 28 recordings"):
        fsdd(folder, test=["ann", "bob"])
    with pytest.raises(InputError, match="no such folder"):
        fsdd(folder / "none")
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="free-spoken-digit-dataset"):
        fsdd(folder / "empty")
    broken = folder / "recordings" / "3_ann_2.wav"
    broken.write_bytes(broken.read_bytes()[:20])
    with pytest.raises(InputError, match="3_ann_2.wav"):
        fsdd(folder)
    soundfile.write(broken, tone(500).numpy(), 16000)
    with pytest.raises(InputError, match="16000 Hz"):
        read(broken)


def test_without_soundfile_the_extra_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"ppl-models\[audio\]"):
        fsdd(folder)


@pytest.mark.skipif(not REAL.is_dir(), reason="FSDD is not there (../shared/data/fsdd)")
def test_the_real_recordings_are_all_there_and_can_be_read() -> None:
    takes = find_takes(REAL)
    assert len(takes) == 3000 and len({t.speaker for t in takes}) == 6
    picture = log_mel(read(takes[7].file))
    assert picture.isfinite().all() and 0.05 < picture.mean() < 0.8
