"""A gripper's move, given what the camera sees."""

import torch
from torch import nn


class MoveModel(nn.Module):
    def __init__(self, move_dim, code_dim):
        super().__init__()
        self.move_dim, self.code_dim = move_dim, code_dim
        self.look = nn.Sequential(
            nn.Conv2d(3, 16, 5, stride=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 8, 3, stride=2), nn.ReLU(), nn.Flatten()
        )
        self.read = nn.Sequential(nn.Linear(8 * 6 * 6 + move_dim, 64), nn.ReLU())
        self.mean, self.log_var = nn.Linear(64, code_dim), nn.Linear(64, code_dim)
        self.write = nn.Sequential(nn.Linear(8 * 6 * 6 + code_dim, 64), nn.ReLU(), nn.Linear(64, move_dim))

    def forward(self, view, move):
        seen = self.look(view)
        h = self.read(torch.cat([seen, move], 1))
        mean, log_var = self.mean(h), self.log_var(h)
        code = mean + torch.exp(0.5 * log_var) * torch.randn_like(mean)
        return self.write(torch.cat([seen, code], 1)), code, mean, log_var
