"""Options with another value than their default, each against what it says it does.

For those that no test of their module's own file tries; which those are, `python -m tools.options`
says, and `tests/tools/test_options.py` keeps the list.
"""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from guides.cvae import CVAEGuide
from guides.dvae.kvae import KVAEGuide
from guides.gaussian_mixture import GaussianMixtureGuide
from guides.mixdvae import MixDVAEGuide
from guides.multimodal import MVAEGuide
from guides.ppca import PPCAGuide
from inference.diagnostics import mutual_information, ppc
from inference.diagnostics.annealed_importance import annealed_log_partition
from inference.errors import PairError
from inference.metrics.disentanglement import factor_information, mig
from inference.metrics.frechet_speech import speech_features
from inference.objectives import Objective
from inference.objectives.penalties import critics
from inference.objectives.penalties.base import Codes
from inference.objectives.penalties.critics import FactorCritic, WassersteinCritic
from inference.objectives.penalties.ratio import DensityRatio
from inference.tasks.imputation import Imputation, impute
from inference.tasks.rate_distortion import rate_distortion
from inference.training.contrastive import fit_energy
from ppl_models.cvae import CVAE
from ppl_models.data.balls import bouncing_balls
from ppl_models.data.motchallenge import Boxes
from ppl_models.data.speech import sounds, spectra, speech_folder
from ppl_models.data.stft import STFT
from ppl_models.data.trajectories import to_object_frame
from ppl_models.dvae.kvae import KVAE
from ppl_models.dvae.srnn import SRNN
from ppl_models.gaussian_mixture import GaussianMixture
from ppl_models.mixdvae import MixDVAE
from ppl_models.multimodal import MultimodalVAE
from ppl_models.networks.mlp import ResidualMLP
from ppl_models.ppca import PPCA
from ppl_models.priors.simple import MixturePrior
from ppl_models.rbm import RBM
from ppl_models.text_vae import TextVAE

# --- models and guides ----------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [{}, {"concentration": 0.3, "scale": 4.0, "loc_scale": 2.0}])
def test_the_prior_of_a_mixture_is_the_one_that_was_asked_for(settings: dict[str, float]) -> None:
    asked = {"concentration": 2.0, "scale": 1.0, "loc_scale": 5.0, "scale_spread": 0.5} | settings
    nodes = poutine.trace(GaussianMixture(3, 2, **asked)).get_trace(size=1).nodes
    concentration = nodes["weights"]["fn"].concentration
    assert torch.equal(concentration, torch.full((3,), asked["concentration"]))
    widths = nodes["scales"]["fn"].base_dist
    assert torch.allclose(widths.base_dist.loc.exp(), torch.tensor(asked["scale"]))  # the median
    assert torch.allclose(widths.base_dist.scale, torch.tensor(asked["scale_spread"]))
    assert torch.allclose(nodes["locs"]["fn"].base_dist.scale, torch.tensor(asked["loc_scale"]))


def test_the_start_of_a_mixture_s_guide_is_that_of_its_clusters() -> None:
    """The mean's error is s / sqrt(n), and that of log s is 1 / sqrt(2 n), as for a normal."""
    x = torch.randn(500, 2) * torch.tensor([1.0, 3.0]) + 7
    guide = GaussianMixtureGuide(GaussianMixture(1, 2)).start_from(x)
    spread = x.std(0, correction=0)
    assert torch.allclose(guide.loc[0], x.mean(0), atol=1e-4)
    assert torch.allclose(guide.loc_log_scale[0].exp(), spread / 500**0.5, rtol=1e-3)
    assert torch.allclose(guide.scale_loc[0].exp(), spread, rtol=1e-3)
    assert torch.allclose(guide.scale_log_scale[0].exp(), torch.tensor(1000.0).rsqrt())
    assert guide.log_concentration.exp().item() == pytest.approx(501, rel=1e-4)


def test_lloyd_s_steps_move_centres_from_data_to_means() -> None:
    x = torch.cat([torch.randn(40, 2) - 4, torch.randn(60, 2) + 4])
    centres = [
        GaussianMixtureGuide(GaussianMixture(2, 2)).start_from(x, num_steps=steps).loc
        for steps in (0, 10)
    ]
    assert (centres[0][:, None] == x).all(-1).any(1).all()  # k-means++ takes data
    means = torch.stack([x[:40].mean(0), x[40:].mean(0)])
    assert torch.allclose(centres[1].sort(0).values, means, atol=1e-4)


def test_a_summed_mixture_prior_has_one_site_and_the_same_density() -> None:
    prior = MixturePrior(2, 3, summed=True)
    nodes = poutine.trace(prior).get_trace().nodes
    assert "component" not in nodes
    z = torch.randn(5, 2)
    each = dist.Normal(prior.loc, prior.log_scale.exp()).log_prob(z[:, None]).sum(-1)
    assert torch.allclose(prior.log_prob(z), each.logsumexp(-1) - math.log(3))


def widths(network: nn.Module) -> list[int]:
    """The sizes of the outputs of a network's linear layers."""
    return [part.out_features for part in network.modules() if isinstance(part, nn.Linear)]


def test_networks_have_the_layers_that_were_asked_for() -> None:
    conditional = CVAE(5, 2, 3, hidden_dims=(7, 6))
    assert widths(conditional.decoder) == [7, 6, 5]
    assert widths(CVAEGuide(conditional).encoder) == [6, 7, 6]  # in reverse, two numbers a latent
    assert widths(CVAEGuide(conditional, hidden_dims=(4,)).encoder) == [4, 6]
    several = MultimodalVAE({"a": 5, "b": 4}, 2, hidden_dims=(7,))
    assert widths(several.decoders["b"]) == [7, 4]
    assert widths(MVAEGuide(several, hidden_dims=(8, 9)).encoders["a"]) == [8, 9, 4]
    assert MixDVAEGuide(MixDVAE(SRNN()), nn.Identity(), hidden_dim=5).rnn.hidden_size == 5
    assert TextVAE(6, 3).recurrence.cell.input_size == 16 + 3
    assert widths(KVAEGuide(KVAE(5), hidden_dims=(9,)).encoder)[0] == 9
    kinds = [type(m) for m in ResidualMLP(2, 4, 4, 1, activation=nn.Tanh).modules()]
    assert nn.Tanh in kinds and nn.SiLU not in kinds


# --- data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("aspect", [1.0, 2.0])
def test_a_path_in_its_own_frame_is_measured_by_its_first_box(aspect: float) -> None:
    first, later = torch.tensor([0.1, 0.9, 0.3, 0.4]), torch.tensor([0.2, 0.8, 0.6, 0.7])
    found = to_object_frame(torch.stack([first, later])[None], aspect=aspect)[0]
    # by hand: heights 0.5 and 0.1, widths 0.2 and 0.4, centres (0.2, 0.65) and (0.4, 0.75); y down
    expected = [0.2 * aspect / 0.5, -0.1 / 0.5, math.log(2), math.log(0.2)]
    assert torch.allclose(found[0], torch.zeros(4), atol=1e-6)
    assert torch.allclose(found[1], torch.tensor(expected), atol=1e-5)


def test_balls_have_the_speed_and_the_box_that_were_asked_for() -> None:
    balls = bouncing_balls(40, length=6, side=30, radius=3.0, speed=(0.1, 0.2))
    steps = balls[1].diff(dim=1).norm(dim=-1)
    assert balls[0].shape == (40, 6, 900)
    assert steps.max() <= 0.2 + 1e-5 and (steps >= 0.1 - 1e-5).float().mean() > 0.9  # but at walls
    assert balls[1].min() >= 3 - 1e-5 and balls[1].max() <= 27 + 1e-5
    assert balls[1].max() > 20  # the whole box is used


def test_detections_are_dropped_below_the_least_score() -> None:
    score = torch.tensor([0.1, 0.3, 0.5, 0.9]).double().numpy()
    ones = torch.arange(4).numpy()
    boxes = Boxes(ones + 1, 0 * ones - 1, torch.ones(4, 4).double().numpy(), score, "file")
    kept = {least: len(boxes.confident(least)) for least in (0.05, 0.3, 0.6, 0.95)}
    assert kept == {0.05: 4, 0.3: 3, 0.6: 1, 0.95: 0} and len(boxes.confident()) == 3


def test_sounds_are_of_the_rate_and_the_channel_that_were_asked_for(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile", reason="reading sound needs the extra [audio]")
    left, right = (torch.randn(8000, generator=torch.Generator().manual_seed(i)) for i in (0, 1))
    (tmp_path / "ann").mkdir()
    both = 0.1 * torch.stack([left, right], 1)
    soundfile.write(tmp_path / "ann" / "0.wav", both.numpy(), 8000, subtype="FLOAT")
    (one,) = speech_folder(tmp_path, validation=0.0, test=0.0).train
    how: dict[str, Any] = {"trim_db": None, "scale": False}
    assert torch.allclose(sounds([one], 8000, channel=1, **how)[0], 0.1 * right)
    assert torch.allclose(sounds([one], 8000, channel="mix", **how)[0], both.mean(1))
    assert len(sounds([one], 4000, channel=0, resample=True, **how)[0]) == 4000
    stft = STFT(8000, 32, 8)
    assert torch.allclose(spectra([one], stft, channel=0, **how)[0], stft.power(0.1 * left))


@pytest.mark.parametrize("bins", [2, 20])
def test_information_of_a_code_is_at_most_that_of_its_bins(bins: int) -> None:
    """A code that is the factor, of 8 values: of it two bins of equal width know one bit."""
    factor = torch.arange(8.0).repeat(50)[:, None]
    codes = torch.cat([factor, 0 * factor], 1)
    assert factor_information(codes, factor, bins)[0, 0].item() == pytest.approx(
        math.log(min(bins, 8)), abs=1e-6
    )
    assert mig(codes, factor, bins) == pytest.approx(math.log(min(bins, 8)) / math.log(8))


@pytest.mark.parametrize("rate", [8000, 16000])
def test_features_of_speech_take_windows_of_half_a_second_at_any_rate(rate: int) -> None:
    """Windows of 0.512 s every 0.256 s: of 2 s some six, whatever the rate."""
    wave = torch.randn(2 * rate, generator=torch.Generator().manual_seed(0))
    features = speech_features(wave, rate)
    assert features.shape == (6, 145) and features.isfinite().all()


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
def test_griffin_lim_goes_on_in_the_direction_of_its_last_step(momentum: float) -> None:
    """Perraudin et al. 2013, algorithm 1, by hand, for three steps."""
    stft = STFT(1000)
    wave = torch.randn(500, generator=torch.Generator().manual_seed(1)).double()
    power = stft.power(wave)
    noise = torch.rand(power.shape, generator=torch.Generator().manual_seed(5), dtype=power.dtype)
    c = torch.polar(power.sqrt(), 2 * math.pi * noise)
    t = torch.zeros_like(c)
    for _ in range(3):
        before, t = t, stft.analyse(stft.invert(c))
        c = torch.polar(power.sqrt(), (t + momentum * (t - before)).angle())
    found = stft.griffin_lim(power, 3, momentum, seed=5)
    assert torch.allclose(found, stft.invert(c))


# --- objectives and training ----------------------------------------------------------------------


@pytest.mark.parametrize("gradient_penalty", [0.5, 10.0])
def test_the_penalty_on_slopes_weighs_what_exceeds_one(
    gradient_penalty: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A linear critic of slope 3 pays (3 - 1)^2, anywhere; one of slope 0.5 pays nothing."""
    critic = WassersteinCritic(1.0, gradient_penalty=gradient_penalty)
    z, prior = torch.randn(6, 2), torch.randn(6, 2)
    monkeypatch.setattr(critics, "prior_draws", lambda pair, codes: prior)
    for slope, excess in ((3.0, 4.0), (0.5, 0.0)):
        net = nn.Linear(2, 1)
        with torch.no_grad():
            net.weight.copy_(torch.tensor([[slope, 0.0]]))
        loss = critic.loss(net, None, Codes("z", z, None), 0) - net(prior).mean() + net(z).mean()
        assert loss.item() == pytest.approx(gradient_penalty * excess, abs=1e-4)


@pytest.mark.parametrize("persistent", [True, False])
def test_chains_of_an_energy_are_as_many_and_as_long_as_asked(persistent: bool) -> None:
    class Count(nn.Module):
        """An energy whose chains count their steps."""

        def __init__(self) -> None:
            super().__init__()
            self.level = nn.Parameter(torch.zeros(()))

        def free_energy(self, x: Tensor) -> Tensor:
            return self.level * x[:, 0]

        def transition(self, x: Tensor) -> Tensor:
            return x + 1

    x = torch.zeros(20, 1)
    how: dict[str, Any] = {"epochs": 2, "batch_size": 5, "steps": 3, "chains": 7}
    run = fit_energy(Count(), x, persistent=persistent, **how)
    # four batches an epoch: eight steps of training, of three transitions each
    assert run.chains.shape == ((7, 1) if persistent else (5, 1))
    assert (run.chains == (24 if persistent else 3)).all()
    same, other = (
        fit_energy(RBM(3, 2), (torch.rand(9, 3) < 0.5).float(), epochs=1, seed=s).chains
        for s in (0, 1)
    )
    assert same.shape == other.shape == (100, 3) and not torch.equal(same, other)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("make", [FactorCritic, DensityRatio])
def test_a_critic_takes_as_many_steps_as_asked(make: Any, steps: int) -> None:
    first = nn.Linear(2, 1) if make is DensityRatio else 1.0
    critic, taken = make(first, steps=steps), list[int]()
    critic.loss = lambda net, pair, codes, lap: taken.append(lap) or net(codes.z).mean()
    critic.codes = lambda pair: Codes("z", torch.randn(6, 2), None)
    critic._find = lambda model: None
    critic.learn(SimpleNamespace(model=None))
    assert taken == list(range(steps))


@pytest.mark.parametrize(
    "make", [FactorCritic, lambda w, site: DensityRatio(nn.Linear(2, 1), site=site)]
)
def test_a_penalty_is_about_the_site_that_was_named(make: Any) -> None:
    def node(size: int) -> dict[str, Any]:
        fn = dist.Normal(torch.zeros(5, size), 1.0).to_event(1)
        return {"fn": fn, "value": torch.randn(5, size), "mask": None}

    pair = SimpleNamespace(q={"u": node(3), "v": node(2)}, batch=5)
    assert make(1.0, site="v").codes(pair).z is not None
    assert torch.equal(make(1.0, site="v").codes(pair).z, pair.q["v"]["value"])
    with pytest.raises(PairError, match="one to penalise"):
        make(1.0, site=None).codes(pair)


# --- diagnostics and tasks ------------------------------------------------------------------------


def pair_of(x: Tensor) -> tuple[PPCA, PPCAGuide]:
    """PPCA of the data, with the guide that is its posterior."""
    model = PPCA(x.shape[1], 1).fit_exact(x)
    return model, PPCAGuide(model)


def test_an_interval_has_the_probability_that_was_asked_for() -> None:
    draws = torch.linspace(0, 1, 1001).double()[:, None]
    imputed = Imputation({"x": draws}, {"x": torch.ones(1, dtype=torch.bool)})
    for probability in (0.5, 0.9):
        low, high = imputed.interval("x", probability)
        ends = (1 - probability) / 2, (1 + probability) / 2
        assert (low.item(), high.item()) == pytest.approx(ends)


def test_imputed_draws_are_of_the_seed_whatever_the_chunk() -> None:
    x = torch.randn(12, 3)
    model, guide = pair_of(x)
    mask = torch.rand(12, 3) < 0.7
    found = [
        impute(model, guide, x, mask, num_samples=20, chunk=chunk, seed=seed).draws["x"]
        for chunk, seed in ((None, 0), (None, 0), (3, 0), (None, 1))
    ]
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[3])
    for draws in found:
        assert draws.shape == (20, 12, 3) and torch.equal(draws[:, mask], x[mask].expand(20, -1))


def test_checks_and_information_are_of_their_seed() -> None:
    x = torch.randn(12, 3)
    pair = pair_of(x)
    for make in (
        lambda seed: ppc(*pair, x, statistic="mean", num_samples=10, seed=seed)["x", "mean"],
        lambda seed: mutual_information(*pair, x, seed=seed),
    ):
        first, again, other = (make(seed) for seed in (0, 0, 1))
        numbers = [
            getattr(found, "nats", None) or found.replicates for found in (first, again, other)
        ]
        assert torch.equal(*map(torch.as_tensor, numbers[:2]))
        assert not torch.equal(torch.as_tensor(numbers[0]), torch.as_tensor(numbers[2]))
    chunked = ppc(*pair, x, num_samples=10, chunk=3)["x", "mean"]
    assert len(chunked.replicates) == 10 and len(set(chunked.replicates.tolist())) == 10


def test_a_normaliser_s_estimate_is_of_its_seed() -> None:
    model = RBM(4, 3)
    first, again, other = (
        annealed_log_partition(model, temperatures=5, chains=8, seed=seed) for seed in (0, 0, 1)
    )
    assert first == again and first != other


def test_members_of_a_sweep_are_judged_by_the_data_that_were_given_for_it() -> None:
    x, test = torch.randn(30, 3), 3 * torch.randn(30, 3)

    def make() -> tuple[PPCA, PPCAGuide]:
        model = PPCA(3, 1)
        return model, PPCAGuide(model)

    how: dict[str, Any] = {"betas": (1.0,), "epochs": 1, "progress": False, "seed": 4}
    own, other = (rate_distortion(make, x, test=t, **how).points[0] for t in (None, test))
    assert own.distortion == own.train_distortion
    assert other.distortion > own.distortion + 1
    # the same training data in another order, with other draws: their noise is some 0.05
    assert other.train_distortion == pytest.approx(own.train_distortion, abs=0.3)
    again = rate_distortion(make, x, **{**how, "seed": 5}).points[0]
    assert again.distortion != own.distortion
    many = Objective("trace", num_particles=3)
    assert rate_distortion(make, x, objective=many, **how).points[0].distortion != own.distortion
