from .owners import Ownership as Ownership
from .separate import Separation as Separation
from .separate import SeparationSettings as SeparationSettings
from .separate import separate as separate
from .separate import separate_many as separate_many
from .sources import load_sources as load_sources
from .sources import shipped_sources as shipped_sources
from .sums import Ascent as Ascent
