"""IBNorm (Ke et al. 2022): batch norm on half of the channels, instance norm on the rest."""
from __future__ import annotations

import torch
from torch import nn


class IBNorm(nn.Module):
    """Batch norm on the first half of the channels (rounded down), instance norm without affine on the rest."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.bnorm = nn.BatchNorm2d(width // 2)
        self.inorm = nn.InstanceNorm2d(width - width // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise features (N, C, H, W)."""
        split = self.bnorm.num_features
        # Any other norm in its place, such as a synchronised one, is called by itself; in fp16 squares would overflow.
        ours = x.device.type in ("cpu", "cuda") and x.dtype is not torch.float16 and type(self.bnorm) is nn.BatchNorm2d
        if ours and self.bnorm.training and x.requires_grad:
            y, mean, var = _TrainedIBNorm.apply(x, self.bnorm.weight, self.bnorm.bias, self.bnorm.eps)
            self._track(mean, var, x.numel() // x.shape[1])
            return y
        return torch.cat((self.bnorm(x[:, :split].contiguous()), self.inorm(x[:, split:].contiguous())), 1)

    @torch.no_grad()
    def _track(self, mean: torch.Tensor, var: torch.Tensor, count: int) -> None:
        """Update the running statistics by a batch of `count` values a channel."""
        norm, split = self.bnorm, self.bnorm.num_features
        norm.num_batches_tracked += 1
        norm.running_mean.lerp_(mean[0, :split], norm.momentum)
        norm.running_var.lerp_(var[0, :split] * (count / max(1, count - 1)), norm.momentum)


class _TrainedIBNorm(torch.autograd.Function):
    """`IBNorm` in training, as one scale and shift for each channel of each image: torch's own norms copy half of the
    feature map into another memory format and back, which took a third of a training step on a CPU and half on a GPU."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor,
                eps: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Normalise features (N, C, H, W) with `weight` and `bias` (C // 2); return the result, mean and variance (N, C)."""
        split = len(weight)
        mean, square = (_share(values, split) for values in _moments(x))
        var = (square - mean.square()).clamp_min(0)
        rest = weight.new_ones(x.shape[1] - split)
        inverse = (var + eps).rsqrt()
        scale = torch.cat((weight, rest)) * inverse
        shift = torch.cat((bias, 0 * rest)) - mean * scale
        ctx.save_for_backward(x, mean, inverse, scale)
        ctx.split = split
        ctx.mark_non_differentiable(mean, var)
        return _add_scaled(shift, x, scale), mean, var

    @staticmethod
    def backward(ctx, dy: torch.Tensor, *_: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, None]:
        """Return the gradients of features, weight and bias."""
        x, mean, inverse, scale = ctx.saved_tensors
        split, count = ctx.split, x.shape[2] * x.shape[3]
        d_scale, d_shift = _affine_gradients(dy, x, mean, inverse)
        # d loss / d x = scale (dy - mean of dy - normalised x * mean of dy * normalised x), means over what was normalised.
        of_dy, of_both = (_share(value / count, split) for value in (d_shift, d_scale))
        on_x = -scale * inverse * of_both
        constant = -on_x * mean - scale * of_dy
        dx = _add_scaled(_add_scaled(constant, x, on_x), dy, scale)
        return dx, d_scale[:, :split].sum(0), d_shift[:, :split].sum(0), None


def _moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Compute the mean of each map of features (N, C, H, W) and of its square, both (N, C), in float32 or finer."""
    exact = torch.promote_types(x.dtype, torch.float32)
    if x.device.type != "cpu":
        return tuple(value.mean((2, 3), dtype=exact) for value in (x, x * x))
    # `mean` copies bfloat16 features as float32 first, and is slow in channels last: three to six times the time of this.
    unused = torch.ones(2, x.shape[1], dtype=exact)
    each = [torch.batch_norm_update_stats(image, *unused, 0.0) for image in x.split(1)]
    mean, var = (torch.stack(values) for values in zip(*each, strict=True))
    return mean, var + mean.square()


def _affine_gradients(dy: torch.Tensor, x: torch.Tensor, mean: torch.Tensor,
                      inverse: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum `dy` times the normalised `x`, and `dy`, over each map; `mean` and `inverse` deviation are (N, C), as are both."""
    if x.device.type != "cpu":
        d_shift, d_product = (value.sum((2, 3), dtype=mean.dtype) for value in (dy, dy * x))
        return (d_product - mean * d_shift) * inverse, d_shift
    fixed = torch.ones_like(mean[0]), None, None
    each = [torch.ops.aten.native_batch_norm_backward(*maps, *fixed, *moments, True, 0.0, [False, True, True])
            for *maps, moments in zip(dy.split(1), x.split(1), zip(mean, inverse, strict=True), strict=True)]
    d_scale, d_shift = (torch.stack(values) for values in zip(*(gradients[1:] for gradients in each), strict=True))
    return d_scale, d_shift


def _share(values: torch.Tensor, split: int) -> torch.Tensor:
    """Replace the first `split` columns of (N, C) by their mean over the images."""
    return torch.cat((values[:, :split].mean(0, keepdim=True).expand(len(values), -1), values[:, split:]), 1)


def _add_scaled(base: torch.Tensor, x: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """Compute `base + x * scale` of features (N, C, H, W); `scale` is (N, C), `base` too or features."""
    n, c, h, w = x.shape
    if x.device.type != "cpu" or not x.is_contiguous(memory_format=torch.channels_last):
        base, scale = (_per_map(v, x) if v.dim() == 2 else v for v in (base, scale))
        return torch.addcmul(base, x, scale)
    # Few channels make short vectors: rows of the image with the scales repeated are the same sum in a third of the time.
    y = torch.empty_like(x, memory_format=torch.channels_last)
    base, row, scale, result = (v.to(x.dtype)[:, None].tile(1, 1, w) if v.dim() == 2
                                else v.permute(0, 2, 3, 1).reshape(n, h, w * c) for v in (base, x, scale, y))
    torch.addcmul(base, row, scale, out=result)
    return y


def _per_map(values: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return values.to(x.dtype)[:, :, None, None]
