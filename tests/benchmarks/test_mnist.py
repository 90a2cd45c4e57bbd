"""The MNIST figure's command, for a few epochs: the ordering is the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mnist import Recipe, report
from ppl_models.data.mnist import mnist

REAL = Path(__file__).parents[3] / "shared/data/mnist"


@pytest.mark.slow
@pytest.mark.skipif(not REAL.exists(), reason="MNIST is not in ../shared/data")
def test_the_vampprior_is_ahead_of_the_standard_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tomczak and Welling 2018, table 1; both judged by the same thousand digits."""
    digits = mnist(REAL)
    standard, vamp = (
        report(Recipe(prior, 6, 0, components=200), digits, tmp_path, test=1000, draws=100)[0]
        for prior in ("standard", "vamp")
    )
    assert vamp > standard + 0.5
    assert f"{vamp:.2f}" in capsys.readouterr().out
