"""Defaults and initial values that come from somewhere: a paper, its code, or a definition.

One row each: whose default, which, its value, and the source. Whoever changes one of these changes
what users get who do not ask, and should be able to say why. All other defaults stand in
`tests/defaults.txt` (`python -m tools.defaults`).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch

from guides import MixDVAEGuide, SRNNGuide
from inference.diagnostics import collapse, pareto, sbc_plots, units
from inference.metrics import tracking
from inference.objectives.penalties import aggregated, correlation, critics
from inference.objectives.target_rate import TargetRate
from inference.schedules import cosine, cyclical, linear
from inference.tasks.speech.recipes import Recipe
from inference.training.aggressive import Aggressive
from inference.training.contrastive import fit_energy
from ppl_models import HMM, KVAE, LDS, RBM, SLDS, SRNN, VAE, GaussianMixture, MixDVAE
from ppl_models.data.sound import trim
from ppl_models.data.stft import STFT
from ppl_models.data.trajectories import ABSCISSA, ORDINATE, WIDTH, Coordinate
from ppl_models.dvae import SamplingSchedule
from ppl_models.likelihoods import Gaussian, Laplace
from ppl_models.networks import MLP
from ppl_models.priors import MixturePrior, VampPrior

ROWS: list[tuple[Callable[..., Any], str, Any, str]] = [
    (Laplace, "scale", 0.75, "Shi et al. 2019, their code: the scale of MMVAE's images"),
    (STFT, "window_ms", 64, "Bie et al. 2021, section 3"),
    (STFT, "hop_ms", 16, "Bie et al. 2021, section 3: a quarter of the window"),
    (STFT.griffin_lim, "momentum", 0.99, "Perraudin et al. 2013, section 4, and librosa"),
    (trim, "top_db", 30.0, "Bie et al. 2021, their code: librosa's trim with 30 dB"),
    (KVAE, "start_scale", math.sqrt(20.0), "Fraccaro et al. 2017, their code: init_cov 20"),
    (KVAE, "process_scale", math.sqrt(0.08), "Fraccaro et al. 2017, their code: noise 0.08"),
    (KVAE, "noise_scale", math.sqrt(0.03), "Fraccaro et al. 2017, their code: noise 0.03"),
    (KVAE, "num_modes", 3, "Fraccaro et al. 2017, section 5.1: K = 3"),
    (KVAE, "latent_dim", 4, "Fraccaro et al. 2017, section 5.1: four states of a ball"),
    (KVAE, "pseudo_dim", 2, "Fraccaro et al. 2017, section 5.1: two coordinates of a ball"),
    (KVAE, "recurrent_dim", 50, "Fraccaro et al. 2017, section 5.1: an LSTM of 50 units"),
    (SRNNGuide, "causal", True, "Lin et al. 2023, section 4: z_t from s_{1:t}"),
    (SRNNGuide, "smooth", False, "Lin et al. 2023: the E-S step filters"),
    (TargetRate, "step", 0.01, "Dieleman et al. 2021, section 3.2: delta"),
    (TargetRate, "tolerance", 0.01, "Dieleman et al. 2021, section 3.2: epsilon"),
    (cyclical, "ratio", 0.5, "Fu et al. 2019, section 3: R = 0.5"),
    (linear, "start", 0.0, "Bowman et al. 2016, section 3.1: from 0"),
    (linear, "end", 1.0, "Bowman et al. 2016, section 3.1: to 1"),
    (cosine, "end", 0.0, "Loshchilov and Hutter 2017, section 4: to 0"),
    (Aggressive, "most", 100, "He et al. 2019, their code: 100 steps at most"),
    (Aggressive, "check", 10, "He et al. 2019, their code for images: blocks of 10"),
    (Aggressive, "patience", 1, "He et al. 2019, section 4.2: ends at the first drop"),
    (aggregated.MMD, "kernel", "imq", "Tolstikhin et al. 2018, section 4"),
    (
        aggregated.MMD,
        "scales",
        (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
        "Tolstikhin et al. 2018, their code: C = 2 d sigma^2 times these",
    ),
    (aggregated.SlicedWasserstein, "p", 2.0, "Kolouri et al. 2019, equation 8"),
    (correlation.Decomposition, "estimator", "mws", "Chen et al. 2018, section 4.1"),
    (critics.WassersteinCritic, "gradient_penalty", 10.0, "Gulrajani et al. 2017, algorithm 1"),
    (critics.WassersteinCritic, "critic_steps", 5, "Gulrajani et al. 2017, algorithm 1"),
    (critics.FactorCritic, "learning_rate", 1e-4, "Kim and Mnih 2018, appendix A"),
    (VampPrior, "bounds", (0.0, 1.0), "Tomczak and Welling 2018, their code: pixels in [0, 1]"),
    (Recipe, "kl_weight", 0.01, "Lin et al. 2023, HiT-DVAE's own code: beta 0.01"),
    (Recipe, "piece", 50, "Bie et al. 2021, section 3: sequences of 50 frames"),
    (fit_energy, "steps", 1, "Hinton 2010, section 4: CD-1"),
]


@pytest.mark.parametrize(
    ("owner", "name", "value", "source"), ROWS, ids=[f"{o.__qualname__}.{n}" for o, n, *_ in ROWS]
)
def test_a_default_is_that_of_its_source(
    owner: Callable[..., Any], name: str, value: Any, source: str
) -> None:
    found = inspect.signature(owner).parameters[name].default
    same = found == value or (isinstance(value, float) and found == pytest.approx(value))
    assert same, f"{found!r} in place of {value!r}: {source}"


CONSTANTS = [
    (VampPrior.MARGIN, 0.01, "a hundredth of the range inside, as VampPrior's docstring says"),
    (units.ACTIVE, 0.01, "an active unit: Burda et al. 2016, section 5.2"),
    (collapse.COLLAPSED, 0.1, "nats below which a latent carries nothing: CollapseReport"),
    (pareto._FEW, 5, "a tail that can be fitted: Vehtari et al. 2024"),
    (sbc_plots._LEVEL, 0.95, "the band of 95 %: SBC.plot"),
    (tracking.LEAST_OVERLAP, 0.5, "MOTChallenge: an overlap of a half is a match"),
    (
        ABSCISSA,
        Coordinate((0.15, 0.30, 0.30, 0.25), 0.00125, 0.000037, 0.003, 3.2, 2),
        "Lin et al. 2023, their generator: x1",
    ),
    (
        ORDINATE,
        Coordinate((0.15, 0.30, 0.30, 0.25), 0.0006, 0.00002, 0.001, 3.2, 2),
        "Lin et al. 2023, their generator: y1",
    ),
    (
        WIDTH,
        Coordinate((0.25, 0.60, 0.15, 0.0), 0.00032, 0.00001, splits=0),
        "Lin et al. 2023, their generator: width",
    ),
]


@pytest.mark.parametrize(("found", "value", "source"), CONSTANTS, ids=[c[2] for c in CONSTANTS])
def test_a_constant_is_that_of_its_source(found: Any, value: Any, source: str) -> None:
    assert found == value, source


INITIAL: list[tuple[str, Callable[[], Any], Any]] = [
    ("HMM: states last a little", lambda: HMM(2, 3).transition_logits, 2 * torch.eye(3)),
    ("HMM: every state may be first", lambda: HMM(2, 3).initial_logits, torch.zeros(3)),
    ("HMM: scale 1", lambda: HMM(2, 3).emission[:, 2:], torch.zeros(3, 2)),
    ("LDS: near a random walk", lambda: LDS(2, 3).transition, 0.9 * torch.eye(3)),
    ("LDS: small noise of a step", lambda: LDS(2, 3).process_log_scale, -torch.ones(3)),
    ("LDS: small noise of a frame", lambda: LDS(2, 3).noise_log_scale, -torch.ones(2)),
    ("LDS: z_1 is standard", lambda: LDS(2, 3).initial_log_scale, torch.zeros(3)),
    ("SLDS: regimes last a while", lambda: SLDS(2, 2, 2).switch_logits, 3 * torch.eye(2)),
    ("SLDS: small noise of a step", lambda: SLDS(2, 1, 2).process_log_scale, -torch.ones(2, 1)),
    ("SLDS: small noise of a frame", lambda: SLDS(2, 1).noise_log_scale, -torch.ones(2)),
    ("Gaussian: scale 1", lambda: Gaussian(3).log_scale, torch.zeros(())),
    ("VAE: a learned scale starts at 1", lambda: VAE(3, 2).likelihood.log_scale, torch.zeros(())),
    ("MixturePrior: equal weights", lambda: MixturePrior(2, 3).logits, torch.zeros(3)),
    ("MixturePrior: scale 1", lambda: MixturePrior(2, 3).log_scale, torch.zeros(3, 2)),
    ("KVAE: B starts at 0", lambda: KVAE(2, feedback=True).control, torch.zeros(3, 4, 2)),
    ("RBM: biases start at 0", lambda: RBM(4, 3).hidden_bias, torch.zeros(3)),
    ("GaussianMixture: scale 1", lambda: GaussianMixture(2, 2).log_scale, torch.zeros(2, 2)),
    ("TargetRate: weight 1", lambda: TargetRate(1.0).weight, 1.0),
    ("a guide's shift is attention's", lambda: mixdvae_guide().head.weight, torch.zeros(8, 32)),
]


def mixdvae_guide() -> MixDVAEGuide:
    """The guide of two objects' tracks."""
    prior = SRNN()
    return MixDVAEGuide(MixDVAE(prior), SRNNGuide(prior))


@pytest.mark.parametrize(("what", "make", "value"), INITIAL, ids=[row[0] for row in INITIAL])
def test_a_parameter_starts_where_it_is_said_to(
    what: str, make: Callable[[], Any], value: Any
) -> None:
    assert torch.equal(torch.as_tensor(make()), torch.as_tensor(value)), what


SPREADS: list[tuple[str, Callable[[], torch.Tensor], float]] = [
    ("SLDS: 0.1 about 0.9", lambda: SLDS(2, 40, 4).transition - 0.9 * torch.eye(40), 0.1),
    ("KVAE: A is near the identity", lambda: KVAE(2, 2, 40).transition - torch.eye(40), 0.05),
    ("KVAE: C is near 0", lambda: KVAE(2, 40, 40).emission, 0.05),
    ("RBM of bits: small couplings", lambda: RBM(80, 80).weight, 0.1),
    ("RBM of real numbers: a mixture", lambda: RBM(80, 80, kind="real").weight, 1.0),
    ("LDS: emissions of variance 1", lambda: LDS(80, 80).emission, 80**-0.5),
    ("MixturePrior: means of N(0, I)", lambda: MixturePrior(80, 80).loc, 1.0),
]


@pytest.mark.parametrize(("what", "make", "spread"), SPREADS, ids=[row[0] for row in SPREADS])
def test_initial_weights_have_the_spread_they_are_said_to(
    what: str, make: Callable[[], torch.Tensor], spread: float
) -> None:
    """Of 3,200 numbers or more: four standard errors of a standard deviation are 5 %."""
    assert make().std().item() == pytest.approx(spread, rel=0.05), what


def test_the_tracking_model_has_the_size_of_the_paper_s() -> None:
    """Lin et al. 2023: SRNN with its guide; 1,540 parameters, as the docstring says."""
    model = SRNN()
    count = sum(p.numel() for module in (model, SRNNGuide(model)) for p in module.parameters())
    assert count == 1540


def test_the_schedule_of_scheduled_sampling_is_linear_between_its_ends() -> None:
    """Lin et al. 2023: 0 for 20 epochs, then a line to 1 at 100."""
    schedule = SamplingSchedule(20, 100)
    found = [schedule(step) for step in (0, 20, 21, 60, 99, 100, 1000)]
    assert found == pytest.approx([0, 0, 1 / 80, 0.5, 79 / 80, 1, 1])


@pytest.mark.parametrize(
    ("critic", "betas"),
    [(critics.FactorCritic(1.0), (0.5, 0.9)), (critics.WassersteinCritic(1.0), (0.5, 0.9))],
)
def test_adversaries_learn_with_little_momentum(critic: Any, betas: tuple[float, float]) -> None:
    """Kim and Mnih 2018, appendix A: Adam with 0.5 and 0.9; leaky rectifiers of slope 0.2."""
    net = critic._network(torch.randn(4, 2))
    assert critic._optimizer.defaults["betas"] == betas
    slopes = [m.negative_slope for m in net if isinstance(m, torch.nn.LeakyReLU)]
    assert slopes and set(slopes) == {0.2}


def test_pseudo_noise_is_clipped_to_the_range_of_pixels() -> None:
    """Tomczak and Welling 2018, their code: mean 0.05 and deviation 0.01 for MNIST."""
    u = VampPrior.from_noise(MLP(784, 4), (50, 784), 0.05, 0.01).pseudo_inputs
    assert u.mean().item() == pytest.approx(0.05, abs=1e-3)
    assert u.std().item() == pytest.approx(0.01, rel=0.03)
