from __future__ import annotations

import errno
import json
import os
import subprocess
from pathlib import Path

import pytest

from ppl_models.data.files import (
    BLANK,
    add_sums,
    is_sealed,
    make_folder,
    read_sealed_json,
    seal,
    sealed_json,
    write_whole,
)
from ppl_models.errors import InputError


@pytest.mark.parametrize("call", ["fsync", "replace"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str, error: BaseException
) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, call, full)
    with pytest.raises(type(error)):
        write_whole(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "file", b"new")
    assert not list(tmp_path.iterdir())


def test_a_failed_write_names_the_file_that_was_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FileNotFoundError) as raised:
        write_whole(tmp_path / "none" / "file", b"new")
    assert raised.value.filename == str(tmp_path / "none" / "file")
    write_whole(tmp_path / ("n" * 250), b"")  # beside it, the name is cut


@pytest.mark.parametrize("content", [b"", b"x", b"some words" * 9])
def test_every_bit_that_changes_breaks_a_seal(content: bytes) -> None:
    for at in (0, len(content) // 2, len(content)):
        blank = content[:at] + BLANK + content[at:]
        sealed = seal(blank, at)
        assert is_sealed(sealed, at) and len(sealed) == len(blank)
        for bit in range(8 * len(sealed)):
            changed = bytearray(sealed)
            changed[bit // 8] ^= 1 << bit % 8
            assert not is_sealed(bytes(changed), at)
    assert not is_sealed(content, -1)


def test_json_with_a_seal_comes_back_and_damage_is_named(tmp_path: Path) -> None:
    path, value = tmp_path / "x.json", {"a": [1, None], "é": "0" * 64}
    path.write_bytes(sealed_json(value))
    assert read_sealed_json(path) == value
    assert json.loads(path.read_text())["é"] == "0" * 64
    whole = path.read_bytes()
    for bit in range(0, 8 * len(whole), 7):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(InputError, match="checksum"):
            read_sealed_json(path)


def test_sums_are_read_by_the_usual_program_and_kept_up_to_date(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    add_sums(tmp_path, ["a"])
    path = add_sums(tmp_path, ["b"])
    check = ["sha256sum", "--check", "--quiet", path.name]
    assert subprocess.run(check, cwd=tmp_path).returncode == 0
    assert [line.split()[1] for line in path.read_text().splitlines()] == ["a", "b"]
    (tmp_path / "b").unlink()
    add_sums(tmp_path, [])
    assert subprocess.run(check, cwd=tmp_path).returncode == 0
    (tmp_path / "a").write_text("A")
    assert subprocess.run(check, cwd=tmp_path, capture_output=True).returncode == 1


def test_a_folder_that_cannot_be_used_is_named_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_folder(tmp_path / "a" / "b")
    assert not list((tmp_path / "a" / "b").iterdir())
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "x", Path("/proc/x")):
        with pytest.raises(
            InputError, match=f"{folder}: [\\s\\S]*change --out: choose another fold"
        ):
            make_folder(folder)
    with pytest.raises(InputError, match="bytes free[\\s\\S]*bytes for what will be written"):
        make_folder(tmp_path, space=2**62)
    for code, word in ((errno.EACCES, "you may not"), (errno.EROFS, "read-only")):

        def refuse(*_: object, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(InputError, match=word):
            make_folder(tmp_path)
    assert [p.name for p in sorted(tmp_path.iterdir())] == ["a", "file"]


def test_the_error_of_a_folder_names_the_argument_that_named_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--report") as error:
        make_folder(tmp_path / "file", argument="--report")
    assert error.value.argument == "--report"
