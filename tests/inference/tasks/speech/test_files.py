from __future__ import annotations

import json
import pickle
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.checkpoint import save
from inference.errors import CheckpointError
from inference.tasks import designs
from inference.tasks.speech import files as speech_files
from inference.tasks.speech.files import FAMILY, FILE, Design, load_speech, save_speech, shipped
from inference.tasks.speech.recipes import RECIPES
from inference.tasks.speech.resynthesis import generate, resynthesise
from inference.training.run_folder import WEIGHTS
from ppl_models.data.stft import STFT
from ppl_models.errors import InputError
from tests.inference.speech import ATTENTIVE, DESIGNS, STFT_SMALL, pair, powers, saved, voice


@pytest.mark.parametrize("name", DESIGNS)
def test_a_pair_comes_back_as_it_was(name: str, tmp_path: Path, untouched: None) -> None:
    model, guide = pair(name)
    path = save_speech(tmp_path, DESIGNS[name], model, guide, {"epochs": 3})
    found = load_speech(tmp_path)
    assert path == found.path == tmp_path / FILE and found.design == DESIGNS[name]
    assert not found.model.training and not found.guide.training
    before, again = (
        resynthesise(*p, voice(), found.stft).wave for p in ((model, guide), found[:2])
    )
    assert torch.equal(before, again)


def test_the_least_power_is_kept(tmp_path: Path) -> None:
    """It is no tensor of the pair, and changes what is generated."""
    design = replace(DESIGNS["FrameVAE"], floor=0.5)
    save_speech(tmp_path / "a.safetensors", design, *design.pair())
    assert load_speech(tmp_path / "a.safetensors").model.likelihood.reader.floor == 0.5


def test_every_recipe_is_a_pair_that_can_be_saved() -> None:
    assert RECIPES.keys() == set(FAMILY)
    for name, recipe in RECIPES.items():
        assert recipe.design.model == name
        assert json.loads(json.dumps(recipe.design.as_json())) is not None
        model, guide = designs.outline(recipe.design)
        assert type(model).__name__ == name and type(guide).__name__ == name + "Guide"
        assert getattr(guide, "model", model) is model


def test_a_model_without_latents_is_kept_but_analyses_nothing(tmp_path: Path) -> None:
    design = Design("DeepAR", latent_dim=0, options={"recurrent_dim": 5}, stft=STFT_SMALL)
    save_speech(tmp_path, design, *design.pair(powers()))
    found = load_speech(tmp_path)
    assert generate(found.model, 1, 5, STFT_SMALL, iterations=1).power.shape == (1, 5, 33)
    with pytest.raises(InputError, match="saw DeepAR\n  expected: a model with latents"):
        resynthesise(found.model, found.guide, voice(), found.stft)
    with pytest.raises(InputError, match="options"):
        replace(design, latent_dim=3).pair()


def test_a_design_of_another_pair_is_refused(tmp_path: Path) -> None:
    model, guide = pair("LigHTDVAE")
    wrong = replace(DESIGNS["LigHTDVAE"], latent_dim=4)
    with pytest.raises(InputError, match=r"design: saw another model\.latent_reader\.weight"):
        save_speech(tmp_path, wrong, model, guide)
    assert not list(tmp_path.iterdir())


def test_a_name_that_ships_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path / "run")
    (tmp_path / "weights").mkdir()
    shutil.copy(tmp_path / "run" / FILE, tmp_path / "weights" / "light.safetensors")
    save(tmp_path / "weights/other.safetensors", torch.nn.Linear(1, 1), model="SRNN", config={})
    monkeypatch.setattr(speech_files, "files", lambda package: tmp_path)
    monkeypatch.chdir(tmp_path / "run")
    assert shipped() == ["light"]
    assert type(load_speech("light").model).__name__ == "LigHTDVAE"
    (tmp_path / "run" / "light").mkdir()  # of recordings, say: it hides nothing
    assert load_speech("light").path == tmp_path / "weights" / "light.safetensors"
    other = saved(tmp_path / "run" / "light", "DKF")  # but a run is what is meant
    assert load_speech("light").path.samefile(other / FILE)
    with pytest.raises(InputError, match=r"saw 'lihgt'\n.*a name of those that ship: light\n"):
        load_speech("lihgt")


def test_a_run_that_has_not_ended_is_named(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS).touch()
    with pytest.raises(CheckpointError, match=r"model\.safetensors of a run, but no pair"):
        load_speech(tmp_path)
    with pytest.raises(CheckpointError, match="it cannot be read: No such file"):
        load_speech(tmp_path / "nothing" / "here")


# -- strangers' files --------------------------------------------------------------------------


def forge(folder: Path, *, header: str = "LigHTDVAE", **changes: Any) -> Path:
    """Save a sound pair, with another model in its header, or other settings."""
    model, guide = pair("LigHTDVAE")
    config = {**DESIGNS["LigHTDVAE"].as_json(), **changes}
    config = {name: value for name, value in config.items() if value != "gone"}
    save(folder / FILE, {"model": model, "guide": guide}, model=header, config=config)
    return folder


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "os.system"}, "model: 'os.system'\n.*one of DKF, DSAE, DeepAR, FrameVAE"),
        ({"model": "FrameVAE"}, "options: .*unexpected keyword"),
        ({"stft": "gone"}, "settings: no stft"),
        ({"code": "import os"}, "setting: 'code'"),
        ({"latent_dim": 10**12}, "latent_dim: 1000000000000\n.*0 to 100,000"),
        ({"latent_dim": -3}, "latent_dim: -3\n"),
        ({"latent_dim": 4}, r"settings of a LigHTDVAE of [\d,]+ numbers, and"),
        ({"latent_dim": "3"}, "latent_dim: '3'\n.*a int"),
        ({"options": {"num_layers": 10**6}}, "num_layers: 1000000\n.*0 to 100"),
        ({"options": {"dim": [8] * 1000}}, "dim: 1000 of them"),
        ({"options": {"dim": {"__import__": "os"}}}, "options: "),
        ({"options": {"likelihood": "gaussian"}}, "options: .*multiple values"),
        (
            {"options": {"global_dim": 3, "dim": 90_000}},
            r"of a LigHTDVAE of [\d,]+ numbers",
        ),
        ({"stft": {"rate": 1000}}, r"stft: \{'rate': 1000\}\n.*window_ms"),
        ({"stft": {"rate": 1000, "window_ms": 1, "hop_ms": 3}}, "STFT: a window of 1 samples"),
        ({"floor": float("nan")}, "floor: nan\n"),
        ({"floor": "x"}, "floor: 'x'\n"),
        ({"scheduled": 1}, "scheduled: 1\n"),
        ({"options": []}, r"options: \[\]\n"),
        ({"stft": {"rate": "x", "window_ms": 64, "hop_ms": 16}}, "rate: 'x'\n.*a whole number"),
        ({"stft": {"rate": 1000.5, "window_ms": 64, "hop_ms": 16}}, "rate: 1000.5\n"),
        ({"stft": {"rate": True, "window_ms": 64, "hop_ms": 16}}, "rate: True\n"),
        ({"stft": {"rate": 1000, "window_ms": None, "hop_ms": 16}}, "window_ms: None\n"),
        ({"stft": {"rate": 1000, "window_ms": 64, "hop_ms": [1]}}, r"hop_ms: \[1\]\n"),
        ({"options": {**ATTENTIVE, "forget": "x"}}, r"options: .*forget: saw 'x'"),
        ({"options": {**ATTENTIVE, "forget": 100}}, r"options: .*forget: saw 100"),
        ({"options": {**ATTENTIVE, "dropout": 7}}, "options: "),
        ({"options": {**ATTENTIVE, "heads": "two"}}, "options: "),
        ({"options": {**ATTENTIVE, "window": 0}}, "options: |window"),
    ],
)
def test_a_strangers_settings_are_not_trusted(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(CheckpointError, match=message):
        load_speech(forge(tmp_path, **changes))


def test_a_strangers_file_runs_no_code(tmp_path: Path) -> None:
    """Neither a pickle in disguise, nor a name to import, in whatever place of the header."""

    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "boom",)

    (tmp_path / FILE).write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(CheckpointError, match="a Python pickle, which could run code"):
        load_speech(tmp_path)
    torch.save(Bomb(), tmp_path / FILE)
    with pytest.raises(CheckpointError, match="a zip archive"):
        load_speech(tmp_path)
    assert not (tmp_path / "boom").exists()
    for name in ("os:system", "antigravity", "../evil", "LigHTDVAE.__class__"):
        forged = forge(tmp_path, header=name)
        with pytest.raises(CheckpointError, match="settings of a LigHTDVAE"):
            load_speech(forged)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_weight_that_is_no_number_is_named(tmp_path: Path, number: float) -> None:
    model, guide = pair("SRNN")
    with torch.no_grad():
        guide.encoder.context.weight[0, 0] = number
    save_speech(tmp_path, DESIGNS["SRNN"], model, guide)
    with pytest.raises(CheckpointError, match=r"guide\.encoder\.context\.weight holds 1 of \d+"):
        load_speech(tmp_path)


def test_a_file_cut_short_is_named(tmp_path: Path) -> None:
    saved(tmp_path)
    data = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(data[: len(data) // 2])
    with pytest.raises(CheckpointError, match="cut short or damaged"):
        load_speech(tmp_path)


def test_settings_that_no_model_takes_are_named() -> None:
    with pytest.raises(InputError, match="model: saw 'LightDVAE'\n.*\n.*did you mean LigHTDVAE"):
        Design("LightDVAE").pair()
    with pytest.raises(InputError, match=r"of the guide \{'layer': 1\}"):
        Design("HiTDVAE", guide_options={"layer": 1}, stft=STFT(1000)).pair()


def test_an_error_calls_the_model_what_the_caller_does() -> None:
    with pytest.raises(InputError, match="sources: saw 'nobody'"):
        load_speech("nobody", argument="sources")
