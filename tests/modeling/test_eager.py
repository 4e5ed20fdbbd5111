"""What makes the eager path fast changes no result and keeps nothing that has become wrong."""

from __future__ import annotations

import copy
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from helpers.models import assert_same_logits, pair, stirred, tiny_model

import ktb.modeling.backbones.swin
from ktb.config import BRANCHES
from ktb.modeling.backbones.windows import window_layout
from ktb.modeling.memo import Memo
from ktb.modeling.model import KTB
from ktb.modeling.position_bias import position_bias, query_axis

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(params=["swin", "lite"])
def model(request) -> KTB:
    return stirred(tiny_model(request.param))


@torch.inference_mode()
def run(model: KTB, height: int = 64, width: int = 96):
    return model(*pair(2, height, width))


def fresh(model: KTB) -> KTB:
    """The same weights in a network that has not run."""
    other = tiny_model(model.config.backbone.kind)
    other.load_state_dict(model.state_dict())
    return other


@pytest.mark.usefixtures("kernels")
@torch.inference_mode()
@pytest.mark.parametrize("branch", BRANCHES)
def test_heads_that_nobody_asks_for_are_skipped(model, branch):
    called = []
    handles = [h.register_forward_hook(lambda *_, b=b: called.append(b)) for b, h in model.heads.items()]
    output = model(*pair(2), branches=(branch,))
    assert called == [branch]
    for handle in handles:
        handle.remove()
    assert torch.equal(getattr(output, branch), getattr(run(model), branch))
    assert all(getattr(output, other) is None for other in BRANCHES if other != branch)


@pytest.mark.parametrize("branches", ["fused", (), ("fused", "depth")])
def test_branches_that_do_not_exist_are_refused(model, branches):
    with pytest.raises(ValueError, match="give some of fused, rgb, x"):
        model(*pair(1), branches=branches)


def test_evaluation_without_gradients_equals_evaluation_with(model):
    assert_same_logits(run(model), model(*pair(2)), tolerance=1e-5)


def test_a_training_step_is_seen_at_once(model):
    before = run(model)
    optimizer = torch.optim.SGD([p for _, p in model.trainable_parameters()], lr=0.1)
    model.train()
    model(*pair(2)).fused.square().mean().backward()
    optimizer.step()
    after = run(model.eval())
    assert not torch.allclose(after.fused, before.fused, atol=1e-4)
    assert_same_logits(after, run(fresh(model)), tolerance=1e-5)


def test_loaded_weights_are_seen_at_once(model):
    run(model)
    other = tiny_model(model.config.backbone.kind)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    model.load_state_dict(other.state_dict())
    assert_same_logits(run(model), run(other), tolerance=0)


@pytest.mark.parametrize("how", ["copy", "multiply", "replace", "new parameter"])
def test_weights_changed_through_data_are_seen_at_once(model, how):
    before = run(model)
    for module in list(model.modules()):
        for name, parameter in list(module.named_parameters(recurse=False)):
            values = parameter.data + 0.1 * torch.sin(torch.arange(parameter.numel())).view_as(parameter)
            if how == "copy":
                parameter.data.copy_(values)
            elif how == "multiply":
                parameter.data.mul_(0).add_(values)
            elif how == "replace":
                parameter.data = values
            else:
                delattr(module, name)
                setattr(module, name, torch.nn.Parameter(values))
    after = run(model)
    assert not torch.allclose(after.fused, before.fused, atol=1e-4)
    assert_same_logits(after, run(fresh(model)), tolerance=0)


def test_a_change_of_type_is_seen_at_once(model):
    run(model)
    model.double()
    rgb, modal_x = (image.double() for image in pair(2))
    with torch.inference_mode():
        assert_same_logits(model(rgb, modal_x), fresh(model).double()(rgb, modal_x), tolerance=1e-6)


def test_what_is_kept_is_in_no_state_dict_and_in_no_copy(model):
    names = set(model.state_dict())
    size = len(pickle.dumps(model))
    run(model)
    assert set(model.state_dict()) == names
    assert len(pickle.dumps(model)) == size
    kept = [m for module in model.modules() for m in vars(module).values() if isinstance(m, Memo)]
    assert any(len(memory) for memory in kept) or not kept
    twin = copy.deepcopy(model)
    copied = [m for module in twin.modules() for m in vars(module).values() if isinstance(m, Memo)]
    assert len(copied) == len(kept)
    assert not any(len(memory) for memory in copied)
    assert_same_logits(run(twin), run(model), tolerance=0)


def test_what_is_kept_of_sizes_is_bounded():
    model = stirred(tiny_model("swin"))
    limit = ktb.modeling.backbones.swin.KEPT_LAYOUTS
    for width in range(32, 32 + 16 * limit, 32):
        with torch.inference_mode():
            model.backbone.blocks(torch.zeros(2, 8, width // 4, 16), 0)
    assert len(model.backbone._layouts) == limit


def test_recent_keeps_the_last_used():
    made = []

    def get(memory: Memo, key: int) -> int:
        return memory.get(key, lambda: made.append(key) or key)

    memory = Memo(capacity=2)
    assert [get(memory, key) for key in (1, 2, 1, 3, 1, 2)] == [1, 2, 1, 3, 1, 2]
    assert made == [1, 2, 3, 2]
    assert len(memory) == 2


def test_what_is_made_in_inference_mode_serves_training_too():
    memory = Memo(capacity=1)
    with torch.inference_mode():
        value = memory.get("key", lambda: torch.ones(2))
    assert not value.is_inference()


def test_threads_that_ask_for_one_key_get_one_value():
    memory, made, start = Memo(capacity=2), [], threading.Barrier(8)

    def make() -> list:
        made.append(time.sleep(0.05))
        return [len(made)]

    def ask(_: int) -> list:
        start.wait(10)
        return memory.get("key", make)

    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(ask, range(8)))
    assert len(made) == 1
    assert all(value is found[0] for value in found)


def test_a_value_that_could_not_be_made_is_made_by_the_next():
    memory = Memo(capacity=1)
    with pytest.raises(ZeroDivisionError):
        memory.get("key", lambda: 1 / 0)
    assert memory.get("key", lambda: 2) == 2


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 7), (3, 9), (12, 4), (1, 1)])
@pytest.mark.parametrize("shift", [0, 2])
def test_every_token_goes_into_one_window_and_comes_back(height, width, shift):
    layout = window_layout(height, width, 4, shift, torch.device("cpu"))
    tokens = torch.arange(height * width)
    read = torch.cat([positions for _, positions in layout.groups])
    assert torch.equal(read[layout.back], tokens)
    assert layout.padded == (len(read) > len(tokens))
    assert len(read) == -(-height // 4) * -(-width // 4) * 16
    assert torch.equal(read[read < len(tokens)].sort().values, tokens)


def test_the_position_bias_of_a_batch_of_groups_equals_that_of_each_point():
    generator = torch.Generator().manual_seed(6)
    table = torch.randn(4, 119, 159, generator=generator)
    points = 2 * torch.rand(3, 2, 5, 2, generator=generator) - 1
    rows, columns = query_axis(6, table.device), query_axis(4, table.device)
    whole = position_bias(table, rows[:, None], columns[None], points)
    assert whole.shape == (3, 4, 24, 5)
    for sample, head, query, point in [(0, 0, 0, 0), (1, 1, 7, 3), (2, 2, 23, 4), (1, 3, 12, 1)]:
        y, x = points[sample, head // 2, point].tolist()
        at_y = (0.5 * (rows[query // 4].item() - y) + 1) / 2 * 118
        at_x = (0.5 * (columns[query % 4].item() - x) + 1) / 2 * 158
        top, left = int(at_y), int(at_x)
        share_y, share_x = at_y - top, at_x - left
        corners = table[head, top : top + 2, left : left + 2]
        expected = torch.tensor([1 - share_y, share_y]) @ corners @ torch.tensor([1 - share_x, share_x])
        assert whole[sample, head, query, point].item() == pytest.approx(expected.item(), abs=1e-4)


@pytest.mark.parametrize("kind", ["swin", "lite"])
def test_the_forward_decides_nothing_by_values(kind):
    """Without values it runs just as well: on a GPU nothing in it waits for the host."""
    model = stirred(tiny_model(kind)).to("meta")
    images = [image.to("meta") for image in pair(2)]
    mask = torch.ones(2, dtype=torch.bool, device="meta")
    with pytest.raises(RuntimeError, match="item"):
        bool(mask.all())
    with torch.inference_mode():
        output = model(*images, mask_rgb=mask, mask_x=mask, trace=True)
    assert output.fused.shape == (2, model.config.num_classes, 64, 96)


def test_position_biases_lie_as_fused_attention_wants_them():
    model = tiny_model("swin").eval()
    with torch.inference_mode():
        model(*pair())
    biases = [
        bias
        for stage in model.backbone.stages
        for block in stage.blocks
        for bias in block._position_biases(torch.float32).values()
    ]
    assert len(biases) > 8
    assert all(bias.is_contiguous() for bias in biases)
