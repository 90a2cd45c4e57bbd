"""Members of the family at the benchmark's sizes."""

from __future__ import annotations

from typing import Any

import pytest

from guides.dvae.dkf import DKFGuide
from guides.dvae.dsae import DSAEGuide
from guides.dvae.frame_vae import FrameVAEGuide
from guides.dvae.rvae import RVAEGuide
from guides.dvae.srnn import SRNNGuide
from guides.dvae.storn import STORNGuide
from guides.dvae.vrnn import VRNNGuide
from ppl_models.dvae.dkf import DKF
from ppl_models.dvae.dsae import DSAE
from ppl_models.dvae.frame_vae import FrameVAE
from ppl_models.dvae.rvae import RVAE
from ppl_models.dvae.srnn import SRNN
from ppl_models.dvae.storn import STORN
from ppl_models.dvae.vrnn import VRNN
from ppl_models.likelihoods.spectra import ComplexGaussian
from tests.sequences import count

OPTIONS = {"input_dim": 256, "recurrent_dim": 128, "prior_dims": (64, 32), "emission_dims": (256,)}
GUIDE_OPTIONS = {"hidden_dims": (64, 32), "causal": False, "backward_dim": 128, "input_dim": 256}
SIZES = [  # of pairs at the benchmark's setting, 513 frequencies and 16 latents
    (FrameVAE, FrameVAEGuide, {}, {}, 138_273),
    (DKF, DKFGuide, {}, {}, 516_641),
    (RVAE, RVAEGuide, {}, {}, 553_121),
    (RVAE, RVAEGuide, {"causal": False}, {}, 1_026_849),
    (DSAE, DSAEGuide, {"global_dim": 16}, {}, 1_650_241),
    (STORN, STORNGuide, {}, {}, 870_113),
    (VRNN, VRNNGuide, {}, {}, 480_097),
    (SRNN, SRNNGuide, OPTIONS, GUIDE_OPTIONS, 860_417),
]


@pytest.mark.parametrize(("model_class", "guide_class", "options", "guide_options", "size"), SIZES)
def test_the_benchmark_s_sizes(
    model_class: Any,
    guide_class: Any,
    options: dict[str, Any],
    guide_options: dict[str, Any],
    size: int,
) -> None:
    """Bie et al. 2021: layer by layer the same networks, so as many numbers."""
    model = model_class(513, 16, likelihood=ComplexGaussian(513), **options)
    assert count(model, guide_class(model, **guide_options)) == size
