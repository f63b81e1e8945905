# sentence VAE, GRU encoder and decoder with word dropout
import torch
import torch.nn as nn
import torch.nn.functional as F

PAD, BOS, EOS, UNK = 0, 1, 2, 3


class SentenceVAE(nn.Module):
    def __init__(self, vocab_size=1000, emb=64, hidden=128, latent=16, word_dropout=0.0):
        super().__init__()
        self.vocab_size = vocab_size
        self.latent = latent
        self.word_dropout = word_dropout
        self.embedding = nn.Embedding(vocab_size, emb, padding_idx=PAD)
        self.encoder_rnn = nn.GRU(emb, hidden, batch_first=True, bidirectional=True)
        self.hidden2mean = nn.Linear(2 * hidden, latent)
        self.hidden2logv = nn.Linear(2 * hidden, latent)
        self.latent2hidden = nn.Linear(latent, hidden)
        self.decoder_rnn = nn.GRU(emb, hidden, batch_first=True)
        self.outputs2vocab = nn.Linear(hidden, vocab_size)

    def encode(self, tokens):
        _, h = self.encoder_rnn(self.embedding(tokens))
        h = torch.cat([h[0], h[1]], dim=-1)
        return self.hidden2mean(h), self.hidden2logv(h)

    def decode(self, z, tokens):
        h0 = torch.tanh(self.latent2hidden(z)).unsqueeze(0)
        if self.training and self.word_dropout > 0:
            drop = torch.rand(tokens.shape, device=tokens.device) < self.word_dropout
            tokens = tokens.masked_fill(drop & (tokens > UNK), UNK)
        out, _ = self.decoder_rnn(self.embedding(tokens), h0)
        return self.outputs2vocab(out)

    def forward(self, tokens):
        mean, logv = self.encode(tokens)
        std = torch.exp(0.5 * logv)
        z = torch.randn([tokens.size(0), self.latent], device=tokens.device) * std + mean
        logits = self.decode(z, tokens[:, :-1])
        return logits, mean, logv, z


def kl_anneal(step, k=0.0025, x0=2500):
    return float(1 / (1 + torch.exp(torch.tensor(-k * (step - x0)))))


def loss_fn(logits, tokens, mean, logv, kl_weight=1.0):
    target = tokens[:, 1:]
    nll = F.cross_entropy(logits.reshape(-1, logits.size(-1)), target.reshape(-1), ignore_index=PAD, reduction="sum")
    kl = -0.5 * torch.sum(1 + logv - mean.pow(2) - logv.exp())
    batch = tokens.size(0)
    return (nll + kl_weight * kl) / batch, nll / batch, kl / batch


def train(model, loader, epochs=10):
    opt = torch.optim.Adam(model.parameters(), lr=1e-3)
    step = 0
    for epoch in range(epochs):
        for tokens in loader:
            logits, mean, logv, _ = model(tokens)
            loss, nll, kl = loss_fn(logits, tokens, mean, logv, kl_anneal(step))
            opt.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            opt.step()
            step += 1
            if step % 100 == 0:
                print("%6d nll %.2f kl %.2f" % (step, nll.item(), kl.item()))


if __name__ == "__main__":
    fake = [torch.randint(4, 1000, (32, 12)) for _ in range(50)]
    train(SentenceVAE(), fake, epochs=1)
