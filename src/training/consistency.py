"""Self-supervised sub-objectives consistency: the three heads teach each other on pictures without alpha.

MODNet (Ke et al. 2022), section 3.3. The semantics and the boundary are made as in the official `soc_adaptation_iter`;
the two detail terms are the paper's.
"""
from __future__ import annotations

import torch
import torch.nn.functional as F

from src.training.losses import semantic_target


def boundary(semantic: torch.Tensor, matte: torch.Tensor) -> torch.Tensor:
    """Compute a band round the outline of the predicted foreground, 1 in it and 0 elsewhere, (N, 1, H, W).

    Foreground is where both the matte (N, 1, H, W) and the semantics (N, 1, H/16, W/16) are over 0.1; the band is 5 % of
    the mean side of the picture wide.
    """
    coarse = F.interpolate((semantic.detach() > 0.1).float(), size=matte.shape[2:], mode="bilinear", align_corners=False)
    foreground = (matte.detach() > 0.1).float() * coarse
    radius = max(1, int(0.05 * (matte.shape[2] + matte.shape[3]) / 2) // 2)
    dilated, eroded = (F.max_pool2d(x, 2 * radius + 1, 1, radius) for x in (foreground, -foreground))
    return (dilated + eroded != 0).float()


def mean_in(error: torch.Tensor, region: torch.Tensor) -> torch.Tensor:
    """Compute the mean of `error` (N, 1, H, W) over `region` of each sample, averaged over the samples; 0 where it is
    empty."""
    total, count = ((x * region).sum((1, 2, 3)) for x in (error, torch.ones_like(error)))
    return (total / count.clamp_min(1)).mean()


def consistency_loss(pred: tuple[torch.Tensor, torch.Tensor, torch.Tensor], frozen_detail: torch.Tensor, *,
                     semantic_scale: float = 100.0, detail_scale: float = 1.0) -> torch.Tensor:
    """Compare the semantics with the shrunk matte, and in the boundary the detail with the matte and with the detail of a
    frozen copy of the network, which keeps it from becoming blurred (equations 7 and 8); finite without any boundary.

    `pred` is what `MODNet` returns. Scales are those of the official code.
    """
    semantic, detail, matte = (p.float() for p in pred)
    shrunk = semantic_target(matte)
    targets = [x.detach() * (x.detach() > 0.01) for x in (shrunk, semantic)]
    consistent = F.mse_loss(semantic, targets[0]) + F.mse_loss(shrunk, targets[1])
    band = boundary(semantic, matte)
    details = mean_in((matte - detail).abs(), band) + mean_in((detail - frozen_detail.float()).abs(), band)
    return semantic_scale * consistent + detail_scale * details
