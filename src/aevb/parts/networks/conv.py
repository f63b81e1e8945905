"""Convolutional networks: for pictures, whose neighbouring pixels belong together and may appear
anywhere.

The encoder halves the picture at each stage; the decoder retraces the encoder's sizes. It enlarges
by repeating pixels and then convolves: a transposed convolution of kernel 3 and stride 2 covers
some pixels by more of its kernel than their neighbours, which shows as a checkerboard (Odena et al.
2016, "Deconvolution and checkerboard artifacts"). Enlarging to the very size that the encoder had
there serves odd sizes too: nothing is padded, and nothing cropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor, nn
from torch.nn.functional import interpolate

from aevb.errors import UsageError
from aevb.parts.networks import ACTIVATIONS


@dataclass(frozen=True)
class Layout:
    """How a flat row holds a picture of H x W pixels in C channels; ``channels_last``: as (H, W,
    C), else as (C, H, W)."""

    channels: int
    height: int
    width: int
    channels_last: bool

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Layout:
        """Read the layout off the shape of one row, by the rule of ``Schema.is_picture``. Raises
        UsageError for a table."""
        if len(shape) == 2:
            return cls(1, *shape, channels_last=False)
        if len(shape) == 3 and shape[-1] in (1, 3, 4):
            return cls(shape[2], shape[0], shape[1], channels_last=True)
        if len(shape) == 3 and shape[0] in (1, 3):
            return cls(*shape, channels_last=False)
        raise UsageError(
            "network conv needs pictures: rows of shape (H, W), (H, W, C) with 1, 3 or 4 channels,"
            f" or (C, H, W) with 1 or 3; got rows of shape {shape}; use network mlp"
        )

    @property
    def data_dim(self) -> int:
        """D = C H W."""
        return self.channels * self.height * self.width

    def sizes(self, stages: int) -> list[tuple[int, int]]:
        """(height, width) before each of ``stages`` stages of the encoder, and after the last. A
        stage makes n ceil(n / 2)."""
        sizes = [(self.height, self.width)]
        for _ in range(stages):
            height, width = sizes[-1]
            sizes.append(((height + 1) // 2, (width + 1) // 2))
        return sizes

    def to_planes(self, x: Tensor) -> Tensor:
        """Rows in the data's layout: (..., D) -> (B, C, H, W), where B is the product of the
        leading dimensions."""
        rows = x.shape[:-1].numel()
        if self.channels_last:
            return x.reshape(rows, self.height, self.width, self.channels).permute(0, 3, 1, 2)
        return x.reshape(rows, self.channels, self.height, self.width)

    def to_features(self, h: Tensor) -> Tensor:
        """Planes (B, m C, H, W) -> m features for each number of a row, in the data's layout: (B, m
        D)."""
        h = h.unflatten(1, (-1, self.channels))
        if self.channels_last:
            h = h.permute(0, 1, 3, 4, 2)
        return h.flatten(1)


class ConvEncoder(nn.Module):
    """Strided 3x3 convolutions, each followed by the activation: (..., D) -> (..., num_features)."""

    def __init__(self, layout: Layout, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.layout = layout
        stages: list[nn.Module] = []
        for before, after in zip([layout.channels, *hidden[:-1]], hidden, strict=True):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), ACTIVATIONS[activation]()]
        self.stages = nn.Sequential(*stages)
        height, width = layout.sizes(len(hidden))[-1]
        self.num_features = hidden[-1] * height * width

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., num_features)."""
        h: Tensor = self.stages(self.layout.to_planes(x))
        return h.reshape(*x.shape[:-1], self.num_features)


class ConvDecoder(nn.Module):
    """A linear layer, then enlarge and convolve back to the data's size: (..., L) -> (..., m D)."""

    def __init__(
        self,
        latent_dim: int,
        hidden: Sequence[int],
        layout: Layout,
        multiple: int,
        activation: str,
        skip: bool = False,
    ) -> None:
        super().__init__()
        self.layout = layout
        smallest, *self.sizes = layout.sizes(len(hidden))[::-1]
        self.activation: nn.Module = ACTIVATIONS[activation]()
        self.first = nn.Sequential(
            nn.Linear(latent_dim, hidden[0] * smallest[0] * smallest[1]),
            nn.Unflatten(-1, (hidden[0], *smallest)),
        )
        after = [*hidden[1:], multiple * layout.channels]
        self.convolutions = nn.ModuleList(
            nn.Conv2d(b, a, 3, padding=1) for b, a in zip(hidden, after, strict=True)
        )
        # The convolution that a skip adds to has a bias already.
        self.skips = (
            nn.ModuleList(nn.Linear(latent_dim, a, bias=False) for a in after) if skip else None
        )

    def forward(self, z: Tensor) -> Tensor:
        """z: (..., L) -> (..., m D), feature-major, each feature in the data's layout."""
        lead = z.shape[:-1]
        z = z.reshape(lead.numel(), z.shape[-1])
        h: Tensor = self.first(z)
        for i, (convolution, size) in enumerate(zip(self.convolutions, self.sizes, strict=True)):
            h = convolution(interpolate(self.activation(h), size=size, mode="nearest"))
            if self.skips is not None:
                h = h + self.skips[i](z)[:, :, None, None]  # the same at every pixel
        features = self.layout.to_features(h)
        return features.reshape(*lead, features.shape[-1])


@final
class Conv:
    """Convolutional bodies; ``hidden`` holds the numbers of channels, and each is one halving of
    the picture."""

    @staticmethod
    def encoder(
        shape: tuple[int, ...], hidden: Sequence[int], activation: str
    ) -> tuple[nn.Module, int]:
        """Return the module (..., D) -> (..., F), and F: the last number of channels times the
        pixels that are left.

        Raises UsageError for rows that are no pictures and for a ``hidden`` that is empty or has a
        number below 1.
        """
        encoder = ConvEncoder(Layout.of(shape), _checked(hidden), activation)
        return encoder, encoder.num_features

    @staticmethod
    def decoder(
        latent_dim: int,
        hidden: Sequence[int],
        shape: tuple[int, ...],
        num_features: int,
        activation: str,
        skip: bool = False,
    ) -> nn.Module:
        """Return the module (..., L) -> (..., num_features).

        Raises UsageError as ``encoder`` does, and for a num_features that is no multiple of D.
        """
        layout = Layout.of(shape)
        multiple, left_over = divmod(num_features, layout.data_dim)
        if left_over or multiple < 1:
            raise UsageError(
                "network conv emits the same number of features for every value of a picture, so"
                f" num_features must be a multiple of {layout.data_dim} for rows of shape {shape};"
                f" got {num_features}; use network mlp"
            )
        return ConvDecoder(latent_dim, _checked(hidden), layout, multiple, activation, skip)


def _checked(hidden: Sequence[int]) -> Sequence[int]:
    if not hidden or min(hidden) < 1:
        raise UsageError(
            "network conv needs one number of channels or more in hidden, each at least 1; got"
            f" {list(hidden)}; try 32, 64"
        )
    return hidden
