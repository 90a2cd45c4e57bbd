from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ppl_models.data.arrays import read_arrays
from ppl_models.errors import InputError


def test_one_array_gets_the_name_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    data = read_arrays(tmp_path / "a.npy", first="s")
    assert list(data) == ["s"]
    assert data["s"].dtype == torch.float32
    assert torch.equal(data["s"], torch.arange(6.0).reshape(3, 2))


def test_many_arrays_keep_their_names_and_truth_values(tmp_path: Path) -> None:
    mask = np.array([True, False])
    np.savez(tmp_path / "a.npz", s=np.ones((2, 3), np.float64), mask=mask)
    data = read_arrays(tmp_path / "a.npz")
    assert set(data) == {"s", "mask"}
    assert data["mask"].dtype == torch.bool and data["mask"].tolist() == [True, False]


def bad_files(folder: Path) -> dict[str, Path]:
    """Make one file of every kind that must not be read."""
    whole = folder / "whole.npy"
    np.save(whole, np.ones((100, 4)))
    np.save(folder / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "complex.npy", np.array([1j]))
    np.save(folder / "nothing.npy", np.ones((0, 4)))
    np.save(folder / "scalar.npy", np.float64(3))
    (folder / "cut.npy").write_bytes(whole.read_bytes()[:200])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_text("1,2,3\n")
    np.savez(folder / "big.npz", x=np.ones((100, 4)))
    (folder / "cut.npz").write_bytes((folder / "big.npz").read_bytes()[:300])
    return {
        path.name: path for path in folder.iterdir() if path.name not in ("whole.npy", "big.npz")
    }


NAMES = "objects words complex nothing scalar cut empty text".split()


@pytest.mark.parametrize("name", [*(f"{n}.npy" for n in NAMES), "cut.npz"])
def test_bad_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=name) as caught:
        read_arrays(bad_files(tmp_path)[name])
    assert caught.value.cure


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.npy"):
        read_arrays(tmp_path / "none.npy")
