from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks import seams as benchmark
from benchmarks.seams import SECONDS, seams
from inference.tasks.speech.files import load_speech
from tests.inference.speech import saved, voice


@pytest.mark.parametrize("perfect", [False, True])
def test_pieces_and_the_whole_stand_beside_each_other(
    tmp_path: Path, monkeypatch: Any, perfect: bool
) -> None:
    speech, wave = load_speech(saved(tmp_path, "FrameVAE")), voice(int(1000 * SECONDS))
    if perfect:
        monkeypatch.setattr(benchmark, "resynthesise_long", lambda model, guide, wave, stft: wave)
    agree, *scores = (float(part) for part in seams(speech, wave).split())
    whole, pieces = scores[::2], scores[1::2]
    assert len(whole) == len(pieces) == 3
    if perfect:
        assert min(pieces) > 100 and agree == pytest.approx(whole[0], abs=0.1)
    else:
        assert agree > 100 and whole == pieces
