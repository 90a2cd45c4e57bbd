r"""The guide of the identifiable VAE: one network infers a code from a datum and its condition.

.. math:: q(z \mid x, c) = N(z; \mu(x, c), \mathrm{diag} \, \sigma(x, c)^2)

The exact posterior depends on c through the prior, though the data do not.
"""

from __future__ import annotations

from guides.cvae import CVAEGuide


class IVAEGuide(CVAEGuide):
    """Amortized diagonal Gaussian posterior q(z | x, c) of :class:`ppl_models.ivae.IVAE`.

    Khemakhem, Kingma, Monti and Hyvärinen, "Variational Autoencoders and Nonlinear ICA: A Unifying
    Framework", AISTATS 2020, arXiv:1907.04809, section 3.3. Parameters as `CVAEGuide`.
    """
