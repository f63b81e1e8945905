"""A training loop as most people write it.

It has a DataLoader over tensors in memory, autograd and Adam, and it reads the loss at every step.
Two things make it faster than usual: the pixels become floats once before training, and the
cross-entropy takes logits.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss
from torch.utils.data import DataLoader, TensorDataset

from peers.protocol import Turns
from peers.torch_nets import Encoder, count, decoder
from peers.workloads import inputs_for


class PlainVAE(nn.Module):
    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.encoder, self.decoder = Encoder(turns.workload), decoder(turns.workload)
        self.bernoulli = turns.workload.likelihood == "bernoulli"

    def forward(self, x: Tensor) -> Tensor:
        """Return the negative bound per row, without the constant of the Gaussian."""
        mu, logvar = self.encoder(x)
        z = mu + torch.randn_like(mu) * (0.5 * logvar).exp()
        error = binary_cross_entropy_with_logits if self.bernoulli else mse_loss
        kl = -0.5 * (1 + logvar - mu.pow(2) - logvar.exp()).sum()
        return (error(self.decoder(z), x, reduction="sum") + kl) / len(x)


def main() -> None:
    turns = Turns()
    w = turns.workload
    torch.set_num_threads(turns.threads)
    torch.manual_seed(0)
    loader = DataLoader(
        TensorDataset(torch.from_numpy(inputs_for(w))), batch_size=w.batch, shuffle=True
    )
    model = PlainVAE(turns).to(turns.device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)

    def run() -> float:
        total = 0.0
        for _ in range(w.epochs):
            total = 0.0
            for (x,) in loader:
                x = x.to(turns.device)
                batch = torch.bernoulli(x) if w.dynamic else x
                optimizer.zero_grad()
                loss = model(batch)
                loss.backward()
                optimizer.step()
                total += loss.item() * len(batch)
                turns.step(loss.detach())
        return total / w.rows

    turns.train(run, lambda: {"parameters": count(model), "versions": {"torch": torch.__version__}})


if __name__ == "__main__":
    main()
