"""Training in processes of its own: killed at any moment, and spread over two of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch

from inference import load
from inference.training.run_folder import RESUME, WEIGHTS, RunFolder
from tests.inference.training.fitting import same, train


@pytest.fixture(autouse=True)
def save_always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save at each epoch's end, however short the epochs are."""
    monkeypatch.setattr(RunFolder, "SHARE", 0.0)


PREAMBLE = """
import io, os, signal, sys
import torch
torch.set_num_threads(1)
from inference import Objective, fit
from inference.training.run_folder import RunFolder
from inference.schedules import linear
from tests import pairs
from tests.inference.training.fitting import data
"""


def script(path: Path, body: str) -> list[str]:
    path.write_text(PREAMBLE + textwrap.dedent(body))
    return [sys.executable, str(path)]


def execute(command: list[str]) -> subprocess.CompletedProcess:
    root = Path(__file__).parents[3]
    env = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=300)


def test_one_process_by_fabric_is_one_process_without_it(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """``devices="1"`` is what ``devices=1`` is, and takes the other way."""
    assert same(train(devices="1"), train())
    assert capfd.readouterr() == ("", "")


WITHOUT_LIGHTNING = """
    fit(pairs.Conjugate(), pairs.ConjugateGuide(), data(), epochs=2, progress=False)
    print("lightning" in sys.modules)
"""


def test_one_process_on_the_cpu_does_without_lightning(tmp_path: Path) -> None:
    """Its import takes longer than that of torch and Pyro together."""
    done = execute(script(tmp_path / "plain.py", WITHOUT_LIGHTNING))
    assert done.stdout.split() == ["False"], done.stderr


KILLED = """
    RunFolder.SHARE = 0.0
    folder, moment, count = sys.argv[1], sys.argv[2], int(sys.argv[3])

    def die(*args):
        os.kill(os.getpid(), signal.SIGKILL)

    calls = 0
    def after(real):
        def wrapped(*args):
            global calls
            calls += 1
            if calls == count:
                die()
            return real(*args)
        return wrapped

    if moment != "step":
        setattr(os, moment, after(getattr(os, moment)))
    fit(pairs.Conjugate(), pairs.ConjugateGuide(), data(), epochs=4, batch_size=30,
        learning_rate=0.01, objective=Objective(kl_weight=linear(20)),
        validation=data(40, seed=7), directory=folder, progress=False,
        on_step=lambda step, loss: die() if moment == "step" and step == count else None)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "count"),
    [("step", 2), ("step", 10), ("fsync", 1), ("fsync", 7), ("replace", 4), ("replace", 5)],
)
def test_kill_9_at_any_moment_loses_nothing_that_was_saved(
    tmp_path: Path, moment: str, count: int
) -> None:
    """Within an epoch before and after the first save, and in the midst of either file's save."""
    folder = tmp_path / "run"
    command = script(tmp_path / "killed.py", KILLED)
    killed = execute([*command, str(folder), moment, str(count)])
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    whole = [name for name in (RESUME, WEIGHTS) if (folder / name).exists()]
    for name in whole:
        load(folder / name) if name == WEIGHTS else torch.load(folder / name, weights_only=True)
    assert ((moment, count) in [("step", 2), ("fsync", 1)]) == (RESUME not in whole)
    assert same(train(directory=folder, resume=True), train())
    assert sorted(p.name for p in folder.iterdir()) == [WEIGHTS, RESUME]


PARALLEL = """
    import pyro, pyro.distributions as dist
    from torch import nn

    class Model(nn.Module):  # a global latent and one a datum; float64, so that sums agree
        def __init__(self):
            super().__init__()
            self.noise = nn.Parameter(torch.tensor(0.1, dtype=torch.float64))
        def forward(self, x):
            zero = torch.zeros((), dtype=x.dtype)
            mu = pyro.sample("mu", dist.Normal(zero, 3.0))
            with pyro.plate("data", len(x), dim=-1):
                z = pyro.sample("z", dist.Normal(mu, 1.0 + zero))
                pyro.sample("x", dist.Normal(z, self.noise.exp()), obs=x)

    class Guide(nn.Module):  # points: nothing is drawn, so that processes can agree
        def __init__(self):
            super().__init__()
            self.loc = nn.Parameter(torch.tensor(0.3, dtype=torch.float64))
            self.net = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)).double()
        def forward(self, x):
            pyro.sample("mu", dist.Delta(self.loc))
            with pyro.plate("data", len(x), dim=-1):
                pyro.sample("z", dist.Delta(self.net(x[:, None])[:, 0]))

    def on_step(step, loss):
        if step == int(sys.argv[4]):
            os.kill(os.getpid(), signal.SIGINT)

    if __name__ == "__main__":
        folder, devices, epochs = sys.argv[1], *map(int, sys.argv[2:4])
        torch.manual_seed(0)
        model, guide = Model(), Guide()
        run = fit(model, guide, data(69).double(), epochs=epochs, batch_size=4,
                  learning_rate=0.01, validation=data(31, seed=4).double(), progress=False,
                  directory=folder, resume=True, on_step=on_step, devices=devices,
                  strategy=sys.argv[5], clip=5.0)
        print(run)
        if os.environ.get("LOCAL_RANK", "0") == "0":
            values = [p.detach() for m in (model, guide) for p in m.parameters()]
            outcome = {"values": values, "history": run.history, "interrupted": run.interrupted}
            torch.save(outcome, sys.argv[6])
"""


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_spawn"])
def test_two_processes_end_where_one_does(tmp_path: Path, strategy: str) -> None:
    """Seventeen batches of 4 and one of 1, which leaves one process without a row of its own.

    The same sums in another order: float64, 54 steps, so 1e-10 is generous.
    """
    command = script(tmp_path / "parallel.py", PARALLEL)

    def result(devices: int, epochs: int, kind: str, name: str, stop: int = 0) -> dict[str, Any]:
        out = tmp_path / f"{name}-{devices}.pt"
        done = execute(
            [*command, str(tmp_path / name), str(devices), str(epochs), str(stop), kind, str(out)]
        )
        assert done.returncode == 0, done.stderr
        return torch.load(out, weights_only=True)

    one = result(1, 3, "auto", "one")
    two = result(2, 3, strategy, "two")
    assert len(one["history"]) == len(two["history"]) == 3
    assert one["history"][0]["loss"] > one["history"][-1]["loss"] + 0.1
    for a, b in zip(one["values"], two["values"], strict=True):
        assert torch.allclose(a, b, rtol=0, atol=1e-10)
    for a, b in zip(one["history"], two["history"], strict=True):
        assert a["loss"] == pytest.approx(b["loss"], abs=1e-10)
        assert a["bound"] == pytest.approx(b["bound"], abs=1e-10)
        assert a["validation_bound"] == pytest.approx(b["validation_bound"], abs=1e-10)
    # interrupted within the second epoch, and gone on with
    broken = result(2, 3, strategy, "broken", stop=24)
    assert len(broken["history"]) == 1 and broken["interrupted"]
    gone_on = result(2, 3, strategy, "broken")
    assert gone_on["history"] == two["history"] and not gone_on["interrupted"]
    for a, b in zip(two["values"], gone_on["values"], strict=True):
        assert torch.equal(a, b)
