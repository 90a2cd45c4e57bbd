"""Execute the lessons once, two at a time, and keep their outputs: ``build/lessons``.

    python -m tools.run_lessons             # those not in the cache; exit code 1 if any fails
    python -m tools.run_lessons 04_vae      # this one, whether in the cache or not

Who shows lessons (the site, the pages of `tools.lessons`) takes them from there. The cache knows a
lesson by its code. It cannot know the packages that the code imports, so its folder is named by a
digest of them: outputs of other packages are never shown, and after a change all lessons run anew.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from jupyter_cache.executors.utils import ExecutionResult, single_nb_execution

ROOT = Path(__file__).parents[1]
NOTEBOOKS, CACHES = ROOT / "notebooks", ROOT / "build" / "lessons"
PACKAGES = ("ppl_models", "guides", "inference")
WORKERS = 2
SECONDS = 600
"""Of one cell."""


def main(names: Sequence[str]) -> int:
    """Execute what is wanted; return the exit code."""
    wanted = [p for p in lessons() if p.stem in names or not names and not cached(p)]
    os.environ.update(environment())
    failed = 0
    with ThreadPoolExecutor(WORKERS) as pool:  # a lesson runs in a process of its own, its kernel
        runs = {pool.submit(run, path): path for path in wanted}
        for done in as_completed(runs):
            failed += not keep(runs[done], done.result())
    if not names:
        forget_others()
    return int(failed > 0)


def lessons() -> list[Path]:
    """Return the notebooks, in order."""
    return sorted(NOTEBOOKS.glob("*.ipynb"))


def run(path: Path) -> ExecutionResult:
    """Execute a notebook where it lies."""
    book = nbformat.read(path, 4)
    return single_nb_execution(book, cwd=str(path.parent), timeout=SECONDS, allow_errors=False)


def keep(path: Path, result: ExecutionResult) -> bool:
    """Put an executed notebook into the cache, or say how it failed; whether it is there."""
    if result.err is not None:
        print(f"{path.stem} FAILED\n{result.exc_string}", file=sys.stderr, flush=True)
        return False
    bundle = CacheBundleIn(result.nb, str(path), data={"execution_seconds": result.time})
    _cache().cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
    print(f"{path.stem:40} {result.time:6.0f} s", flush=True)
    return True


def cached(path: Path) -> bool:
    """Whether the cache has this notebook, executed by the packages as they are."""
    try:
        _cache().match_cache_notebook(nbformat.read(path, 4))
    except KeyError:
        return False
    return True


def executed(path: Path) -> Any:
    """Return a notebook with its outputs, from the cache; it is executed first if need be."""
    if not cached(path):
        os.environ.update(environment())
        if not keep(path, run(path)):
            raise RuntimeError(f"{path.name} fails: python -m tools.run_lessons {path.stem}")
    return _cache().merge_match_into_notebook(nbformat.read(path, 4))[1]


def environment() -> dict[str, str]:
    """Return the variables by which a lesson draws in itself, and finds this tree's packages."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    inline = "module://matplotlib_inline.backend_inline"
    return {"MPLBACKEND": inline, "PYTHONPATH": path}


def cache_folder() -> Path:
    """Return the folder of the cache for the packages as they are."""
    return CACHES / packages_digest()


def forget_others() -> None:
    """Remove the caches of packages as they were."""
    for folder in CACHES.glob("*"):
        if folder != cache_folder():
            shutil.rmtree(folder)


@cache
def packages_digest() -> str:
    """Return a digest of our three packages, and of those that they compute with."""
    digest = hashlib.sha256(f"{version('torch')} {version('pyro-ppl')} {sys.version}".encode())
    files = (p for package in PACKAGES for p in (ROOT / package).rglob("*"))
    for path in sorted(p for p in files if p.suffix in (".py", ".pyi", ".safetensors")):
        digest.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _cache() -> Any:
    return get_cache(str(cache_folder()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
