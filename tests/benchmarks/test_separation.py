from __future__ import annotations

import itertools
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import mixit, separation, separation_rows
from benchmarks.bin_kalman import bin_kalman
from benchmarks.factor_rows import FLAT, explained, factored, fitted, temporal
from benchmarks.kept import Kept, mean, wins
from benchmarks.separation_scores import LEVELS, SOURCES, judged, regions
from benchmarks.sound_sets import SoundSets
from inference.metrics import ideal_ratio_mask
from inference.randomness import seeded
from ppl_models.audio import NMF
from ppl_models.data import Mix, mix


def tones(count: int = 2, samples: int = 1024) -> Mix:
    """Two tones far from each other."""
    time = torch.arange(samples) / 16000
    low, high = (torch.sin(2 * torch.pi * hertz * time).expand(count, -1) for hertz in (500, 4000))
    return mix(low, high, -3.0)


def noise(*shape: int) -> torch.Tensor:
    return torch.view_as_complex(torch.randn(*shape, 2, dtype=torch.float64))


def test_what_is_kept_is_not_made_again_unless_it_is_asked_for(tmp_path: Path) -> None:
    made = itertools.count()
    for _ in range(2):
        assert Kept(tmp_path).result("a | b +5", lambda: {"n": next(made)}) == {"n": 0}
    assert Kept(tmp_path, ["a"]).result("a | b +5", lambda: {"n": next(made)}) == {"n": 1}
    (tmp_path / "c.part").write_text("{half")
    assert Kept(tmp_path).result("c", lambda: {"n": 7}) == {"n": 7}


def test_means_leave_out_what_is_not_defined() -> None:
    assert mean([1.0, float("nan"), 3.0, None]) == 2 and np.isnan(mean([]))
    assert wins([1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 1.0, 5.0]) == 0.5


@pytest.mark.parametrize("memory", [0.0, 0.9])
def test_of_one_source_the_kalman_filter_is_conditioning_of_a_dense_gaussian(memory: float) -> None:
    o, v = noise(6, 3), torch.rand(1, 6, 3).double() + 0.1
    found = bin_kalman(o, v, memory=memory, share=0.5)[0]
    steps = memory ** torch.arange(6).double()
    for f in range(3):
        # s_t = sum_u<=t memory^(t-u) e_u, so that the covariance of s is A diag(v) A'
        a = torch.stack(
            [torch.cat([steps[: t + 1].flip(0), steps.new_zeros(5 - t)]) for t in range(6)]
        )
        prior = a @ v[0, :, f].diag() @ a.T
        for t in range(6):  # a filter knows frames up to t
            seen = prior[: t + 1, : t + 1] + (0.5 * o[: t + 1, f].abs() ** 2).diag()
            weights = torch.linalg.solve(seen, prior[: t + 1, t])
            assert torch.allclose((weights * o[: t + 1, f]).sum(), found[t, f], atol=1e-10)


def test_of_two_sources_the_louder_one_owns_the_bin_and_equals_share_it() -> None:
    o = noise(4, 5)
    v = torch.stack([torch.full((4, 5), 10.0), torch.full((4, 5), 1e-4)]).double()
    loud, soft = bin_kalman(o, v)
    assert (loud - o).abs().max() < 0.05 * o.abs().max() and soft.abs().max() < 0.02
    assert torch.equal(*bin_kalman(o, torch.ones(2, 4, 5).double()))


def test_mixit_takes_the_best_of_the_sixteen_ways() -> None:
    mixtures, sounds = noise(3, 2, 4, 5), noise(3, 4, 4, 5)
    found = mixit.loss(mixtures, sounds)
    for b in range(3):
        losses = []
        for way in itertools.product((0, 1), repeat=4):
            total = 0.0
            for m in range(2):
                x = mixtures[b, m]
                given = sum((sounds[b, s] for s in range(4) if way[s] == m), torch.zeros_like(x))
                power, error = x.abs().square().sum(), (x - given).abs().square().sum()
                total += float(10 * ((error + mixit.MOST * power) / power).log10())
            losses.append(total)
        assert float(found[b]) == pytest.approx(min(losses), abs=1e-9)


def test_mixit_s_loss_of_perfect_sounds_is_that_of_its_threshold() -> None:
    sounds = noise(2, 4, 3, 5)
    mixtures = torch.stack([sounds[:, 0] + sounds[:, 2], sounds[:, 1] + sounds[:, 3]], 1)
    assert mixit.loss(mixtures, sounds).tolist() == pytest.approx([-60.0, -60.0])


def test_mixit_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(mixit, "MaskNetwork", lambda bins: MASKS(7, 4))
    monkeypatch.setattr(mixit, "example", lambda sets, step: bins_of(step))
    whole = mixit.train(SETS, tmp_path / "whole.pt", 1e6, steps=4).state_dict()
    mixit.train(SETS, tmp_path / "parts.pt", 1e6, steps=4 // 2)
    stopped = torch.load(tmp_path / "parts.pt", weights_only=True)
    assert stopped["step"] == 2 and stopped["seconds"] > 0
    again = mixit.train(SETS, tmp_path / "parts.pt", 1e6, steps=4).state_dict()
    # the rate's fall begins later where the end is later: both are at 1 until 3 of 4
    assert all(torch.allclose(whole[name], again[name], atol=5e-3) for name in whole)
    spent = mixit.train(SETS, tmp_path / "parts.pt", stopped["seconds"] / 60 / 2, steps=100)
    assert all(torch.equal(spent.state_dict()[name], again[name]) for name in whole)


MASKS, SETS = mixit.MaskNetwork, SoundSets(Path("nowhere"))


def bins_of(step: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.view_as_complex(torch.randn(3, 2, 6, 7, 2, generator=generator))


def test_the_best_split_of_perfect_sounds_is_the_sources() -> None:
    mixed = tones()

    class Perfect(torch.nn.Module):
        def forward(self, powers: torch.Tensor) -> torch.Tensor:
            shares = ideal_ratio_mask(separation_rows._STFT.power(mixed.parts).transpose(0, 1))
            low, high = shares
            return torch.stack([0.5 * high, low, 0 * low, 0.5 * high], -2)

    found = mixit.separated(Perfect(), mixed.mixture, mixed.parts)  # type: ignore[arg-type]
    scores = judged(lambda _: separation_rows.Estimates(found), mixed, perceptual=False)
    assert min(scores["speech"]["si_sdr"] + scores["flute"]["si_sdr"]) > 20


def test_nmf_of_a_mixture_climbs_and_tells_its_sources() -> None:
    with seeded(0), torch.no_grad():
        models = [NMF(6, 2), NMF(6, 3)]
        for n, model in enumerate(models):  # each has its half of the bins
            model.log_weights[:, 3 * n : 3 * n + 3] += 6
        h = [4 * torch.rand(8, m.num_components) for m in models]
        true = torch.stack([m.variances({"h": a}) for m, a in zip(models, h, strict=True)])
        power = true.sum(0)
    for pair in (models, temporal(models, (0.01, 0.02))):
        values = [explained(pair, power, n)[1] for n in range(0, 12, 2)]
        assert all(b >= a - 1e-4 for a, b in itertools.pairwise(values))
    with torch.no_grad():
        for model in models:
            model.log_rate.fill_(FLAT)
    v, _ = explained(models, power, 500)
    # their spectra hardly overlap (e^-6): what is left is how far the updates are from their end
    assert ((v - true).abs() < 0.05 * true.max()).all()


def test_spectra_are_learned_of_a_flat_prior() -> None:
    power = torch.rand(30, 2, generator=torch.Generator().manual_seed(0)) @ torch.eye(2, 4)
    power = power + 1e-6
    one, two = (fitted(power, 2, n) for n in (5, 100))
    fits = [m.log_joint(power, m.activations(power, iterations=100)).item() for m in (one, two)]
    assert fits[1] > fits[0] and float(two.rate.detach()) < 1e-12
    assert (two.weights[:, :2].sum(-1) > 0.9999).all()  # there is nothing in the other bins
    assert torch.equal(fitted(power, 2, 5).weights, one.weights)


def test_the_objective_of_two_factor_models_counts_the_fit_once() -> None:
    models = [NMF(5, 2), NMF(5, 3)]
    power = torch.rand(4, 5)
    one = NMF(5, 5)
    with torch.no_grad():
        for model in (*models, one):
            model.log_rate.zero_()
        one.log_weights.copy_(torch.cat([m.log_weights for m in models]))
        h = torch.cat([m.activations(power / 2, iterations=0) for m in models], -1)
        found, whole = explained(models, power, 0)[1], one.log_joint(power, h)
    assert float(found) == pytest.approx(float(whole), rel=1e-5)


def test_factored_sounds_sum_to_the_mixture() -> None:
    mixed = tones()
    with seeded(0):
        found = factored([NMF(513, 2), NMF(513, 2)], iterations=2)(mixed)
    assert torch.allclose(found.waves.sum(1), mixed.mixture, atol=1e-5)
    assert found.objective is not None and found.objective.shape == (2,)


def test_rows_are_those_whose_sources_are_trained(tmp_path: Path) -> None:
    for name in (
        "speech-RVAE",
        "flute-RVAE.safetensors",
        "speech-SRNN",
        "flute-SRNN",
        "speech-DKF",
    ):
        (tmp_path / name).touch()
    made = separation_rows.rows(SETS, tmp_path, tmp_path)
    assert {"MixDVAE", "DVAE-init", "VKF-DVAE-init", "own RVAE", "add RVAE", "add SRNN"} <= set(
        made
    )
    assert not {"Deep AR", "MixIT", "own DKF", "add DKF"} & set(made)
    (tmp_path / "mixit.pt").touch()
    assert "MixIT" in separation_rows.rows(SETS, tmp_path, tmp_path / "none")


def test_the_table_is_printed_kept_and_printed_again(
    tmp_path: Path, monkeypatch: Any, capsys: Any
) -> None:
    drawn = []

    def mixtures(self: SoundSets, part: str, frames: int, ratio: float, count: int) -> Mix:
        drawn.append((part, frames, ratio, count))
        return tones(count)

    monkeypatch.setattr(SoundSets, "mixtures", mixtures)
    command = [
        "data",
        "--out",
        str(tmp_path),
        "--T",
        "5",
        "--ratios",
        "0",
        "--count",
        "2",
        "--fast",
    ]
    command += ["--only", "mixture", "oracle Wiener"]
    monkeypatch.setattr(separation, "RIVAL", "mixture")
    for _ in range(2):
        separation.main(command)
        told = capsys.readouterr()
        lines = told.out.splitlines()
        assert "T=5, +0 dB, 2 mixtures" in lines
        wiener = next(one for one in lines if one.startswith("oracle Wiener"))
        assert wiener.endswith("100 | 100")
    assert drawn == [("test", 5, 0.0, 2)]
    assert "oracle Wiener" in lines[-1] and lines[-1].count("wins 100 %") == 2


def test_scores_are_those_of_each_source() -> None:
    mixed = tones(1)
    found = judged(lambda m: separation_rows.Estimates(m.parts), mixed, perceptual=False)
    other = judged(lambda m: separation_rows.Estimates(m.parts.flip(1)), mixed, perceptual=False)
    for source in SOURCES:
        assert found[source]["si_sdr"][0] > 100 > 0 > other[source]["si_sdr"][0]
    assert found["sound"] == 1024 / 16000 and found["bound"] is None


def test_regions_of_the_true_posterior_hold_what_they_say() -> None:
    generator = torch.Generator().manual_seed(0)
    variance = torch.rand(40, 500, generator=generator) + 0.1
    mean, spread = torch.view_as_complex(torch.randn(2, 40, 500, 2, generator=generator))
    truth = mean + spread * (variance / 2).sqrt()  # re and im of ``spread`` have variance 1 each
    # shares of 20,000 bins: an error of at most sqrt(0.25 / 20000) = 0.0035
    assert regions(mean, variance, truth) == pytest.approx(LEVELS, abs=4 * 0.0035)
    assert regions(mean, 4 * variance, truth)[0] > 0.9 > 0.3 > regions(mean, variance / 4, truth)[0]


def test_a_posterior_s_regions_are_printed(monkeypatch: Any) -> None:
    mixed = tones(2)
    bins = separation_rows._STFT.analyse(mixed.parts)

    def separate_many(waves: list[torch.Tensor], sources: Any, **settings: Any) -> list[Any]:
        assert settings["share"] == "own" and len(waves) == 2
        return [
            SimpleNamespace(
                waves=mixed.parts[n],
                mean=bins[n],
                variance=torch.ones(bins[n].shape),
                bound=torch.tensor(3.0 + n),
                bound_error=torch.tensor(0.1 if settings["settings"] is None else torch.nan),
            )
            for n in range(2)
        ]

    module = ModuleType("inference.tasks.separation")
    module.separate_many = separate_many  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "inference.tasks.separation", module)
    found = judged(separation_rows.posterior(SOURCES, "own"), mixed, perceptual=False)
    assert found["bound"] == [3.0, 4.0] and found["objective"] is None
    plug_in = judged(separation_rows.posterior(SOURCES, "own", "x"), mixed, perceptual=False)
    assert plug_in["bound"] is None and plug_in["objective"] == [3.0, 4.0]
    told = separation.coverage([{"ours": found, "mixture": plug_in}], ["ours"])
    assert "50, 80, 95 %" in told and told.splitlines()[-1].split("|")[0].split() == [
        "ours",
        *["100.0"] * 3,
    ]
