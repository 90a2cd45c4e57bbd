"""Where to put the components of a mixture, or the states of a chain, before they are learned."""

from __future__ import annotations

import torch
from torch import Tensor


def spread_out(x: Tensor, num_centres: int, seed: int) -> Tensor:
    """Return ``num_centres`` rows of x (N, D), each drawn far from those before: (K, D).

    Arthur and Vassilvitskii, "k-means++: the advantages of careful seeding", SODA 2007.
    """
    generator = torch.Generator(x.device).manual_seed(seed)
    first = torch.randint(len(x), (1,), generator=generator, device=x.device)
    centres = x[first]
    while len(centres) < num_centres:
        square = torch.cdist(x, centres).amin(1).square()
        square = square if square.sum() > 0 else torch.ones_like(square)
        centres = torch.cat([centres, x[torch.multinomial(square, 1, generator=generator)]])
    return centres
