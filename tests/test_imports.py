"""Imports run one way: models know neither guides nor inference; the engine knows no model."""

from __future__ import annotations

import ast
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WINGS = ("ppl_models", "guides", "inference")
FILES = sorted(path.relative_to(ROOT) for wing in WINGS for path in (ROOT / wing).rglob("*.py"))
# What users' data can raise, how files are read and sounds analysed, are no stories.
OPEN_TO_THE_ENGINE = {"ppl_models.errors", "ppl_models.data.motchallenge", "ppl_models.data.stft"}
KNOW_STORIES = ("inference/tasks/", "inference/cli/")


def imported(source: str) -> Iterator[str]:
    """Modules named by an import or by ``import_module`` of a literal, relative ones with dots."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else node.func
            called = called.id if isinstance(called, ast.Name) else called
            if called in ("import_module", "__import__"):
                yield str(node.args[0].value)


def forbidden(path: str, module: str) -> bool:
    """Whether a file of one wing may not import that module."""
    wing, target = path.partition("/")[0], module.partition(".")[0]
    if target not in WINGS or target == wing:
        return module.startswith(".")
    if wing == "ppl_models":
        return True
    if wing == "guides":
        return target == "inference"
    if path.startswith(KNOW_STORIES):
        return False
    return not any(module == door or module.startswith(door + ".") for door in OPEN_TO_THE_ENGINE)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imports_run_one_way(path: Path) -> None:
    wrong = [m for m in imported((ROOT / path).read_text()) if forbidden(path.as_posix(), m)]
    assert not wrong, f"{path} may not import {wrong} (house.md, imports)"


@pytest.mark.parametrize(
    ("path", "module", "wrong"),
    [
        ("ppl_models/vae.py", "guides.vae", True),
        ("ppl_models/vae.py", "inference.check", True),
        ("ppl_models/vae.py", "ppl_models.networks", False),
        ("guides/vae.py", "ppl_models.vae", False),
        ("guides/vae.py", "inference", True),
        ("inference/training/fit.py", "ppl_models.vae", True),
        ("inference/training/fit.py", "ppl_models.errors.InputError", False),
        ("inference/diagnostics/sbc.py", "guides.vae", True),
        ("inference/tasks/tracking/track.py", "guides.mixdvae", False),
        ("inference/cli/app.py", "ppl_models.data.arrays", False),
        ("inference/metrics/tracking.py", "ppl_models.data.motchallenge.Boxes", False),
        ("inference/metrics/tracking.py", "ppl_models.mixdvae", True),
        ("inference/training/fit.py", ".pair", True),
        ("inference/training/fit.py", "torch", False),
    ],
)
def test_the_rule_itself(path: str, module: str, wrong: bool) -> None:
    assert forbidden(path, module) is wrong


def test_imports_are_found_wherever_they_hide() -> None:
    source = (
        "def f():\n    from guides import vae\n    import_module('inference.fit')\nimport a.b as c"
    )
    assert set(imported(source)) == {"guides", "guides.vae", "inference.fit", "a.b"}


def test_importing_the_packages_is_light() -> None:
    heavy = "torch pyro lightning arviz pandas motmetrics matplotlib".split()
    code = "import sys, ppl_models, guides, inference; print([m for m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stdout))
    assert not loaded & set(heavy)


def test_public_names_stay_what_they_are() -> None:
    """A function named after its module is the function, whichever is imported first."""
    code = (
        "import inference.checking.report, inference.training.fit\n"
        "from inference.checking.report import check as a\n"
        "from inference import check as b, fit as c\n"
        "import inference\n"
        "assert a is b is inference.check is inference.checking.check\n"
        "assert callable(c) and callable(inference.fit)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


DOORS = ["ppl_models", "ppl_models.data", "guides", "inference", "inference.diagnostics"]
DOORS += [
    "inference.metrics",
    "inference.tasks",
    "inference.tasks.speech",
    "inference.tasks.tracking",
]
# What lessons and the documentation use, and a user would look for.
LOOKED_FOR = {
    "ppl_models": "VAE SRNN VampPrior LinearAutoencoder InputError data likelihoods priors",
    "guides": "VAEGuide SRNNGuide ReadingGuide",
    "inference": "check fit fit_em fit_energy posterior importance seeded linear cosine cyclical"
    " Objective SubsetObjective SubsetKL DensityRatio FreeBits enumerated impute track vem"
    " particle_filter rate_distortion plot_imputations plot_samples tasks metrics schedules",
    "inference.tasks": "impute track particle_filter speech tracking",
    "inference.metrics": "si_sdr principal_angles mig score",
    "ppl_models.data": "Boxes STFT voices mnist",
}


@pytest.mark.parametrize("name", DOORS)
def test_every_public_name_exists_and_dir_lists_it(name: str) -> None:
    package = importlib.import_module(name)
    assert set(package.__all__) <= set(dir(package))
    for public in package.__all__:
        assert getattr(package, public) is not None
    with pytest.raises(AttributeError, match="nonsense"):
        package.nonsense  # noqa: B018


@pytest.mark.parametrize("name", LOOKED_FOR)
def test_dir_lists_what_a_user_looks_for_before_anything_is_imported(name: str) -> None:
    code = f"import {name} as package; print(dir(package))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(LOOKED_FOR[name].split()) <= set(ast.literal_eval(done.stdout))


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_lessons_import_public_names_from_doors(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    for node in ast.walk(ast.parse(re.sub(r"^[%!].*$", "", code, flags=re.MULTILINE))):
        module = node.module or "" if isinstance(node, ast.ImportFrom) else ""
        if module.partition(".")[0] not in WINGS:
            continue
        door = ROOT / module.replace(".", "/") / "__init__.py"
        assert door.exists(), f"{module} is a file within a room: import from the room"
        names = {alias.name for alias in node.names}
        assert names <= set(importlib.import_module(module).__all__)
