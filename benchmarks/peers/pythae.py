"""pythae by its training pipeline, with the same layers.

Its squared error has half the weight of ours, which makes no difference to the time.
"""

from __future__ import annotations

import tempfile
from typing import Any

import torch
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.pipelines import TrainingPipeline
from pythae.trainers import BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import Tensor

from peers.protocol import Turns
from peers.torch_nets import Encoder, count, decoder
from peers.workloads import Workload, inputs_for


class PythaeEncoder(BaseEncoder):
    def __init__(self, w: Workload) -> None:
        super().__init__()
        self.net, self.latent_dim = Encoder(w), w.latent_dim

    def forward(self, x: Tensor) -> ModelOutput:
        mu, logvar = self.net(x)
        return ModelOutput(embedding=mu, log_covariance=logvar)


class PythaeDecoder(BaseDecoder):
    """pythae's cross-entropy takes probabilities."""

    def __init__(self, w: Workload) -> None:
        super().__init__()
        self.net, self.bernoulli, self.input_dim = decoder(w), w.likelihood == "bernoulli", w.shape

    def forward(self, z: Tensor) -> ModelOutput:
        h = self.net(z)
        return ModelOutput(reconstruction=h.sigmoid() if self.bernoulli else h)


class DynamicVAE(VAE):
    """A VAE that binarises its input, since pythae itself has no binarisation."""

    def forward(self, inputs: dict[str, Any], **kwargs: Any) -> ModelOutput:
        return super().forward(type(inputs)(data=torch.bernoulli(inputs["data"])), **kwargs)


class Bursts(TrainingCallback):
    """The callback. pythae passes it no loss, so a hook on the model keeps the last one."""

    def __init__(self, turns: Turns, model: VAE) -> None:
        self.turns, self.loss = turns, torch.zeros(())
        model.register_forward_hook(
            lambda _module, _inputs, output: setattr(self, "loss", output.loss.detach())
        )

    def on_train_step_end(self, *_: Any, **__: Any) -> None:
        self.turns.step(self.loss)


def main() -> None:
    turns = Turns()
    w = turns.workload
    torch.set_num_threads(turns.threads)
    x = torch.from_numpy(inputs_for(w))
    loss = "bce" if w.likelihood == "bernoulli" else "mse"
    settings = VAEConfig(
        input_dim=tuple(x.shape[1:]), latent_dim=w.latent_dim, reconstruction_loss=loss
    )
    model = (DynamicVAE if w.dynamic else VAE)(
        settings, encoder=PythaeEncoder(w), decoder=PythaeDecoder(w)
    )
    bursts = Bursts(turns, model)

    def run() -> Tensor:
        with tempfile.TemporaryDirectory() as folder:
            config = BaseTrainerConfig(
                output_dir=folder,
                learning_rate=1e-3,
                per_device_train_batch_size=w.batch,
                num_epochs=w.epochs,
                optimizer_cls="Adam",
                no_cuda=turns.device == "cpu",
            )
            TrainingPipeline(model=model, training_config=config)(train_data=x, callbacks=[bursts])
        return bursts.loss

    versions = {"pythae": "0.1.2", "torch": torch.__version__}
    turns.train(run, lambda: {"parameters": count(model), "versions": versions})


if __name__ == "__main__":
    main()
