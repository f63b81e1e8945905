# bag-of-words document model with a Gaussian latent and a softmax over the vocabulary
import torch
import torch.nn as nn
import torch.nn.functional as F


class BagVAE(nn.Module):
    def __init__(self, n_words=300, n_hidden=100, n_topics=12, drop=0.2):
        super().__init__()
        self.n_topics = n_topics
        self.fc1 = nn.Linear(n_words, n_hidden)
        self.fc2 = nn.Linear(n_hidden, n_hidden)
        self.drop = nn.Dropout(drop)
        self.fc_mean = nn.Linear(n_hidden, n_topics)
        self.fc_logvar = nn.Linear(n_hidden, n_topics)
        self.bn_mean = nn.BatchNorm1d(n_topics)
        self.beta = nn.Linear(n_topics, n_words)

    def encode(self, counts):
        h = torch.log1p(counts)
        h = F.softplus(self.fc1(h))
        h = self.drop(F.softplus(self.fc2(h)))
        mean = torch.relu(self.bn_mean(self.fc_mean(h)))
        return mean, self.fc_logvar(h)

    def reparameterise(self, mean, logvar):
        return mean + torch.randn_like(mean) * torch.exp(0.5 * logvar)

    def decode(self, z):
        return F.log_softmax(self.beta(z), dim=-1)

    def forward(self, counts):
        mean, logvar = self.encode(counts)
        z = self.reparameterise(mean, logvar)
        return self.decode(z), mean, logvar


def loss(counts, log_probs, mean, logvar):
    nll = -(counts * log_probs).sum(-1)
    kl = -0.5 * (1 + logvar - mean.pow(2) - logvar.exp()).sum(-1)
    return (nll + kl).mean(), nll.mean().item(), kl.mean().item()


def perplexity(model, counts):
    model.eval()
    with torch.no_grad():
        log_probs, mean, logvar = model(counts)
        total = loss(counts, log_probs, mean, logvar)[0] * len(counts)
    return torch.exp(total / counts.sum()).item()


def main():
    torch.manual_seed(0)
    topics = torch.distributions.Dirichlet(torch.full((300,), 0.05)).sample((8,))
    theta = torch.distributions.Dirichlet(torch.full((8,), 0.3)).sample((2000,))
    docs = torch.distributions.Multinomial(80, probs=theta @ topics).sample()
    model = BagVAE()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.99, 0.999))
    for epoch in range(40):
        model.train()
        for batch in docs[torch.randperm(2000)].split(200):
            value, nll, kl = loss(batch, *model(batch))
            opt.zero_grad()
            value.backward()
            opt.step()
        print(f"epoch {epoch:02d} nll {nll:.1f} kl {kl:.2f} ppl {perplexity(model, docs):.1f}")


if __name__ == "__main__":
    main()
