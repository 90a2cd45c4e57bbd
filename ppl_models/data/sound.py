"""Files of sound, one at a time: read with what can be wrong named, trimmed, scaled, written.

Reading and writing need the extra ``[audio]`` (soundfile): WAV, FLAC, Ogg, and uncompressed NIST
SPHERE.
"""

from __future__ import annotations

import errno
import hashlib
import io
import math
import os
import re
from pathlib import Path
from types import ModuleType
from typing import Any, BinaryIO, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import avg_pool1d

from ppl_models.data.files import trouble, write_whole
from ppl_models.errors import InputError

MOST_SAMPLES = 500_000_000
"""Of all channels together, read or made by another rate: 2 GB, or 8.7 hours at 16 kHz."""
STRETCH, HIGHEST = 64, 768_000
"""Resampling makes at most so many samples of one, of sounds of up to so many samples a second."""
FULL_SCALE = 1 - 2**-15  # the largest number of 16 bits
_MARK = "ppl-models checksum "
_SUBTYPES = {".wav": "PCM_16", ".flac": "PCM_16"}


class Sound(NamedTuple):
    """A sound as it stands in its file.

    Attributes
    ----------
    wave : Tensor
        (N,) float32; a file of whole numbers lies within [-1, 1].
    rate : int
        Samples a second, of ``wave``.
    clipped : float
        Share of the file's samples at full scale: above some 0.001 it was recorded too loud.
    """

    wave: Tensor
    rate: int
    clipped: float


def read_sound(
    path: str | os.PathLike[str],
    rate: int = 16000,
    *,
    channel: int | Literal["mix"] | None = None,
    resample: bool = False,
    cure: str = "fetch the file again, or leave it out",
) -> Sound:
    """Read a file of sound.

    Parameters
    ----------
    path
        The file.
    rate
        Samples a second that are wanted.
    channel
        Of several channels one, from 0, or ``"mix"``, their mean. None refuses a file of several.
    resample
        Turn another rate into this one (a polyphase filter); False refuses it.
    cure
        The cure that the error names for a damaged file.

    Raises
    ------
    InputError
        No such file, or it is damaged, cut short, empty, not finite, of another rate, or of several
        channels; or it would take more than `MOST_SAMPLES`, or more than `STRETCH` of one sample.
        The file is named.
    ImportError
        The package soundfile is missing.
    """
    samples, found = _read(Path(path), cure)
    clipped = float((samples.abs() >= FULL_SCALE).float().mean())
    wave = _one_channel(path, samples, channel)
    if found == rate:
        return Sound(wave, rate, clipped)
    if not resample:
        expected = f"{rate} Hz"
        raise InputError(str(path), f"{found} Hz", expected, "convert it, or ask for resample=True")
    _check_rates(path, len(wave), found, rate)
    return Sound(_resample(wave, found, rate), rate, clipped)


def write_sound(path: str | os.PathLike[str], wave: Tensor, rate: int = 16000) -> float:
    """Write a sound (N,) as 16-bit WAV or FLAC: whole, or not at all.

    What is louder than full scale is not clipped: then all of it is made softer. Its comment has a
    checksum of rate and samples, which `read_sound` compares.

    Returns
    -------
    float
        The factor the sound was multiplied by: 1, or less.

    Raises
    ------
    InputError
        Numbers that are not finite, another shape, or another kind of file.
    ImportError
        The package soundfile is missing.
    """
    path = Path(path)
    if wave.ndim != 1 or not len(wave) or not wave.isfinite().all():
        found = f"shape {tuple(wave.shape)}, {int((~wave.isfinite()).sum())} numbers not finite"
        raise InputError("wave", found, "finite samples (N,)", "write one sound at a time")
    suffix = path.suffix.lower()
    if suffix not in _SUBTYPES:
        raise InputError("path", str(path), " or ".join(_SUBTYPES), "name the file so")
    gain = min(1.0, FULL_SCALE / max(float(wave.abs().max()), FULL_SCALE))
    samples = (gain * wave.detach()).cpu().double().numpy()
    write_whole(path, _encoded(samples, rate, suffix))
    return gain


def trim(wave: Tensor, top_db: float = 30.0) -> Tensor:
    """Cut off what is soft at both ends of a sound (N,), frame by frame.

    A frame is 2048 samples around every 512th one, zeros outside the sound; soft is a mean square
    more than ``top_db`` dB below that of the loudest frame. From the centre of the first frame that
    is not soft, to a step behind the centre of the last. Those are the rule and the numbers of
    ``librosa.effects.trim``, which the field's speech experiments use. Silence is left as it is.
    """
    energy = avg_pool1d(wave.detach().square()[None, None], 2048, 512, padding=1024)[0, 0]
    loud = (energy >= energy.max() * 10 ** (-top_db / 10)).nonzero()[:, 0]
    return wave[512 * int(loud[0]) : 512 * (int(loud[-1]) + 1)]


def normalise(wave: Tensor) -> Tensor:
    """Divide a sound by its largest modulus.

    Raises
    ------
    InputError
        There is nothing but silence in it.
    """
    peak = wave.abs().max()
    if not peak > 0:
        raise InputError("wave", "silence", "a sound", "leave it out")
    return wave / peak


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


def _read(path: Path, cure: str) -> tuple[Tensor, int]:
    """Return all channels (N, C), N at least 1, and the rate."""
    soundfile = require_soundfile()
    whole = "a whole recording of finite samples"
    try:
        _check_promise(path, cure)
        with soundfile.SoundFile(path) as file:
            rate, promised = file.samplerate, file.frames
            if promised * file.channels > MOST_SAMPLES:
                found = f"{promised:,} samples of {file.channels} channels"
                less = f"cut it, or raise {__name__}.MOST_SAMPLES"
                raise InputError(str(path), found, f"at most {MOST_SAMPLES:,} in all", less)
            _check_comment(path, file, cure)
            samples = torch.from_numpy(file.read(dtype="float32", always_2d=True))
    except OSError as error:
        words, instead = trouble(error)
        cure = cure if error.errno == errno.ENOENT else instead
        raise InputError(str(path), words, whole, cure) from error
    except (soundfile.LibsndfileError, RuntimeError) as error:
        said = str(error).partition(": ")[2] or str(error)  # it begins with the name
        raise InputError(str(path), f"no sound ({said.rstrip('.')})", whole, cure) from error
    if not len(samples) or len(samples) != promised or not samples.isfinite().all():
        bad = int((~samples.isfinite()).sum())
        found = f"{len(samples)} samples of {promised}, {bad} of them not finite"
        raise InputError(str(path), found, whole, cure)
    return samples, rate


def _encoded(samples: NDArray[np.float64], rate: int, suffix: str) -> bytes:
    """Return the bytes of a file of 16-bit samples, with their checksum in its comment."""
    soundfile, form = require_soundfile(), suffix[1:].upper()
    content = io.BytesIO()
    soundfile.write(content, samples, rate, _SUBTYPES[suffix], format=form)
    content.seek(0)
    whole, _ = soundfile.read(content, dtype="int16")
    sealed = io.BytesIO()
    how = {"samplerate": rate, "channels": 1, "subtype": _SUBTYPES[suffix], "format": form}
    with soundfile.SoundFile(sealed, "w", **how) as file:
        file.comment = _MARK + _checksum(whole, rate)
        file.write(whole)
    return sealed.getvalue()


def _checksum(samples: NDArray[np.int16], rate: int) -> str:
    """Return a checksum of rate and samples (N,)."""
    mark = hashlib.blake2b(f"{rate} {len(samples)} ".encode(), digest_size=32)
    mark.update(samples.astype("<i2").tobytes())
    return mark.hexdigest()


def _check_comment(path: Path, file: Any, cure: str) -> None:
    """Compare the samples of a file that `write_sound` wrote with its checksum."""
    if not file.comment.startswith(_MARK):
        return
    whole = file.read(dtype="int16")
    file.seek(0)
    if file.comment != _MARK + _checksum(whole, file.samplerate):
        found = "samples that are not those of its checksum"
        raise InputError(str(path), found, "a whole recording", cure)


def _check_promise(path: Path, cure: str) -> None:
    """Compare what a WAV or SPHERE file says it holds with its size: readers take what is there.

    A WAV file that was written as a stream says nothing (0, or the largest number).
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(1024)
        promised = _sphere_end(head)
        if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
            promised = _riff_end(file)
    if promised > size:
        found = f"{size:,} bytes of {promised:,}: it is cut short"
        raise InputError(str(path), found, "a whole recording", cure)


def _riff_end(file: BinaryIO) -> int:
    """Return where the samples of a RIFF file end, as its headers say; 0 if they do not."""
    file.seek(12)
    while len(head := file.read(8)) == 8:
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"data":
            return 0 if length >= 2**32 - 2**16 else file.tell() + length
        file.seek(length + length % 2, os.SEEK_CUR)
    return 0


def _sphere_end(head: bytes) -> int:
    """Return where the samples of an uncompressed NIST SPHERE file end; 0 if it is another file."""
    names = b"sample_count", b"channel_count", b"sample_n_bytes"
    found = [re.search(rb"\n%s -i (\d{1,12})\n" % name, head) for name in names]
    if head[:8] != b"NIST_1A\n" or not found[0] or b"shorten" in head:
        return 0
    count, channels, width = (int(match[1]) if match else 1 for match in found)
    return 1024 + count * channels * width


def _check_rates(path: str | os.PathLike[str], samples: int, rate: int, wanted: int) -> None:
    """Look at what resampling would make, before it does."""
    made = samples * wanted // max(rate, 1)
    if wanted > STRETCH * rate or rate > HIGHEST or made > MOST_SAMPLES:
        found = f"{samples:,} samples at {rate:,} Hz, {made:,} at {wanted:,} Hz"
        expected = f"{-(-wanted // STRETCH):,} to {HIGHEST:,} Hz, at most {MOST_SAMPLES:,} samples"
        cure = "mend the rate in its header, cut it, or convert it with a program for sound"
        raise InputError(str(path), found, expected, cure)


def _one_channel(
    path: str | os.PathLike[str], samples: Tensor, channel: int | Literal["mix"] | None
) -> Tensor:
    count = samples.shape[1]
    if channel == "mix":
        return samples.mean(1)
    if channel is None and count == 1:
        return samples[:, 0]
    if channel is None or not 0 <= channel < count:
        expected = "one channel" if channel is None else f"a channel {channel}, counted from 0"
        raise InputError(str(path), f"{count} channels", expected, 'choose channel=0, 1, or "mix"')
    return samples[:, channel].clone()


def _resample(wave: Tensor, rate: int, wanted: int) -> Tensor:
    from scipy.signal import resample_poly

    common = math.gcd(rate, wanted)
    samples = resample_poly(wave.double().numpy(), wanted // common, rate // common)
    return torch.from_numpy(samples).float()
