from __future__ import annotations

import io
import sys
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ppl_models import InputError
from ppl_models.data.mnist import fixed_bits, mnist

REAL = Path(__file__).parents[4] / "shared/data/mnist"
real = pytest.mark.skipif(not REAL.exists(), reason="MNIST is not in ../shared/data")


def wrong(path: Path, **changes: Any) -> Path:
    """Write four small arrays of the right names."""
    arrays = {name: np.zeros(3, np.uint8) for name in ("x_train", "y_train", "x_test", "y_test")}
    np.savez(path, **{**arrays, **changes})
    return path


@real
def test_the_digits_are_in_their_order() -> None:
    digits = mnist(REAL)
    assert digits.train_images.shape == (60000, 784) and digits.test_images.shape == (10000, 784)
    assert digits.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    assert digits.test_labels[:5].tolist() == [7, 2, 1, 0, 4]
    assert digits.train_images.min() == 0 and digits.train_images.max() == 1
    assert digits.train_images.mean().item() == pytest.approx(0.1307, abs=1e-4)  # as published


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not MNIST's"):
        mnist(wrong(tmp_path / "mnist.npz"))
    with pytest.raises(InputError, match="not MNIST's"):
        mnist(tmp_path)  # the folder
    (tmp_path / "cut.npz").write_bytes((tmp_path / "mnist.npz").read_bytes()[:100])
    with pytest.raises(InputError, match="fetch it again"):
        mnist(tmp_path / "cut.npz")
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with pytest.raises(InputError, match="x_train"):
        mnist(tmp_path / "other.npz")
    with pytest.raises(FileNotFoundError):
        mnist(tmp_path / "none.npz")


def test_a_fetched_file_is_kept_only_if_it_is_mnist(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        sys.modules["ppl_models.data.mnist"], "CACHE", tmp_path / "cache" / "mnist.npz"
    )
    page = wrong(tmp_path / "page.npz").read_bytes()
    monkeypatch.setattr(urllib.request, "urlopen", lambda *a, **k: io.BytesIO(page))
    with pytest.raises(InputError, match="not MNIST's"):
        mnist()
    assert list((tmp_path / "cache").iterdir()) == []


def test_fixed_bits_are_fixed() -> None:
    grey = torch.linspace(0, 1, 50).expand(400, 50)
    bits = fixed_bits(grey, seed=3)
    state = torch.get_rng_state()
    assert torch.equal(bits, fixed_bits(grey, seed=3))
    assert torch.equal(state, torch.get_rng_state())
    assert set(bits.unique().tolist()) == {0.0, 1.0}
    assert (bits.mean(0) - grey[0]).abs().max() < 4 * 0.5 / 20  # four standard errors
