"""Inference: learns and judges any pair of a model and a guide.

>>> from inference import check, fit, posterior

Every name is imported when it is first asked for, so that a command that needs no Pyro does not
wait for it.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
