from .imputation import impute as impute
from .rate_distortion import rate_distortion as rate_distortion
