"""Training on a CPU: strided depthwise convolutions compute in float32, as modules of their own class."""

from __future__ import annotations

import copy

import torch
from torch import nn

from ktb.modeling.build import build_model, lite_config
from training.engine.cpu import strided_depthwise_in_float32


def test_strided_depthwise_convolutions_leave_bf16_autocast():
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 3, 2, 1, groups=8), nn.Conv2d(8, 4, 1))
    changed = copy.deepcopy(plain)
    for _ in range(2):  # a second time changes nothing
        strided_depthwise_in_float32(changed)
    kinds = [type(module) for module in changed]
    assert kinds[0] is kinds[2] is nn.Conv2d
    assert issubclass(kinds[1], nn.Conv2d)
    image = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(plain(image), changed(image))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert plain[:2](image).dtype == torch.bfloat16
        assert changed[:2](image).dtype == torch.float32


def test_no_instance_has_a_forward_of_its_own_and_copies_compute_with_their_weights():
    model = build_model(lite_config())
    names = list(model.state_dict())
    strided_depthwise_in_float32(model)
    assert list(model.state_dict()) == names
    assert not [name for name, module in model.named_modules() if "forward" in vars(module)]
    changed = [m for m in model.modules() if type(m).__name__.endswith("InFloat32")]
    assert len(changed) == 11  # five of the backbone, two of each DSCF but the last
    first = changed[0].eval()
    twin = copy.deepcopy(first)
    with torch.no_grad():
        twin.weight.zero_()
        image = torch.randn(1, first.in_channels, 16, 16)
        assert twin(image).count_nonzero() == 0
        assert first(image).count_nonzero() > 0
