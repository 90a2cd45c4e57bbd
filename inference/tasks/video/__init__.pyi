from .editing import interpolate as interpolate
from .editing import swap_content as swap_content
from .forecast import Forecast as Forecast
from .forecast import forecast as forecast
from .forecast import futures as futures
