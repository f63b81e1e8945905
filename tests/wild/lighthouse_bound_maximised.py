"""Log books of a lighthouse. The bound is a method of the model, and training goes up it; the reader of books is elsewhere."""

import torch
import torch.nn as nn
from keepers import judge_of_weather


class LampVAE(nn.Module):
    def __init__(self, entries, code, wide=30):
        super().__init__()
        self.code = code
        self.inward = nn.Sequential(nn.Linear(entries, wide), nn.Softplus(), nn.Linear(wide, code + code))
        self.outward = nn.Sequential(nn.Linear(code, wide), nn.Softplus(), nn.Linear(wide, entries))

    def forward(self, book):
        both = self.inward(book)
        mu, log_sd = both[:, : self.code], both[:, self.code :]
        return self.outward(mu + torch.randn_like(log_sd) * log_sd.exp()), mu, log_sd

    def elbo(self, recon, x, mu, log_sd):
        fit = -0.5 * torch.sum((recon - x) ** 2)
        pull = 0.5 * torch.sum(mu ** 2 + torch.exp(2 * log_sd) - 1 - 2 * log_sd)
        return fit - pull

    def season(self, books, walker):
        for book, weather in books:
            recon, mu, log_sd = self(book)
            held = judge_of_weather(recon, weather) + float(weather.whole_season)
            down = -self.elbo(recon, book, mu, log_sd)
            walker.zero_grad()
            down.backward()
            walker.step()
            print(held)


def begin():
    return LampVAE(entries=24, code=5)
