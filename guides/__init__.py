"""Guides: amortized approximate posteriors, in files with the names of their models' files.

A guide is a :class:`torch.nn.Module` that is built from its model, ``VAEGuide(model)``, and called
with the model's data. Each is imported when it is first asked for.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
