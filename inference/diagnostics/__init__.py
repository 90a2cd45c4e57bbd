"""Diagnostics: the posterior as ArviZ wants it, and whether to believe it.

All of them *run* the guide, take any pair, sum enumerated sites exactly, and leave the pair, the
random generators and Pyro's param store as they found them.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
