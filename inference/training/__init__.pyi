from .aggressive import Aggressive as Aggressive
from .contrastive import fit_energy as fit_energy
from .em import fit_em as fit_em
from .fit import fit as fit
from .muon import Muon as Muon
from .run import Run as Run
from .run_folder import WEIGHTS as WEIGHTS
from .starts import start as start
