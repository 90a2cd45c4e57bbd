from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppl_models.data.kth_bair import bair, kth
from ppl_models.data.video import clips_of
from ppl_models.errors import InputError


def grey(*marks: int, side: int = 64) -> Image.Image:
    """A grey picture saved in colour, as ffmpeg does, whose first pixels are marks."""
    picture = np.full((side, side), 100, np.uint8)
    picture[0, : len(marks)] = marks
    return Image.fromarray(picture[..., None].repeat(3, -1))


def fake_kth(root: Path, frame: str = "image-{:03d}.png", sides: tuple[int, ...] = (64,)) -> None:
    for person in (1, 2, 20, 21, 25):
        for action in ("boxing", "walking"):
            folder = root / action / f"person{person:02d}_{action}_d1"
            folder.mkdir(parents=True)
            for i in range(1, 13):
                for side in sides:
                    grey(person, i, side=side).save(folder / frame.format(i, side))
            (folder / "notes.txt").write_text("no picture")
    (root / "train_meta64x64.t7").write_bytes(b"a list of SVG's")


@pytest.mark.parametrize("inside", ["", "processed", "processed_64"])
def test_kth_is_split_by_people(inside: str, tmp_path: Path) -> None:
    fake_kth(tmp_path / inside)
    train, test = list(kth(tmp_path)), list(kth(tmp_path, "test"))
    assert [(r.action, r.person) for r in train] == [
        (action, person) for action in ("boxing", "walking") for person in (1, 2, 20)
    ]
    assert {r.person for r in test} == {21, 25} and len(test) == 4
    for recording in (*train, *test):
        assert recording.frames.shape == (12, 64, 64) and recording.frames.dtype == np.uint8
        assert recording.frames[:, 0, 0].tolist() == [recording.person] * 12
        assert recording.frames[:, 0, 1].tolist() == list(range(1, 13))
    assert train[0].name == "person01_boxing_d1"
    assert clips_of(train[0].frames, 5).shape == (2, 5, 64, 64)


def test_kth_as_svg_leaves_it(tmp_path: Path) -> None:
    """Two sizes side by side, by name."""
    fake_kth(tmp_path / "processed", "image-{0:03d}_{1}x{1}.png", (64, 128))
    for side in (64, 128):
        assert next(kth(tmp_path, side=side)).frames.shape == (12, side, side)
    with pytest.raises(InputError, match="side=64"):
        next(kth(tmp_path, side=32))


def test_kth_of_another_size(tmp_path: Path) -> None:
    fake_kth(tmp_path / "processed_64")
    frames = next(kth(tmp_path / "processed_64", side=32)).frames
    assert frames.shape == (12, 32, 32) and (frames[:, 1:] == 100).all()


def test_some_actions_of_kth(tmp_path: Path) -> None:
    fake_kth(tmp_path)
    assert {r.action for r in kth(tmp_path, actions=("walking",))} == {"walking"}
    with pytest.raises(InputError, match="did you mean walking"):
        kth(tmp_path, actions=("walkin",))


def test_kth_as_it_is_downloaded_gets_a_command(tmp_path: Path) -> None:
    (tmp_path / "raw" / "walking").mkdir(parents=True)
    (tmp_path / "raw" / "walking" / "person01_walking_d1_uncomp.avi").write_bytes(b"RIFF")
    with pytest.raises(InputError, match="1 films") as caught:
        kth(tmp_path)
    film = tmp_path / "raw/walking/person01_walking_d1_uncomp.avi"
    folder = "processed_64/walking/person01_walking_d1"
    assert f"ffmpeg -i {film} -r 25 -s 64x64 {folder}/image-%03d.png" in caught.value.cure


def test_no_kth(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        kth(tmp_path / "none")
    with pytest.raises(InputError, match="no folder boxing"):
        kth(tmp_path)
    (tmp_path / "walking").mkdir()
    with pytest.raises(InputError, match="no video of the people to test on"):
        kth(tmp_path, "test")
    with pytest.raises(InputError, match="did you mean train"):
        kth(tmp_path, "trian")
    folder = tmp_path / "walking" / "person03_walking_d2_uncomp"
    folder.mkdir()
    with pytest.raises(InputError, match="0 pictures"):
        next(kth(tmp_path))
    (folder / "image-001.png").write_bytes(b"no picture")
    (folder / "image-002.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match="image-001.png"):
        next(kth(tmp_path))


def fake_bair(root: Path, digits: str = "{}") -> None:
    rng = np.random.default_rng(0)
    for split, file, video in [
        ("train", "traj_0_to_255", 1),
        ("train", "traj_0_to_255", 2),
        ("train", "traj_0_to_255", 10),
        ("train", "traj_10174_to_10429", 1),
        ("test", "traj_0_to_255", 1),
    ]:
        folder = root / split / file / digits.format(video)
        folder.mkdir(parents=True)
        for i in range(30):
            picture = rng.integers(0, 256, (64, 64, 3), np.uint8)
            picture[0, 0] = video, i, 9
            Image.fromarray(picture).save(folder / f"{digits.format(i)}.png")


@pytest.mark.parametrize("digits", ["{}", "{:03d}"])  # SVG's names, and SRVP's
def test_bair(digits: str, tmp_path: Path) -> None:
    fake_bair(tmp_path / "processed_data", digits)
    train, test = list(bair(tmp_path)), list(bair(tmp_path / "processed_data", "test"))
    names = ["traj_0_to_255/1", "traj_0_to_255/2", "traj_0_to_255/10", "traj_10174_to_10429/1"]
    assert [(r.name.split("/")[0], int(r.name.split("/")[1])) for r in train] == [
        (n.split("/")[0], int(n.split("/")[1])) for n in names
    ]
    assert len(test) == 1
    for recording, video in zip(train, (1, 2, 10, 1), strict=True):
        assert recording.frames.shape == (30, 64, 64, 3)
        assert recording.frames[:, 0, 0].tolist() == [[video, i, 9] for i in range(30)]
    assert next(bair(tmp_path, side=32)).frames.shape == (30, 32, 32, 3)


def test_no_bair(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="none"):
        bair(tmp_path / "none")
    with pytest.raises(InputError, match="no folder processed_data/train"):
        bair(tmp_path)
    records = tmp_path / "softmotion30_44k" / "train"
    records.mkdir(parents=True)
    (records / "traj_0_to_255.tfrecords").write_bytes(b"")
    with pytest.raises(InputError, match="TensorFlow's records") as caught:
        bair(tmp_path)
    assert "convert_bair" in caught.value.cure
    (tmp_path / "processed_data" / "train").mkdir(parents=True)
    with pytest.raises(InputError, match="no folder traj_"):
        bair(tmp_path)
