"""MNIST: 70,000 handwritten digits of 28 x 28 grey pixels (LeCun, Cortes and Burges; CC BY-SA 3.0).

The bytes are not part of this package. `mnist` reads a copy of yours, or fetches one from where
Keras keeps it, and makes sure that it is MNIST, digit by digit and in the original order.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import urllib.request
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ppl_models.errors import InputError

SOURCE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz"
CACHE = Path("~/.cache/ppl-models/mnist.npz")
_SHAPES = {
    "x_train": (60000, 28, 28),
    "y_train": (60000,),
    "x_test": (10000, 28, 28),
    "y_test": (10000,),
}
_MARKS = {  # sha256 of the arrays' bytes
    "x_train": "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
    "y_train": "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13",
    "x_test": "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
    "y_test": "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5",
}


class Digits(NamedTuple):
    """Images (N, 784), floats from 0 (paper) to 1 (ink); labels (N,), the digits 0 to 9."""

    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor


def mnist(path: str | os.PathLike[str] | None = None) -> Digits:
    """Read MNIST, 60,000 digits to train on and 10,000 to test.

    For bits, draw them: ``torch.bernoulli(images)``, again each time a digit is used ("dynamic
    binarisation", Burda, Grosse and Salakhutdinov 2016): ``fit(..., transform=torch.bernoulli)``.

    Parameters
    ----------
    path
        ``mnist.npz`` as Keras has it (arrays x_train, y_train, x_test, y_test), or a folder with
        it. By default ``~/.cache/ppl-models/mnist.npz``, fetched from `SOURCE` (11 MB) if absent.

    Raises
    ------
    InputError
        The file is damaged, or is not MNIST in its original order.
    OSError
        It cannot be read, or not be fetched.
    """
    if path is None:
        file = CACHE.expanduser()
        if not file.exists():
            _fetch(file)
    else:
        file = Path(path) / "mnist.npz" if Path(path).is_dir() else Path(path)
    arrays = _read(file)
    train, test = (torch.from_numpy(arrays[n]).reshape(-1, 784) for n in ("x_train", "x_test"))
    train_labels, test_labels = (torch.from_numpy(arrays[n]).long() for n in ("y_train", "y_test"))
    return Digits(train / 255, train_labels, test / 255, test_labels)


def fixed_bits(images: Tensor, seed: int = 0) -> Tensor:
    """Draw bits (N, D) of grey values once and for all: the same for the same seed.

    For test data, whose likelihood is to be the same number each time.
    """
    return torch.bernoulli(images, generator=torch.Generator().manual_seed(seed))


def _read(file: Path) -> dict[str, NDArray[np.uint8]]:
    """Read the four arrays, and insist on every byte of them."""
    cure = f"fetch it again from {SOURCE}"
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as content:
            arrays = {name: np.ascontiguousarray(content[name]) for name in _SHAPES}
    except (ValueError, EOFError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(str(file), f"{error}", f"arrays {', '.join(_SHAPES)}", cure) from error
    for name, array in arrays.items():
        mark = hashlib.sha256(array.tobytes()).hexdigest()
        if array.shape != _SHAPES[name] or mark != _MARKS[name]:
            found = f"array {name} of shape {array.shape}, which is not MNIST's"
            expected = f"shape {_SHAPES[name]}, in the original order"
            raise InputError(str(file), found, expected, cure)
    return arrays


def _fetch(file: Path) -> None:
    """Fetch the file: whole, or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(dir=file.parent, prefix=".mnist.", suffix=".tmp")
    scrap = Path(name)
    try:
        with os.fdopen(number, "wb") as out, urllib.request.urlopen(SOURCE, timeout=60) as page:
            out.write(page.read())
        _read(scrap)
        scrap.replace(file)
    finally:
        scrap.unlink(missing_ok=True)
