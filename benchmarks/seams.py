"""Long recordings re-synthesised in pieces: what the seams do, and what ten minutes cost.

``python -m benchmarks.seams ../shared/data/an4 --model light runs/speech/DKF-0`` puts utterances of
AN4's test speakers one after the other until they are three pieces, and re-synthesises them whole
and in pieces. ``agree`` is the SI-SDR of the pieces against the whole, in dB; the others compare
both with the recording, in all of it and in the seconds that two pieces share. Then ten minutes of
the same: CPU time over the sound's, and the process at its peak, which the libraries are part of.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from inference.metrics.speech import si_sdr
from inference.tasks.speech import (
    OVERLAP,
    PIECE,
    SpeechModel,
    load_speech,
    resynthesise,
    resynthesise_long,
)
from ppl_models.data.speech import an4, sounds

SECONDS, LONG = 2 * (PIECE - OVERLAP) + 6.0, 600.0


def recording(path: Path, seconds: float, rate: int) -> Tensor:
    """Return utterances one after the other, (N,), again from the first where they end."""
    wave = torch.cat(sounds(an4(path).test))
    samples = int(seconds * rate)
    return wave.repeat(-(-samples // len(wave)))[:samples]


def seams(speech: SpeechModel, wave: Tensor) -> str:
    """Return a row: whole and in pieces."""
    pair = speech.model, speech.guide
    whole = resynthesise(*pair, wave, speech.stft).wave
    pieces = resynthesise_long(*pair, wave, speech.stft)
    starts = (int(n * (PIECE - OVERLAP) * speech.stft.rate) for n in (1, 2))
    parts = [slice(None), *(slice(at, at + int(OVERLAP * speech.stft.rate)) for at in starts)]
    scores = (f"{si_sdr(wave[p], sound[p]):7.2f}" for p in parts for sound in (whole, pieces))
    return f"{si_sdr(whole, pieces):8.1f}" + "".join(scores)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="AN4's folder, with train/ and test/")
    parser.add_argument("--model", nargs="+", default=["light"], help="runs, or names that ship")
    chosen = parser.parse_args(arguments)
    torch.set_num_threads(1)
    models = {name: load_speech(name) for name in chosen.model}
    heads = ("whole", "pieces", "seam 1", "pieces", "seam 2", "pieces")
    print(f"{'model':<24}{'agree':>8}" + "".join(f"{head:>7}" for head in heads))
    for name, speech in models.items():
        wave = recording(chosen.data, SECONDS, speech.stft.rate)
        print(f"{name[-23:]:<24}{seams(speech, wave)}", flush=True)
    print(f"\n{'ten minutes':<24}{'CPU / sound':>12}{'peak, MiB':>11}")
    for name, speech in models.items():
        wave, began = recording(chosen.data, LONG, speech.stft.rate), time.process_time()
        resynthesise_long(speech.model, speech.guide, wave, speech.stft)
        share = (time.process_time() - began) / LONG
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"{name[-23:]:<24}{share:12.4f}{peak:11.0f}", flush=True)


if __name__ == "__main__":
    main()
