"""What the command says of errors: in its own options, in a few lines, with its exit codes."""

from __future__ import annotations

import errno
import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.cli import app, progress, words
from inference.cli.app import main
from inference.errors import CheckpointError, PairError
from inference.training import progress_bar
from ppl_models.errors import InputError
from tests.inference.cli.test_app import Ppl, ppl  # noqa: F401 the fixture

CURES = {
    "resume=True goes on with it; else": "--resume goes on with it; else",
    "pass min_score=0.1": "pass --min-score 0.1",
    "learning_rate=0.001": "--learning-rate 0.001",
    "ask for resample=True": "give --resample",
    "ask for share='own'": "ask for --share own",
    "take architecture=RVAE": "take --architecture RVAE",
    "np.savez(file, x=...)": "np.savez(file, x=...)",
    'or types={"a b": {"levels": 3}}': 'or --types TYPES.json, a file with {"a b": {"levels": 3}}',
    'give accelerator="cpu"': "give --accelerator cpu",
    "or read_columns(path, header=False) if": "or --no-header if",
    "call fit as at first (so)": "give the options of the first time (so)",
}


@pytest.mark.parametrize("cure", CURES)
def test_cures_name_options_of_the_command(cure: str) -> None:
    for error in (InputError("x", "1", "2", cure), PairError("x", "1", "2", cure)):
        assert words.said(error).endswith(CURES[cure])
    assert CURES[cure] in words.said(CheckpointError("x", "1", "2", cure))


def test_an_error_of_the_system_is_said_in_words() -> None:
    full = words.said(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "run/x"))
    assert (
        full.startswith("run/x: the disk is full") and "make room" in full and "Errno" not in full
    )
    assert "Errno" not in words.said(FileNotFoundError(errno.ENOENT, "No such file", "x"))


def test_what_an_inner_error_lacks_is_kept_from_the_outer_one() -> None:
    """The outer one says which file it was."""
    try:
        try:
            raise InputError("wave", "silence", "a sound", "leave it out")
        except InputError as error:
            raise InputError("b.wav", *error.args[1:]) from error
    except InputError as error:
        assert words.said(error).startswith("b.wav: saw silence")


def test_no_memory_is_said(ppl: Ppl, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    def none(*_: object, **__: object) -> None:
        torch.empty(2**60)

    monkeypatch.setattr("inference.training.fit", none)
    code, _, err = ppl("fit", "VAE", "--simulate", "8")
    assert code == 1 and "memory: saw none left" in err and "Traceback" not in err


def test_an_error_of_the_program_itself_keeps_its_traceback(
    ppl: Ppl,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("inference.training.fit", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        main(["fit", "VAE", "--simulate", "8"])


LONG = "12345678901234567890123"
CODES = [
    (["stories"], 0, ""),
    (["check", "VAE"], 0, ""),
    (["check", "VAE", "--graph", "x.gv"], 0, ""),
    (["check", "VAE", "--graph", "x.foo"], 2, "--graph takes a file"),
    (["check", "VAE", "--graph", "x"], 2, "--graph takes a file"),
    (["check", "VAE", "--graph", "none/x.gv"], 1, "none, which is no folder"),
    (["check", "VAE", "--seed", LONG], 2, "--seed"),
    (["check", "VAE", "--seed", "-1"], 2, "--seed"),
    (["check", "VAE", "--set", f"latent_dim={LONG}"], 1, "latent_dim"),
    (["check", "VAE", "--set", f"latent_dim={'(' * 300}"], 1, "latent_dim"),
    (["fit", "VAE", "--simulate", "8", "--seed", LONG], 2, "--seed"),
    (["fit", "VAE", "--simulate", LONG], 2, "--simulate"),
    (["fit", "VAE", "--simulate", "8", "--batch-size", LONG], 2, "--batch-size"),
    (["fit", "VAE", "--simulate", "8", "--learning-rate", "nan"], 2, "not a finite number"),
    (
        ["fit", "VAE", "--simulate", "8", "--out", "/proc/run"],
        1,
        "/proc/run: the system makes none",
    ),
    (["fit", "VAE", "--data", "bool.npy", "--epochs", "1", "--out", "b"], 0, ""),
    (["fit", "SRNN", "--data", "mask.npz", "--epochs", "1", "--out", "m"], 0, ""),
    (["fit", "SRNN", "--data", "badmask.npz"], 1, "array 'mask': saw other numbers"),
    (["fit", "VAE", "--data", "huge.npy"], 1, "beyond 3.4e38"),
    (["fit", "VAE", "--data", "."], 1, "it is a folder"),
    (["fit", "TextVAE", "--data", "tokens.npy"], 1, "x: saw 1e+09, and 0 more such numbers"),
    (["fit", "TextVAE", "--data", "huge.npz"], 1, "huge.npz"),
    (["track", "a.txt", "--objects", "2", "--out", "o", "--seed", LONG], 2, "--seed"),
    (["track", "a.txt", "--objects", "2", "--out", "o", "--min-score", "nan"], 2, "finite number"),
    (["track", "a.txt", "--objects", LONG, "--out", "o"], 2, "--objects"),
    (["track", "a.txt", "--objects", "2", "--out", "o", "--frames", f"1:{LONG}"], 2, "--frames"),
    (["track", "a.txt", "--objects", "2", "--out", "o", "--image-size", f"{LONG}x1"], 2, "999999"),
    (["track", "a.txt", "--objects", "2", "--out", "/proc/o"], 1, "the system makes none there"),
    (["track", "sparse.txt", "--objects", "2", "--out", "o"], 1, "99,999 frames of up to 5,000"),
    (["generate", "--model", "light", "--out", "g", "--seconds", "nan"], 2, "600"),
    (["generate", "--model", "light", "--out", "g.mp3"], 1, "--out g.wav"),
    (["generate", "--model", "light", "--out", "/proc/g"], 1, "the system makes none there"),
]


@pytest.mark.parametrize(("arguments", "code", "message"), CODES, ids=lambda x: str(x)[:60])
def test_exit_codes(
    ppl: Ppl,  # noqa: F811
    tmp_path: Path,
    arguments: list[str],
    code: int,
    message: str,
) -> None:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "bool.npy", rng.random((8, 5)) < 0.5)
    np.save(tmp_path / "huge.npy", np.array([[1.0, 1e300]]))
    np.save(tmp_path / "tokens.npy", np.array([[1, 10**9], [2, 3]]))
    s = rng.normal(size=(4, 6, 4))
    np.savez(tmp_path / "mask.npz", s=s, mask=np.ones((4, 6)))
    np.savez(tmp_path / "badmask.npz", s=s, mask=np.full((4, 6), 0.5))
    (tmp_path / "a.txt").write_text("1,-1,10,20,30,40,0.9\n2,-1,10,20,30,40,0.9\n")
    rows = "1,-1,10,20,30,40,0.9\n2,-1,{},20,30,40,0.9\n"
    many = "".join(f"1,-1,{left},20,30,40,0.9\n" for left in range(5000))
    (tmp_path / "sparse.txt").write_text(many + rows.format(3).replace("2,-1", "99999,-1"))
    found, _, err = ppl(*arguments)
    assert found == code, err
    assert message in " ".join(err.split()) and "Traceback" not in err and "Errno" not in err
    assert code == 0 or not (tmp_path / "o").exists()


def test_graphviz_is_asked_for_before_the_work(
    ppl: Ppl,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, out, err = ppl("check", "VAE", "--graph", "x.pdf")
    assert code == 1 and not out and "draw to x.gv, which needs none" in err
    assert ppl("check", "VAE", "--graph", "x.gv")[0] == 0  # the cure
    assert Path("x.gv").read_text().startswith("digraph")


def test_exit_codes_are_in_the_docs() -> None:
    page = (Path(__file__).parents[3] / "docs" / "files.md").read_text()
    for code in (0, 1, 2, app.INTERRUPTED):
        assert f"| {code} |" in page


def test_a_log_has_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "FIRST", 0.01)
    monkeypatch.setattr(progress, "EVERY", 0.01)
    with progress.progress(3) as step:
        step("reading", 1)
        deadline = time.monotonic() + 20
        err = ""
        while err.count("\n") < 2 and time.monotonic() < deadline:
            err += capsys.readouterr().err
            time.sleep(0.005)
    lines = err.splitlines()
    assert len(lines) >= 2 and lines[-1].startswith("ppl: reading (1 of 3 done), ")
    capsys.readouterr()
    time.sleep(0.05)
    assert not capsys.readouterr().err  # it has stopped


def test_fit_prints_lines_into_a_log(
    ppl: Ppl,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    monkeypatch.setattr(progress_bar, "FIRST", 0.0)
    monkeypatch.setattr(progress_bar, "EVERY", 0.0)
    code, _, err = ppl("fit", "VAE", "--simulate", "8", "--epochs", "3", "--out", "run")
    lines = [line for line in err.splitlines() if line.startswith("epoch ")]
    assert code == 0 and len(lines) == 3
    assert lines[0].startswith("epoch 1 of 3, step 1 of 1, bound not yet known, ")
    monkeypatch.setattr(progress_bar, "FIRST", 100.0)
    assert not ppl("fit", "VAE", "--simulate", "8", "--epochs", "3", "--out", "short")[2]
