"""Learning from a teacher."""
import copy

import pytest
import torch

from src.models.modnet import MODNet
from src.training.distillation import Student, feature_loss, feature_widths, forward, head_loss, soft_region, tapped, teach
from tests.conftest import randomise, tiny_config

SCALES = (10.0, 10.0, 1.0)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_a_teacher_that_equals_the_student_teaches_nothing(tiny_model, image):
    student = Student(tiny_model, tiny_config()).eval()
    for adapter in student.adapters.values():
        torch.nn.init.dirac_(adapter.weight)
        torch.nn.init.zeros_(adapter.bias)
    output, taught = student(image), teach(copy.deepcopy(tiny_model), image, semantic_training=False)
    assert head_loss(output.heads, taught.heads, scales=SCALES).item() == 0
    assert feature_loss(output.features, taught.features).item() == pytest.approx(0, abs=1e-12)


def test_head_loss_by_hand():
    taught = torch.full((1, 1, 2, 2), 0.4), torch.full((1, 1, 64, 64), 0.7), torch.zeros(1, 1, 64, 64)
    taught[2][..., 20:30, 20:30] = 0.5
    pred = taught[0] + 0.1, taught[1] - 0.2, taught[2] + 0.3
    # The soft region is the 10x10 square, a pixel wider on each side.
    share = 12 * 12 / 64**2
    expected = 10 * 0.01 + 10 * 0.2 * share + 0.3 * (1 + 4 * share)
    assert head_loss(pred, taught, scales=SCALES).item() == pytest.approx(expected, rel=1e-5)
    assert head_loss((pred[0], None, None), taught, scales=SCALES).item() == pytest.approx(0.1, rel=1e-5)


def test_soft_region_of_a_hard_matte_is_empty():
    assert not soft_region(torch.eye(8)[None, None], 1).any()


def test_feature_loss_is_a_share_of_the_teachers_energy():
    taught = {"lr8x": torch.full((1, 2, 3, 3), 2.0), "hr2x": torch.full((1, 2, 3, 3), -1.0)}
    assert feature_loss({name: 0 * value for name, value in taught.items()}, taught).item() == pytest.approx(1)
    assert feature_loss({"lr8x": taught["lr8x"] / 2}, taught).item() == pytest.approx(0.25)


def test_taps_give_the_features_of_the_branches_and_leave_no_hook(tiny_model, image):
    with tapped(tiny_model) as features:
        tiny_model(image)
    assert {name: tuple(value.shape) for name, value in features.items()} == {"lr8x": (2, 8, 8, 12), "hr2x": (2, 8, 32, 48)}
    assert feature_widths(tiny_model.config) == {"lr8x": 8, "hr2x": 8}
    assert not any(module._forward_hooks for module in tiny_model.modules())


def test_adapters_bridge_other_widths_and_are_no_part_of_the_network(tiny_model, image):
    teacher = randomise(MODNet(tiny_config().with_widths({"lr8x": 12, "hr.2x": 10})))
    student = Student(tiny_model, teacher.config).eval()
    taught = teach(teacher, image, semantic_training=False)
    output = student(image)
    assert {n: f.shape for n, f in output.features.items()} == {n: f.shape for n, f in taught.features.items()}
    assert not any("adapter" in key for key in tiny_model.state_dict())
    (head_loss(output.heads, taught.heads, scales=SCALES) + feature_loss(output.features, taught.features)).backward()
    assert all(p.grad is not None for p in student.parameters()) and all(p.grad is None for p in teacher.parameters())


def test_semantics_alone_are_those_of_the_whole_network(tiny_model, image):
    assert torch.equal(forward(tiny_model, image, semantic_training=True)[0], tiny_model(image)[0])
    student = Student(tiny_model, tiny_config(), semantic_training=True)
    assert set(student.adapters) == set(student(image).features) == {"lr8x"}
