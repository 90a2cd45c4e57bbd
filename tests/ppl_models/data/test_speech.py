from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ppl_models.data.speech import chunks, padded, sounds, spectra, speech_folder
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three speakers, two utterances each: noise with silence around it."""
    soundfile = pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")
    noise = np.random.default_rng(0)
    for speaker in ("ann", "bob", "eve"):
        (tmp_path / speaker).mkdir()
        for take in range(2):
            silence = np.zeros(8192)
            wave = np.concatenate([silence, 0.1 * noise.standard_normal(20480), silence])
            soundfile.write(tmp_path / speaker / f"{take}.wav", wave, 16000)
    return tmp_path


def test_utterances_become_spectrograms_of_equal_peak_without_silence(folder: Path) -> None:
    utterances = speech_folder(folder, test=["eve"], validation=["bob"]).train
    waves = sounds(utterances)
    assert [u.name for u in waves.utterances] == ["0", "1"] and not waves.skipped
    assert all(float(w.abs().max()) == 1 for w in waves)
    assert all(20480 <= len(w) <= 20480 + 4 * 512 for w in waves)
    whole = sounds(utterances, trim_db=None, scale=False)
    assert all(len(w) == 20480 + 2 * 8192 and w.abs().max() < 0.6 for w in whole)
    powers = spectra(utterances)
    assert torch.equal(powers[1], STFT().power(waves[1])) and powers.clipped == [0, 0]
    with pytest.raises(InputError, match="16000 Hz"):
        spectra(utterances, STFT(8000, 32, 8))
    low = spectra(utterances, STFT(8000, 32, 8), resample=True)
    assert low[0].shape[1] == 129 and abs(len(low[0]) * 64 - len(waves[0]) / 2) < 1100


def test_what_cannot_be_read_ends_it_or_is_listed(folder: Path) -> None:
    import soundfile

    broken, silent = folder / "bob" / "0.wav", folder / "eve" / "1.wav"
    broken.write_bytes(broken.read_bytes()[:30])
    soundfile.write(silent, np.zeros(5000), 16000)
    utterances = speech_folder(folder, validation=0.0, test=0.0).train
    with pytest.raises(InputError, match="bob/0.wav"):
        spectra(utterances)
    powers = spectra(utterances, on_error="skip")
    assert len(powers) == 4 == len(powers.utterances) == len(powers.clipped)
    assert [u.file for u, _ in powers.skipped] == [broken, silent]
    assert "silence" in powers.skipped[1][1]
    with pytest.raises(InputError, match="1.wav: saw silence"):
        sounds([u for u in utterances if u.file == silent])
    with pytest.raises(InputError, match="utterances: .*0.wav"):
        sounds([u for u in utterances if u.file == broken], on_error="skip")
    with pytest.raises(InputError, match="saw none"):
        sounds([])
    with pytest.raises(InputError, match="on_error"):
        sounds(utterances, on_error="ignore")  # type: ignore[arg-type]


def frames(*lengths: int) -> list[torch.Tensor]:
    """Sequences (T, 2) of which each frame is different."""
    starts = torch.tensor([0, *lengths]).cumsum(0).tolist()
    every = torch.arange(sum(lengths) * 2.0).view(-1, 2)
    return [every[a:b] for a, b in zip(starts, starts[1:], strict=False)]


def test_chunks_are_consecutive_pieces_and_drop_the_rest() -> None:
    sequences = frames(7, 2, 3)
    pieces = chunks(sequences, 3)
    assert torch.equal(pieces, torch.stack([sequences[0][:3], sequences[0][3:6], sequences[2]]))
    overlapping = chunks(sequences, 3, 2)
    assert torch.equal(overlapping[:3], torch.stack([sequences[0][i : i + 3] for i in (0, 2, 4)]))
    assert len(overlapping) == 4 and len(chunks(sequences, 2, 5)) == 4
    with pytest.raises(InputError, match="all shorter than 8"):
        chunks(sequences, 8)
    for length, hop in ((0, 1), (1, 0)):
        with pytest.raises(InputError, match="at least 1"):
            chunks(sequences, length, hop)


@pytest.mark.parametrize("hop", [1, 2, 3, 5])
def test_padded_chunks_hold_every_frame_and_no_piece_is_in_vain(hop: int) -> None:
    sequences = frames(7, 2, 3)
    pieces, mask = chunks(sequences, 3, hop, pad=True)
    assert torch.equal(pieces.isnan().any(-1), ~mask) and mask[:, 0].all()
    assert (mask[:, :-1] >= mask[:, 1:]).all()
    seen = set(pieces[mask][:, 0].tolist())
    assert len(seen) == 12 or hop > 3
    without = [set(pieces[i][mask[i]][:, 0].tolist()) for i in range(len(pieces))]
    assert all(piece - set().union(*without[:i]) for i, piece in enumerate(without))


def test_padded_says_which_frames_there_are() -> None:
    sequences = frames(4, 1)
    s, mask = padded(sequences)
    assert s.shape == (2, 4, 2) and mask.tolist() == [[True] * 4, [True, False, False, False]]
    assert torch.equal(s[1, :1], sequences[1]) and s[1, 1:].isnan().all()
    assert padded(sequences, 6)[0].shape == (2, 6, 2)
    for wrong in ([], sequences):
        with pytest.raises(InputError, match="at most 3"):
            padded(wrong, 3)
