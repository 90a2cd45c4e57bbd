"""Guides: amortized approximate posteriors, in files with the names of their stories' files.

A guide is a :class:`torch.nn.Module` with the signature of its story. Each is imported when it is
first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guides.cvae import CVAEGuide as CVAEGuide
    from guides.disentangled import DMVAEGuide as DMVAEGuide
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
    from guides.hierarchy import HierarchicalVAEGuide as HierarchicalVAEGuide
    from guides.hmm import HMMGuide as HMMGuide
    from guides.ica import ICAGuide as ICAGuide
    from guides.linear import PPCAGuide as PPCAGuide
    from guides.linear_dynamics import LDSGuide as LDSGuide
    from guides.made import MADEGuide as MADEGuide
    from guides.mixdvae import MixDVAEGuide as MixDVAEGuide
    from guides.mixture import GaussianMixtureGuide as GaussianMixtureGuide
    from guides.multimodal import JMVAEGuide as JMVAEGuide
    from guides.multimodal import MMVAEGuide as MMVAEGuide
    from guides.multimodal import MoPoEGuide as MoPoEGuide
    from guides.multimodal import MVAEGuide as MVAEGuide
    from guides.rbm import RBMGuide as RBMGuide
    from guides.state_space import LinearMotionGuide as LinearMotionGuide
    from guides.switching import SLDSGuide as SLDSGuide
    from guides.text import TextVAEGuide as TextVAEGuide
    from guides.vae import VAEGuide as VAEGuide

_HOME = {
    "VAEGuide": "vae",
    "TextVAEGuide": "text",
    "CVAEGuide": "cvae",
    "HierarchicalVAEGuide": "hierarchy",
    "PPCAGuide": "linear",
    "ICAGuide": "ica",
    "MADEGuide": "made",
    "RBMGuide": "rbm",
    "GaussianMixtureGuide": "mixture",
    "HMMGuide": "hmm",
    "LDSGuide": "linear_dynamics",
    "SLDSGuide": "switching",
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
    "LinearMotionGuide": "state_space",
    "MixDVAEGuide": "mixdvae",
    "DMVAEGuide": "disentangled",
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
