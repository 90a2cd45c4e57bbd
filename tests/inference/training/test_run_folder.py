"""Training that is broken off anywhere, by anything, and goes on as if it had not been."""

from __future__ import annotations

import errno
import io
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from inference import CheckpointError, NonFiniteError, Objective, fit, load
from inference.training import run_folder
from inference.training.run_folder import RESUME, VERSION, WEIGHTS, RunFolder
from ppl_models.errors import InputError
from tests import pairs
from tests.inference.training.fitting import (
    QUIET,
    conjugate,
    data,
    interrupt_at,
    parameters,
    same,
    train,
)


@pytest.fixture(autouse=True)
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save at each epoch's end, however short the epochs are."""
    monkeypatch.setattr(RunFolder, "SHARE", 0.0)


# -- going on ----------------------------------------------------------------------------------


def test_a_run_in_two_sessions_is_the_run_in_one(tmp_path: Path) -> None:
    first = train(epochs=2, directory=tmp_path)
    assert [row["epoch"] for row in first.history] == [1, 2]
    second = train(epochs=4, directory=tmp_path, resume=True)
    assert same(second, train())
    assert second.best_bound == max(row["validation_bound"] for row in second.history)


@pytest.mark.parametrize("step", [1, 4, 6, 11, 16])
def test_ctrl_c_anywhere_loses_nothing(
    tmp_path: Path, step: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """Steps 4 and 16 end an epoch; 1, 6 and 11 are within one."""
    broken = train(directory=tmp_path, on_step=interrupt_at(step))
    assert broken.interrupted and broken.epochs == step // 4
    assert "stopping after this step" in capfd.readouterr().err
    whole = train(directory=tmp_path, resume=True)
    assert same(whole, train()) and not whole.interrupted


def test_a_dataloader_goes_on_in_the_middle_too(tmp_path: Path) -> None:
    def loader() -> DataLoader:
        return DataLoader(TensorDataset(data()), batch_size=30, shuffle=True)

    broken = train(data=loader(), directory=tmp_path, on_step=interrupt_at(6))
    assert broken.interrupted
    assert same(train(data=loader(), directory=tmp_path, resume=True), train(data=loader()))


def test_resuming_a_finished_run_returns_it(tmp_path: Path) -> None:
    done = train(directory=tmp_path)
    before = (tmp_path / RESUME).read_bytes()
    assert same(train(directory=tmp_path, resume=True), done)
    assert (tmp_path / RESUME).read_bytes() == before


def test_patience_that_ran_out_stays_run_out(tmp_path: Path) -> None:
    settings = {"learning_rate": 1e-12, "patience": 2, "epochs": 20, "directory": tmp_path}
    first = train(**settings)
    assert first.epochs < 20
    again = train(**settings, resume=True)
    assert same(again, first) and "Stopped early" in str(again)


def test_resume_without_a_run_starts_one(tmp_path: Path) -> None:
    run = train(directory=tmp_path / "new", resume=True, epochs=1)
    assert run.epochs == 1 and (tmp_path / "new" / RESUME).exists()


def test_an_error_leaves_the_last_good_files(tmp_path: Path) -> None:
    class Fragile(pairs.ConjugateGuide):
        def set_step(self, step: int) -> None:
            self.broken = step == 9

        def forward(self, x: Tensor | None = None, size: int = 1) -> None:
            super().forward(x * math.inf if self.training and self.broken else x)  # type: ignore[operator]

    class Healed(Fragile):
        def set_step(self, step: int) -> None:
            self.broken = False

    Healed.__name__ = "Fragile"
    options = {"epochs": 4, "batch_size": 30, **QUIET}
    with pytest.raises(NonFiniteError, match=r"epoch 3, batch 2"):
        fit(pairs.Conjugate(), Fragile(), data(), directory=tmp_path, **options)
    again = {"directory": tmp_path, "resume": True, **options}
    resumed = fit(pairs.Conjugate(), Healed(), data(), **again)
    assert same(resumed, fit(pairs.Conjugate(), Healed(), data(), **options))


# -- the files ---------------------------------------------------------------------------------


def test_the_folder_holds_the_best_weights_for_anybody_to_load(tmp_path: Path) -> None:
    run = train(directory=tmp_path, learning_rate=0.5, epochs=8, objective=None)
    assert sorted(p.name for p in tmp_path.iterdir()) == [WEIGHTS, RESUME]
    model, guide = conjugate()
    checkpoint = load(tmp_path / WEIGHTS, into={"model": model, "guide": guide}, model="Conjugate")
    found = [*model.state_dict().values(), *guide.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(found, parameters(run), strict=True))
    assert checkpoint.extra == run.history[run.best_epoch - 1]
    assert run.best_epoch < 8
    assert run.directory == tmp_path


def test_without_validation_the_folder_holds_the_last_weights(tmp_path: Path) -> None:
    run = train(directory=tmp_path, validation=None)
    model, guide = conjugate()
    load(tmp_path / WEIGHTS, into={"model": model, "guide": guide})
    found = [*model.state_dict().values(), *guide.state_dict().values()]
    assert all(torch.equal(a, b) for a, b in zip(found, parameters(run), strict=True))


def test_a_run_is_not_written_over(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    with pytest.raises(InputError, match="resume=True goes on with it"):
        train(directory=tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(InputError, match="a file"):
        train(directory=tmp_path / "run")


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "seed": ({"seed": 1}, "seed was 0"),
    "batch size": ({"batch_size": 20}, "batch_size was 30"),
    "data size": ({"data": data(99)}, "data_size was 100"),
    "other data": ({"data": data(seed=2)}, "data was marked"),
    "rate": ({"learning_rate": 0.02}, "learning_rate was 0.01"),
    "clip": ({"clip": 1.0}, "clip was None"),
    "objective": ({"objective": Objective("meanfield")}, "objective was Objective"),
    "optimizer": ({"optimizer": torch.optim.SGD}, "optimizer was Adam"),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_run_is_refused(tmp_path: Path, other: str) -> None:
    train(directory=tmp_path, epochs=1)
    settings, message = OTHERS[other]
    with pytest.raises(CheckpointError, match=f"it is another run: .*{message}"):
        train(directory=tmp_path, resume=True, **settings)


def test_another_pair_is_refused(tmp_path: Path) -> None:
    class Wider(pairs.ConjugateGuide):
        def __init__(self) -> None:
            super().__init__()
            self.more = nn.Parameter(torch.zeros(3))

    fit(*conjugate(), data(), epochs=1, directory=tmp_path, **QUIET)
    again = {"epochs": 1, "directory": tmp_path, "resume": True, **QUIET}
    with pytest.raises(CheckpointError, match="pair was Conjugate: 4 tensors of 4 numbers"):
        fit(pairs.Conjugate(), Wider(), data(), **again)
    with pytest.raises(CheckpointError, match="pair was Conjugate: "):
        fit(pairs.GlobalMean(), pairs.GlobalMeanGuide(), data(), **again)


class Bomb:
    exploded = False

    def __reduce__(self) -> tuple:
        return (setattr, (Bomb, "exploded", True))


def test_a_resume_file_that_holds_code_is_not_run(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    torch.save({"version": 1, "identity": Bomb()}, tmp_path / RESUME)
    with pytest.raises(CheckpointError, match="holds more than numbers; nothing in it was run"):
        train(directory=tmp_path, resume=True)
    assert not Bomb.exploded


@pytest.mark.parametrize("part", [0.0, 0.001, 0.5, 0.99])
def test_a_resume_file_that_is_cut_short_is_refused(tmp_path: Path, part: float) -> None:
    train(directory=tmp_path, epochs=1)
    whole = (tmp_path / RESUME).read_bytes()
    (tmp_path / RESUME).write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(CheckpointError, match="cut short"):
        train(directory=tmp_path, resume=True)


@pytest.mark.parametrize("content", [[], {"version": "x"}, {"version": 1}, 3])
def test_a_resume_file_of_another_kind_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / RESUME)
    with pytest.raises(CheckpointError, match="a file that fit wrote"):
        train(directory=tmp_path, resume=True)


def test_a_resume_file_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    state = torch.load(tmp_path / RESUME, weights_only=True)
    torch.save({**state, "version": VERSION + 1}, tmp_path / RESUME)
    with pytest.raises(
        CheckpointError, match=f"version is {VERSION + 1}[\\s\\S]*update the package"
    ):
        train(directory=tmp_path, resume=True)


def test_a_resume_file_of_an_older_version_is_refused(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    state = torch.load(tmp_path / RESUME, weights_only=True)
    torch.save({**state, "version": VERSION - 1}, tmp_path / RESUME)
    with pytest.raises(CheckpointError, match="start again in another folder"):
        train(directory=tmp_path, resume=True)


def test_a_full_disk_is_said_and_the_last_files_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(directory=tmp_path, epochs=2)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(CheckpointError, match="No space left on device"):
            train(directory=tmp_path, resume=True)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert same(train(directory=tmp_path, resume=True), train())


def test_scraps_of_a_killed_save_are_swept_away(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    (tmp_path / f".{RESUME}.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / ".probe.0a1b2c3d.tmp").write_bytes(b"half")
    (tmp_path / ".mine.tmp").write_bytes(b"not ours")
    train(directory=tmp_path, resume=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == [".mine.tmp", WEIGHTS, RESUME]


def test_saving_takes_its_share_of_the_time_and_no_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saves: list[float] = []
    monkeypatch.setattr(RunFolder, "SHARE", 1e9)
    monkeypatch.setattr(RunFolder, "save", _counted(RunFolder.save, saves))
    train(directory=tmp_path)
    assert len(saves) == 2  # after the first epoch, and at the end
    monkeypatch.setattr(RunFolder, "WITHIN_EPOCH", 0.0)
    train(directory=tmp_path / "within")
    assert len(saves) == 2 + 12 + 1  # after each step that does not end an epoch, and at the end


def _counted(save: Callable[..., None], saves: list[float]) -> Callable[..., None]:
    def counted(*args: Any) -> None:
        save(*args)
        saves.append(1.0)

    return counted


# -- damage ------------------------------------------------------------------------------------


def flipped(content: bytes, seed: int, count: int) -> list[bytes]:
    """The content with one bit changed, at so many places that the seed decides."""
    places = random.Random(seed).sample(range(8 * len(content)), count)
    made = []
    for place in places:
        changed = bytearray(content)
        changed[place // 8] ^= 1 << place % 8
        made.append(bytes(changed))
    return made


@pytest.mark.parametrize("seed", [1, 2])
def test_every_single_bit_that_changes_in_a_resume_file_is_noticed(
    tmp_path: Path, seed: int
) -> None:
    train(directory=tmp_path, epochs=1)
    path = tmp_path / RESUME
    whole = path.read_bytes()
    folder = RunFolder(tmp_path, torch.load(path, weights_only=True)["identity"])
    assert folder.open(resume=True) is not None
    for content in flipped(whole, seed, 40):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            folder.open(resume=True)


def test_a_resume_file_without_its_checksum_is_refused(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    state = torch.load(tmp_path / RESUME, weights_only=True)
    torch.save(state, tmp_path / RESUME)
    with pytest.raises(CheckpointError, match="no checksum[\\s\\S]*start again in another folder"):
        train(directory=tmp_path, resume=True)


@pytest.mark.parametrize("part", ["pair", "progress", "best", "interrupted", "optimizer", "kind"])
@pytest.mark.parametrize("wrong", [None, 3, ["x"], {"x": 1}])
def test_a_resume_file_of_another_structure_is_refused(
    tmp_path: Path, part: str, wrong: object
) -> None:
    """Sealed again, as by a program that writes such files wrongly."""
    train(directory=tmp_path, epochs=1)
    state = torch.load(tmp_path / RESUME, weights_only=True)
    buffer = io.BytesIO()
    torch.save({**state, part: wrong}, buffer)
    (tmp_path / RESUME).write_bytes(run_folder._sealed(buffer.getvalue()))
    with pytest.raises(CheckpointError):
        train(directory=tmp_path, resume=True)


def test_a_folder_that_cannot_be_written_to_is_found_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[int] = []
    count = {"on_step": lambda step, loss: steps.append(step)}
    with pytest.raises(CheckpointError, match=r"/proc/run: the system makes none there"):
        train(directory="/proc/run", **count)
    usage = shutil.disk_usage(tmp_path)._replace(free=1)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: usage)
        with pytest.raises(CheckpointError, match="1 bytes free[\\s\\S]*bytes for what will"):
            train(directory=tmp_path / "run", **count)

    def read_only(*_: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "fsync", read_only)
    with pytest.raises(CheckpointError, match="the file system is read-only"):
        train(directory=tmp_path / "run", **count)
    assert not steps


def test_the_cure_says_what_may_change_and_what_may_not(tmp_path: Path) -> None:
    train(directory=tmp_path, epochs=1)
    with pytest.raises(CheckpointError, match=r"\(epochs may grow\)"):
        train(directory=tmp_path, resume=True, seed=1)
    with pytest.raises(CheckpointError, match="with as many epochs, if schedules follow"):
        train(directory=tmp_path, resume=True, learning_rate=0.5)
