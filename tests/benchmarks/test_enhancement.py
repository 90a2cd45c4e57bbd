from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import denoisers, enhancement, sound_sets
from benchmarks.sound_sets import Noisy, SoundSets
from ppl_models.data import Utterance
from ppl_models.data.sound import Sound
from ppl_models.data.speech import Readings
from tests.inference.metrics.test_speech import speech_like


def noisy(count: int = 2) -> list[Noisy]:
    rng = torch.Generator().manual_seed(0)
    made = []
    for n in range(count):
        speech, noise = speech_like(16000), 0.1 * torch.randn(16000, generator=rng)
        made.append(Noisy(speech + noise, speech, noise, f"kind{n % 2}", f"n{n}"))
    return made


def readings(count: int = 4, samples: int = 3000) -> Readings:
    found = Readings()
    for n in range(count):
        found.append(torch.randn(samples + n, generator=torch.Generator().manual_seed(n)))
        found.utterances.append(Utterance("ann", str(n), Path(str(n))))
    return found


def test_a_set_is_that_of_its_seed_and_of_another_ratio_only_louder(monkeypatch: Any) -> None:
    sets = SoundSets(Path("nowhere"))
    monkeypatch.setattr(SoundSets, "speech", lambda self, part: readings())
    monkeypatch.setattr(
        sound_sets, "read_sound", lambda file: Sound(torch.arange(100.0) - 50, 16000, 0.0)
    )
    among = [Utterance("water", "n61", Path("a")), Utterance("wind", "n70", Path("b"))]
    soft, same, loud = (sets.noisy("test", ratio, 4, among) for ratio in (5.0, 5.0, -5.0))
    assert [one.name for one in soft] == [one.name for one in loud]
    assert sorted(one.kind for one in soft) == ["water", "water", "wind", "wind"]
    for a, b, c in zip(soft, same, loud, strict=True):
        assert torch.equal(a.mixture, b.mixture)
        for one, ratio in ((a, 5.0), (c, -5.0)):
            powers = [wave.square().mean() for wave in (one.speech, one.noise)]
            assert 10 * (powers[0] / powers[1]).log10() == pytest.approx(ratio, abs=1e-4)
            assert torch.allclose(one.speech + one.noise, one.mixture, atol=1e-6)
        turned = torch.nn.functional.cosine_similarity(a.noise, c.noise, dim=0)
        assert float(turned) == pytest.approx(1, abs=1e-5)
    assert len({len(one.mixture) for one in soft}) == 4  # each utterance once


def test_the_ideal_filter_is_better_than_what_it_was_given_in_every_score() -> None:
    given = noisy(1)
    before, after = (
        enhancement.judged(row, given) for row in (enhancement.unchanged, enhancement.ideal)
    )
    assert after["si_sdr"][0] > before["si_sdr"][0] + 5
    assert after["pesq"][0] > before["pesq"][0] and after["estoi"][0] > before["estoi"][0]
    assert after["rmse"][0] < before["rmse"][0] and after["kinds"] == ["kind0"]


def result(si_sdr: list[float], **more: Any) -> dict[str, Any]:
    kinds = ["wind", "water", "wind"][: len(si_sdr)]
    scores = {name: si_sdr for name in enhancement.SCORES}
    return {"kinds": kinds, "names": kinds, "sound": 10.0, **scores, **more}


def test_tables_have_means_by_row_and_by_kind() -> None:
    cells = [
        {
            "noisy": result([1.0, 2.0, 3.0]),
            "una": result([4.0, 5.0, 9.0], seconds=5.0, iterations=[10, 20]),
        }
    ] * 2
    head, *lines = enhancement.table(cells[0]).splitlines()
    assert head.split() == [*enhancement.SCORES, "iterations", "s", "/", "s"]
    assert lines[1].split() == ["una", "6.00", "6.0000", "6.00", "6.000", "15", "0.500"]
    head, one, two = enhancement.by_kind(cells).splitlines()
    assert head.split() == ["water", "wind"]
    assert one.split() == ["noisy", "2.00", "2.00"] and two.split() == ["una", "5.00", "6.50"]
    head, one, _ = enhancement.one_by_one(cells[0]).splitlines()
    assert head.split() == ["wind", "water", "wind"] and one.split()[1:3] == ["1.00", "1.00"]


def test_rows_of_every_model_and_method(tmp_path: Path) -> None:
    (tmp_path / "NOLV").mkdir()
    chosen = enhancement._arguments().parse_args(["data", "--runs", str(tmp_path)])
    made = enhancement.rows(chosen)
    assert {"noisy", "default", "nmf", "unda", "NOLV und", "NOLV una", "NOLV unda"} <= set(made)
    assert "RNNoise" not in made
    chosen = enhancement._arguments().parse_args(["data", "--env", "x", "--only", "RNNoise"])
    assert set(enhancement.rows(chosen)) == {"RNNoise"}


def test_rivals_are_asked_in_a_process_of_their_own(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "noisereduce.py").write_text("def reduce_noise(y, sr):\n    return y[::-1] * sr\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    waves = [np.arange(5.0), np.arange(3.0)]
    found, seconds = denoisers.denoised(Path(sys.executable), "noisereduce", waves)
    for made, wave in zip(found, waves, strict=True):
        assert np.array_equal(made, wave[::-1] * 16000)
    assert seconds >= 0


def test_what_is_late_is_found_by_correlation() -> None:
    given = np.random.default_rng(0).standard_normal(4000)
    assert denoisers._lag(given, np.concatenate([np.zeros(960), 0.3 * given])) == 960
