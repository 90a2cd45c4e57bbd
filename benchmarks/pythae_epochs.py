"""Epochs of a VAE in the Pythae library, one a turn: `benchmarks.rivals` starts this.

It needs Pythae and nothing of this project, since it runs in an environment of its own.
"""

import logging
import sys
import tempfile

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn
from turns import Turns


class Encoder(BaseEncoder):
    """One hidden layer."""

    def __init__(self, data, hidden, latent):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(data, hidden), nn.Tanh(), nn.Linear(hidden, 2 * latent))

    def forward(self, x):
        """Return means and log variances."""
        mean, log_covariance = self.net(x).chunk(2, -1)
        return ModelOutput(embedding=mean, log_covariance=log_covariance)


class Decoder(BaseDecoder):
    """One hidden layer; its loss takes probabilities, not logits."""

    def __init__(self, data, hidden, latent):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(latent, hidden), nn.Tanh(), nn.Linear(hidden, data))

    def forward(self, z):
        """Return probabilities."""
        return ModelOutput(reconstruction=self.net(z).sigmoid())


class Gate(TrainingCallback):
    """Wait for one's turn at each epoch's end."""

    def __init__(self):
        self.turns = Turns()

    def on_epoch_end(self, training_config, **kwargs):
        """End a turn."""
        self.turns.done()


class Quiet(BaseTrainer):
    """Without its progress bars, which are no part of the race."""

    def _setup_callbacks(self):
        super()._setup_callbacks()
        handler = self.callback_handler
        handler.callbacks = [c for c in handler.callbacks if "Bar" not in type(c).__name__]


def main(rows, batch, fused, *sizes):
    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    x = torch.rand(rows, sizes[0], generator=torch.Generator().manual_seed(0)).round()
    config = VAEConfig(input_dim=sizes[:1], latent_dim=sizes[2], reconstruction_loss="bce")
    training = BaseTrainerConfig(
        output_dir=tempfile.mkdtemp(),
        num_epochs=1000,
        per_device_train_batch_size=batch,
        learning_rate=1e-3,
        optimizer_params={"fused": True} if fused else None,
        no_cuda=True,
    )
    quiet = Quiet(
        model=VAE(config, Encoder(*sizes), Decoder(*sizes)),
        train_dataset=BaseDataset(x, torch.ones(rows)),
        training_config=training,
        callbacks=[Gate()],
    )
    quiet.train()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
