"""Correlated Gaussian residuals of which only some are known.

    r_c = a_c + sum_{e < c} B_ce r_e + s_c noise_c,   for c = 1, ..., C

This is the regression of each residual on those before it, in each of Y components. Both parts of
this module give the distribution of each residual given the *known* ones before it: all at once, or
one after another, where each is drawn before the next.
"""

from __future__ import annotations

import torch
from torch import Tensor


def given_known(
    residuals: Tensor, known: Tensor, offsets: Tensor, log_scales: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor]:
    """Each residual given the known ones before it: means and logs of standard deviations.

    The covariance of the known residuals is that of all without the others' rows and columns. Its
    Cholesky factor has the regressions of each on those before it.

    Args:
        residuals: (..., C); what stands where a number is not known does not matter.
        known: (..., C).
        offsets: (..., C, Y), a.
        log_scales: (..., C, Y), log s.
        slopes: (Y, C, C) or (..., Y, C, C), B, of which the part below the diagonal is used.

    Returns:
        (..., C, Y) each. Where a residual is not known, they have no meaning.

    Example:
        >>> import torch
        >>> from aevb.probability.partly_known import given_known
        >>> slopes = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])  # r_2 = 2 r_1 + noise
        >>> r, zero = torch.tensor([3.0, 0.0]), torch.zeros(2, 1)
        >>> given_known(r, torch.tensor([True, True]), zero, zero, slopes)[0].flatten()
        tensor([0., 6.])
        >>> _, logs = given_known(r, torch.tensor([False, True]), zero, zero, slopes)
        >>> logs[1].exp() ** 2  # 2^2 + 1
        tensor([5.])
    """
    mean, root = _joint(offsets, log_scales, slopes)
    unit = torch.eye(slopes.shape[-1], dtype=root.dtype, device=root.device)
    here, r = known.unsqueeze(-2), residuals.double().unsqueeze(-2)  # beside the components
    both = here.unsqueeze(-1) & here.unsqueeze(-2)
    lower = torch.linalg.cholesky_ex(torch.where(both, root @ root.mT, unit))[0]
    rest = torch.where(here, r - mean, 0.0).unsqueeze(-1)
    noise = torch.linalg.solve_triangular(lower, rest, upper=False).squeeze(-1)
    scales = lower.diagonal(dim1=-2, dim2=-1)
    centres = torch.where(here, r - scales * noise, mean)
    return centres.mT.to(residuals.dtype), scales.log().mT.to(residuals.dtype)


def apart_from(
    fixed: Tensor | None, offsets: Tensor, log_scales: Tensor, slopes: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Let some residuals depend on none before them: their a, log s and rows of B are 0.

    They are then fixed at 0: they change nothing for those after them, and say nothing of those
    before.

    Args:
        fixed: (..., C), or None for no residual at all.
        offsets: (..., C, Y), a.
        log_scales: (..., C, Y), log s.
        slopes: (Y, C, C), B.

    Returns:
        a and log s (..., C, Y), and B (..., Y, C, C).

    Example:
        >>> import torch
        >>> from aevb.probability.partly_known import apart_from
        >>> slopes, zero = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]]), torch.zeros(1, 2, 1)
        >>> apart_from(torch.tensor([[False, True]]), zero, zero, slopes)[2].sum().item()
        0.0
    """
    if fixed is None:
        return offsets, log_scales, slopes
    offsets, log_scales = (
        torch.where(fixed.unsqueeze(-1), 0.0, part) for part in (offsets, log_scales)
    )
    return offsets, log_scales, torch.where(fixed.unsqueeze(-2).unsqueeze(-1), 0.0, slopes)


def _joint(offsets: Tensor, log_scales: Tensor, slopes: Tensor) -> tuple[Tensor, Tensor]:
    """The means (..., Y, C) of all residuals, and a root of their covariances (..., Y, C, C)."""
    unit = torch.eye(slopes.shape[-1], dtype=torch.float64, device=slopes.device)
    # r = a + B r + s noise, so r = (1 - B)^-1 (a + s noise).
    back = unit - slopes.double().tril(-1)
    spread = torch.linalg.solve_triangular(back, unit.expand_as(back), upper=False)
    root = spread * log_scales.double().exp().mT.unsqueeze(-2)
    return (spread @ offsets.double().mT.unsqueeze(-1)).squeeze(-1), root


class Conditional:
    """All residuals given those that are known, and given more of them one after another.

    Args:
        residuals: (B, C); what stands where a number is not known does not matter.
        known: (B, C).
        offsets: (B, C, Y), a.
        log_scales: (B, C, Y), log s.
        slopes: (Y, C, C) or (B, Y, C, C), B, of which the part below the diagonal is used.

    Attributes:
        means: (B, Y, C).
        covariance: (B, Y, C, C).
        log_prob: (B, Y), the log density of the known residuals for each component.

    Example:
        >>> import torch
        >>> from aevb.probability.partly_known import Conditional
        >>> slopes = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]])  # r_2 = 2 r_1 + noise
        >>> r, zero = torch.tensor([[0.0, 5.0]]), torch.zeros(1, 2, 1)
        >>> found = Conditional(r, torch.tensor([[False, True]]), zero, zero, slopes)
        >>> found.means[0, 0, 0], found.covariance[0, 0, 0, 0]  # 5 * 2 / 5, and 1 / 5
        (tensor(2., dtype=torch.float64), tensor(0.2000, dtype=torch.float64))
    """

    def __init__(
        self,
        residuals: Tensor,
        known: Tensor,
        offsets: Tensor,
        log_scales: Tensor,
        slopes: Tensor,
    ) -> None:
        mean, root = _joint(offsets, log_scales, slopes)
        self.covariance = root @ root.mT
        self.means = mean.expand(self.covariance.shape[:-1]).clone()
        self.log_prob = self.means.new_zeros(self.means.shape[:-1])
        for c in range(residuals.shape[-1]):
            if bool(known[:, c].any()):
                self.see(c, residuals[:, c], known[:, c])

    def see(self, c: int, residual: Tensor, there: Tensor) -> None:
        """Take in residual c: (B,), for the rows where it is there: (B,).

        Example:
            >>> import torch
            >>> from aevb.probability.partly_known import Conditional
            >>> zero, there = torch.zeros(1, 1, 1), torch.tensor([True])
            >>> found = Conditional(torch.zeros(1, 1), ~there[:, None], zero, zero, zero)
            >>> found.see(0, torch.tensor([3.0]), there)
            >>> found.means.item(), found.covariance.item()
            (3.0, 0.0)
        """
        column = self.covariance[..., c].clone()
        variance = column[..., c].clamp(min=1e-12)
        z = (residual.double().unsqueeze(-1) - self.means[..., c]) / variance.sqrt()
        here = there.unsqueeze(-1)
        self.log_prob += torch.where(here, -0.5 * z.square() - 0.5 * variance.log(), 0.0)
        gain = torch.where(here, variance.rsqrt(), 0.0).unsqueeze(-1) * column
        self.means += gain * z.unsqueeze(-1)
        self.covariance -= gain.unsqueeze(-1) * gain.unsqueeze(-2)


class Beliefs:
    """What is known of the residuals, one after another: their means and covariances.

    Args:
        rows: B.
        slopes: (Y, C, C), B of the regressions, 0 on and above the diagonal.
        hidden: Whether some residuals stay unknown. Otherwise there are no covariances.

    Example:
        >>> import torch
        >>> from aevb.probability.partly_known import Beliefs
        >>> slopes, zero = torch.tensor([[[0.0, 0.0], [2.0, 0.0]]]), torch.zeros(1, 1)
        >>> beliefs = Beliefs(1, slopes, hidden=True)
        >>> beliefs.next(0, zero, zero)
        (tensor([[0.]]), tensor([[0.]]))
        >>> beliefs.see(0, torch.zeros(1), torch.tensor([False]))
        >>> centre, log_scale = beliefs.next(1, zero, zero)
        >>> centre, log_scale.exp() ** 2
        (tensor([[0.]]), tensor([[5.]]))
    """

    def __init__(self, rows: int, slopes: Tensor, hidden: bool) -> None:
        self.slopes = slopes
        components, columns = slopes.shape[:2]
        shape = (rows, components, columns) if hidden else (rows, columns)
        self.means = slopes.new_zeros(shape)
        self.covariance = slopes.new_zeros(*shape, columns) if hidden else None

    def next(self, c: int, offsets: Tensor, log_scales: Tensor) -> tuple[Tensor, Tensor]:
        """The mean and the log of the standard deviation of residual c: (B, Y) each.

        Args:
            c: The residuals before c have been seen.
            offsets: (B, Y) or (Y,), a_c.
            log_scales: (B, Y), log s_c.

        Example:
            >>> import torch
            >>> from aevb.probability.partly_known import Beliefs
            >>> beliefs = Beliefs(1, torch.zeros(1, 2, 2), hidden=False)
            >>> beliefs.next(0, torch.tensor([[5.0]]), torch.zeros(1, 1))
            (tensor([[5.]]), tensor([[0.]]))
        """
        row = self.slopes[:, c]
        if self.covariance is None:
            return self.means @ row.T + offsets, log_scales
        self.cross = (self.covariance @ row.unsqueeze(-1)).squeeze(-1)
        self.centres = (self.means * row).sum(-1) + offsets
        self.variances = torch.exp(2 * log_scales) + (self.cross * row).sum(-1).clamp(min=0.0)
        return self.centres, 0.5 * torch.log(self.variances)

    def see(self, c: int, residual: Tensor, there: Tensor, fixed: Tensor | None = None) -> None:
        """Take in residual c.

        Args:
            c: Those before it have been seen.
            residual: (B,).
            there: (B,), the rows where it is known.
            fixed: (B,), the rows where it is ``residual`` for those after it. Where it is fixed but
                not there, it says nothing of those before. None: as ``there``.

        Example:
            >>> import torch
            >>> from aevb.probability.partly_known import Beliefs
            >>> beliefs = Beliefs(1, torch.tensor([[[0.0, 0.0], [2.0, 0.0]]]), hidden=False)
            >>> beliefs.see(0, torch.tensor([3.0]), torch.tensor([True]))
            >>> beliefs.next(1, torch.zeros(1, 1), torch.zeros(1, 1))[0]
            tensor([[6.]])
        """
        if self.covariance is None:
            self.means[:, c] = residual
            return
        here = there[:, None, None]
        apart = ((residual.unsqueeze(-1) - self.centres) / self.variances).unsqueeze(-1)
        outer = self.cross.unsqueeze(-1) * self.cross.unsqueeze(-2)
        self.means += torch.where(here, self.cross * apart, 0.0)
        self.covariance -= torch.where(
            here.unsqueeze(-1), outer / self.variances[..., None, None], 0.0
        )
        here = here if fixed is None else fixed[:, None, None]
        of_hidden = torch.where(here, 0.0, self.cross)
        self.covariance[..., c, :], self.covariance[..., :, c] = of_hidden, of_hidden
        self.covariance[..., c, c] = torch.where(here[..., 0], 0.0, self.variances)
        self.means[..., c] = torch.where(here[..., 0], residual.unsqueeze(-1), self.centres)
