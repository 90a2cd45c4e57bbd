from __future__ import annotations

from typing import Any

import pytest
import torch

from inference.randomness import derive, seeded
from inference.tasks.speech.resynthesis import (
    Analysis,
    analyse,
    decode,
    decode_forced,
    generate,
    resynthesise,
    swap,
)
from ppl_models.data.speech import padded
from ppl_models.errors import InputError
from tests.inference.speech import DESIGNS, STFT_SMALL, pair, powers, voice

LENGTHS = (20, 15, 1, 7)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_ragged_batch_is_decoded_as_one_by_one(name: str) -> None:
    """Behind the shorter ones stand NaN: none of it is read."""
    model, guide = pair(name)
    rows = [powers(seed=seed)[:length] for seed, length in enumerate(LENGTHS)]
    s, mask = padded(rows)
    together = analyse(model, guide, s, mask)
    decoded, forced = decode(model, together, mask), decode_forced(model, together, s, mask)
    for row, alone in enumerate(rows):
        length = len(alone)
        latents = analyse(model, guide, alone[None])
        torch.testing.assert_close(together.z[row, :length], latents.z[0], atol=1e-5, rtol=1e-5)
        if latents.w is not None and together.w is not None:
            torch.testing.assert_close(together.w[row], latents.w[0], atol=1e-5, rtol=1e-5)
        for batch, one in (
            (decoded, decode(model, latents)),
            (forced, decode_forced(model, latents, alone[None])),
        ):
            torch.testing.assert_close(batch[row, :length], one[0], atol=1e-5, rtol=1e-5)
            assert (batch[row, length:] == 0).all()


@pytest.mark.parametrize("name", DESIGNS)
def test_a_closed_loop_reads_what_it_decoded(name: str) -> None:
    """Shown its own frames as the truth, a model decodes them again; or it has read no frame."""
    model, guide = pair(name)
    reads = model.autoregressive and not getattr(model, "forget", 0.0)
    latents = analyse(model, guide, powers()[None])
    decoded = decode(model, latents)
    if reads or not model.autoregressive:
        torch.testing.assert_close(
            decode_forced(model, latents, decoded), decoded, atol=1e-5, rtol=1e-4
        )
    forced = decode_forced(model, latents, powers()[None])
    assert model.autoregressive != bool(torch.allclose(forced, decoded, rtol=1e-4))


@pytest.mark.parametrize("samples", [1, 16, 17, 500])
def test_the_shortest_sounds_have_copies(samples: int) -> None:
    wave = voice()[700 : 700 + samples]
    resynthesised = resynthesise(*pair("LigHTDVAE"), wave, STFT_SMALL)
    assert resynthesised.wave.shape == wave.shape and resynthesised.wave.isfinite().all()
    assert resynthesised.power.shape == (STFT_SMALL.frames(samples), STFT_SMALL.bins)


def test_silence_remains_silence() -> None:
    resynthesised = resynthesise(*pair("SRNN"), torch.zeros(200), STFT_SMALL)
    assert (resynthesised.wave == 0).all() and (resynthesised.power == 0).all()


@pytest.mark.parametrize("name", ["FrameVAE", "LigHTDVAE"])
def test_the_level_of_a_recording_is_that_of_its_copy(name: str) -> None:
    model, guide = pair(name)
    soft, loud = (resynthesise(model, guide, g * voice(), STFT_SMALL).wave for g in (0.01, 1.0))
    torch.testing.assert_close(100 * soft, loud, atol=1e-5, rtol=1e-3)


def test_clipped_speech_has_a_copy() -> None:
    wave = (20 * voice()).clamp(-1, 1)
    assert resynthesise(*pair("SRNN"), wave, STFT_SMALL).wave.isfinite().all()


@pytest.mark.parametrize(
    ("wave", "message"),
    [
        (torch.zeros(0), r"shape \(0,\)"),
        (torch.zeros(2, 100), r"shape \(2, 100\)"),
        (torch.tensor([0.1, float("nan"), float("inf")]), "2 samples not finite"),
    ],
)
def test_what_is_no_recording_is_refused(wave: torch.Tensor, message: str) -> None:
    with pytest.raises(InputError, match=message):
        resynthesise(*pair("FrameVAE"), wave, STFT_SMALL)


def test_a_model_that_decodes_no_numbers_is_named() -> None:
    model, guide = pair("FrameVAE")
    with torch.no_grad():
        next(model.emission.parameters()).fill_(float("nan"))
    with pytest.raises(InputError, match=r"model: saw it decodes \d+ powers that are not finite"):
        resynthesise(model, guide, voice(), STFT_SMALL)


@pytest.mark.parametrize("name", ["RVAE-non-causal", "SRNN", "HiTDVAE", "DSAE"])
@pytest.mark.parametrize("point", [False, True])
def test_speech_of_a_seed_is_the_same_speech(name: str, point: bool, untouched: None) -> None:
    model, _ = pair(name)
    options = {"point": point, "iterations": 3}
    first, again, other = (
        generate(model, 2, 12, STFT_SMALL, seed=seed, **options) for seed in (3, 3, 4)
    )
    assert torch.equal(first.wave, again.wave) and torch.equal(first.power, again.power)
    assert not torch.allclose(first.power, other.power)
    assert first.wave.shape == (2, STFT_SMALL.samples(12)) and (first.power > 0).all()


@pytest.mark.parametrize("name", ["HiTDVAE", "DSAE"])
def test_speech_of_a_given_code(name: str) -> None:
    model, _ = pair(name)
    with seeded(derive(3, "speech")):
        drawn = torch.randn(2, 3)
    options: dict[str, Any] = {"seed": 3, "iterations": 3}
    generated = generate(model, 2, 12, STFT_SMALL, **options)
    assert torch.equal(
        generate(model, 2, 12, STFT_SMALL, w=drawn, **options).power, generated.power
    )
    one = generate(model, 2, 12, STFT_SMALL, w=drawn[1], **options).power
    assert torch.equal(one[1], generated.power[1]) and not torch.equal(one[0], generated.power[0])
    with pytest.raises(InputError, match=r"w: saw shape \(4, 3\), 0 .*\n.*\(3,\) or \(2, 3\)"):
        generate(model, 2, 12, STFT_SMALL, w=torch.zeros(4, 3))
    with pytest.raises(InputError, match="3 numbers not finite"):
        generate(model, 2, 12, STFT_SMALL, w=torch.full((3,), float("nan")))
    with pytest.raises(InputError, match="FrameVAE, which has none"):
        generate(pair("FrameVAE")[0], 2, 12, STFT_SMALL, w=drawn)


@pytest.mark.parametrize("name", ["HiTDVAE", "LigHTDVAE", "DSAE"])
def test_voices_are_exchanged_and_back(name: str) -> None:
    model, guide = pair(name)
    one, other = powers(seed=1), powers(1000, seed=2)
    swapped = swap(model, guide, one, other)
    assert [len(s) for s in swapped] == [len(one), len(other)]
    w = analyse(model, guide, other[None]).w
    wanted = decode(model, Analysis(analyse(model, guide, one[None]).z, w))[0]
    assert torch.equal(swapped[0], wanted)
    assert not torch.allclose(swapped[0], decode(model, analyse(model, guide, one[None]))[0])


def test_a_voice_of_another_recording() -> None:
    """Given as w, it generates what `swap` generates."""
    model, guide = pair("HiTDVAE")
    wave, other = voice(seed=1), 2 * voice(1000, seed=2)  # of largest modulus 1
    w = analyse(model, guide, STFT_SMALL.power(other)[None]).w
    assert w is not None
    resynthesised = resynthesise(model, guide, 2 * wave, STFT_SMALL, w=w[0])
    first, _ = swap(model, guide, STFT_SMALL.power(2 * wave), STFT_SMALL.power(other))
    torch.testing.assert_close(resynthesised.power, first, rtol=1e-3, atol=1e-6)


def test_a_model_without_a_global_latent_is_refused() -> None:
    model, guide = pair("SRNN")
    with pytest.raises(InputError, match="SRNN, which has none"):
        swap(model, guide, powers(), powers())
    with pytest.raises(InputError, match="SRNN, which has none"):
        resynthesise(model, guide, voice(), STFT_SMALL, w=torch.zeros(3))
    with pytest.raises(InputError, match=r"w: saw shape \(2,\)"):
        resynthesise(*pair("HiTDVAE"), voice(), STFT_SMALL, w=torch.zeros(2))


@pytest.mark.parametrize("name", ["FrameVAE", "LigHTDVAE"])
def test_power_grows_with_the_square_of_the_level(name: str) -> None:
    model, guide = pair(name)
    soft, loud = (resynthesise(model, guide, g * voice(), STFT_SMALL).power for g in (0.1, 1.0))
    torch.testing.assert_close(100 * soft, loud, atol=1e-5, rtol=1e-3)
