from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from inference.checkpoint import load
from inference.tasks.separation import fit_source
from inference.tasks.separation.fit_source import LEVELS, source_pieces
from inference.tasks.speech import Recipe
from inference.tasks.speech import recipes as speech_training
from ppl_models.data import read_sound
from ppl_models.errors import InputError
from tests.inference.cli.sounds import written
from tests.inference.speech import DESIGNS, STFT_SMALL


def test_pieces_hold_every_frame_of_every_sound_at_a_level_of_its_own(tmp_path: Path) -> None:
    """A note of 8 frames is one short piece; one of 44 is two whole ones and 4 frames."""
    written(tmp_path / "note.wav", 100, level=0.1)
    written(tmp_path / "tone.wav", 43 * 16, seed=1)
    pieces, mask, skipped = source_pieces(tmp_path, Recipe(DESIGNS["RVAE"], piece=20))
    assert mask.sum(1).tolist() == [8, 20, 20, 4] and not skipped
    note = read_sound(tmp_path / "note.wav", 1000).wave
    level = 10 * (pieces[0, :8] / STFT_SMALL.power(note / note.abs().max())).log10()
    torch.testing.assert_close(level, level[0, 0].expand(level.shape), atol=1e-3, rtol=0)
    assert LEVELS[0] <= level[0, 0] <= LEVELS[1]
    assert pieces[0, 8:].isnan().all()


def test_what_stands_behind_a_short_note_is_not_trained_on(tmp_path: Path) -> None:
    """NaN there, or anything else: the same weights, to the last bit."""
    written(tmp_path / "a.wav", 100), written(tmp_path / "b.wav", 300, seed=1)
    recipe = Recipe(DESIGNS["FrameVAE"], epochs=1, piece=10)
    pieces, mask, _ = source_pieces(tmp_path, recipe)
    filled = pieces.nan_to_num(nan=7.0)
    runs = [recipe.train(each, mask=mask, seed=1, progress=False) for each in (pieces, filled)]
    weights = [run.model.state_dict() for run in runs]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert all(value.isfinite().all() for value in weights[0].values())


def test_a_source_is_trained_as_it_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = Recipe(DESIGNS["FrameVAE"], epochs=5, piece=10)
    monkeypatch.setitem(speech_training.RECIPES, "FrameVAE", recipe)
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (400, 2))
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in" / "a.wav", noise, 2000)
    (tmp_path / "in" / "b.wav").write_text("no sound")
    with pytest.raises(InputError, match="b.wav"):
        source_pieces(tmp_path / "in", recipe, resample=True, channel=1)
    with pytest.raises(InputError, match="utterances"):
        source_pieces(tmp_path / "in", recipe, on_error="skip")  # stereo, and of another rate
    told: list[str] = []
    for resume in (False, True):
        path = fit_source(
            tmp_path / "in",
            tmp_path / "out",
            architecture="framevae",
            seed=3,
            epochs=1,
            resume=resume,
            resample=True,
            channel=1,
            on_error="skip",
            tell=told.append,
        )
    kept = load(path)
    assert kept.model == "FrameVAE" and kept.extra == {"corpus": "in", "seed": 3, "epochs": 1}
    assert told[0].startswith("skipped: ") and told[1] == "2 pieces of up to 10 frames"
