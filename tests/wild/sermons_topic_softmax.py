import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.feature_extraction.text import CountVectorizer

counts = CountVectorizer(max_features=600).fit_transform(open("sermons.txt")).toarray()


class SermonTopics(nn.Module):
    def __init__(self, vocab_size, topics, width):
        super().__init__()
        self.read = nn.Sequential(nn.Linear(vocab_size, width), nn.Softplus())
        self.mu, self.log_sigma2 = nn.Linear(width, topics), nn.Linear(width, topics)
        self.topics = nn.Parameter(torch.randn(topics, 40))
        self.words = nn.Embedding(vocab_size, 40)

    def forward(self, x):
        h = self.read(x)
        mu, log_sigma2 = self.mu(h), self.log_sigma2(h)
        theta = F.softmax(mu + torch.randn_like(mu) * torch.exp(0.5 * log_sigma2), dim=-1)
        beta = F.softmax(self.topics @ self.words.weight.T, dim=-1)
        return theta @ beta, mu, log_sigma2


def train(model, loader, optimizer):
    for x in loader:
        optimizer.zero_grad()
        words, mu, log_sigma2 = model(x)
        miss = -torch.sum(x * torch.log(words + 1e-9)) / x.size(0)
        price = -0.5 * torch.sum(1 + log_sigma2 - mu.pow(2) - log_sigma2.exp()) / x.size(0)
        (miss + price).backward()
        optimizer.step()


model = SermonTopics(600, 20, 100)
