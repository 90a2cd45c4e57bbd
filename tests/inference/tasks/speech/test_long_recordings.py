from __future__ import annotations

import pytest
import torch

from inference.tasks.speech import long_recordings as speech_pieces
from inference.tasks.speech.long_recordings import encode_global, resynthesise_long
from inference.tasks.speech.resynthesis import analyse, resynthesise
from ppl_models.errors import InputError
from tests.inference.speech import DESIGNS, STFT_SMALL, pair, voice

SHORT = {"seconds": 1.0, "overlap": 0.2}  # 992 samples that share 192


@pytest.mark.parametrize("name", DESIGNS)
def test_a_short_recording_is_resynthesised_whole(name: str) -> None:
    model, guide = pair(name)
    wave = voice(992)
    resynthesised = resynthesise_long(model, guide, wave, STFT_SMALL, **SHORT)
    assert torch.equal(resynthesised, resynthesise(model, guide, wave, STFT_SMALL).wave)


@pytest.mark.parametrize("samples", [993, 1792, 1793, 5000])
def test_a_model_without_memory_shows_no_seam(
    samples: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each frame by itself: but for the edges of a piece, which are not used, pieces are the whole.

    Two pieces in a batch, so that there are several batches, of which the last may be of one.
    """
    monkeypatch.setattr(speech_pieces, "AT_ONCE", 2)
    model, guide = pair("FrameVAE")
    wave = voice(samples)
    resynthesised = resynthesise_long(model, guide, wave, STFT_SMALL, **SHORT)
    whole = resynthesise(model, guide, wave, STFT_SMALL).wave
    torch.testing.assert_close(resynthesised, whole, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["RVAE-non-causal", "SRNN", "LigHTDVAE"])
def test_a_seam_is_a_blend_of_both_pieces(name: str) -> None:
    """A quarter of what they share is the first piece's, the last quarter the second's."""
    model, guide = pair(name)
    wave = voice(1600)
    wave[[100, 1500]] = 0.9  # the largest of both pieces, so that both alone have the same level
    resynthesised = resynthesise_long(model, guide, wave, STFT_SMALL, **SHORT)
    first, second = (
        resynthesise(model, guide, part, STFT_SMALL).wave for part in (wave[:992], wave[800:])
    )
    fade = (2 * (torch.arange(192) + 0.5) / 192 - 0.5).clamp(0, 1)
    assert (fade[:48] == 0).all() and (fade[-48:] == 1).all()
    blend = (1 - fade) * first[800:] + fade * second[:192]
    wanted = torch.cat([first[:800], blend, second[192:]])
    torch.testing.assert_close(resynthesised, wanted, atol=1e-4, rtol=1e-3)


def test_a_piece_keeps_the_level_of_its_recording() -> None:
    """What is soft for a whole piece is not made loud before it is analysed."""
    model, guide = pair("LigHTDVAE")
    wave = torch.cat([voice(3000), 1e-6 * voice(3000, seed=1)])
    resynthesised = resynthesise_long(model, guide, wave, STFT_SMALL, **SHORT)
    alone = 0.5 * resynthesise(model, guide, voice(3000, seed=1), STFT_SMALL).wave
    assert resynthesised.isfinite().all() and not torch.allclose(
        resynthesised[4000:], 1e-6 * alone[1000:]
    )
    assert resynthesise_long(model, guide, torch.zeros(6000), STFT_SMALL, **SHORT).abs().max() == 0


def test_the_voice_of_a_recording() -> None:
    model, guide = pair("HiTDVAE")
    wave = voice()
    w = analyse(model, guide, STFT_SMALL.power(2 * wave)[None]).w
    assert w is not None
    torch.testing.assert_close(encode_global(model, guide, wave, STFT_SMALL), w[0])
    resynthesised = resynthesise_long(model, guide, voice(5000), STFT_SMALL, w=w[0] + 1, **SHORT)
    own = resynthesise_long(model, guide, voice(5000), STFT_SMALL, **SHORT)
    assert not torch.allclose(resynthesised, own, atol=1e-3)


def test_the_voice_of_a_long_recording_is_a_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speech_pieces, "PIECE", 1.0)
    monkeypatch.setattr(speech_pieces, "OVERLAP", 0.2)
    model, guide = pair("LigHTDVAE")
    wave = voice(1488)
    parts = [
        analyse(model, guide, STFT_SMALL.power(part / wave.abs().max())[None]).w
        for part in (wave[:992], wave[992:])
    ]
    mean = (2 * parts[0][0] + parts[1][0]) / 3  # type: ignore[index]
    torch.testing.assert_close(encode_global(model, guide, wave, STFT_SMALL), mean)


def test_what_has_no_voice_is_refused() -> None:
    with pytest.raises(InputError, match="SRNN, which has no global latent"):
        encode_global(*pair("SRNN"), voice(), STFT_SMALL)
    with pytest.raises(InputError, match="saw silence"):
        encode_global(*pair("HiTDVAE"), torch.zeros(100), STFT_SMALL)


def test_pieces_must_be_longer_than_what_they_share() -> None:
    with pytest.raises(InputError, match="1 s that share 0.5 s"):
        resynthesise_long(*pair("SRNN"), voice(), STFT_SMALL, seconds=1, overlap=0.5)
