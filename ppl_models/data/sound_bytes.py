"""The bytes of a file of sound, with a checksum of its rate and samples in its comment."""

from __future__ import annotations

import hashlib
import io
import os
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppl_models.errors import InputError

SUBTYPES = {".wav": ("PCM_16", "FLOAT"), ".flac": ("PCM_16",)}
"""Files that are written, and how they may hold a sample."""
_MARK = "ppl-models checksum "
_KINDS = {"PCM_16": "int16", "FLOAT": "float32"}


def require_soundfile() -> ModuleType:
    """Import soundfile.

    Raises
    ------
    ImportError
        It is missing, with the command that installs it.
    """
    try:
        import soundfile
    except ImportError as error:
        message = "reading and writing sound needs: pip install 'ppl-models[audio]'"
        raise ImportError(message) from error
    return soundfile


def encoded(samples: NDArray[Any], rate: int, suffix: str, subtype: str) -> bytes:
    """Return the bytes of a file of one channel.

    Parameters
    ----------
    samples
        (N,) float64, of which 1 is full scale; or int16, the samples of 16 bits themselves.
    rate
        Samples a second.
    suffix, subtype
        Of `SUBTYPES`.
    """
    soundfile, form = require_soundfile(), suffix[1:].upper()
    whole = _rounded(samples, rate, subtype)
    sealed = io.BytesIO()
    how = {"samplerate": rate, "channels": 1, "subtype": subtype, "format": form}
    with soundfile.SoundFile(sealed, "w", **how) as file:
        file.comment = _MARK + _checksum(whole, rate)
        file.write(whole)
    return _timeless(sealed.getvalue())


def check_comment(path: str | os.PathLike[str], file: Any, cure: str) -> None:
    """Compare the samples of a file that `encoded` made with its checksum.

    Raises
    ------
    InputError
        They are others.
    """
    if not file.comment.startswith(_MARK):
        return
    whole = file.read(dtype=_KINDS.get(file.subtype, "int16"))
    file.seek(0)
    if file.comment != _MARK + _checksum(whole, file.samplerate):
        found = "samples that are not those of its checksum"
        raise InputError(str(path), found, "a whole recording", cure)


def _rounded(samples: NDArray[Any], rate: int, subtype: str) -> NDArray[Any]:
    """Return samples as the file will hold them."""
    if samples.dtype == np.int16 or subtype == "FLOAT":
        return samples.astype(_KINDS[subtype])
    soundfile, content = require_soundfile(), io.BytesIO()
    soundfile.write(content, samples, rate, subtype, format="WAV")
    content.seek(0)
    whole: NDArray[Any] = soundfile.read(content, dtype=_KINDS[subtype])[0]
    return whole


def _checksum(samples: NDArray[Any], rate: int) -> str:
    """Return a checksum of rate and samples (N,)."""
    mark = hashlib.blake2b(f"{rate} {len(samples)} ".encode(), digest_size=32)
    mark.update(samples.astype(samples.dtype.newbyteorder("<")).tobytes())
    return mark.hexdigest()


def _timeless(content: bytes) -> bytes:
    """Take the time of day out of a WAV file of floats: the same sounds are the same bytes.

    Its chunk PEAK, which stands before the samples, is: size, version, time, all of four bytes.
    """
    at = content.find(b"PEAK", 0, content.find(b"data"))
    return content if at < 0 else content[: at + 12] + bytes(4) + content[at + 16 :]
