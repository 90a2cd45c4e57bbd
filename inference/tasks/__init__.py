"""Answers to users' questions, each with a model and its guide.

Following objects (`tracking`), speech (`speech`), sources of sound (`separation`), missing values,
particle filters, and what a nat of rate buys.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
