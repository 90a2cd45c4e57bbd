"""Models: generative models as Pyro model functions, and generators and loaders of their data.

A model is a :class:`torch.nn.Module` whose ``forward`` is the Pyro model; called without data, it
simulates. Each is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
