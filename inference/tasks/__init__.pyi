from . import separation as separation
from . import speech as speech
from . import tracking as tracking
from .imputation import Imputation as Imputation
from .imputation import impute as impute
from .particle_filter import particle_filter as particle_filter
from .rate_distortion import rate_distortion as rate_distortion
from .tracking import track as track
