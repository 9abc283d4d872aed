"""Compute MODNet's three training losses (Ke et al. 2022, section 3.2, equations 1 to 4); pure functions."""
from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F

# The 3x3 Gaussian of the official trainer: sigma 0.8, the tails outside the window folded back in.
_BLUR_1D = (0.25022, 0.49956, 0.25022)


class Losses(NamedTuple):
    """The three losses, each a scalar tensor, scaled."""

    semantic: torch.Tensor
    detail: torch.Tensor
    matte: torch.Tensor

    @property
    def total(self) -> torch.Tensor:
        """Their sum."""
        return self.semantic + self.detail + self.matte


def semantic_target(alpha: torch.Tensor) -> torch.Tensor:
    """Shrink a matte (N, 1, H, W) 16 times and blur it to the coarse semantics (N, 1, H/16, W/16)."""
    coarse = F.interpolate(alpha, scale_factor=1 / 16, mode="bilinear", align_corners=False)
    line = alpha.new_tensor(_BLUR_1D)
    kernel = (line[:, None] * line[None, :])[None, None]
    return F.conv2d(F.pad(coarse, (1, 1, 1, 1), mode="reflect"), kernel)


def semantic_loss(pred_semantic: torch.Tensor, alpha: torch.Tensor) -> torch.Tensor:
    """Compute the squared error of the coarse matte (N, 1, H/16, W/16) against the target made from `alpha` (N, 1, H, W)."""
    return F.mse_loss(pred_semantic, semantic_target(alpha))


def detail_loss(pred_detail: torch.Tensor, alpha: torch.Tensor, trimap: torch.Tensor) -> torch.Tensor:
    """Compute the absolute error inside the unknown region (trimap 0.5), averaged over all pixels; all (N, 1, H, W)."""
    return ((pred_detail - alpha).abs() * (trimap == 0.5)).mean()


def matte_loss(pred_matte: torch.Tensor, alpha: torch.Tensor, trimap: torch.Tensor,
               image: torch.Tensor) -> torch.Tensor:
    """Compute the absolute and compositional error of the matte, the unknown region weighted four times more.

    `image` (N, 3, H, W) in [-1, 1], the others (N, 1, H, W) in [0, 1].
    """
    error = (pred_matte - alpha).abs()
    # The official trainer puts the trimap where it is sure, so that a wrong trimap costs a constant.
    boundary = torch.where(trimap == 0.5, error, (trimap - alpha).abs())
    return ((error + 4 * boundary) * (1 + image.abs().mean(1, keepdim=True))).mean()


def gradient_loss(error: torch.Tensor) -> torch.Tensor:
    """Compute the mean absolute difference between neighbours, across and down, of the error of a matte (N, 1, H, W)."""
    return error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()


def believe(pred: torch.Tensor, alpha: torch.Tensor, ignore: torch.Tensor) -> torch.Tensor:
    """Return `alpha` (N, 1, H, W), but the prediction itself, as a constant, where `ignore`: there is no loss and no
    gradient."""
    return torch.where(ignore, pred.detach(), alpha)


def modnet_losses(pred: tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None], image: torch.Tensor,
                  alpha: torch.Tensor, trimap: torch.Tensor, *, semantic_scale: float = 10.0, detail_scale: float = 10.0,
                  matte_scale: float = 1.0, semantic_only: torch.Tensor | None = None) -> Losses:
    """Compute the three scaled losses of one batch; `pred` is what `MODNet` returns, `alpha` is in [0, 1].

    Of the samples with `semantic_only` (N,) bool, detail and matte do not count in the unknown region. Without detail and
    matte predictions their losses are 0.
    """
    semantic, detail, matte = (None if p is None else p.float() for p in pred)
    coarse = semantic_scale * semantic_loss(semantic, alpha)
    if detail is None or matte is None:
        return Losses(coarse, coarse.new_zeros(()), coarse.new_zeros(()))
    true_detail = true_matte = alpha
    if semantic_only is not None and semantic_only.any():
        ignore = (trimap == 0.5) & semantic_only.view(-1, 1, 1, 1)
        true_detail, true_matte = believe(detail, alpha, ignore), believe(matte, alpha, ignore)
    return Losses(coarse, detail_scale * detail_loss(detail, true_detail, trimap),
                  matte_scale * matte_loss(matte, true_matte, trimap, image))
