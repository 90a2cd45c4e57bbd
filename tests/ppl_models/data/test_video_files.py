from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ppl_models.data import video_files
from ppl_models.data.video_files import read_clips, read_video
from ppl_models.errors import InputError
from tests.cures import evaluated


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(7).integers(0, 256, shape, np.uint8)


def film(path: Path, frames: np.ndarray) -> Path:
    """Write an animated GIF; its colours are a palette's."""
    first, *rest = [Image.fromarray(f) for f in frames]
    first.save(path, save_all=True, append_images=rest, duration=40)
    return path


def pictures(folder: Path, frames: np.ndarray, name: str = "image-{}.png") -> Path:
    folder.mkdir()
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / name.format(i))
    return folder


@pytest.mark.parametrize("shape", [(4, 6, 5), (4, 6, 5, 3)])
@pytest.mark.parametrize("kind", ["npz", "npy", "folder"])
def test_a_video_comes_back_as_it_was(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    frames = noise(*shape)
    path = tmp_path / f"v.{kind}"
    if kind == "npz":
        np.savez_compressed(path, frames=frames, other=np.arange(3))
    elif kind == "npy":
        np.save(path, frames)
    else:
        pictures(path, frames)
    assert np.array_equal(read_video(path), frames)


def test_a_grey_gif_is_grey(tmp_path: Path) -> None:
    frames = noise(5, 8, 7)
    assert np.array_equal(read_video(film(tmp_path / "a.gif", frames)), frames)


def test_a_gif_in_colour(tmp_path: Path) -> None:
    """Of few colours, which a palette holds as they are; and constant until its last frame."""
    frames = np.zeros((4, 8, 8, 3), np.uint8)
    frames[..., 0], frames[3, 2:5, :, 1] = 200, 255
    found = read_video(film(tmp_path / "a.gif", frames[[0, 3, 0, 3]]))
    assert np.array_equal(found, frames[[0, 3, 0, 3]])


def test_a_constant_video_is_one(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros((2000, 64, 64), np.uint8))
    assert read_video(tmp_path / "a.npz").shape == (2000, 64, 64)
    folder = pictures(tmp_path / "f", np.full((3, 4, 4), 7, np.uint8))
    assert (read_video(folder) == 7).all()


def test_pictures_are_in_the_order_of_numbers(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "f", np.arange(12, dtype=np.uint8)[:, None, None].repeat(2, 1))
    (folder / "notes.txt").write_text("not a picture")
    (folder / ".hidden.png").write_bytes(b"nor this")
    assert read_video(folder)[:, 0, 0].tolist() == list(range(12))


def test_grey_pictures_saved_in_colour_are_grey(tmp_path: Path) -> None:
    frames = noise(3, 4, 5)
    folder = pictures(tmp_path / "f", frames[..., None].repeat(3, -1))
    assert np.array_equal(read_video(folder), frames)
    Image.fromarray(noise(4, 5, 3)).save(folder / "image-9.png")  # one in colour: all are
    assert np.array_equal(read_video(folder)[:3, ..., 2], frames)


def test_two_sizes_are_named(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "f", noise(3, 4, 5))
    Image.fromarray(noise(5, 5)).save(folder / "image-9.png")
    with pytest.raises(InputError, match=r"frame 3 of \(5, 5\)"):
        read_video(folder)


def test_pictures_of_sixteen_bits_are_refused(tmp_path: Path) -> None:
    folder = pictures(tmp_path / "f", noise(3, 4, 5).astype(np.uint16) * 257)
    with pytest.raises(InputError, match="I;16"):
        read_video(folder)


def test_films_get_a_command(tmp_path: Path) -> None:
    path = tmp_path / "my film.avi"
    path.write_bytes(b"RIFF")
    for given in (path, tmp_path):
        with pytest.raises(InputError) as caught:
            read_video(given)
        assert "ffmpeg -i '" in caught.value.cure and "/%06d.png" in caught.value.cure


@pytest.mark.parametrize("name", ["none.gif", "none.npz", "none.avi", "none"])
def test_what_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=name):
        read_video(tmp_path / name)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.gif", noise(4, 30, 30)).read_bytes()
    (tmp_path / "cut.gif").write_bytes(whole[:900])
    (tmp_path / "empty.gif").write_bytes(b"")
    (tmp_path / "text.gif").write_text("no picture")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    np.save(tmp_path / "objects.npy", np.array([{}]), allow_pickle=True)
    folder = tmp_path / "folder"
    pictures(folder, noise(2, 40, 40))
    content = (folder / "image-1.png").read_bytes()
    (folder / "image-1.png").write_bytes(content[: len(content) // 2])
    Image.fromarray(noise(4, 4)).save(tmp_path / "one.png")
    names = "cut.gif empty.gif text.gif cut.npz objects.npy folder one.png".split()
    for name in names:
        with pytest.raises(InputError, match=name) as caught:
            read_video(tmp_path / name)
        assert caught.value.cure


def test_every_cut_of_a_gif_is_a_video_or_a_clear_error(tmp_path: Path) -> None:
    content = film(tmp_path / "whole.gif", noise(3, 6, 6)).read_bytes()
    path = tmp_path / "cut.gif"
    rng = np.random.default_rng(0)
    for at in range(0, len(content), 7):
        for damaged in (content[:at], content[:at] + rng.bytes(3) + content[at + 3 :]):
            path.write_bytes(damaged)
            try:
                assert read_video(path).dtype == np.uint8
            except InputError as error:
                assert error.cure


def test_a_gif_without_end_is_refused_before_it_fills_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = np.zeros((300, 100, 100), np.uint8)
    frames[:, 0, 0] = np.arange(300) % 256
    path = film(tmp_path / "long.gif", frames)
    monkeypatch.setattr(video_files, "LARGEST", 400_000)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"over 40 frames of \(100, 100\)") as caught:
        read_video(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert "np.save" in caught.value.cure
    monkeypatch.setattr(video_files, "LARGEST", 10**9)
    monkeypatch.setattr(video_files, "MOST_FRAMES", 30)
    with pytest.raises(InputError, match="over 30 frames"):
        read_video(path)
    with pytest.raises(InputError, match="31 pictures"):
        read_video(pictures(tmp_path / "f", frames[:31]))


@pytest.mark.parametrize("pixels", [3000, 1600])  # an error of Pillow's, and a warning
def test_pictures_that_unfold_to_too_much_are_refused(
    pixels: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pictures(tmp_path / "f", np.zeros((2, 50, pixels // 50), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(InputError, match="too many pixels"):
        read_video(folder)


def test_arrays_that_unfold_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ppl_models.data.arrays.ALWAYS", 10_000)
    np.savez_compressed(tmp_path / "a.npz", frames=np.zeros((2000, 64, 64), np.uint8))
    with pytest.raises(InputError, match="unfold"):
        read_video(tmp_path / "a.npz")


def test_float_frames_get_a_cure(tmp_path: Path) -> None:
    frames = noise(4, 5, 6)
    np.savez(tmp_path / "a.npz", frames=frames / 255)
    with pytest.raises(InputError, match="float64") as caught:
        read_video(tmp_path / "a.npz")
    mended = evaluated(caught.value.cure, frames=frames / 255)
    assert np.array_equal(mended, frames)


def test_other_arrays_are_listed(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", clips=noise(2, 3, 4, 5), mask=np.ones(2))
    for read in (read_video, read_clips):
        with pytest.raises(InputError, match="arrays clips, mask"):
            read(tmp_path / "a.npz")


@pytest.mark.parametrize("shape", [(2, 4, 6, 5), (2, 4, 6, 5, 3)])
def test_clips(shape: tuple[int, ...], tmp_path: Path) -> None:
    frames = noise(*shape)
    np.savez(tmp_path / "a.npz", frames=frames)
    clips = read_clips(tmp_path / "a.npz")
    assert np.array_equal(clips.frames, frames)
    assert clips.mask.shape == (2, 4) and clips.mask.all()


def test_ragged_clips_have_a_mask(tmp_path: Path) -> None:
    mask = np.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
    np.savez(tmp_path / "a.npz", frames=noise(2, 4, 6, 5), mask=mask)
    assert np.array_equal(read_clips(tmp_path / "a.npz").mask, mask)


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.ones((2, 4), int), "astype"),
        (np.ones((2, 3), bool), "shape"),
        (np.array([[1, 1, 1, 1], [1, 0, 1, 1]], bool), "amid others"),
        (np.array([[1, 1, 1, 1], [0, 0, 0, 0]], bool), "clip 1 has 0"),
    ],
)
def test_masks_refused(mask: np.ndarray, message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=noise(2, 4, 6, 5), mask=mask)
    with pytest.raises(InputError, match=message) as caught:
        read_clips(tmp_path / "a.npz")
    assert "a.npz, array 'mask'" in caught.value.argument


def test_one_video_is_not_clips(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", frames=noise(4, 6, 5))
    with pytest.raises(InputError) as caught:
        read_clips(tmp_path / "a.npz")
    assert caught.value.cure == "frames[None]"
    with pytest.raises(InputError, match="a folder"):
        read_clips(tmp_path)
