"""KTH and BAIR, two collections of real videos, from a copy of yours.

They are not part of this package. KTH has 25 people, each at six actions in four settings, in grey;
BAIR has a robot's arm that pushes things about, 30 frames a video, in colour. Both are read as
folders of pictures, as the code of SVG and of SRVP makes them of what one downloads.

References
----------
C. Schuldt, I. Laptev and B. Caputo, "Recognizing human actions: a local SVM approach", ICPR 2004.
F. Ebert, C. Finn, A. Lee and S. Levine, "Self-supervised visual planning with temporal skip
connections", CoRL 2017, arXiv:1710.05268.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ppl_models.data.video import resize_frames, to_grey
from ppl_models.data.video_files import by_number, pictures_in, read_pictures
from ppl_models.errors import InputError, unknown
from ppl_models.inputs import check_count

ACTIONS = ("boxing", "handclapping", "handwaving", "jogging", "running", "walking")
TRAIN_PEOPLE = range(1, 21)
"""Those of KTH to train on; 21 to 25 are to test."""
SPLITS = ("train", "test")
_NAME = re.compile(r"person([0-9]{2})_([a-z]+)_d[1-4](_uncomp)?", re.ASCII)
_SIZE = re.compile(r"_([0-9]+)x\1\.", re.ASCII)  # image-001_64x64.png


class Recording(NamedTuple):
    """One video of a collection."""

    frames: NDArray[np.uint8]
    """(T, side, side), grey; or (T, side, side, 3)."""
    name: str
    action: str = ""
    """What a person of KTH does."""
    person: int = 0
    """Who does it, from 1; 0 is nobody."""


def kth(
    path: str | os.PathLike[str],
    split: str = "train",
    *,
    side: int = 64,
    actions: tuple[str, ...] = ACTIONS,
) -> Iterator[Recording]:
    """Read KTH's videos one after the other, in grey.

    Parameters
    ----------
    path
        A folder with a folder for each action, or with these in its ``processed_64`` (SRVP; or
        another ``side``) or ``processed`` (SVG). In each is a folder of pictures for each video:
        ``walking/person01_walking_d1/image-001.png``, or ``image-001_64x64.png``.
    split
        "train": people 1 to 20. "test": 21 to 25.
    side
        Pixels along a wall. Pictures of other sizes are cropped and resized (the published ones
        were stretched instead).
    actions
        Those to read.

    Yields
    ------
    Recording
        Sorted by action, person and setting. ``clips_of(recording.frames, 20)`` cuts it.

    Raises
    ------
    InputError
        Before anything is read: no such folders (films are not read; the cure makes pictures of
        them), or an unknown split or action. While it is: damaged pictures, or of two sizes.
    OSError
        It cannot be read.
    """
    _check(split, side)
    if strange := set(actions) - set(ACTIONS):
        raise unknown("actions", min(strange), ACTIONS)
    root = _kth_root(Path(path), side)
    videos: list[tuple[Path, str, int]] = []
    for folder in (root / action for action in ACTIONS if action in actions):
        for video in sorted(folder.iterdir() if folder.is_dir() else []):
            found = _NAME.fullmatch(video.name)
            if found and video.is_dir() and (int(found[1]) in TRAIN_PEOPLE) == (split == "train"):
                videos.append((video, folder.name, int(found[1])))
    if not videos:
        raise _no_kth(root, f"no video of the people to {split} on")
    return (
        Recording(to_grey(_read(video, side)), video.name, action, person)
        for video, action, person in videos
    )


def bair(
    path: str | os.PathLike[str], split: str = "train", *, side: int = 64
) -> Iterator[Recording]:
    """Read BAIR's videos one after the other, in colour; all of them would be 16 GB.

    ``itertools.islice(bair(path), 1000)`` are the first thousand.

    Parameters
    ----------
    path
        The folder with ``processed_data/{train,test}/traj_*/N/M.png``, or ``processed_data``.
    split
        "train" or "test".
    side
        Pixels along a wall: 64, or what they are resized to.

    Yields
    ------
    Recording
        Sorted by file and number; its name is ``traj_0_to_255/1``.

    Raises
    ------
    InputError
        As `kth`.
    OSError
        It cannot be read.
    """
    _check(split, side)
    root = Path(path)
    root = root / "processed_data" if (root / "processed_data").is_dir() else root
    if not (root / split).is_dir():
        raise _no_bair(Path(path), f"no folder processed_data/{split}")
    files = sorted((root / split).glob("traj_*"), key=by_number)
    videos = [v for f in files for v in sorted(f.glob("[0-9]*"), key=by_number) if v.is_dir()]
    if not videos:
        raise _no_bair(root / split, "no folder traj_*/N")
    return (Recording(_read(v, side, 3), f"{v.parent.name}/{v.name}") for v in videos)


def _read(folder: Path, side: int, channels: int = 1) -> NDArray[np.uint8]:
    """Read the pictures of a video, those of this size if there are several."""
    files = pictures_in(folder)
    sizes = [int(found[1]) if (found := _SIZE.search(f.name)) else side for f in files]
    if side in sizes:
        files = [file for file, size in zip(files, sizes, strict=True) if size == side]
    elif len(set(sizes)) > 1:
        cure = f"give side={min(sizes)}, and resize_frames(frames, {side})"
        raise InputError(str(folder), f"sizes {sorted(set(sizes))}", f"one, or {side}", cure)
    if len(files) < 2:
        wanted, cure = "a picture for each frame", "make its pictures again, or remove the folder"
        raise InputError(str(folder), f"{len(files)} pictures", wanted, cure)
    frames = read_pictures(files, str(folder))
    if channels == 3 and frames.ndim == 3:
        frames = np.repeat(frames[..., None], 3, -1)
    return frames if frames.shape[1:3] == (side, side) else resize_frames(frames, side)


def _kth_root(path: Path, side: int) -> Path:
    """Return the folder with a folder for each action."""
    for root in (path / f"processed_{side}", path / "processed", path):
        if any((root / action).is_dir() for action in ACTIONS):
            return root
    if path.exists():
        raise _no_kth(path, f"no folder {', '.join(ACTIONS)}")
    raise FileNotFoundError(f"no such folder: {path}")


def _no_kth(path: Path, found: str) -> InputError:
    """Return the error for a folder that has no videos of KTH, with the cure for its films."""
    where = str(path)
    films = [*path.glob("*.avi"), *path.glob("*/*.avi"), *path.glob("raw/*/*.avi")]
    if films:
        where, found = str(path), f"{len(films)} films, which are not read"
    wanted = "folders of pictures: walking/person01_walking_d1/image-001.png"
    action = next((a for a in ACTIONS if films and f"_{a}_" in films[0].name), "ACTION")
    video = films[0].name.removesuffix(".avi").removesuffix("_uncomp") if films else "PERSON"
    film = films[0] if films else f"raw/{action}/{video}_uncomp.avi"
    folder = f"processed_64/{action}/{video}"
    cure = f"for each film: mkdir -p {folder}; ffmpeg -i {film} -r 25 -s 64x64 {folder}"
    return InputError(where, found, wanted, f"{cure}/image-%03d.png")


def _no_bair(path: Path, found: str) -> InputError:
    """Return the error for a folder that has no videos of BAIR."""
    if not path.exists():
        raise FileNotFoundError(f"no such folder: {path}")
    if any(path.glob("**/*.tfrecords")):
        found = "TensorFlow's records (.tfrecords), which are not read"
    wanted = "processed_data/train/traj_0_to_255/1/0.png, ..."
    cure = "make pictures of the records with SVG's data/convert_bair.py"
    return InputError(str(path), found, wanted, cure)


def _check(split: str, side: int) -> None:
    """Refuse a split that there is not, and a side below one."""
    if split not in SPLITS:
        raise unknown("split", str(split), SPLITS)
    check_count("side", side)
