"""Wheel and sdist: what is in them, and that the wheel installs."""

from __future__ import annotations

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("ppl_models", "guides", "inference")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build sdist, and the wheel from it, out of a copy of the tracked files."""
    folder = tmp_path_factory.mktemp("dist")
    source = folder / "source"
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, check=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(folder),
        str(source),
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


def package_files() -> set[str]:
    """Every file of the three packages that belongs in a wheel."""
    found = (path for package in PACKAGES for path in (ROOT / package).rglob("*"))
    kept = (p for p in found if p.suffix in (".py", ".pyi", ".safetensors") or p.name == "py.typed")
    return {path.relative_to(ROOT).as_posix() for path in kept}


def test_the_wheel_holds_the_three_packages_and_nothing_else(dist: Path) -> None:
    with zipfile.ZipFile(next(dist.glob("*.whl"))) as wheel:
        names = {n for n in wheel.namelist() if ".dist-info/" not in n}
        scripts = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
        assert "ppl = inference.cli.app:main" in wheel.read(scripts).decode()
    assert names == package_files()
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_sdist_can_be_built_from(dist: Path) -> None:
    with tarfile.open(next(dist.glob("*.tar.gz"))) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "README.md"} <= names
    assert package_files() <= names


def test_the_wheel_installs_and_runs_outside_the_checkout(dist: Path, tmp_path: Path) -> None:
    target = tmp_path / "site"
    wheel = next(dist.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
         "--target", str(target), str(wheel)], check=True,
    )  # fmt: skip
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import ppl_models, guides, inference, importlib.metadata as m\n"
        "files = [p.__file__ for p in (ppl_models, guides, inference)]\n"
        "assert all(f.startswith(sys.argv[1]) for f in files), files\n"
        "from inference.cli.app import main; main(['stories'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(target)], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("VAE")
