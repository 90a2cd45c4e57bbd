from __future__ import annotations

import math
import random
import sys
from pathlib import Path

import pytest
import torch

from ppl_models.data import sound
from ppl_models.data.sound import normalise, read_sound, trim, write_sound
from ppl_models.errors import InputError

soundfile = pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")


def tone(hertz: float, samples: int, rate: int = 16000) -> torch.Tensor:
    return torch.sin(2 * math.pi * hertz * torch.arange(samples) / rate)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_what_is_written_is_read(tmp_path: Path, name: str) -> None:
    wave = 0.5 * tone(440, 5000)
    assert write_sound(tmp_path / name, wave) == 1
    sound = read_sound(tmp_path / name)
    assert sound.rate == 16000 and sound.clipped == 0
    assert sound.wave.dtype == torch.float32
    assert (sound.wave - wave).abs().max() <= 2**-15  # half a step of 16 bits, and its rounding
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_the_format_of_an4_as_published_is_read(tmp_path: Path) -> None:
    wave = 0.5 * tone(440, 5000)
    soundfile.write(tmp_path / "a.sph", wave.numpy(), 16000, "PCM_16", format="NIST")
    assert (read_sound(tmp_path / "a.sph").wave - wave).abs().max() <= 2**-15


def test_too_loud_a_sound_becomes_softer_and_is_not_clipped(tmp_path: Path) -> None:
    wave = 3 * tone(440, 5000)
    gain = write_sound(tmp_path / "a.wav", wave)
    assert math.isclose(gain, 1 / 3, rel_tol=1e-3)
    assert (read_sound(tmp_path / "a.wav").wave - gain * wave).abs().max() <= 2**-15


def test_clipping_is_counted(tmp_path: Path) -> None:
    clipped = (2 * tone(440, 16000)).clamp(-1, 1)
    soundfile.write(tmp_path / "a.wav", clipped.numpy(), 16000)
    assert abs(read_sound(tmp_path / "a.wav").clipped - 2 / 3) < 0.01  # |sin| > 1/2


def test_channels_are_chosen_or_mixed_or_refused(tmp_path: Path) -> None:
    both = torch.stack([0.5 * tone(440, 3000), 0.25 * tone(100, 3000)], 1)
    soundfile.write(tmp_path / "a.wav", both.numpy(), 16000, "FLOAT")
    assert torch.equal(read_sound(tmp_path / "a.wav", channel=1).wave, both[:, 1])
    assert torch.allclose(read_sound(tmp_path / "a.wav", channel="mix").wave, both.mean(1))
    for channel in (None, 2, -1):
        with pytest.raises(InputError, match="a.wav: saw 2 channels"):
            read_sound(tmp_path / "a.wav", channel=channel)


def test_another_rate_is_refused_or_resampled(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", 0.5 * tone(440, 48000, 48000).numpy(), 48000)
    with pytest.raises(InputError, match="a.wav: saw 48000 Hz\n.*16000 Hz\n.*resample=True"):
        read_sound(tmp_path / "a.wav")
    sound = read_sound(tmp_path / "a.wav", resample=True)
    assert sound.rate == 16000 and sound.wave.shape == (16000,)
    middle = slice(1000, 15000)  # the filter rings at the edges
    assert (sound.wave - 0.5 * tone(440, 16000))[middle].abs().max() < 1e-3


def test_damaged_files_are_named(tmp_path: Path) -> None:
    file = tmp_path / "a.flac"
    write_sound(file, 0.1 * torch.randn(50000))
    whole = file.read_bytes()
    for content in (b"", b"no sound at all", whole[:30], whole[: len(whole) // 2]):
        file.write_bytes(content)
        with pytest.raises(InputError, match="a.flac"):
            read_sound(file)
    with pytest.raises(InputError, match="none.wav(.*\n)*.*ask the lab"):
        read_sound(tmp_path / "none.wav", cure="ask the lab")
    soundfile.write(tmp_path / "empty.wav", torch.zeros(0).numpy(), 16000)
    with pytest.raises(InputError, match="empty.wav: saw 0 samples"):
        read_sound(tmp_path / "empty.wav")
    wave = torch.tensor([0.0, math.nan, 0.0])
    soundfile.write(tmp_path / "nan.wav", wave.numpy(), 16000, "FLOAT")
    with pytest.raises(InputError, match="1 of them not finite"):
        read_sound(tmp_path / "nan.wav")


def test_only_a_finite_sound_is_written_and_nothing_is_left_of_another(tmp_path: Path) -> None:
    file = tmp_path / "a.wav"
    write_sound(file, 0.5 * tone(440, 100))
    before = file.read_bytes()
    for wave in (torch.tensor([0.0, math.inf]), torch.zeros(0), torch.zeros(2, 5)):
        with pytest.raises(InputError, match="wave"):
            write_sound(file, wave)
    with pytest.raises(InputError, match=".wav or .flac"):
        write_sound(tmp_path / "a.mp3", torch.zeros(5))
    assert file.read_bytes() == before and len(list(tmp_path.iterdir())) == 1


def test_trim_cuts_what_is_thirty_decibels_softer() -> None:
    loud = tone(440, 16384)
    wave = torch.cat([10 ** (-35 / 20) * tone(440, 16384), loud, torch.zeros(16384)])
    kept = trim(wave)
    start = next(i for i in range(len(wave)) if torch.equal(wave[i : i + len(kept)], kept))
    # a frame reaches 1024 samples ahead, and 1.6 % of it loud (1 / 500 of the power) is enough
    assert 16384 - 1024 <= start <= 16384 - 1024 + 512 and start % 512 == 0
    assert 0 <= start + len(kept) - 2 * 16384 - 1024 <= 512
    assert torch.equal(trim(wave, top_db=40.0), wave[: start + len(kept)])
    assert torch.equal(trim(10 * wave), 10 * kept)
    assert len(trim(torch.zeros(5000))) == 5000 and len(trim(torch.ones(1))) == 1


def test_normalise_makes_the_peak_one_and_refuses_silence() -> None:
    assert torch.equal(normalise(torch.tensor([0.5, -2.0])), torch.tensor([0.25, -1.0]))
    with pytest.raises(InputError, match="silence"):
        normalise(torch.zeros(5))


def test_without_soundfile_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sound(tmp_path / "a.wav", torch.zeros(5))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(ImportError, match=r"ppl-models\[audio\]"):
        read_sound(tmp_path / "a.wav")


# -- files that promise what they do not hold ----------------------------------------------------


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["WAV", "NIST"])
def test_a_recording_that_is_cut_short_is_named(tmp_path: Path, part: float, kind: str) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, 0.5 * tone(440, 5000).numpy(), 16000, "PCM_16", format=kind)
    whole = file.read_bytes()
    head = 1024 if kind == "NIST" else 60
    file.write_bytes(whole[: head + int(part * (len(whole) - head))])
    with pytest.raises(InputError, match=r"a.wav: saw [\d,]+ bytes of 1\d,\d{3}: it is cut short"):
        read_sound(file)


def test_a_wav_that_was_written_as_a_stream_is_read(tmp_path: Path) -> None:
    """Its headers say the largest number, or another part stands before the samples."""
    file, wave = tmp_path / "a.wav", 0.5 * tone(440, 500)
    write_sound(file, wave)
    content = file.read_bytes()
    at = content.index(b"data")
    file.write_bytes(content[: at + 4] + b"\xff\xff\xff\xff" + content[at + 8 :])
    assert len(read_sound(file).wave) == 500
    part = b"LIST" + (3).to_bytes(4, "little") + b"abc\x00"
    file.write_bytes(content[:at] + part + content[at:])
    assert len(read_sound(file).wave) == 500


@pytest.mark.parametrize("rate", [1, 200, 800_000, 2**31 - 1])
def test_rates_that_would_fill_the_memory_are_refused(tmp_path: Path, rate: int) -> None:
    file = tmp_path / "a.wav"
    soundfile.write(file, 0.5 * tone(440, 500).numpy(), 16000)
    content = bytearray(file.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"a.wav: saw [\s\S]*250 to 768,000 Hz"):
        read_sound(file, resample=True)


@pytest.mark.parametrize("rate", [250, 44_101, 47_999])
def test_rates_without_a_common_part_are_resampled(tmp_path: Path, rate: int) -> None:
    """A tone keeps its frequency: the spectrum's peak lies where it was, to one step of it."""
    soundfile.write(tmp_path / "a.wav", 0.5 * tone(60, rate, rate).numpy(), rate)
    wave = read_sound(tmp_path / "a.wav", resample=True).wave
    assert len(wave) == 16000
    assert abs(int(torch.fft.rfft(wave).abs().argmax()) - 60) <= 1


def test_more_samples_than_the_limit_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_sound(tmp_path / "a.flac", torch.zeros(50_000))
    monkeypatch.setattr(sound, "MOST_SAMPLES", 10_000)
    with pytest.raises(InputError, match="50,000 samples of 1 channels[\\s\\S]*sound.MOST_SAMPLES"):
        read_sound(tmp_path / "a.flac")
    write_sound(tmp_path / "b.wav", torch.zeros(5_000), 4000)
    with pytest.raises(InputError, match="5,000 samples at 4,000 Hz, 20,000 at 16,000 Hz"):
        read_sound(tmp_path / "b.wav", resample=True)


def test_what_is_no_file_of_sound_is_said_without_codes_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("hello")
    (tmp_path / "empty.wav").write_text("")
    for name in ("text.wav", "empty.wav", "none.wav", "."):
        with pytest.raises(InputError) as raised:
            read_sound(tmp_path / name)
        text = str(raised.value)
        assert "System error" not in text and "Errno" not in text and "Error opening" not in text


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_sample_that_changes_in_what_was_written_is_noticed(tmp_path: Path, name: str) -> None:
    file = tmp_path / name
    write_sound(file, 0.5 * tone(440, 2000))
    whole = file.read_bytes()
    start = whole.index(b"data") + 8 if name == "a.wav" else len(whole) // 2
    rng = random.Random(0)
    for _ in range(40):
        bit = rng.randrange(8 * start, 8 * len(whole))
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        with pytest.raises(InputError, match=name):
            read_sound(file)
    changed = bytearray(whole)
    if name == "a.wav":
        changed[24:28] = (8000).to_bytes(4, "little")  # the rate
        file.write_bytes(changed)
        with pytest.raises(InputError, match="not those of its checksum"):
            read_sound(file, 8000)


def test_floats_are_written_as_they_are_also_beyond_full_scale(tmp_path: Path) -> None:
    wave = 3 * torch.randn(500, generator=torch.Generator().manual_seed(0))
    assert write_sound(tmp_path / "a.wav", wave, 8000, subtype="FLOAT") == 1
    found = read_sound(tmp_path / "a.wav", None)
    assert torch.equal(found.wave, wave) and (found.rate, found.subtype) == (8000, "FLOAT")
    with pytest.raises(InputError, match="expected: .wav for FLOAT"):
        write_sound(tmp_path / "a.flac", wave, subtype="FLOAT")


def test_a_changed_float_is_noticed_and_the_time_of_day_is_not_in_the_file(tmp_path: Path) -> None:
    """Libsndfile writes it into the chunk PEAK."""
    file = tmp_path / "a.wav"
    write_sound(file, tone(440, 500), subtype="FLOAT")
    content = bytearray(file.read_bytes())
    at = content.index(b"PEAK")
    assert content[at + 12 : at + 16] == bytes(4) and soundfile.info(file).frames == 500
    content[-100] ^= 1
    file.write_bytes(content)
    with pytest.raises(InputError, match="not those of its checksum"):
        read_sound(file)


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_samples_of_16_bits_are_written_as_they_are(tmp_path: Path, name: str) -> None:
    whole = torch.tensor([-(2**15), -1, 0, 1, 2**15 - 1, 12345], dtype=torch.int16)
    assert write_sound(tmp_path / name, whole) == 1
    found = read_sound(tmp_path / name)
    assert torch.equal(found.wave * 2**15, whole.float()) and found.subtype == "PCM_16"
