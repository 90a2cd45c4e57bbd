"""Videos: what happens next, and how sure one can be; what moves, and what stays."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
