from __future__ import annotations

from pathlib import Path

import torch

from inference.tasks.separation.fit_source import source_pieces
from inference.tasks.speech import Recipe
from ppl_models.data import read_sound
from tests.inference.cli.sounds import written
from tests.inference.speech import DESIGNS, STFT_SMALL


def test_pieces_hold_every_frame_of_every_sound_at_one_level(tmp_path: Path) -> None:
    """A note of 8 frames is one short piece; one of 44 is two whole ones and 4 frames."""
    written(tmp_path / "note.wav", 100, level=0.1)
    written(tmp_path / "tone.wav", 43 * 16, seed=1)
    pieces, mask, skipped = source_pieces(tmp_path, Recipe(DESIGNS["RVAE"], piece=20))
    assert mask.sum(1).tolist() == [8, 20, 20, 4] and not skipped
    note = read_sound(tmp_path / "note.wav", 1000).wave
    torch.testing.assert_close(pieces[0, :8], STFT_SMALL.power(note / note.abs().max()))
    assert pieces[0, 8:].isnan().all()
