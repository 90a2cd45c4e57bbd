"""What the contracts of import-linter (setup.cfg) do not see: doors, and how light an import is."""

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
PACKAGES = ("ppl_models", "guides", "inference")
FILES = sorted(path.relative_to(ROOT) for name in PACKAGES for path in (ROOT / name).rglob("*.py"))
# Rooms whose files are doors of their own: loaders and metrics bring libraries of their own, and
# the commands and tasks in files are asked for one by one.
OPEN = {"ppl_models.data", "inference.metrics", "inference.cli", "inference.tasks"}


def rooms() -> set[str]:
    """Folders of the three packages whose names come through their ``__init__``."""
    folders = {path.parent for path in FILES if path.name == "__init__.py"}
    names = {".".join(folder.parts) for folder in folders}
    return {name for name in names if "." in name} - OPEN


def past_the_door(module: str, source: str) -> Iterator[str]:
    """Modules inside a room that an outsider imports from."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            full = (f"{node.module}.{alias.name}" for alias in node.names)
            names = [node.module, *(name for name in full if is_file(name))]
            outside = [room for room in rooms() if not f"{module}.".startswith(room + ".")]
            yield from (n for n in names for room in outside if n.startswith(room + "."))


def is_file(name: str) -> bool:
    """Whether this is a module, and not a function that a door has under the same name."""
    room, _, inner = name.rpartition(".")
    file = Path(*name.split(".")).with_suffix(".py")
    return file in FILES and not callable(getattr(importlib.import_module(room), inner, None))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_a_room_is_entered_by_its_door(path: Path) -> None:
    module = ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    wrong = set(past_the_door(module, (ROOT / path).read_text()))
    assert not wrong, f"{path}: import from the room, not from {sorted(wrong)}"


def test_the_rule_itself() -> None:
    deep = "def f():\n    from inference.tracing.bind import bind"
    assert set(past_the_door("inference.enumeration", deep)) == {"inference.tracing.bind"}
    assert not set(past_the_door("inference.tracing.sampler", deep))
    assert not set(past_the_door("inference.enumeration", "from inference.tracing import bind"))
    module = "from ppl_models.likelihoods import basic as parts"
    assert set(past_the_door("ppl_models.hmm", module)) == {"ppl_models.likelihoods.basic"}


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
    "inference.tasks.separation",
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
    "inference.tasks": "impute track particle_filter separation speech tracking",
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
        if module.partition(".")[0] not in PACKAGES:
            continue
        door = ROOT / module.replace(".", "/") / "__init__.py"
        assert door.exists(), f"{module} is a file within a room: import from the room"
        names = {alias.name for alias in node.names}
        assert names <= set(importlib.import_module(module).__all__)
