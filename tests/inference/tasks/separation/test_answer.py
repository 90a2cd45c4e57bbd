from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from inference.tasks.separation import to_dataset, write_parts, write_posterior
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError
from tests.inference.cli.sounds import separate_many
from tests.inference.speech import STFT_SMALL, voice


@pytest.mark.parametrize("count", [1, 2, 5])
def test_rounded_parts_add_up_to_whole_numbers_and_are_off_by_a_step_at_most(
    tmp_path: Path, count: int
) -> None:
    generator = torch.Generator().manual_seed(0)
    mixture = torch.randint(-(2**15), 2**15, (400,), generator=generator) / 2**15
    shares = torch.rand(count, 400, generator=generator).double()
    parts = shares / shares.sum(0) * mixture
    paths = [tmp_path / f"{n}.wav" for n in range(count)]
    assert write_parts(paths, parts, 8000, "PCM_16") == "PCM_16"
    found = np.stack([soundfile.read(path, dtype="int16")[0] for path in paths]).astype(int)
    assert (found.sum(0) == (mixture * 2**15).numpy()).all()
    assert np.abs(found - (parts * 2**15).numpy()).max() <= 1


def test_parts_beyond_16_bits_are_floats_as_they_are(tmp_path: Path) -> None:
    parts = torch.tensor([[1.5, -0.25], [-1.0, 0.25]])
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    assert write_parts(paths, parts, 8000, "PCM_16") == "FLOAT"
    found = np.stack([soundfile.read(path, dtype="float32")[0] for path in paths])
    assert (found == parts.numpy()).all()


def test_a_posterior_is_read_as_it_was_and_says_what_its_bound_is(tmp_path: Path) -> None:
    import xarray

    [found] = separate_many([voice(300)], ["speech", "flute"])
    climbed = found._replace(bound_error=torch.tensor(float("nan")))
    assert to_dataset(climbed, STFT_SMALL).attrs["bound_is"] == "objective, which is no bound"
    write_posterior(tmp_path / "p.nc", found, STFT_SMALL)
    with xarray.open_dataset(tmp_path / "p.nc") as data:
        assert data.equals(to_dataset(found, STFT_SMALL))
        assert data.attrs["hop_ms"] == 16
    assert [p.name for p in tmp_path.iterdir()] == ["p.nc"]


def test_a_posterior_of_another_stft_is_refused() -> None:
    [found] = separate_many([voice(300)], ["speech"])
    with pytest.raises(InputError, match="20 frames of 33 bins"):
        to_dataset(found, STFT(rate=1000, window_ms=32, hop_ms=16))
