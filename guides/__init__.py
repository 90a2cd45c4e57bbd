"""Guides: amortized approximate posteriors, in files with the names of their stories' files.

A guide is a :class:`torch.nn.Module` with the signature of its story. Each is imported when it is
first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guides.cvae import CVAEGuide as CVAEGuide
    from guides.dvae.dkf import DKFGuide as DKFGuide
    from guides.dvae.dsae import DSAEGuide as DSAEGuide
    from guides.dvae.frame_vae import FrameVAEGuide as FrameVAEGuide
    from guides.dvae.kvae import KVAEGuide as KVAEGuide
    from guides.dvae.rvae import RVAEGuide as RVAEGuide
    from guides.dvae.srnn import DeepARGuide as DeepARGuide
    from guides.dvae.srnn import SRNNGuide as SRNNGuide
    from guides.dvae.storn import STORNGuide as STORNGuide
    from guides.dvae.transformer import HiTDVAEGuide as HiTDVAEGuide
    from guides.dvae.transformer import LigHTDVAEGuide as LigHTDVAEGuide
    from guides.dvae.vrnn import VRNNGuide as VRNNGuide
    from guides.gaussian_mixture import GaussianMixtureGuide as GaussianMixtureGuide
    from guides.hierarchical_vae import HierarchicalVAEGuide as HierarchicalVAEGuide
    from guides.hmm import HMMGuide as HMMGuide
    from guides.ica import ICAGuide as ICAGuide
    from guides.lds import LDSGuide as LDSGuide
    from guides.linear_motion import LinearMotionGuide as LinearMotionGuide
    from guides.made import MADEGuide as MADEGuide
    from guides.mixdvae import MixDVAEGuide as MixDVAEGuide
    from guides.multimodal import DMVAEGuide as DMVAEGuide
    from guides.multimodal import JMVAEGuide as JMVAEGuide
    from guides.multimodal import MMVAEGuide as MMVAEGuide
    from guides.multimodal import MoPoEGuide as MoPoEGuide
    from guides.multimodal import MVAEGuide as MVAEGuide
    from guides.ppca import PPCAGuide as PPCAGuide
    from guides.rbm import RBMGuide as RBMGuide
    from guides.slds import SLDSGuide as SLDSGuide
    from guides.text_vae import TextVAEGuide as TextVAEGuide
    from guides.vae import VAEGuide as VAEGuide

_HOME = {
    "VAEGuide": "vae",
    "TextVAEGuide": "text_vae",
    "CVAEGuide": "cvae",
    "HierarchicalVAEGuide": "hierarchical_vae",
    "PPCAGuide": "ppca",
    "ICAGuide": "ica",
    "MADEGuide": "made",
    "RBMGuide": "rbm",
    "GaussianMixtureGuide": "gaussian_mixture",
    "HMMGuide": "hmm",
    "LDSGuide": "lds",
    "SLDSGuide": "slds",
    "KVAEGuide": "dvae.kvae",
    "FrameVAEGuide": "dvae.frame_vae",
    "DKFGuide": "dvae.dkf",
    "STORNGuide": "dvae.storn",
    "VRNNGuide": "dvae.vrnn",
    "SRNNGuide": "dvae.srnn",
    "DeepARGuide": "dvae.srnn",
    "RVAEGuide": "dvae.rvae",
    "DSAEGuide": "dvae.dsae",
    "HiTDVAEGuide": "dvae.transformer",
    "LigHTDVAEGuide": "dvae.transformer",
    "LinearMotionGuide": "linear_motion",
    "MixDVAEGuide": "mixdvae",
    "DMVAEGuide": "multimodal",
    "JMVAEGuide": "multimodal",
    "MMVAEGuide": "multimodal",
    "MVAEGuide": "multimodal",
    "MoPoEGuide": "multimodal",
}
__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    """Import the module in which ``name`` lives (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
