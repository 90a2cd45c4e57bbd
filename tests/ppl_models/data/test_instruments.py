from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ppl_models.data.corpora import Utterance
from ppl_models.data.instruments import FADE, NOTE, SOFTEST, melodies, philharmonia
from ppl_models.data.speech import Readings, sounds
from ppl_models.errors import InputError

RATE = 1000
FLUTE = Path(__file__).parents[4] / "shared" / "data" / "flute"


def touch(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


def readings(**waves: torch.Tensor) -> Readings:
    found = Readings()
    for name, wave in waves.items():
        found.append(wave)
        found.utterances.append(Utterance("flute", name, Path(name)))
    return found


def notes(level: float = 1.0) -> Readings:
    """Two notes of constant 1: what is heard is levels and fades alone."""
    return readings(
        A4_1_forte_normal=torch.full((1400,), level), A4_025_forte_normal=torch.ones(250)
    )


def test_every_fifth_clip_is_kept_by_turns_for_validation_and_test(tmp_path: Path) -> None:
    touch(tmp_path / "flute", *(f"A4_025_forte_{k:02d}.flac" for k in range(20)), "readme.txt")
    clips = philharmonia(tmp_path / "flute")
    kept = [[clip.name[-2:] for clip in part] for part in (clips.validation, clips.test)]
    assert kept == [["00", "10"], ["05", "15"]]
    assert len(clips.train) == 16 and {clip.speaker for clip in clips.train} == {"flute"}
    assert str(clips) == "flute: 16 train, 2 validation, 2 test clips of 1, 1, 1 instruments"


def test_published_names_say_which_instrument_it_is(tmp_path: Path) -> None:
    names = [
        "oboe_As4_very-long_cresc-decresc_normal.mp3",
        "french-horn_A3_1_fortissimo_normal.mp3",
    ]
    touch(tmp_path / "all", *names, "bass-drum__025_forte_bass-drum-mallet.mp3", "cover.mp3")
    clips = philharmonia(tmp_path)
    everything = sorted([*clips.train, *clips.validation, *clips.test])
    assert [clip.speaker for clip in everything] == ["bass-drum", "french-horn", "oboe"]
    assert everything[2].name == "As4_very-long_cresc-decresc_normal"


def test_a_folder_without_clips_is_refused_with_their_source(tmp_path: Path) -> None:
    for path, found in ((tmp_path, "none of them"), (tmp_path / "no", "no such folder")):
        with pytest.raises(InputError, match=f"{found}[^@]*flute_A4[^@]*philharmonia.co.uk"):
            philharmonia(path)


def test_melodies_are_those_of_their_seed_whatever_their_number() -> None:
    made = melodies(notes(), 5000, 3, rate=RATE, seed=4)
    assert made.shape == (3, 5000)
    assert torch.equal(melodies(notes(), 5000, 1, rate=RATE, seed=4), made[:1])
    assert not torch.equal(made[0], made[1])
    assert not torch.equal(melodies(notes(), 5000, 3, rate=RATE, seed=5), made)


def test_notes_have_the_levels_and_lengths_that_are_written_down() -> None:
    fade = round(FADE * RATE)
    made = melodies(notes(level=0.01), 200_000, rate=RATE, seed=0)[0]
    inside = (made[1:] == made[:-1]).nonzero()[:, 0]  # where a note of constant level lasts
    starts = inside[1:][inside.diff() > 1]
    levels = 20 * made[starts[1:-1]].log10()
    assert levels.min() >= SOFTEST - 1e-4 and levels.max() <= 1e-4
    # 200 levels spread evenly over 6 dB: their mean's error is 6 / sqrt(12 * 200) = 0.12 dB
    assert len(levels) > 150 and levels.mean() == pytest.approx(SOFTEST / 2, abs=0.5)
    lengths = starts.diff()[1:] + fade  # a note begins a fade before the last one's end
    assert lengths.min() >= NOTE[0] * RATE - 1 and lengths.max() <= 1400
    assert ((lengths - 250).abs() <= 1).float().mean() > 0.4  # half of the notes are the short clip


def test_fades_of_two_equal_notes_sum_to_their_level() -> None:
    made = melodies(readings(A4_1_forte_normal=torch.ones(250)), 3000, rate=RATE, seed=1)[0]
    assert (made[20:] > 10 ** (SOFTEST / 20) - 1e-6).all()  # nowhere a gap


def test_a_third_of_the_melodies_are_stretches_of_a_phrase_where_one_is_long_enough() -> None:
    clips = notes()
    clips.append(torch.linspace(0.5, 1, 4000))
    clips.utterances.append(Utterance("flute", "A4_phrase_forte_staccato", Path("x")))
    made = melodies(clips, 1000, 400, rate=RATE, seed=2)
    ramps = [bool((wave.diff() > 0).all()) for wave in made]
    assert np.mean(ramps) == pytest.approx(0.3, abs=4 * (0.21 / 400) ** 0.5)
    assert not any((wave.diff() > 0).all() for wave in melodies(clips, 5000, 20, rate=RATE))


def test_clips_without_a_note_are_refused() -> None:
    with pytest.raises(InputError, match="single notes"):
        melodies(readings(A4_1_forte_normal=torch.ones(3)), 100, rate=RATE)
    with pytest.raises(InputError, match="samples"):
        melodies(notes(), 0)


@pytest.mark.skipif(not FLUTE.is_dir(), reason="the flute is not here")
def test_the_real_flute_is_split_and_played() -> None:
    pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")
    clips = philharmonia(FLUTE)
    assert (len(clips.train), len(clips.validation), len(clips.test)) == (564, 71, 70)
    files = [{clip.file for clip in part} for part in (clips.train, clips.validation, clips.test)]
    assert len(set.union(*files)) == 705
    made = melodies(sounds(clips.test[:8], scale=False), 16000, 2)
    assert made.isfinite().all() and (made.square().mean(-1) > 1e-3).all() and made.abs().max() < 2
