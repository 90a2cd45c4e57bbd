"""Files of sound, one at a time: read with what can be wrong named, trimmed, scaled, written.

Reading and writing need the extra ``[audio]`` (soundfile): WAV, FLAC, Ogg, and uncompressed NIST
SPHERE.
"""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import avg_pool1d

from ppl_models.data.files import trouble, write_whole
from ppl_models.data.resampling import resample as _resample
from ppl_models.data.sound_bytes import SUBTYPES, check_comment, encoded, require_soundfile
from ppl_models.errors import InputError

MOST_SAMPLES = 500_000_000
"""Of all channels together, read or made by another rate: 2 GB, or 8.7 hours at 16 kHz."""
STRETCH, HIGHEST = 64, 768_000
"""Resampling makes at most so many samples of one, of sounds of up to so many samples a second."""
FULL_SCALE = 1 - 2**-15  # the largest number of 16 bits


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
    subtype : str
        How the file holds a sample, in soundfile's words: ``"PCM_16"``, ``"FLOAT"`` and so on.
    """

    wave: Tensor
    rate: int
    clipped: float
    subtype: str = "PCM_16"


def read_sound(
    path: str | os.PathLike[str],
    rate: int | None = 16000,
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
        Samples a second that are wanted; None: those of the file.
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
    samples, found, subtype = _read(Path(path), cure)
    clipped = float((samples.abs() >= FULL_SCALE).float().mean())
    wave = _one_channel(path, samples, channel)
    if rate is None or found == rate:
        return Sound(wave, found, clipped, subtype)
    if not resample:
        expected = f"{rate} Hz"
        raise InputError(str(path), f"{found} Hz", expected, "convert it, or ask for resample=True")
    _check_rates(path, len(wave), found, rate)
    return Sound(_resample(wave, found, rate), rate, clipped, subtype)


def write_sound(
    path: str | os.PathLike[str],
    wave: Tensor,
    rate: int = 16000,
    *,
    subtype: Literal["PCM_16", "FLOAT"] = "PCM_16",
) -> float:
    """Write a sound (N,) as WAV or FLAC of 16 bits, or as WAV of floats: whole, or not at all.

    What is louder than full scale is not clipped: then all of it is made softer, in 16 bits. Its
    comment has a checksum of rate and samples, which `read_sound` compares.

    Parameters
    ----------
    path, rate
    wave
        Floats, of which 1 is full scale; or, of int16, the samples themselves, which are read again
        as they are, divided by 32768.
    subtype
        ``"PCM_16"``, or ``"FLOAT"``: 32 bits, which hold float32 as it is, also beyond full scale.

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
    if subtype not in SUBTYPES.get(suffix, ()):
        fitting = " or ".join(s for s, kinds in SUBTYPES.items() if subtype in kinds)
        raise InputError("path", str(path), f"{fitting} for {subtype}", "name the file so")
    as_it_is = subtype == "FLOAT" or wave.dtype == torch.int16
    peak = 0.0 if as_it_is else float(wave.abs().max())
    gain = min(1.0, FULL_SCALE / max(peak, FULL_SCALE))
    samples = wave.detach().cpu()
    samples = samples if wave.dtype == torch.int16 else (gain * samples).double()
    write_whole(path, encoded(samples.numpy(), rate, suffix, subtype))
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


def _read(path: Path, cure: str) -> tuple[Tensor, int, str]:
    """Return all channels (N, C), N at least 1, the rate, and how a sample is held."""
    soundfile = require_soundfile()
    whole = "a whole recording of finite samples"
    try:
        _check_promise(path, cure)
        with soundfile.SoundFile(path) as file:
            rate, promised, subtype = file.samplerate, file.frames, file.subtype
            if promised * file.channels > MOST_SAMPLES:
                found = f"{promised:,} samples of {file.channels} channels"
                less = f"cut it, or raise {__name__}.MOST_SAMPLES"
                raise InputError(str(path), found, f"at most {MOST_SAMPLES:,} in all", less)
            check_comment(path, file, cure)
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
    return samples, rate, subtype


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
