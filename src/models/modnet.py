"""MODNet (Ke et al., AAAI 2022): the only definition of the network; module names are those of its checkpoints."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from src.models.config import RGB, STRIDE, MODNetConfig
from src.models.ibnorm import IBNorm
from src.models.mobilenetv2 import MobileNetV2


def upsample2x(x: torch.Tensor) -> torch.Tensor:
    """Double the height and width of features, bilinear, corners not aligned."""
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


class ConvIBNormReLU(nn.Module):
    """Convolution with bias, IBNorm and ReLU; a `head` is the convolution alone."""

    def __init__(self, width_in: int, width_out: int, kernel: int, *, stride: int = 1, head: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(width_in, width_out, kernel, stride, (kernel - 1) // 2)]
        if not head:
            layers += [IBNorm(width_out), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the layer on features (N, C, H, W)."""
        return self.layers(x)


class SEBlock(nn.Module):
    """Squeeze-and-excitation (Hu et al. 2018)."""

    def __init__(self, width: int, reduced: int) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Sequential(nn.Linear(width, reduced, bias=False), nn.ReLU(inplace=True),
                                nn.Linear(reduced, width, bias=False), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Weight the channels of features (N, C, H, W) by what they hold as a whole."""
        weight = self.fc(self.pool(x).flatten(1))
        return x * weight[:, :, None, None]


class LRBranch(nn.Module):
    """The low-resolution branch: semantics at 1/8 of the image; its training head is a coarse matte (N, 1, H/16, W/16)."""

    def __init__(self, c: MODNetConfig) -> None:
        super().__init__()
        self.se_block = SEBlock(c.enc32x, c.se)
        self.conv_lr16x = ConvIBNormReLU(c.enc32x, c.lr16x, 5)
        self.conv_lr8x = ConvIBNormReLU(c.lr16x, c.lr8x, 5)
        self.conv_lr = ConvIBNormReLU(c.lr8x, 1, 3, stride=2, head=True)

    def forward(self, enc32x: torch.Tensor, inference: bool) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Run the branch; return the coarse matte (`None` with `inference`) and the features at 1/8."""
        lr16x = self.conv_lr16x(upsample2x(self.se_block(enc32x)))
        lr8x = self.conv_lr8x(upsample2x(lr16x))
        return None if inference else torch.sigmoid(self.conv_lr(lr8x)), lr8x


class HRBranch(nn.Module):
    """The high-resolution branch: details at 1/2 of the image; its training head is a matte (N, 1, H, W) for the boundary
    only."""

    def __init__(self, c: MODNetConfig) -> None:
        super().__init__()
        self.tohr_enc2x = ConvIBNormReLU(c.width("block1"), c.hr_enc2x, 1)
        self.conv_enc2x = ConvIBNormReLU(RGB + c.hr_enc2x, c.hr_4x_down, 3, stride=2)
        self.tohr_enc4x = ConvIBNormReLU(c.width("block3"), c.hr_enc4x, 1)
        self.conv_enc4x = ConvIBNormReLU(c.hr_4x_down + c.hr_enc4x, c.hr_4x, 3)
        self.conv_hr4x = nn.Sequential(
            ConvIBNormReLU(c.hr_4x + c.lr8x + RGB, c.hr_4x_a, 3),
            ConvIBNormReLU(c.hr_4x_a, c.hr_4x_b, 3),
            ConvIBNormReLU(c.hr_4x_b, c.hr_4x_c, 3))
        self.conv_hr2x = nn.Sequential(
            ConvIBNormReLU(c.hr_4x_c + c.hr_enc2x, c.hr_2x_a, 3),
            ConvIBNormReLU(c.hr_2x_a, c.hr_2x_b, 3),
            ConvIBNormReLU(c.hr_2x_b, c.hr_2x_c, 3),
            ConvIBNormReLU(c.hr_2x_c, c.hr_2x, 3))
        self.conv_hr = nn.Sequential(
            ConvIBNormReLU(c.hr_2x + RGB, c.hr_1x, 3),
            ConvIBNormReLU(c.hr_1x, 1, 1, head=True))

    def forward(self, image: torch.Tensor, taps: dict[str, torch.Tensor], lr8x: torch.Tensor,
                inference: bool) -> tuple[torch.Tensor | None, torch.Tensor]:
        """Run the branch; return the detail matte (`None` with `inference`) and the features at 1/2."""
        image2x, image4x = (F.interpolate(image, scale_factor=scale, mode="bilinear", align_corners=False)
                            for scale in (0.5, 0.25))
        hr2x = self.features(image2x, image4x, taps, lr8x)
        if inference:
            return None, hr2x
        return torch.sigmoid(self.conv_hr(torch.cat((upsample2x(hr2x), image), 1))), hr2x

    def features(self, image2x: torch.Tensor, image4x: torch.Tensor, taps: dict[str, torch.Tensor],
                 lr8x: torch.Tensor) -> torch.Tensor:
        """Compute the features (N, hr.2x, H/2, W/2) from the image at a half and a quarter of its size."""
        enc2x = self.tohr_enc2x(taps["enc2x"])
        hr4x = self.conv_enc2x(torch.cat((image2x, enc2x), 1))
        hr4x = self.conv_enc4x(torch.cat((hr4x, self.tohr_enc4x(taps["enc4x"])), 1))
        hr4x = self.conv_hr4x(torch.cat((hr4x, upsample2x(lr8x), image4x), 1))
        return self.conv_hr2x(torch.cat((upsample2x(hr4x), enc2x), 1))


class FusionBranch(nn.Module):
    """The fusion branch: from semantic and detail features to the matte (N, 1, H, W)."""

    def __init__(self, c: MODNetConfig) -> None:
        super().__init__()
        self.conv_lr4x = ConvIBNormReLU(c.lr8x, c.f_4x, 5)
        self.conv_f2x = ConvIBNormReLU(c.f_4x + c.hr_2x, c.f_2x, 3)
        self.conv_f = nn.Sequential(
            ConvIBNormReLU(c.f_2x + RGB, c.f_1x, 3),
            ConvIBNormReLU(c.f_1x, 1, 1, head=True))

    def features(self, lr8x: torch.Tensor, hr2x: torch.Tensor) -> torch.Tensor:
        """Fuse the features of both branches at 1/2: (N, f.2x, H/2, W/2)."""
        lr2x = upsample2x(self.conv_lr4x(upsample2x(lr8x)))
        return self.conv_f2x(torch.cat((lr2x, hr2x), 1))

    def forward(self, image: torch.Tensor, lr8x: torch.Tensor, hr2x: torch.Tensor) -> torch.Tensor:
        """Fuse the features of both branches with the image into the matte (N, 1, H, W)."""
        f2x = self.features(lr8x, hr2x)
        return torch.sigmoid(self.conv_f(torch.cat((upsample2x(f2x), image), 1)))


class _Backbone(nn.Module):
    """Holds the encoder under the name `backbone.model` that the checkpoints use."""

    def __init__(self, config: MODNetConfig) -> None:
        super().__init__()
        self.model = MobileNetV2(config)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        """Encode an image (N, 3, H, W)."""
        return self.model(image)


class MODNet(nn.Module):
    """Portrait matting without a trimap.

    `model(image, inference=False)`: `image` (N, 3, H, W) float32, RGB in [-1, 1], H and W multiples of 32. Returns
    `(semantic, detail, matte)`, (N, 1, H/16, W/16), (N, 1, H, W), (N, 1, H, W), all in [0, 1]; with `inference=True`
    the first two are `None` and their heads are not computed. Raises `ValueError` for another size.
    """

    def __init__(self, config: MODNetConfig | None = None) -> None:
        super().__init__()
        self.config = config or MODNetConfig()
        self.backbone = _Backbone(self.config)
        self.lr_branch = LRBranch(self.config)
        self.hr_branch = HRBranch(self.config)
        self.f_branch = FusionBranch(self.config)
        self._init_weights()

    def _init_weights(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, image: torch.Tensor, inference: bool = False
                ) -> tuple[torch.Tensor | None, torch.Tensor | None, torch.Tensor]:
        """Predict the semantics, details and matte of an image (N, 3, H, W) in [-1, 1]; with `inference` the matte alone."""
        if not torch.jit.is_tracing() and (image.shape[2] % STRIDE or image.shape[3] % STRIDE):
            raise ValueError(f"image is {tuple(image.shape)}, height and width must be multiples of {STRIDE}")
        taps = self.backbone(image)
        semantic, lr8x = self.lr_branch(taps["enc32x"], inference)
        detail, hr2x = self.hr_branch(image, taps, lr8x, inference)
        return semantic, detail, self.f_branch(image, lr8x, hr2x)
