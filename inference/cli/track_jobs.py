"""What ``ppl track`` reads: sequences, the frames to follow in each, and where answers go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ppl_models.errors import InputError

if TYPE_CHECKING:
    from inference.tasks.tracking import Images
    from ppl_models.data.motchallenge import Boxes

LONGEST = 100_000
"""Frames of one sequence; a longer one is a wrong frame number more often than a film."""
MOST_NUMBERS = 500_000_000
"""Probabilities of an assignment that are held at once: 4 GB."""
CONFIDENT = 0.3
"""Least score kept by default, where scores are probabilities."""


@dataclass(frozen=True)
class Job:
    """One sequence to follow, and where its answer goes."""

    detections: Boxes
    truth: Boxes | None
    frames: tuple[int, int]
    folder: Path
    image_size: tuple[float, float] | None = None
    rate: float | None = None
    images: Images | None = None


def read_job(
    path: Path,
    truth_path: Path | None,
    window: tuple[int, int] | None,
    min_score: float | None,
    folder: Path,
    empty: bool = False,
) -> Job:
    """Read one sequence; without ``min_score``, drop low scores where they are probabilities.

    Raises
    ------
    InputError
        As `read_boxes`, which takes ``empty``, `read_ground_truth` and `frame_range`; also where no
        score is high enough.
    """
    from ppl_models.data.motchallenge import read_boxes, read_ground_truth

    boxes = read_boxes(path, empty=empty)
    truth = None if truth_path is None else read_ground_truth(truth_path)
    least = CONFIDENT if min_score is None else min_score
    kept = boxes.confident(least) if min_score is None else boxes.select(boxes.score >= least)
    if len(boxes) and not len(kept):
        found = f"no score above {boxes.score.max():g}"
        raise InputError(str(path), found, f"some of {least:g} or more", "lower --min-score")
    return Job(kept, truth, frame_range(path, kept, window, truth), folder)


def with_images(job: Job, folder: Path | None, size: tuple[float, float] | None) -> Job:
    """Return a job that knows the images of its frames, and their size where none is given.

    Raises
    ------
    InputError
        As `find_images`.
    """
    if folder is None:
        return replace(job, image_size=size)
    from inference.tasks.tracking import find_images

    images = find_images(folder, *job.frames, size)
    return replace(job, images=images, image_size=(float(images.size[0]), float(images.size[1])))


def frame_range(
    path: Path, boxes: Boxes, frames: tuple[int, int] | None, truth: Boxes | None
) -> tuple[int, int]:
    """Return first and last frame to follow.

    They are ``frames`` if given; else those of the ground truth; else, for a file named det.txt
    beside a seqinfo.ini, 1 to its seqLength; else the first and last frame with a detection, or
    frame 1 where there is no detection at all.

    Raises
    ------
    InputError
        Where none of the detections, or of the ground truth, lies in that range, or it is absurdly
        long.
    """
    if frames is None and truth is not None:
        frames = int(truth.frame[0]), int(truth.frame[-1])
    ends = (int(boxes.frame[0]), int(boxes.frame[-1])) if len(boxes) else (1, 1)
    frames = frames or _sequence_info(path) or ends
    first, last = frames
    if last - first >= LONGEST:
        found, expected = f"frames {first} to {last}", f"at most {LONGEST} frames"
        raise InputError(str(path), found, expected, "mend the frame numbers, or cut with --frames")
    for rows in (boxes, truth):
        if rows is not None and len(rows) and not len(rows.between(first, last)):
            found = f"rows in the frames {rows.frame[0]} to {rows.frame[-1]}"
            expected = f"some in the frames {first} to {last} that are to be followed"
            cure = "check --frames, and that --gt is of the same video"
            raise InputError(rows.name, found, expected, cure)
    return frames


def folders_of(paths: Sequence[Path], out: Path) -> list[Path]:
    """Return a folder for each file; two files of one name are refused."""
    stems = [_plain(path).removesuffix(".txt") for path in paths]
    for i, stem in enumerate(stems):
        if stem in stems[:i]:
            found = f"both {paths[stems.index(stem)]} and {paths[i]}"
            cure = "rename one, or give them separate commands with their own --out"
            raise InputError(str(out / stem), found, "one file of detections a folder", cure)
    return [out / stem for stem in stems]


def make_folder(folder: Path) -> None:
    """Make a folder that can be written to, before any work, or raise InputError."""
    from ppl_models.data import files

    files.make_folder(folder)


def keep_sums(folder: Path) -> None:
    """Write the checksums of a folder of answers into the folder that holds it (`--out`)."""
    from ppl_models.data.files import add_sums

    inside = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = [p for p in inside if not any(x.startswith(".") for x in p.relative_to(folder).parts)]
    add_sums(folder.parent, [path.relative_to(folder.parent).as_posix() for path in files])


def check_size(jobs: Sequence[Job], objects: int) -> None:
    """Look at how many numbers the tracker would hold at once.

    Raises
    ------
    InputError
        Too many: sequences times frames times detections a frame, times the objects.
    """
    import numpy as np

    frames = [last - first + 1 for first, last in (job.frames for job in jobs)]
    widest = [
        int(np.bincount(job.detections.between(*job.frames).frame - job.frames[0]).max())
        for job in jobs
    ]
    numbers = len(jobs) * max(frames) * max(widest) * (objects + 1)
    if numbers > MOST_NUMBERS:
        found = f"{max(frames):,} frames of up to {max(widest):,} detections, {objects} objects"
        found += f", {len(jobs)} files in one batch" * (len(jobs) > 1)
        expected = f"at most {MOST_NUMBERS:,} of these multiplied ({numbers:,} here)"
        cure = "follow fewer frames at once (--frames A:B), or drop weak detections (--min-score)"
        raise InputError("detections", found, expected, cure)


def parse_size(text: str | None) -> tuple[float, float] | None:
    """Read WIDTHxHEIGHT, in pixels."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+)[xX](\d+)", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise typer.BadParameter(f"--image-size takes WIDTHxHEIGHT as in 1920x1080, saw {text!r}")
    if max(len(match[1]), len(match[2])) > 6:
        raise typer.BadParameter(f"--image-size takes at most 999999x999999, saw {text[:40]!r}")
    return float(match[1]), float(match[2])


def parse_window(text: str | None) -> tuple[int, int] | None:
    """Read A:B, the first and the last frame."""
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    if not match or len(match[2]) > 9 or not 1 <= int(match[1]) <= int(match[2]):
        usage = "--frames takes A:B, first and last frame, from 1 to 999999999, as in 1:60"
        raise typer.BadParameter(f"{usage}; saw {text!r}")
    return int(match[1]), int(match[2])


def bundled(sequence: str) -> Path:
    """Return the folder of a sequence in the wheel of ``motmetrics``, without importing that."""
    from importlib.util import find_spec

    spec = find_spec("motmetrics")
    folder = Path(spec.origin).parent / "data" / sequence if spec and spec.origin else None
    if folder is None or not folder.is_dir():
        found = "no motmetrics, which brings the detections"
        cure = "pip install 'ppl-models[tracking]'"
        raise InputError("ppl demo", found, "the extra [tracking]", cure)
    return folder


def _plain(path: Path) -> str:
    """Return a file's name, without the suffix that says how it is compressed."""
    return path.stem if path.suffix.lower() in (".gz", ".bz2", ".xz") else path.name


def frame_rate(path: Path) -> float | None:
    """Read the frames a second of a MOTChallenge sequence from the seqinfo.ini beside its det.txt.

    None where there is no such file, or no rate in it.

    Raises
    ------
    InputError
        A rate that is not positive.
    """
    return _sequence_entry(path, "frameRate", float, "frames a second, above 0", "--rate")


def _sequence_info(path: Path) -> tuple[int, int] | None:
    """Read the length of a MOTChallenge sequence from the seqinfo.ini beside its det.txt."""
    length = _sequence_entry(path, "seqLength", int, "a whole number, 1 or more", "--frames")
    return None if length is None else (1, int(length))


def _sequence_entry(
    path: Path, name: str, kind: type[float], expected: str, option: str
) -> float | None:
    """Read a positive number from the seqinfo.ini beside a det.txt; None where there is none.

    Raises
    ------
    InputError
        It cannot be read, or is no such number; of the rate, that it is missing is no error.
    """
    from configparser import ConfigParser, Error, NoOptionError

    info = path.parent / "seqinfo.ini"
    if _plain(path) != "det.txt" or not info.is_file():
        return None
    parser, cure = ConfigParser(interpolation=None), f"mend it, or give {option}"
    try:
        parser.read(info, encoding="utf-8")
        value = kind(parser.get("Sequence", name))
    except NoOptionError:
        if name == "frameRate":
            return None
        raise InputError(str(info), f"no {name}", f"{name}, {expected}", cure) from None
    except (Error, ValueError) as error:
        expected = f"{name}, {expected}, under [Sequence]"
        raise InputError(str(info), str(error).splitlines()[0], expected, cure) from None
    if not 0 < value < 1e9:
        raise InputError(str(info), f"{name} {value}", expected, cure)
    return value
