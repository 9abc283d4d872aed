"""The network against torchvision's encoder and against MODNet written out once more from its state dict."""
import pytest
import torch
import torch.nn.functional as F
from torchvision.models import mobilenet_v2

from src.checkpoint import clean_state, load_backbone
from src.models.modnet import MODNet
from tests.conftest import randomise, tiny_config, upstream_state


def reference(w: dict[str, torch.Tensor], image: torch.Tensor, taps: dict[str, torch.Tensor]) -> tuple:
    """MODNet's branches after the paper's figure 2, in functions over a state dict; no module of ours."""
    def block(name, x, stride=1):
        weight = w[f"{name}.layers.0.weight"]
        x = F.conv2d(x, weight, w[f"{name}.layers.0.bias"], stride, weight.shape[-1] // 2)
        bn = f"{name}.layers.1.bnorm"
        if f"{bn}.weight" not in w:
            return torch.sigmoid(x)
        half = len(w[f"{bn}.weight"])
        a = F.batch_norm(x[:, :half], w[f"{bn}.running_mean"], w[f"{bn}.running_var"], w[f"{bn}.weight"], w[f"{bn}.bias"])
        mean, var = x[:, half:].mean((2, 3), keepdim=True), x[:, half:].var((2, 3), keepdim=True, unbiased=False)
        return torch.relu(torch.cat([a, (x[:, half:] - mean) / (var + 1e-5).sqrt()], 1))

    def to(x, like, div=1):
        return F.interpolate(x, size=[side // div for side in like.shape[2:]], mode="bilinear", align_corners=False)

    pooled = taps["enc32x"].mean((2, 3))
    gate = torch.sigmoid(torch.relu(pooled @ w["lr_branch.se_block.fc.0.weight"].T) @ w["lr_branch.se_block.fc.2.weight"].T)
    lr8x = block("lr_branch.conv_lr16x", to(taps["enc32x"] * gate[..., None, None], image, 16))
    lr8x = block("lr_branch.conv_lr8x", to(lr8x, image, 8))
    enc2x = block("hr_branch.tohr_enc2x", taps["enc2x"])
    hr = block("hr_branch.conv_enc2x", torch.cat([to(image, image, 2), enc2x], 1), 2)
    hr = block("hr_branch.conv_enc4x", torch.cat([hr, block("hr_branch.tohr_enc4x", taps["enc4x"])], 1))
    hr = torch.cat([hr, to(lr8x, image, 4), to(image, image, 4)], 1)
    for i in range(3):
        hr = block(f"hr_branch.conv_hr4x.{i}", hr)
    hr = torch.cat([to(hr, image, 2), enc2x], 1)
    for i in range(4):
        hr = block(f"hr_branch.conv_hr2x.{i}", hr)
    detail = block("hr_branch.conv_hr.1", block("hr_branch.conv_hr.0", torch.cat([to(hr, image), image], 1)))
    f = to(block("f_branch.conv_lr4x", to(lr8x, image, 4)), image, 2)
    f = block("f_branch.conv_f2x", torch.cat([f, hr], 1))
    matte = block("f_branch.conv_f.1", block("f_branch.conv_f.0", torch.cat([to(f, image), image], 1)))
    return block("lr_branch.conv_lr", lr8x, 2), detail, matte


def test_dense_parameters():
    assert sum(p.numel() for p in MODNet().parameters()) == 6_487_075


@pytest.mark.parametrize("size", [(64, 64), (96, 160)])
def test_heads_equal_the_network_written_out_once_more(size):
    model = MODNet().eval()
    state = clean_state(upstream_state("official", 11))
    model.load_state_dict(state)
    image = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for ours, theirs in zip(model(image), reference(state, image, model.backbone(image)), strict=True):
            assert ours.shape == theirs.shape and (ours - theirs).abs().max() < 1e-5


def test_encoder_equals_torchvisions(tmp_path):
    torch.manual_seed(0)
    theirs = randomise(mobilenet_v2(weights=None))
    torch.save(theirs.state_dict(), tmp_path / "tv.pth")
    model = MODNet().eval()
    load_backbone(model, tmp_path / "tv.pth")
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        taps = model.backbone(x)
        for index, layer in enumerate(theirs.features):
            x = layer(x)
            for name in ([], ["enc2x"], [], ["enc4x"])[index] if index < 4 else ["enc32x"] * (index == 18):
                torch.testing.assert_close(taps[name], x, atol=1e-5, rtol=1e-5)


def test_inference_leaves_the_two_heads_out_and_the_matte_as_it_was(tiny_model):
    image = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        semantic, detail, matte = tiny_model(image)
        assert tiny_model(image, inference=True)[:2] == (None, None)
        assert torch.equal(tiny_model(image, inference=True)[2], matte)
    assert semantic.shape == (1, 1, 4, 4) and detail.shape == matte.shape == (1, 1, 64, 64)
    assert all(x.min() >= 0 and x.max() <= 1 for x in (semantic, detail, matte))


def test_a_size_that_is_no_multiple_of_32_is_refused(tiny_model):
    with pytest.raises(ValueError, match="multiples of 32"):
        tiny_model(torch.zeros(1, 3, 64, 65))


def test_odd_ibn_width_normalises_every_channel():
    model = randomise(MODNet(tiny_config().with_widths({"hr.2x": 5, "f.1x": 9})))
    assert model.hr_branch.conv_hr2x[3].layers[1](torch.randn(1, 5, 8, 8)).shape == (1, 5, 8, 8)
