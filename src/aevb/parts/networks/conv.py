"""Convolutional networks for pictures.

Each stage of the encoder halves the height and the width. The decoder goes through the same sizes
in reverse: it repeats pixels and then convolves. A transposed convolution of kernel 3 and stride 2
would cover some pixels with more of its kernel than their neighbours, which shows as a checkerboard
(Odena et al. 2016, "Deconvolution and checkerboard artifacts"). Each stage of the decoder enlarges
to exactly the size that the encoder had there, so odd sizes need no padding and no cropping.
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
    """How a flat row holds a picture.

    Example:
        >>> from aevb.parts.networks.conv import Layout
        >>> layout = Layout.of((9, 6, 3))
        >>> layout.channels, layout.height, layout.width, layout.data_dim
        (3, 9, 6, 162)
    """

    channels: int
    """C."""
    height: int
    """H, in pixels."""
    width: int
    """W, in pixels."""
    channels_last: bool
    """True if a row is (H, W, C), flattened; False if it is (C, H, W)."""

    @classmethod
    def of(cls, shape: tuple[int, ...]) -> Layout:
        """Read the layout from the shape of one row, by the rule of ``Schema.is_picture``.

        Raises:
            UsageError: the rows are not pictures.

        Example:
            >>> from aevb.parts.networks.conv import Layout
            >>> Layout.of((28, 28)).channels
            1
        """
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
        """D = C H W.

        Example:
            >>> from aevb.parts.networks.conv import Layout
            >>> Layout.of((3, 8, 8)).data_dim
            192
        """
        return self.channels * self.height * self.width

    def sizes(self, stages: int) -> list[tuple[int, int]]:
        """Return (height, width) before each of ``stages`` stages of the encoder, and at the end.

        A stage turns a length n into ceil(n / 2).

        Example:
            >>> from aevb.parts.networks.conv import Layout
            >>> Layout.of((28, 20)).sizes(3)
            [(28, 20), (14, 10), (7, 5), (4, 3)]
        """
        sizes = [(self.height, self.width)]
        for _ in range(stages):
            height, width = sizes[-1]
            sizes.append(((height + 1) // 2, (width + 1) // 2))
        return sizes

    def to_planes(self, x: Tensor) -> Tensor:
        """Turn rows into planes: (..., D) -> (B, C, H, W), B the product of the leading dimensions.

        Example:
            >>> import torch
            >>> from aevb.parts.networks.conv import Layout
            >>> Layout.of((9, 6, 3)).to_planes(torch.zeros(2, 5, 162)).shape
            torch.Size([10, 3, 9, 6])
        """
        rows = x.shape[:-1].numel()
        if self.channels_last:
            return x.reshape(rows, self.height, self.width, self.channels).permute(0, 3, 1, 2)
        return x.reshape(rows, self.channels, self.height, self.width)

    def to_features(self, h: Tensor) -> Tensor:
        """Turn planes into m features for each number of a row: (B, m C, H, W) -> (B, m D).

        Example:
            >>> import torch
            >>> from aevb.parts.networks.conv import Layout
            >>> Layout.of((9, 6, 3)).to_features(torch.zeros(10, 6, 9, 6)).shape
            torch.Size([10, 324])
        """
        h = h.unflatten(1, (-1, self.channels))
        if self.channels_last:
            h = h.permute(0, 1, 3, 4, 2)
        return h.flatten(1)


class ConvEncoder(nn.Module):
    """Strided 3x3 convolutions, each followed by the activation: (..., D) -> (..., num_features).

    Args:
        layout: how a row holds a picture.
        hidden: the channels after each stage; a stage halves height and width.
        activation: a name in ``ACTIVATIONS``.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.conv import ConvEncoder, Layout
        >>> encoder = ConvEncoder(Layout.of((28, 28)), (4, 8), "relu")
        >>> encoder(torch.zeros(5, 784)).shape  # 8 channels of 7 x 7 pixels
        torch.Size([5, 392])
    """

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
        """Map rows to features: (..., D) -> (..., num_features)."""
        h: Tensor = self.stages(self.layout.to_planes(x))
        return h.reshape(*x.shape[:-1], self.num_features)


class ConvDecoder(nn.Module):
    """A linear layer, then stages that enlarge and convolve: (..., L) -> (..., m D).

    Args:
        latent_dim: L.
        hidden: the channels before each stage, from z outwards.
        layout: how a row holds a picture.
        multiple: m, the features for each number of a row.
        activation: a name in ``ACTIVATIONS``.
        skip: feed z into every stage again.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.conv import ConvDecoder, Layout
        >>> decoder = ConvDecoder(2, (8, 4), Layout.of((28, 28)), 1, "relu")
        >>> decoder(torch.zeros(5, 2)).shape
        torch.Size([5, 784])
    """

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
        # A skip has no bias, because the convolution that it is added to has one.
        self.skips = (
            nn.ModuleList(nn.Linear(latent_dim, a, bias=False) for a in after) if skip else None
        )

    def forward(self, z: Tensor) -> Tensor:
        """Map z to features: (..., L) -> (..., m D), as m rows in the layout of the data."""
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
    """The convolutional network ``conv``; ``hidden`` holds its numbers of channels.

    There is one stage for each number, and each stage halves height and width.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.conv import Conv
        >>> encoder, features = Conv.encoder((28, 28), (4, 8), "relu")
        >>> features, encoder(torch.zeros(5, 784)).shape
        (392, torch.Size([5, 392]))
    """

    @staticmethod
    def encoder(
        shape: tuple[int, ...], hidden: Sequence[int], activation: str
    ) -> tuple[nn.Module, int]:
        """Make the encoder's network.

        Args:
            shape: of one row.
            hidden: the channels after each stage.
            activation: a name in ``ACTIVATIONS``.

        Returns:
            The module (..., D) -> (..., F), and F: the last number of channels times the number of
            pixels that are left.

        Raises:
            UsageError: the rows are not pictures, or ``hidden`` is empty or has a number below 1.

        Example:
            >>> from aevb.parts.networks.conv import Conv
            >>> Conv.encoder((32, 32, 3), (16, 32, 64), "relu")[1]
            1024
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
        """Make the decoder's network: (..., L) -> (..., num_features).

        Args:
            latent_dim: L.
            hidden: the channels before each stage, from z outwards.
            shape: of one row.
            num_features: m D, for m features of each number of the row.
            activation: a name in ``ACTIVATIONS``.
            skip: feed z into every stage again.

        Raises:
            UsageError: for the reasons of ``encoder``, and if ``num_features`` is no multiple of D.

        Example:
            >>> import torch
            >>> from aevb.parts.networks.conv import Conv
            >>> decoder = Conv.decoder(2, (8, 4), (28, 28), 2 * 784, "relu", skip=True)
            >>> decoder(torch.zeros(5, 2)).shape
            torch.Size([5, 1568])
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
