from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.checkpoint import save
from inference.errors import CheckpointError
from inference.tasks.video import files as video_files
from inference.tasks.video import forecast, load_video, save_video
from inference.tasks.video.files import FILE, VideoDesign
from inference.training.run_folder import WEIGHTS
from ppl_models.errors import InputError
from tests.inference.video_runs import DESIGNS, blobs, coloured, pair, saved


@pytest.mark.parametrize("name", [*DESIGNS, "colours"])
def test_a_pair_comes_back_as_it_was(name: str, tmp_path: Path, untouched: None) -> None:
    design = coloured() if name == "colours" else DESIGNS[name]
    model, guide = pair(design)
    path = save_video(tmp_path, design, model, guide, {"epochs": 3})
    found = load_video(tmp_path)
    assert path == found.path == tmp_path / FILE
    assert found.design == design
    assert not found.model.training and not found.guide.training
    known = blobs()[:, :4]
    known = np.stack([known] * 3, -1) if name == "colours" else known
    before, again = (forecast(*p, known, length=6, num_samples=2).frames
                     for p in ((model, guide), found[:2]))  # fmt: skip
    assert np.array_equal(before, again)


def test_a_design_of_another_pair_is_refused(tmp_path: Path) -> None:
    wrong = replace(DESIGNS["SRVP"], options={**DESIGNS["SRVP"].options, "latent_dim": 3})
    with pytest.raises(InputError, match="design: saw another"):
        save_video(tmp_path, wrong, *pair(DESIGNS["SRVP"]))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"latent_dims": 3}},
        {"options": {"latent_dim": 0}},
        {"guide_options": {"depth": 2}},
        {"frame_shape": (1, 20, 20)},
        {"story": "SRPV"},
    ],
)
def test_a_design_that_builds_nothing_says_why(changes: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        replace(DESIGNS["SRVP"], **changes).pair()
    assert caught.value.cure


def test_the_same_seed_gives_the_same_weights(untouched: None) -> None:
    one, again, other = (DESIGNS["SVGLP"].pair(seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_a_name_that_ships_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "run")
    (tmp_path / "weights").mkdir()
    shutil.copy(tmp_path / "run" / FILE, tmp_path / "weights" / "srvp.safetensors")
    monkeypatch.setattr(video_files, "files", lambda package: tmp_path)
    monkeypatch.chdir(tmp_path / "run")
    assert load_video().path == tmp_path / "weights" / "srvp.safetensors"
    (tmp_path / "run" / "srvp").mkdir()  # of frames, say: it hides nothing
    assert load_video("srvp").path == tmp_path / "weights" / "srvp.safetensors"
    saved(tmp_path / "run" / "srvp", "SVGFP")  # but a run is what is meant
    assert load_video("srvp").design.story == "SVGFP"
    with pytest.raises(InputError, match="--model: saw no svrp\n.*'srvp', which ships\n"):
        load_video("svrp")


def test_a_run_that_has_not_ended_is_named(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).touch()
    with pytest.raises(InputError, match=r"a folder without video\.safetensors\n.*\n.*--resume"):
        load_video(tmp_path)
    with pytest.raises(InputError, match="model: saw no .*nothing/here"):
        load_video(tmp_path / "nothing" / "here", argument="model")


# -- strangers' files --------------------------------------------------------------------------


def forge(folder: Path, *, header: str = "SRVP", **changes: Any) -> Path:
    """Save a pair with another model in its header, or other settings."""
    model, guide = pair(DESIGNS["SRVP"])
    config = {**DESIGNS["SRVP"].as_json(), **changes}
    config = {name: value for name, value in config.items() if value != "gone"}
    save(folder / FILE, {"model": model, "guide": guide}, model=header, config=config)
    return folder


def options(**changes: Any) -> dict[str, Any]:
    return {"options": {**DESIGNS["SRVP"].options, **changes}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"story": "os.system"}, "story: 'os.system'\n.*SRVP"),
        ({"story": "SVGLP"}, "options"),
        ({"frames": "gone"}, "settings"),
        ({"code": "import os"}, "settings"),
        ({"options": "gone"}, "settings"),
        ({"options": [1, 2]}, "options: .*\n.*a dict"),
        ({"frame_shape": [1, 16]}, "frame_shape"),
        ({"frame_shape": [1, "16", 16]}, "frame_shape"),
        ({"frame_shape": [1, 2**40, 2**40]}, None),
        (options(latent_dim=10**12), None),
        (options(width=10**9), None),
        (options(hidden_dims=[10**7] * 3), None),
        (options(state_dim=4), "numbers"),
        (options(latent_dim=-3), None),
        (options(likelihood="x"), None),
        ({"header": "SVGLP"}, "SRVP|SVGLP"),
    ],
)
def test_settings_that_cannot_be_are_named(
    changes: dict[str, Any], message: str | None, tmp_path: Path
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_video(forge(tmp_path, **changes))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = saved(tmp_path)
    good = path.read_bytes()
    for content in (good[:-40], good[:40], b"", good[:300] + b"\0" + good[301:]):
        path.write_bytes(content)
        with pytest.raises(CheckpointError):
            load_video(tmp_path)
    path.write_bytes(pickle.dumps({"frames": 3}))
    with pytest.raises(CheckpointError):
        load_video(path)


def test_weights_that_are_not_finite_are_named(tmp_path: Path) -> None:
    model, guide = pair(DESIGNS["SRVP"])
    model.prior[0].weight.data[0, 0] = torch.inf
    save_video(tmp_path, DESIGNS["SRVP"], model, guide)
    with pytest.raises(CheckpointError, match=r"prior\.0\.weight"):
        load_video(tmp_path)


def test_a_design_by_default_is_the_one_that_ships() -> None:
    assert VideoDesign().story == "SRVP" and VideoDesign().frame_shape == (1, 32, 32)
