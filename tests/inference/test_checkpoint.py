from __future__ import annotations

import errno
import io
import json
import os
import pickle
import random
import resource
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from inference.checkpoint import VERSION, load, save, save_tensors, write_whole
from inference.errors import CheckpointError

SHIPPED = Path(__file__).parents[2] / "ppl_models" / "weights"


def network(width: int = 3) -> nn.Module:
    torch.manual_seed(width)
    return nn.Sequential(nn.Linear(2, width), nn.BatchNorm1d(width))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save(path, network(), model="VAE", config={"width": 3}, extra={"bound": -1.5, "note": "é"})
    return path


def error(path: Path, *words: str, **options: object) -> CheckpointError:
    """The error of loading `path`, which must name the file and say the words."""
    with pytest.raises(CheckpointError) as raised:
        load(path, **options)  # type: ignore[arg-type]
    assert raised.value.path == path
    for word in (path.name, *words):
        assert word in str(raised.value)
    return raised.value


def test_what_is_saved_is_loaded_buffers_included(path: Path) -> None:
    other = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    checkpoint = load(path, into=other, model="VAE")
    for name, tensor in network().state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor)
        assert torch.equal(checkpoint.tensors[name], tensor)
    assert checkpoint.model == "VAE"
    assert checkpoint.config == {"width": 3}
    assert checkpoint.extra == {"bound": -1.5, "note": "é"}
    assert checkpoint.version == VERSION


def test_several_modules_share_a_file(tmp_path: Path) -> None:
    pair = {"model": network(3), "guide": network(4)}
    save(tmp_path / "deep" / "pair.st", pair, model="pair", config={})
    into = {"model": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), "guide": network(4)}
    nn.init.zeros_(into["guide"][0].weight)  # type: ignore[index]
    checkpoint = load(tmp_path / "deep" / "pair.st", into=into)
    assert "guide.0.weight" in checkpoint.tensors
    for name, module in pair.items():
        for key, tensor in module.state_dict().items():
            assert torch.equal(into[name].state_dict()[key], tensor)


def test_tied_weights_are_kept(tmp_path: Path) -> None:
    tied = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    tied[1].weight = tied[0].weight
    save(tmp_path / "tied", tied, model="tied", config={})
    assert torch.equal(load(tmp_path / "tied").tensors["1.weight"], tied[0].weight)


def test_any_safetensors_reader_opens_it(path: Path) -> None:
    assert set(safetensors.torch.load_file(path)) == set(network().state_dict())


def test_a_file_cut_short_anywhere_is_refused(path: Path) -> None:
    whole = path.read_bytes()
    for length in [0, 3, 8, 20, 200, len(whole) // 2, len(whole) - 1]:
        path.write_bytes(whole[:length])
        error(path, "cut short", "cure")


def test_trailing_bytes_are_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"more")
    error(path, "damaged")


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple:
        return (setattr, (Bomb, "exploded", True))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_in_disguise_is_not_opened(path: Path, protocol: int) -> None:
    path.write_bytes(pickle.dumps(Bomb(), protocol=protocol))
    message = error(path).found
    assert "pickle" in message if protocol else "something else" in message
    assert not Bomb.exploded


def test_a_torch_file_in_disguise_is_not_opened(path: Path) -> None:
    buffer = io.BytesIO()
    torch.save(Bomb(), buffer)
    path.write_bytes(buffer.getvalue())
    error(path, "torch.save", "not opened", "safetensors")
    assert not Bomb.exploded


def test_another_model_is_refused(path: Path) -> None:
    error(path, "'VAE'", "'SRNN'", model="SRNN")


def test_another_shape_is_refused_and_nothing_is_copied(path: Path) -> None:
    other = network(4)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    error(path, "0.weight is (3, 2) in the file, (4, 2) in the module", into=other)
    assert all(torch.equal(other.state_dict()[name], tensor) for name, tensor in before.items())


def test_missing_and_surplus_names_are_listed(path: Path) -> None:
    error(path, "1.bias is in the file only", into=nn.Sequential(nn.Linear(2, 3)))
    wide = nn.Sequential(*network(), nn.Linear(3, 1))
    error(path, "2.weight is not in the file", into=wide)
    deep = nn.Sequential(*network(), *(nn.Linear(3, 3) for _ in range(9)))
    error(path, "and 10 more", into=deep)


def rewrite(path: Path, head: object) -> None:
    """Save the same tensors under another header entry."""
    entry = head if isinstance(head, str) else json.dumps(head)
    path.write_bytes(safetensors.torch.save(network().state_dict(), metadata={"ppl_models": entry}))


def test_a_newer_format_is_refused(path: Path) -> None:
    rewrite(path, {"version": VERSION + 1, "model": "VAE", "config": {}, "extra": {}})
    error(path, f"version {VERSION + 1}", "update")


@pytest.mark.parametrize("head", ["[]", "{", "[" * 100_000, {"version": "x"}, {"version": 1}])
def test_a_header_that_is_not_ours_is_refused(path: Path, head: object) -> None:
    rewrite(path, head)
    error(path, "header lacks")


def test_a_plain_safetensors_file_is_refused(path: Path) -> None:
    safetensors.torch.save_file(network().state_dict(), path)
    error(path, "header lacks")


def test_no_file(tmp_path: Path) -> None:
    error(tmp_path / "none.safetensors", "No such file")
    error(tmp_path, "cannot be read")


def test_what_json_cannot_say_is_refused_before_anything_is_written(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(CheckpointError, match="JSON"):
        save(path, network(), model="VAE", config={"prior": torch.zeros(2)})
    assert path.read_bytes() == before


def test_a_state_that_is_no_tensor_is_refused(tmp_path: Path) -> None:
    class Odd(nn.Module):
        def get_extra_state(self) -> object:
            return {"epoch": 3}

    with pytest.raises(CheckpointError, match="_extra_state is a dict"):
        save(tmp_path / "odd", Odd(), model="odd", config={})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_no_scraps(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    before = path.read_bytes()
    monkeypatch.setattr(os, call, full)
    with pytest.raises(CheckpointError, match="No space left on device.*earlier file is as it was"):
        save(path, network(), model="other", config={})
    with pytest.raises(CheckpointError, match="No space left on device.*nothing was left behind"):
        save(path.with_name("new"), network(), model="other", config={})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_disk_that_fills_halfway_leaves_the_old_file_and_no_scraps(path: Path) -> None:
    before, limits = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))  # no file beyond 4 kB
    try:
        with pytest.raises(CheckpointError, match="File too large.*earlier file is as it was"):
            save(path, nn.Linear(100, 100), model="other", config={})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_ctrl_c_while_writing_leaves_the_old_file_and_no_scraps(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(handle: int) -> None:
        raise KeyboardInterrupt

    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        save(path, network(), model="other", config={})
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_link_keeps_pointing_and_the_mask_of_the_user_holds(path: Path) -> None:
    link = path.with_name("latest")
    link.symlink_to(path)
    write_whole(link, b"new")
    assert link.is_symlink()
    assert path.read_bytes() == b"new"
    umask = os.umask(0)
    os.umask(umask)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


@pytest.mark.parametrize("seed", [1, 2])
def test_every_single_bit_that_changes_is_noticed(path: Path, seed: int) -> None:
    whole = path.read_bytes()
    for place in random.Random(seed).sample(range(8 * len(whole)), 200):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        path.write_bytes(changed)
        error(path)


@pytest.mark.parametrize("name", [p.name for p in sorted(SHIPPED.glob("*.safetensors"))])
def test_a_bit_that_changes_in_what_ships_is_noticed(tmp_path: Path, name: str) -> None:
    whole, copy = (SHIPPED / name).read_bytes(), tmp_path / name
    assert load(SHIPPED / name).version == VERSION  # no warning either, which would be an error
    for place in random.Random(name).sample(range(8 * len(whole)), 4):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        copy.write_bytes(changed)
        error(copy)


def test_a_file_of_the_version_without_checksums_is_read_with_a_warning(path: Path) -> None:
    rewrite(path, {"version": 1, "model": "VAE", "config": {}, "extra": {}})
    with pytest.warns(UserWarning, match="without a checksum.*load and save it again"):
        checkpoint = load(path)
    save(path, network(), model=checkpoint.model, config=checkpoint.config)
    assert load(path).version == VERSION


@pytest.mark.parametrize("version", [-1, 0, 1.5, True, None])
def test_a_version_that_never_was_is_refused(path: Path, version: object) -> None:
    rewrite(path, {"version": version, "model": "VAE", "config": {}, "extra": {}})
    error(path)


@pytest.mark.parametrize("part", ["model", "config", "extra"])
@pytest.mark.parametrize("wrong", [None, 3, ["x"]])
def test_a_header_whose_parts_are_of_another_kind_is_refused(
    path: Path, part: str, wrong: object
) -> None:
    head = {"version": 1, "model": "VAE", "config": {}, "extra": {}, part: wrong}
    rewrite(path, head)
    error(path, f"{part} in its header is a")


def test_numbers_of_another_kind_are_not_turned_into_weights(tmp_path: Path) -> None:
    state = {name: item.to(torch.int64) for name, item in network().state_dict().items()}
    save_tensors(tmp_path / "whole", state, model="VAE", config={})
    error(tmp_path / "whole", "0.weight is torch.int64 in the file", into=network())
    half = {n: i.half() if i.is_floating_point() else i for n, i in network().state_dict().items()}
    save_tensors(tmp_path / "half", half, model="VAE", config={})
    load(tmp_path / "half", into=network())


def test_a_device_which_has_no_end_is_refused_unread() -> None:
    with pytest.raises(CheckpointError, match="a device or a pipe"):
        load("/dev/zero")
