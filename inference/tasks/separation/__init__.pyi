from .answer import FEW_BITS as FEW_BITS
from .answer import Separated as Separated
from .answer import to_dataset as to_dataset
from .answer import write_parts as write_parts
from .answer import write_posterior as write_posterior
from .fit_source import fit_source as fit_source
from .plot import plot_separation as plot_separation
from .plot import share_entropy as share_entropy
