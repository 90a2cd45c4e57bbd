from __future__ import annotations

from pathlib import Path

import pytest
import torch

from ppl_models.data.corpora import Utterance
from ppl_models.data.mixtures import KINDS, kind, looped, mix, noises, stretches
from ppl_models.data.speech import Readings
from ppl_models.errors import InputError


def spoken(*lengths: int, level: float = 0.5) -> Readings:
    """Utterances of constant numbers: the first of ann is 0.51, her second 0.52, bob's are 0.61."""
    found = Readings()
    for n, length in enumerate(lengths):
        speaker = "ann" if n < 2 else "bob"
        found.append(torch.full((length,), level + 0.01 * (n + 1) + 0.1 * (n > 1)))
        found.utterances.append(Utterance(speaker, str(n), Path(str(n))))
    return found


@pytest.mark.parametrize("ratio", [-10.0, 0.0, 5.0])
def test_the_ratio_is_exact_and_the_parts_sum_to_the_mixture(ratio: float) -> None:
    first, second = torch.randn(2, 3, 4000, dtype=torch.float64) * torch.rand(3, 1).double()
    mixed = mix(first, second, ratio)
    power = mixed.parts.square().mean(-1)
    found = 10 * (power[:, 0] / power[:, 1]).log10()
    assert torch.allclose(found, torch.full((3,), ratio).double(), atol=1e-10)
    assert torch.equal(mixed.parts.sum(1), mixed.mixture)
    assert torch.allclose(mixed.mixture.abs().amax(-1), torch.ones(3).double())
    raw = mix(first, second, ratio, scale=False)
    assert torch.equal(raw.parts[:, 0], first)
    assert torch.allclose(raw.mixture / raw.mixture.abs().amax(-1, True), mixed.mixture)


def test_silence_and_two_lengths_are_refused() -> None:
    wave = torch.randn(100)
    with pytest.raises(InputError, match="second: saw silence"):
        mix(wave, torch.zeros(100), 0.0)
    with pytest.raises(InputError, match="cut both to one length"):
        mix(wave, wave[:-1], 0.0)


def test_a_stretch_is_of_one_speaker_and_that_of_its_seed() -> None:
    speech = spoken(50, 60, 70, 80)
    cut = stretches(speech, 200, 40, seed=3)
    assert cut.shape == (40, 200)
    for wave in cut:
        heard = {round(float(x), 2) for x in wave}
        assert heard <= {0.51, 0.52} or heard <= {0.63, 0.64}
    assert len({round(float(x), 2) for x in cut.flatten()}) == 4
    assert torch.equal(stretches(speech, 200, 2, seed=3), cut[:2])
    assert not torch.equal(stretches(speech, 200, 2, seed=4), cut[:2])


def test_pauses_are_drawn_again_and_nothing_but_pauses_is_refused() -> None:
    speech = spoken(400)
    speech[0][:300] = 0
    assert (stretches(speech, 50, 50).square().mean(-1) > 1e-5).all()
    with pytest.raises(InputError, match="none louder than a pause"):
        stretches(spoken(400, level=-0.01), 50)
    speech = spoken(40_000)
    speech[0][:-1] = 0  # loud on the whole, by its last sample
    speech[0][-1] = 1
    with pytest.raises(InputError, match="1000 stretches"):
        stretches(speech, 5)


def test_a_noise_goes_on_from_its_start_where_it_ends() -> None:
    noise = torch.arange(7.0)
    begins = set()
    for seed in range(30):
        found = looped(noise, 20, seed=seed)
        assert torch.equal(found[1:], (found[:-1] + 1) % 7) and len(found) == 20
        begins.add(int(found[0]))
    assert begins == set(range(7))
    with pytest.raises(InputError, match="no samples"):
        looped(noise[:0], 3)


def test_noises_are_in_the_order_of_their_numbers_and_the_last_are_kept(tmp_path: Path) -> None:
    for name in ("N1.wav", "n2.flac", "n10.wav", "n60.wav", "n61.wav", "N100.wav", "note.wav"):
        (tmp_path / name).touch()
    found = noises(tmp_path)
    assert [u.name for u in found.train] == ["n1", "n2", "n10", "n60"]
    assert [(u.speaker, u.name) for u in found.test] == [("water", "n61"), ("telephone", "n100")]
    assert [u.name for u in noises(tmp_path, first_test=10).train] == ["n1", "n2"]
    with pytest.raises(InputError, match="HuCorpus"):
        noises(tmp_path / "none")


def test_kinds_are_those_of_the_ranges() -> None:
    ranges = {1: "crowd", 17: "crowd", 18: "machine", 43: "alarm", 69: "water", 85: "cough"}
    assert {n: kind(n) for n in ranges} == ranges
    assert kind(93) == "cry" and kind(100) == "telephone"
    assert {kind(n) for n in range(1, 101)} == set(KINDS.values())
    with pytest.raises(InputError, match="1 to 100"):
        kind(0)
