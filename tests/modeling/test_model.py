"""The network's contracts: sizes, batches, what is frozen, masking, the trace, how fusion starts."""

from __future__ import annotations

import math

import pytest
import timm
import torch
from helpers.models import assert_same_logits, pair, stirred, tiny_model
from timm.models.swin_transformer import SwinTransformer

import ktb.modeling.dscf
import ktb.modeling.trace
from ktb.config import BRANCHES
from ktb.modeling.build import FusionStart, build_model, lite_config
from ktb.modeling.model import KTB
from ktb.modeling.trace import FusionTrace

pytestmark = pytest.mark.usefixtures("one_thread")

TRAINABLE = ("backbone.patch_embed_x.", "mapa.", "dscf.", "heads.")


def stage_features(model: KTB, rgb: torch.Tensor, modal_x: torch.Tensor) -> dict[str, list[torch.Tensor]]:
    """What the output norms get: per stream four (B, h, w, C)."""
    features = {"rgb": [], "x": []}
    handles = [
        norm.register_forward_pre_hook(lambda _, args, s=stream: features[s].append(args[0].detach().clone()))
        for stream in features
        for norm in model.norms[stream]
    ]
    with torch.no_grad():
        model(rgb, modal_x)
    for handle in handles:
        handle.remove()
    return features


@pytest.fixture(scope="module", params=["swin", "lite"])
def model(request) -> KTB:
    """Read-only, with all that trains away from its start."""
    return stirred(tiny_model(request.param))


@pytest.fixture(scope="module")
def swin() -> KTB:
    return stirred(tiny_model("swin"))


@torch.inference_mode()
def test_a_batch_equals_its_singles(model):
    rgb, modal_x = pair(batch=3)
    together = model(rgb, modal_x)
    for i in range(3):
        alone = model(rgb[i : i + 1], modal_x[i : i + 1])
        for branch in BRANCHES:
            assert torch.allclose(
                getattr(together, branch)[i : i + 1], getattr(alone, branch), rtol=1e-4, atol=1e-4
            )


@pytest.mark.parametrize("size", [(32, 32), (33, 47), (64, 96), (45, 131), (129, 32)])
@torch.inference_mode()
def test_any_size_gives_finite_logits_of_that_size(model, size):
    output = model(*pair(1, *size), trace=True)
    for branch in BRANCHES:
        logits = getattr(output, branch)
        assert logits.shape == (1, model.config.num_classes, *size)
        assert logits.isfinite().all()
    for level in output.trace:
        assert level.entropy().isfinite().all()
        assert level.sampling_points.isfinite().all()


@torch.inference_mode()
def test_logits_hw_chooses_the_logits_size(swin):
    rgb, modal_x = pair(1)
    full, half = swin(rgb, modal_x), swin(rgb, modal_x, logits_hw=(32, 48))
    assert half.fused.shape[-2:] == (32, 48)
    assert full.fused.shape[-2:] == (64, 96)


@pytest.mark.parametrize(
    ("rgb", "modal_x", "message"),
    [
        ((1, 3, 31, 64), (1, 3, 31, 64), "31×64 pixels; the network needs at least 32"),
        ((1, 3, 64, 31), (1, 3, 64, 31), "64×31 pixels"),
        ((1, 3, 64, 64), (1, 3, 64, 96), r"modal_x \(1, 3, 64, 96\)"),
        ((1, 3, 64, 64), (2, 3, 64, 64), "both must be"),
        ((1, 1, 64, 64), (1, 1, 64, 64), "repeat a single channel three times"),
        ((3, 64, 64), (3, 64, 64), r"must be \(B, 3, H, W\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(swin, rgb, modal_x, message):
    with pytest.raises(ValueError, match=message):
        swin(torch.zeros(rgb), torch.zeros(modal_x))


@pytest.mark.parametrize("size", [0, 1, 2])
def test_zero_starts_leave_the_lite_features_as_timm_has_them(size):
    torch.manual_seed(3)
    net = timm.create_model(f"tf_efficientnet_lite{size}", pretrained=False).eval()
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    model = build_model(lite_config(size=size), FusionStart(prompt_zero=True))
    model.backbone.load_timm(net.state_dict())
    rgb, modal_x = pair(1, 96, 64)
    ours = stage_features(model, rgb, modal_x)
    for stream, image in (("rgb", rgb), ("x", modal_x)):
        with torch.no_grad():
            theirs = net.forward_intermediates(image, indices=[1, 2, 3, 4], intermediates_only=True)
        assert [t.shape[1] for t in theirs] == list(model.config.backbone.feature_dims)
        for our, their in zip(ours[stream], theirs):
            assert torch.allclose(
                our, their.permute(0, 2, 3, 1), rtol=1e-4, atol=1e-5 * float(their.abs().max())
            )


def test_zero_starts_leave_the_swin_features_as_timm_has_them():
    # 256 pixels: every stage's map is a multiple of the window and larger, so timm neither pads nor shrinks
    torch.manual_seed(3)
    net = SwinTransformer(
        img_size=256,
        window_size=4,
        embed_dim=16,
        depths=(2, 2, 2, 2),
        num_heads=(1, 2, 4, 8),
        num_classes=0,
        drop_path_rate=0.0,
    ).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model = tiny_model("swin", FusionStart(prompt_zero=True))
    model.backbone.load_timm(net.state_dict())
    rgb, modal_x = pair(1, 256, 256)
    ours = stage_features(model, rgb, modal_x)
    for stream, image in (("rgb", rgb), ("x", modal_x)):
        with torch.no_grad():
            tokens = net.patch_embed(image)
            for our, layer in zip(ours[stream], net.layers):
                tokens = layer(tokens)
                assert our.shape == tokens.shape
                assert torch.allclose(our, tokens, rtol=1e-4, atol=1e-5 * float(tokens.abs().max()))


def test_adapters_and_prompts_do_change_the_features(model):
    fresh = tiny_model(model.config.backbone.kind, FusionStart(prompt_zero=True))
    rgb, modal_x = pair(1)
    before, after = (stage_features(m, rgb, modal_x) for m in (fresh, model))
    for stream in ("rgb", "x"):
        assert all(not torch.allclose(a, b, atol=1e-3) for a, b in zip(before[stream], after[stream]))


@pytest.mark.usefixtures("kernels")
@pytest.mark.parametrize("kind", ["swin", "lite"])
def test_frozen_features_are_bit_equal_across_training_passes(kind):
    model = tiny_model(kind, FusionStart(prompt_zero=True)).train()
    rgb, modal_x = pair()
    first, second = (stage_features(model, rgb, modal_x) for _ in range(2))
    for stream in ("rgb", "x"):
        assert all(torch.equal(a, b) for a, b in zip(first[stream], second[stream]))


def test_stochastic_depth_acts_in_training_only():
    model = tiny_model("swin", FusionStart(prompt_zero=True), drop_path=0.9)
    rgb, modal_x = pair()
    first, second = (stage_features(model, rgb, modal_x)["rgb"][-1] for _ in range(2))
    assert torch.equal(first, second)
    model.train()
    first, second = (stage_features(model, rgb, modal_x)["rgb"][-1] for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("kind", ["swin", "lite"])
def test_training_moves_the_statistics_of_what_trains_and_no_other(kind):
    model = tiny_model(kind).train()
    norms = {n: m for n, m in model.named_modules() if hasattr(m, "running_mean")}
    before = {name: norm.running_mean.clone() for name, norm in norms.items()}
    with torch.no_grad():
        model(*pair())
    moved = {name for name, norm in norms.items() if not torch.equal(norm.running_mean, before[name])}
    assert moved == {name for name in norms if name.startswith(TRAINABLE)}
    assert any(name.startswith("heads.fused") for name in moved)
    if kind == "lite":
        assert any(name.startswith("backbone.patch_embed_x") for name in moved)
        assert moved != set(norms)


def test_gradients_reach_everything_that_trains_and_nothing_else(model):
    model.zero_grad(set_to_none=True)
    rgb, modal_x = pair()
    output = model(rgb, modal_x)
    weights = torch.randn(output.fused.shape, generator=torch.Generator().manual_seed(4))
    sum((getattr(output, branch) * weights).sum() for branch in BRANCHES).backward()
    for name, parameter in model.named_parameters():
        assert parameter.requires_grad == (name.startswith(TRAINABLE) or ".adapters." in name), name
        if not parameter.requires_grad:
            assert parameter.grad is None, name
        elif not name.endswith("proj_k.bias"):  # the same for all keys, so that the softmax cancels it
            assert parameter.grad.abs().max() > 0, name
    model.zero_grad(set_to_none=True)


@pytest.mark.parametrize("masked", ["rgb", "x"])
@torch.inference_mode()
def test_a_masked_stream_is_not_seen_and_other_samples_are_untouched(model, masked):
    rgb, modal_x = pair()
    mask = {f"mask_{masked}": torch.tensor([True, False])}
    plain, result = model(rgb, modal_x), model(rgb, modal_x, **mask)
    assert not torch.allclose(plain.fused[0], result.fused[0], atol=1e-3)
    for branch in BRANCHES:
        assert torch.allclose(getattr(plain, branch)[1], getattr(result, branch)[1], rtol=1e-5, atol=1e-5), (
            branch
        )
    rgb_changed, x_changed = rgb.clone(), modal_x.clone()
    rgb_changed[0].neg_()
    x_changed[0].neg_()
    hidden = model(rgb_changed, modal_x, **mask) if masked == "rgb" else model(rgb, x_changed, **mask)
    assert_same_logits(hidden, result, tolerance=1e-6)
    seen = model(rgb, x_changed, **mask) if masked == "rgb" else model(rgb_changed, modal_x, **mask)
    assert not torch.allclose(seen.fused[0], result.fused[0], atol=1e-3)


@torch.inference_mode()
def test_masks_of_false_change_nothing(swin):
    rgb, modal_x = pair()
    none = torch.zeros(2, dtype=torch.bool)
    assert_same_logits(swin(rgb, modal_x, mask_rgb=none, mask_x=none), swin(rgb, modal_x), tolerance=0)


def test_normalisation_takes_bytes_and_unit_floats(swin):
    image = torch.arange(0, 256, dtype=torch.uint8).view(1, 1, 16, 16).repeat(1, 3, 1, 1)
    unit = image.float() / 255
    assert torch.equal(swin.normalize_rgb(image), swin.normalize_rgb(unit))
    green = swin.normalize_rgb(unit)[0, 1]
    assert torch.allclose(green, (unit[0, 1] - 0.456) / 0.224)
    assert torch.equal(swin.normalize_x(image), unit)  # the released models' X has no mean and deviation


@torch.inference_mode()
def test_trace_has_the_documented_shapes_and_leaves_the_logits_alone(model):
    rgb, modal_x = pair(2, 72, 104)
    plain, traced = model(rgb, modal_x), model(rgb, modal_x, trace=True)
    assert plain.trace is None
    assert_same_logits(traced, plain, tolerance=0)
    assert len(traced.trace) == 4
    fusion = model.config.fusion
    grids = [(18, 26), (9, 13), (5, 7), (3, 4)]
    for trace, hw, heads, groups, stride, rank in zip(
        traced.trace, grids, fusion.num_heads, fusion.groups, fusion.strides, fusion.dscf_ranks
    ):
        point_hw = tuple((side - 1) // stride + 1 for side in hw)
        queries, points = math.prod(hw), 2 * math.prod(point_hw)
        assert (trace.query_hw, trace.point_hw) == (hw, point_hw)
        assert trace.query.shape == (2, heads, queries, rank // heads)
        assert trace.key.shape == (2, heads, points, rank // heads)
        assert trace.sampling_points.shape == trace.sampling_offsets.shape == (2, groups, points, 2)
        assert trace.reference_points.shape == (points, 2)
        assert trace.modality_weights.shape == (2, 2, points)
        assert trace.bias_table.shape == (heads, 119, 159)
        assert trace.attended_norm.shape == trace.context_norm.shape == (2, *hw)
        assert torch.allclose(trace.modality_weights.sum(dim=1), torch.ones(2, points))
        assert torch.equal(
            trace.sampling_points, (trace.reference_points + trace.sampling_offsets).clamp(-1, 1)
        )
        rows = trace.attention(torch.tensor([0, queries - 1]))
        assert rows.shape == (2, heads, 2, points)
        assert torch.allclose(rows.sum(dim=-1), torch.ones(2, heads, 2), atol=1e-5)
        balance, entropy = trace.balance(), trace.entropy()
        assert balance.shape == (2, *hw)
        assert entropy.shape == (2, heads, *hw)
        for values in (balance, entropy):
            assert values.min() >= 0
            assert values.max() <= 1 + 1e-5


def made_trace(key_scale: float) -> FusionTrace:
    """One head on a 1×2 grid with two points per stream; the queries point at the first and the last key."""
    key = torch.tensor([[1.0, 0], [0, 0], [0, 0], [0, 1.0]])
    query = torch.tensor([[1.0, 0], [0, 1.0]]) * key_scale
    weights_x = torch.tensor([0.25, 0.5, 0.5, 1.0])
    points = torch.zeros(1, 1, 4, 2)
    return FusionTrace(
        query=query.view(1, 1, 2, 2),
        key=key.view(1, 1, 4, 2),
        sampling_points=points,
        reference_points=points[0, 0],
        sampling_offsets=points,
        modality_weights=torch.stack([1 - weights_x, weights_x])[None],
        bias_table=torch.zeros(1, 119, 159),
        query_hw=(1, 2),
        point_hw=(1, 2),
        attended_norm=torch.zeros(1, 1, 2),
        context_norm=torch.zeros(1, 1, 2),
    )


def test_balance_and_entropy_of_known_attention():
    uniform, sharp = made_trace(0.0), made_trace(1000.0)
    assert torch.allclose(uniform.entropy(), torch.ones(1, 1, 1, 2))
    assert torch.allclose(uniform.balance(), torch.full((1, 1, 2), 0.5625))
    assert torch.allclose(sharp.entropy(), torch.zeros(1, 1, 1, 2), atol=1e-6)
    assert torch.allclose(sharp.balance(), torch.tensor([[[0.25, 1.0]]]))


@pytest.mark.parametrize("indices", [[-1], [2], [0, 5]])
def test_attention_of_a_query_outside_the_grid_is_refused(indices):
    with pytest.raises(ValueError, match=r"outside this level's 1×2 grid; give y·2 \+ x with values 0 to 1"):
        made_trace(1.0).attention(torch.tensor(indices))


@torch.inference_mode()
def test_large_maps_are_fused_in_blocks_with_the_same_result(model, monkeypatch):
    rgb, modal_x = pair()
    whole = model(rgb, modal_x)
    blocks = []
    attention = ktb.modeling.dscf.F.scaled_dot_product_attention
    monkeypatch.setattr(
        ktb.modeling.dscf.F,
        "scaled_dot_product_attention",
        lambda *args, **kwargs: blocks.append(1) or attention(*args, **kwargs),
    )
    monkeypatch.setattr(ktb.modeling.dscf, "MAX_SCORES", 1500)
    parts = model(rgb, modal_x)
    assert len(blocks) > 4 * 2
    assert_same_logits(parts, whole, tolerance=1e-5)


@torch.inference_mode()
def test_maps_of_a_trace_are_made_in_blocks_with_the_same_result(swin, monkeypatch):
    trace = swin(*pair(), trace=True).trace[0]
    balance, entropy = trace.balance(), trace.entropy()
    monkeypatch.setattr(ktb.modeling.trace, "MAX_ATTENTION_ENTRIES", 700)
    assert len(list(trace._query_chunks())) > 2
    assert torch.allclose(trace.balance(), balance, atol=1e-6)
    assert torch.allclose(trace.entropy(), entropy, atol=1e-6)


@torch.inference_mode()
def test_bfloat16_autocast_is_finite_and_near_float32(model):
    rgb, modal_x = pair(1)
    exact = model(rgb, modal_x)
    with torch.autocast("cpu", torch.bfloat16):
        rough = model(rgb, modal_x, trace=True)
    for branch in BRANCHES:
        assert getattr(rough, branch).isfinite().all()
    spread = exact.fused.std()
    assert (rough.fused.float() - exact.fused).abs().mean() < 0.1 * spread
    assert all(level.balance().isfinite().all() for level in rough.trace)


def test_fusion_starts_as_released_unless_told_otherwise():
    model = tiny_model("swin")
    for dscf, alpha in zip(model.dscf, (1e-3, 1e-3, 1e-3, 1.0)):
        assert torch.equal(dscf.alpha, torch.full_like(dscf.alpha, alpha))
        assert torch.equal(dscf.iota, torch.ones_like(dscf.iota))
        assert dscf.bias_table.abs().max() < 0.1
    assert all(mapa.up.weight.abs().max() > 0 for mapa in model.mapa)
    for block in (block for stage in model.backbone.stages for block in stage.blocks):
        assert block.adapters.rgb.up.weight.abs().max() == block.adapters.x.up.weight.abs().max() == 0


def test_fusion_start_sets_alpha_gain_prior_and_zero_prompts():
    start = FusionStart(alpha=(0.1, 0.2, 0.3, 0.4), qk_gain=3.0, bias_sigmas=(0.1, 0.3), prompt_zero=True)
    usual, model = tiny_model("swin"), tiny_model("swin", start)
    for level, dscf in enumerate(model.dscf):
        assert torch.allclose(dscf.alpha, torch.full_like(dscf.alpha, start.alpha[level]))
        table = dscf.bias_table.detach()
        assert torch.allclose(table[:, 59, 79], torch.zeros(len(table)), atol=1e-6)
        assert table[:, 0, 0].tolist() == [-6.0] * len(table)
        assert table.max() <= 0
        for head in range(len(table)):
            sigma = start.bias_sigmas[head % 2]
            step = 2 / 118  # table rows lie this far apart
            assert table[head, 62, 79].item() == pytest.approx(-((3 * step) ** 2) / (2 * sigma**2), rel=1e-4)
    # the same seed draws the same prompts' and first level's weights
    assert torch.allclose(model.dscf[0].proj_q.weight, 3 * usual.dscf[0].proj_q.weight)
    assert torch.allclose(model.dscf[0].proj_k.weight, 3 * usual.dscf[0].proj_k.weight)
    assert torch.equal(model.dscf[0].proj_v.weight, usual.dscf[0].proj_v.weight)
    for mapa in model.mapa:
        tokens = torch.randn(2, 4, 4, mapa.up.out_features)
        assert torch.equal(mapa(tokens), tokens)
