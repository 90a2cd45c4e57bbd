from __future__ import annotations

import errno
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from operator import call
from pathlib import Path

import numpy as np
import pytest

from inference import load
from inference.cli.app import main
from inference.cli.catalogue import STORIES

Ppl = Callable[..., tuple[int, str, str]]


@pytest.fixture
def ppl(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ppl:
    """Run the command in an empty folder; return exit code, output and messages."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        return int(stop.value.code or 0), *capsys.readouterr()

    return run


def test_stories_prints_a_line_for_each_model(ppl: Ppl) -> None:
    code, out, _ = ppl("stories")
    lines = out.splitlines()
    assert code == 0 and len(lines) == len(STORIES)
    for line, model in zip(lines, STORIES, strict=True):
        assert line.split()[:3] == [model.name, model.guide_name, model.source]
        assert line.endswith(model.sentence)


def test_stories_does_not_wait_for_torch() -> None:
    code = "import sys; from inference.cli.app import main\ntry: main(['stories'])\n"
    code += "except SystemExit: print('torch' in sys.modules, 'pyro' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False False"


def test_version_and_help(ppl: Ppl) -> None:
    assert ppl("--version")[1].startswith("ppl-models 0.")
    code, out, _ = ppl("--help")
    assert code == 0
    assert all(command in out for command in ("stories", "check", "fit", "track", "demo"))
    assert "--simulate" in ppl("fit", "--help")[1]


def test_check_prints_the_sites(ppl: Ppl) -> None:
    code, out, _ = ppl("check", "gaussianmixture", "--set", "num_components=2")
    assert code == 0
    assert all(site in out for site in ("weights", "locs", "scales", "w", "x"))


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["fit", "VEA", "--simulate", "9"], 1, "did you mean VAE"),
        (["check", "VAE", "--set", "latent_dims=3"], 1, "did you mean latent_dim"),
        (["check", "VAE", "--set", "latent_dim"], 2, "NAME=VALUE"),
        (["fit", "VAE"], 2, "one of --data FILE and --simulate N"),
        (["fit", "VAE", "--data", "none.npy"], 1, "none.npy"),
        (["fit", "VAE", "--data", "flat.npy"], 1, "(N, 3)"),
        (["fit", "VAE", "--data", "named.npz"], 1, "did you mean x"),
        (["fit", "VAE", "--data", "text.npy"], 1, "text.npy"),
        (["fit", "VAE", "--data", "nan.npy", "--epochs", "1"], 1, "NaN"),
        (["fit", "GaussianMixture", "--data", "nan.npy"], 1, "row 3"),
        (["fit", "SRNN", "--data", "rows.npy"], 1, "(6, 4)"),
        (["fit", "VAE", "--data", "rows.npy", "--learning-rate", "-1"], 1, "learning_rate"),
        (["fit", "VAE", "--data", "rows.npy", "--out", "text.npy"], 1, "text.npy"),
        (["fit", "VAE", "--data", "rows.npy", "--set", "latent_dim=0"], 1, "latent_dim"),
        (["fit", "VAE", "--simulate", "0"], 2, "--simulate"),
        (["nonsense"], 2, "nonsense"),
        (["check"], 2, "MODEL"),
    ],
)
def test_mistakes_get_a_message_and_their_exit_code(
    ppl: Ppl, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    np.save(tmp_path / "flat.npy", np.zeros((4, 5, 3)))
    np.savez(tmp_path / "named.npz", xx=np.zeros((4, 5)))
    rows = np.random.default_rng(0).normal(size=(6, 4))
    np.save(tmp_path / "rows.npy", rows)
    rows[3, 1] = np.nan
    np.save(tmp_path / "nan.npy", rows)
    (tmp_path / "text.npy").write_text("1 2 3")
    found, out, err = ppl(*arguments)
    assert found == code
    assert message in err and "Trace" not in err and not out


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    from ppl_models.errors import InputError

    with pytest.raises(InputError, match="did you mean VAE"):
        main(["check", "VEA", "--debug"])


def test_fit_on_simulated_data_keeps_a_checkpoint(ppl: Ppl, tmp_path: Path) -> None:
    code, out, err = ppl("fit", "VAE", "--simulate", "32", "--epochs", "2", "--out", "run")
    assert code == 0, err
    saved = load(tmp_path / "run" / "pair.safetensors", model="VAE")
    assert saved.config["data_dim"] == 64
    assert "saved: run/pair.safetensors" in out


def test_fit_on_the_user_s_array_resumes_to_the_same_numbers(ppl: Ppl, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(40, 3))
    np.save(tmp_path / "x.npy", x)
    common = ["fit", "VAE", "--data", "x.npy", "--set", "latent_dim=2", "--batch-size", "16"]
    assert ppl(*common, "--epochs", "4", "--out", "whole")[0] == 0
    assert ppl(*common, "--epochs", "2", "--out", "parts")[0] == 0
    assert ppl(*common, "--epochs", "4", "--out", "parts", "--resume")[0] == 0
    whole, parts = (load(tmp_path / f / "pair.safetensors").tensors for f in ("whole", "parts"))
    assert whole.keys() == parts.keys()
    assert all((whole[name] == parts[name]).all() for name in whole)


def test_a_full_disk_is_a_message(ppl: Ppl, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "run/pair.safetensors")

    monkeypatch.setattr("inference.checkpoint.save", full)
    code, _, err = ppl("fit", "VAE", "--simulate", "8", "--epochs", "1", "--out", "run")
    assert code == 1 and "No space left on device" in err and "Traceback" not in err


def test_a_ctrl_c_that_python_drops_still_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    class Dropping:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    def app(arguments: list[str]) -> None:
        Dropping()
        # both calls in C, with no look at signals between: it must wake the sleeper himself
        deque(map(call, [partial(time.sleep, 10), partial(slept.append, True)]))
        pytest.fail("the interrupt was lost")

    slept: list[bool] = []
    monkeypatch.setattr("inference.cli.app.app", app)
    hook = sys.unraisablehook
    # a shell's background job is born deaf to Ctrl-C
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            main(["stories"])
    finally:
        signal.signal(signal.SIGINT, before)
    assert sys.unraisablehook is hook and not slept
