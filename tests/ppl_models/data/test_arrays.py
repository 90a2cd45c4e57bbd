from __future__ import annotations

import tracemalloc
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch

from ppl_models.data import arrays
from ppl_models.data.arrays import read_arrays, read_numbers
from ppl_models.errors import InputError


def test_one_array_gets_the_name_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(6).reshape(3, 2))
    data = read_arrays(tmp_path / "a.npy", first="s")
    assert list(data) == ["s"]
    assert data["s"].dtype == torch.float32
    assert torch.equal(data["s"], torch.arange(6.0).reshape(3, 2))


def test_many_arrays_keep_their_names_and_truth_values(tmp_path: Path) -> None:
    mask = np.array([True, False])
    np.savez(tmp_path / "a.npz", s=np.ones((2, 3), np.float64), mask=mask)
    data = read_arrays(tmp_path / "a.npz")
    assert set(data) == {"s", "mask"}
    assert data["mask"].dtype == torch.bool and data["mask"].tolist() == [True, False]


def bad_files(folder: Path) -> dict[str, Path]:
    """Make one file of every kind that must not be read."""
    whole = folder / "whole.npy"
    np.save(whole, np.ones((100, 4)))
    np.save(folder / "objects.npy", np.array([{"a": 1}]), allow_pickle=True)
    np.save(folder / "words.npy", np.array(["a", "b"]))
    np.save(folder / "complex.npy", np.array([1j]))
    np.save(folder / "nothing.npy", np.ones((0, 4)))
    np.save(folder / "scalar.npy", np.float64(3))
    (folder / "cut.npy").write_bytes(whole.read_bytes()[:200])
    (folder / "empty.npy").write_bytes(b"")
    (folder / "text.npy").write_text("1,2,3\n")
    np.savez(folder / "big.npz", x=np.ones((100, 4)))
    (folder / "cut.npz").write_bytes((folder / "big.npz").read_bytes()[:300])
    return {
        path.name: path for path in folder.iterdir() if path.name not in ("whole.npy", "big.npz")
    }


NAMES = "objects words complex nothing scalar cut empty text".split()


@pytest.mark.parametrize("name", [*(f"{n}.npy" for n in NAMES), "cut.npz"])
def test_bad_files_are_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=name) as caught:
        read_arrays(bad_files(tmp_path)[name])
    assert caught.value.cure


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="none.npy"):
        read_arrays(tmp_path / "none.npy")


def header(text: str) -> bytes:
    """A file of NumPy's with this header, and nothing behind it."""
    line = text.ljust(117).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


HEADERS = {
    "claims much": "{'descr': '<f8', 'fortran_order': False, 'shape': (5000000000,), }",
    "claims less": "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 4), }",
    "claims a product": "{'descr': '<f8', 'fortran_order': False, 'shape': (9999, 9999, 9999), }",
    "negative": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
    "two negatives": "{'descr': '<f8', 'fortran_order': False, 'shape': (-1, -2), }",
    "no shape": "{'descr': '<f8', 'fortran_order': False, }",
    "a list": "[1, 2]",
    "open": "{'descr': '<f8', 'fortran_order': False, 'shape': (3,",
    "objects": "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "bytes without size": "{'descr': '|V0', 'fortran_order': False, 'shape': (3,), }",
    "a date": "{'descr': '<M8[D]', 'fortran_order': False, 'shape': (3,), }",
    "nonsense": "\x00\xff(((",
    "deep": "(" * 110,
}


@pytest.mark.parametrize("name", HEADERS)
@pytest.mark.parametrize("zipped", [False, True])
def test_a_header_that_claims_what_is_not_there_is_refused_unread(
    name: str, zipped: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.npy"
    content = header(HEADERS[name]) + b"\x00" * 8
    path.write_bytes(content)
    if zipped:
        path = tmp_path / "a.npz"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", content)
    tracemalloc.start()
    with pytest.raises(InputError, match=path.name) as caught:
        read_arrays(path)
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()
    assert caught.value.cure and "\n" not in caught.value.found


def test_all_orders_and_precisions_of_numbers_are_read(tmp_path: Path) -> None:
    numbers = np.arange(6.0).reshape(2, 3)
    for kind in ("<f8", ">f8", "<f2", ">i4", "|u1", "<i8", "<f4"):
        for order in "CF":
            np.save(tmp_path / "a.npy", np.array(numbers, kind, order=order))  # type: ignore[call-overload]
            assert read_arrays(tmp_path / "a.npy")["x"].tolist() == numbers.tolist()
    np.savez_compressed(tmp_path / "a.npz", x=numbers, y=numbers.T)
    read = read_arrays(tmp_path / "a.npz")
    assert read["x"].tolist() == numbers.tolist() and read["y"].tolist() == numbers.T.tolist()


def test_a_member_that_is_no_array_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    with zipfile.ZipFile(tmp_path / "a.npz", "a") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(InputError, match=r"a\.npz, member 'readme.txt': saw no array"):
        read_arrays(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "none.npz", "w"):
        pass
    with pytest.raises(InputError, match="no arrays"):
        read_arrays(tmp_path / "none.npz")


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag, in the directory of the archive
    (tmp_path / "a.npz").write_bytes(content)
    with pytest.raises(InputError, match="it is encrypted[\\s\\S]*without a password"):
        read_arrays(tmp_path / "a.npz")


def test_a_small_archive_that_unfolds_to_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arrays, "ALWAYS", 100_000)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros(1_000_000))
    with pytest.raises(InputError, match="unfold to 8,000,128[\\s\\S]*np.savez, not compressed"):
        read_arrays(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", x=np.zeros(1_000_000))
    assert read_arrays(tmp_path / "a.npz")["x"].shape == (1_000_000,)


def test_a_number_too_large_for_float32_is_no_infinity_of_the_data(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([1.0, -1e300, np.inf]))
    with pytest.raises(InputError, match=r"1 numbers beyond 3.4e38, up to 1e\+300"):
        read_arrays(tmp_path / "a.npy")
    np.save(tmp_path / "a.npy", np.array([1.0, np.inf]))
    assert read_arrays(tmp_path / "a.npy")["x"].tolist() == [1.0, np.inf]


@pytest.mark.parametrize("compressed", [False, True])
def test_no_damage_is_a_traceback(tmp_path: Path, compressed: bool) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "a.npz"
    save = np.savez_compressed if compressed else np.savez
    save(path, x=rng.normal(size=(20, 3)), mask=np.ones(20, bool))
    whole = path.read_bytes()
    for _ in range(200):
        changed = bytearray(whole)
        for place in rng.integers(0, len(whole), rng.integers(1, 5)):
            changed[place] = rng.integers(256)
        path.write_bytes(changed[: rng.integers(len(whole) // 2, len(whole) + 1)])
        with suppress(InputError):
            read_arrays(path)


def test_a_device_which_has_no_end_is_refused_unread() -> None:
    with pytest.raises(InputError, match="a device or a pipe"):
        read_arrays("/dev/zero")


def test_numbers_are_read_as_they_are_and_never_more_than_asked(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.arange(3))
    assert read_numbers(tmp_path / "a.npy", first="s")["s"].dtype == np.int64
    np.savez_compressed(tmp_path / "b.npz", x=np.zeros(10_000), none=np.zeros((0, 4)))
    found = read_numbers(tmp_path / "b.npz", most=100_000)
    assert found["x"].dtype == np.float64 and found["none"].shape == (0, 4)
    for most in (100, 50_000):  # the file itself, and what it unfolds to
        with pytest.raises(InputError, match=f"at most {most:,}"):
            read_numbers(tmp_path / "b.npz", most=most)
