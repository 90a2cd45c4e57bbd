"""Recordings in sources: they add up, whatever is recorded."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.errors import NonFiniteError
from inference.tasks.separation import (
    Ascent,
    Ownership,
    SeparationSettings,
    fit_source,
    load_sources,
    separate,
    separate_many,
)
from inference.tasks.separation.separate import infer
from inference.tasks.separation.sources import Source, check_architecture, names_of
from inference.tasks.speech import Design
from inference.tasks.speech.files import FAMILY
from ppl_models.audio import as_source_pair
from ppl_models.data.speech import padded
from ppl_models.errors import InputError
from ppl_models.likelihoods import to_bins
from tests.inference.speech import DESIGNS, STFT_SMALL
from tests.inference.tasks.sound_models import SLOW, saved

QUICK = SeparationSettings(add=Ascent(3, 0.1, 2), own=Ownership(iterations=2, steps=1))


def wave(samples: int, seed: int = 0) -> Tensor:
    return 0.2 * torch.randn(samples, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sources")
    return [saved(folder, "low"), saved(folder, "high", "SRNN", seed=1)]


@pytest.mark.parametrize("share", ["add", "own"])
@pytest.mark.parametrize("samples", [1, 5, 63, 1000])
def test_the_sources_add_up_to_the_recording(two: list[Path], share: str, samples: int) -> None:
    found = separate(wave(samples), two, share=share, settings=QUICK)  # type: ignore[arg-type]
    assert found.names == ("low", "high")
    assert torch.allclose(found.waves.sum(0), wave(samples), atol=1e-6)
    frames = SLOW.frames(samples)
    assert found.mean.shape == found.variance.shape == (2, frames, 33)
    assert found.mean.isfinite().all() and (found.variance >= 0).all()
    assert torch.allclose(found.responsibilities.sum(0), torch.ones(frames, 33), atol=1e-5)


@pytest.mark.parametrize("share", ["add", "own"])
def test_one_source_is_the_recording(two: list[Path], share: str) -> None:
    found = separate(wave(300), two[:1], share=share, settings=QUICK)  # type: ignore[arg-type]
    assert torch.allclose(found.waves[0], wave(300), atol=1e-6)


@pytest.mark.parametrize("share", ["add", "own"])
def test_every_model_of_the_family_is_a_source(share: str) -> None:
    """All at once: of 11 sources, two recordings, one of which begins in silence."""
    deep = Design("DeepAR", latent_dim=0, options={"recurrent_dim": 5}, stft=SLOW)
    designs = {**DESIGNS, "DeepAR": deep}
    assert {design.model for design in designs.values()} == set(FAMILY)
    x = [STFT_SMALL.analyse(w) for w in (wave(150), torch.cat([torch.zeros(100), wave(50, 1)]))]
    sources = [
        Source(name, *as_source_pair(*design.pair(x[0].abs().square())), SLOW, Path())
        for name, design in designs.items()
        if name != "KVAE"
    ]
    o, mask = padded([to_bins(one) for one in x])
    found = infer(o, mask, sources, share, QUICK)  # type: ignore[arg-type]
    assert found.mean.shape == (2, len(sources), 11, 66)
    for numbers in found:
        assert numbers.isfinite().all()


def test_a_model_that_can_be_no_source_is_refused(tmp_path: Path) -> None:
    kvae = saved(tmp_path, "kvae", "KVAE")
    with pytest.raises(InputError, match=r"kvae: saw KVAE\n.*\n.*architecture=RVAE"):
        separate(wave(300), [kvae])
    with pytest.raises(InputError, match="architecture: saw KVAE"):
        fit_source(tmp_path, tmp_path / "run", architecture="kvae")


@pytest.mark.parametrize("share", ["add", "own"])
def test_numbers_that_are_not_finite_are_named_by_their_source(share: str, two: list[Path]) -> None:
    sources = load_sources(two)
    for weight in sources[1].model.parameters():
        weight.data.fill_(float("nan"))
    o = to_bins(SLOW.analyse(wave(200)))[None]
    mask = torch.ones(o.shape[:2], dtype=torch.bool)
    with pytest.raises(NonFiniteError, match="site 'high'\n  found:    variances or a rate"):
        infer(o, mask, sources, share, QUICK._replace(start="mixture"))  # type: ignore[arg-type]


def test_silence_is_silent_sources(two: list[Path]) -> None:
    found = separate(torch.zeros(500), two, settings=QUICK)
    assert not found.waves.any() and not found.mean.any() and not found.variance.any()


@pytest.mark.parametrize("share", ["add", "own"])
def test_a_long_recording_in_pieces_adds_up_and_is_louder_by_a_factor(
    two: list[Path], share: str
) -> None:
    recording = wave(21_000)  # 21 s at 1 kHz: three pieces
    few = SeparationSettings(add=Ascent(1, 0.1, 1), own=Ownership(1, 0, num_samples=2))
    found = separate(recording, two, share=share, settings=few)  # type: ignore[arg-type]
    assert torch.allclose(found.waves.sum(0), recording, atol=1e-6)
    assert found.mean.shape[1] == SLOW.frames(21_000)
    louder = separate(4 * recording, two, share=share, settings=few)  # type: ignore[arg-type]
    assert torch.allclose(louder.waves, 4 * found.waves, atol=1e-4)
    assert torch.allclose(louder.variance, 16 * found.variance, rtol=1e-3, atol=1e-6)


def test_recordings_of_a_batch_do_not_meet(two: list[Path]) -> None:
    both = separate_many([wave(400), wave(700, 1)], two[:1] * 2, settings=QUICK)
    alone = separate(wave(400), two[:1] * 2, settings=QUICK)
    # the same numbers but for the order of sums in a larger matrix product
    assert torch.allclose(both[0].waves, alone.waves, atol=1e-4)
    assert both[0].names == ("low-1", "low-2")


def test_the_same_seed_gives_the_same_answer(two: list[Path]) -> None:
    first, second = (separate(wave(300), two, settings=QUICK, seed=3) for _ in range(2))
    assert torch.equal(first.waves, second.waves) and torch.equal(first.bound, second.bound)
    third = separate(wave(300), two, settings=QUICK, seed=4)
    assert not torch.equal(first.waves, third.waves)


def test_progress_counts_all_iterations(two: list[Path]) -> None:
    seen = list[tuple[int, int]]()
    separate_many(
        [wave(300)], two, share="own", settings=QUICK, progress=lambda i, n: seen.append((i, n))
    )
    assert seen == [(i, 5) for i in range(1, 6)]


def test_what_cannot_be_separated_is_refused(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="share"):
        separate(wave(300), two, share="both")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="not finite"):
        separate(torch.tensor([0.1, float("nan")]), two)
    with pytest.raises(InputError, match="a list of names"):
        separate(wave(300), "speech")
    with pytest.raises(InputError, match="speech"):
        load_sources(["no such source"])


def test_sources_of_one_name_are_numbered() -> None:
    assert names_of(["a", "b", "a"]) == ["a-1", "b", "a-2"]
    assert names_of(["runs/x/pair.safetensors", "y.safetensors"]) == ["x", "y"]
    assert len(set(names_of(["x", "x", "x-1"]))) == 3


def test_a_model_that_is_no_source_is_named() -> None:
    with pytest.raises(InputError, match="my model.*KVAE"):
        check_architecture("KVAE", "my model")


def test_seeds_are_those_of_the_rows(two: list[Path]) -> None:
    sources = load_sources(two[:1])
    o = to_bins(SLOW.analyse(torch.stack([wave(200), wave(200)])))
    mask = torch.ones(o.shape[:2], dtype=torch.bool)
    found = infer(o, mask, sources, "add", QUICK, seeds=[5, 5])
    assert torch.allclose(found.bound[0], found.bound[1])
    other = infer(o, mask, sources, "add", QUICK, seeds=[5, 6])
    assert not torch.allclose(other.bound[0], other.bound[1])
