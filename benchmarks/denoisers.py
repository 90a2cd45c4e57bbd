"""Rivals of enhancement in an environment of their own: noisereduce and RNNoise.

As a module it makes the environment and asks it; as a script it runs in it, and needs numpy and
scipy only beside the two packages. RNNoise was trained on clean speech and noise (supervised), and
hears 48 kHz: sounds are resampled there and back. It is late by the same time in all sounds, which
is taken off: the lag of the best correlation of its output with its input, median over the sounds.

Sources: T. Sainburg, https://pypi.org/project/noisereduce (spectral gating, MIT licence); J.-M.
Valin, "A hybrid DSP/deep learning approach to real-time full-band speech enhancement", MMSP 2018,
arXiv:1709.08243, by way of https://pypi.org/project/pyrnnoise.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

PACKAGES = ("noisereduce==3.0.3", "pyrnnoise==0.4.5")
RATE, RNNOISE_RATE, FRAME = 16000, 48000, 480
LATEST = 0.06
"""Seconds: RNNoise is late by less than that."""
FloatArray = NDArray[np.float64]


def environment(folder: Path) -> Path:
    """Return the Python of an environment with both packages, made if it is not there."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    if not all(list(folder.glob(f"lib/*/site-packages/{p.split('=')[0]}")) for p in PACKAGES):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


def denoised(
    python: Path, name: str, waves: Sequence[FloatArray]
) -> tuple[list[FloatArray], float]:
    """Return the sounds that a rival makes of these, and its seconds of process time."""
    with tempfile.TemporaryDirectory() as folder:
        given, made = Path(folder, "given.npz"), Path(folder, "made.npz")
        np.savez(given, *waves)
        command = [str(python), __file__, name, str(given), str(made)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with np.load(made) as found:
            return [found[f"arr_{n}"] for n in range(len(waves))], float(found["seconds"])


def noisereduce(waves: Sequence[FloatArray]) -> list[FloatArray]:
    """Spectral gating with the package's own settings."""
    import noisereduce as package

    return [package.reduce_noise(y=wave, sr=RATE) for wave in waves]


def rnnoise(waves: Sequence[FloatArray]) -> list[FloatArray]:
    """RNNoise, at its own rate, what it is late by taken off."""
    from scipy.signal import resample_poly

    given = [resample_poly(wave, 3, 1) for wave in waves]
    made = [_rnnoise(wave) for wave in given]
    late = int(np.median([_lag(a, b) for a, b in zip(given, made, strict=True)]))
    found = [resample_poly(wave[late:], 1, 3) for wave in made]
    return [out[: len(wave)] for out, wave in zip(found, waves, strict=True)]


def _rnnoise(wave: FloatArray) -> FloatArray:
    """Return the output for a sound at 48 kHz, with silence enough behind it."""
    from pyrnnoise import RNNoise

    filled = np.concatenate([wave, np.zeros(int(LATEST * RNNOISE_RATE) + FRAME)])
    filled = filled[: len(filled) // FRAME * FRAME]
    whole = (filled.clip(-1, 1) * 32767).astype(np.int16)
    network = RNNoise(sample_rate=RNNOISE_RATE)
    frames = [out for _, out in network.denoise_chunk(whole[None], partial=True)]
    return np.concatenate(frames, axis=-1)[0].astype(float) / 32767


def _lag(given: FloatArray, made: FloatArray) -> int:
    from scipy.signal import correlate

    length = min(len(given), len(made))
    found = correlate(made[:length], given[:length], "full", "fft")[length - 1 :]
    return int(found[: int(LATEST * RNNOISE_RATE)].argmax())


METHODS: dict[str, Callable[[Sequence[FloatArray]], list[FloatArray]]] = {
    "noisereduce": noisereduce,
    "RNNoise": rnnoise,
}


def main(arguments: Sequence[str]) -> None:
    """Read sounds, write what a method makes of them."""
    name, given, out = arguments
    with np.load(given) as found:
        waves = [found[f"arr_{n}"] for n in range(len(found.files))]
    METHODS[name](waves[:1])  # what is loaded and compiled at first is not counted
    began = time.process_time()
    made: Any = METHODS[name](waves)
    np.savez(out, *made, seconds=time.process_time() - began)


if __name__ == "__main__":
    main(sys.argv[1:])
