"""Stories: generative models as Pyro model functions, and the data they tell of.

A story is a :class:`torch.nn.Module` whose ``forward`` is the Pyro model; called without data, it
simulates. Each is imported when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppl_models.cvae import CVAE as CVAE
    from ppl_models.dvae.dkf import DKF as DKF
    from ppl_models.dvae.dsae import DSAE as DSAE
    from ppl_models.dvae.frame_vae import FrameVAE as FrameVAE
    from ppl_models.dvae.kvae import KVAE as KVAE
    from ppl_models.dvae.rvae import RVAE as RVAE
    from ppl_models.dvae.srnn import SRNN as SRNN
    from ppl_models.dvae.srnn import DeepAR as DeepAR
    from ppl_models.dvae.storn import STORN as STORN
    from ppl_models.dvae.transformer import HiTDVAE as HiTDVAE
    from ppl_models.dvae.transformer import LigHTDVAE as LigHTDVAE
    from ppl_models.dvae.vrnn import VRNN as VRNN
    from ppl_models.errors import InputError as InputError
    from ppl_models.gaussian_mixture import GaussianMixture as GaussianMixture
    from ppl_models.hierarchical_vae import HierarchicalVAE as HierarchicalVAE
    from ppl_models.hmm import HMM as HMM
    from ppl_models.ica import ICA as ICA
    from ppl_models.lds import LDS as LDS
    from ppl_models.likelihoods.spectra import ComplexGaussian as ComplexGaussian
    from ppl_models.linear_motion import LinearMotion as LinearMotion
    from ppl_models.made import MADE as MADE
    from ppl_models.mixdvae import MixDVAE as MixDVAE
    from ppl_models.multimodal import DMVAE as DMVAE
    from ppl_models.multimodal import JMVAE as JMVAE
    from ppl_models.multimodal import MMVAE as MMVAE
    from ppl_models.multimodal import MVAE as MVAE
    from ppl_models.multimodal import MoPoE as MoPoE
    from ppl_models.multimodal import MultimodalVAE as MultimodalVAE
    from ppl_models.ppca import PPCA as PPCA
    from ppl_models.priors.density import AggregatedPosterior as AggregatedPosterior
    from ppl_models.priors.density import FlowPrior as FlowPrior
    from ppl_models.priors.simple import ConditionalPrior as ConditionalPrior
    from ppl_models.priors.simple import MixturePrior as MixturePrior
    from ppl_models.priors.simple import StandardPrior as StandardPrior
    from ppl_models.priors.simple import VampPrior as VampPrior
    from ppl_models.rbm import RBM as RBM
    from ppl_models.slds import SLDS as SLDS
    from ppl_models.text_vae import TextVAE as TextVAE
    from ppl_models.vae import VAE as VAE

_HOME = {
    "InputError": "errors",
    "VAE": "vae",
    "TextVAE": "text_vae",
    "StandardPrior": "priors.simple",
    "MixturePrior": "priors.simple",
    "VampPrior": "priors.simple",
    "ConditionalPrior": "priors.simple",
    "FlowPrior": "priors.density",
    "AggregatedPosterior": "priors.density",
    "CVAE": "cvae",
    "HierarchicalVAE": "hierarchical_vae",
    "PPCA": "ppca",
    "ICA": "ica",
    "MADE": "made",
    "RBM": "rbm",
    "GaussianMixture": "gaussian_mixture",
    "HMM": "hmm",
    "LDS": "lds",
    "SLDS": "slds",
    "KVAE": "dvae.kvae",
    "FrameVAE": "dvae.frame_vae",
    "DKF": "dvae.dkf",
    "STORN": "dvae.storn",
    "VRNN": "dvae.vrnn",
    "SRNN": "dvae.srnn",
    "DeepAR": "dvae.srnn",
    "RVAE": "dvae.rvae",
    "DSAE": "dvae.dsae",
    "HiTDVAE": "dvae.transformer",
    "LigHTDVAE": "dvae.transformer",
    "ComplexGaussian": "likelihoods.spectra",
    "LinearMotion": "linear_motion",
    "MixDVAE": "mixdvae",
    "DMVAE": "multimodal",
    "JMVAE": "multimodal",
    "MMVAE": "multimodal",
    "MVAE": "multimodal",
    "MoPoE": "multimodal",
    "MultimodalVAE": "multimodal",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import the module in which ``name`` lives (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
