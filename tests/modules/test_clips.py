"""Slow-only ResNet: the figures of GCNet Table 10, equality with the 2-D network, where context goes, bad input."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.static.flops import DispatchCount
from bench.static.trace import Trace
from modules.clips import ClipBottleneck, ClipContext, SlowOnly
from modules.options import SpecError
from modules.registry import create, create_nested
from modules.resnet import Backbone

FIVE: dict[str, Any] = {"stages": (3, 4), "often": "alternate", "place": "after_add"}
BASELINE_MACS = 37_424_889_856


def counted(**options: Any) -> tuple[int, int]:
    """Parameters and multiply-adds of the published width on eight frames of 224 x 224."""
    with torch.device("meta"):
        network = SlowOnly(2048, **options).eval()
        clip = torch.empty(network.input_shape(1, 28, 28))
    count = DispatchCount()
    with torch.no_grad(), Trace(count):
        network(clip)
    return sum(parameter.numel() for parameter in network.parameters()), count.macs


@pytest.mark.parametrize(
    ("published", "options"),
    [
        (32.45, {}),
        (39.81, {"context": "nl/norm=true", **FIVE}),
        (36.13, {"context": "snl", **FIVE}),
        (34.30, {"context": "gc/ratio=4", **FIVE}),
        (42.45, {"context": "gc/ratio=4"}),
    ],
)
def test_parameters_are_those_of_gcnet_table_10(published: float, options: dict[str, Any]) -> None:
    params, _ = counted(**options)
    assert abs(params / 1e6 - published) < 0.00501


@pytest.mark.parametrize(("style", "macs"), [("caffe", BASELINE_MACS), ("pytorch", 41_740_828_672)])
def test_style_decides_the_cost(style: str, macs: int) -> None:
    assert counted(style=style)[1] == macs


@pytest.mark.parametrize(
    ("added", "options"),
    [
        (22.235, {"context": "nl/norm=true/sub_sample=true/pool_first=true", **FIVE}),
        (19.906, {"context": "nl/norm=true/sub_sample=true/pool_first=true/pool=3", **FIVE}),
        (64.277, {"context": "nl/norm=true", **FIVE}),
        (0.026, {"context": "snl", **FIVE}),
        (0.024, {"context": "gc/ratio=4", **FIVE}),
        (0.060, {"context": "gc/ratio=4"}),
    ],
)
def test_context_adds_what_it_costs_on_all_frames(added: float, options: dict[str, Any]) -> None:
    assert round((counted(**options)[1] - BASELINE_MACS) / 1e9, 3) == added


def test_the_non_local_block_costs_its_closed_form_over_all_frames() -> None:
    n, c = 8 * 14 * 14, 1024
    _, macs = counted(context="nl", stages=(4,), often="once", place="after_add")
    assert macs - BASELINE_MACS == 4 * n * c * (c // 2) + 2 * n * n * (c // 2)


@pytest.mark.parametrize("style", ["caffe", "pytorch"])
@pytest.mark.parametrize("options", [{}, {"context": "gc/ratio=4"}, {"context": "nl", **FIVE}])
def test_one_frame_is_a_plain_residual_network(style: Any, options: dict[str, Any]) -> None:
    """The temporal convolutions see one frame between zeros, so their middle tap is a 2-D network's weight."""
    torch.manual_seed(1)
    clips, images = SlowOnly(64, style=style, classes=5, **options), Backbone(64, style=style, **options)
    _unsettle(clips)
    state = {name: value for name, value in clips.state_dict().items() if not name.startswith("fc.")}
    flat = {}
    for name, value in state.items():
        middle = value[:, :, value.shape[2] // 2] if value.dim() == 5 else value
        flat[name.replace("context.block.", "context.")] = middle
    images.load_state_dict(flat)
    clip = torch.randn(2, 3, 1, 70, 90)

    expected = clips.eval().fc(images.eval()(clip[:, :, 0])[3].mean((2, 3)))

    torch.testing.assert_close(clips(clip), expected, rtol=1e-4, atol=1e-5)


def test_only_the_last_two_stages_look_across_frames() -> None:
    network = SlowOnly(32)
    spans = {
        name: {block.conv1.kernel_size[0] for block in getattr(network, name)}
        for name in ("layer1", "layer2", "layer3", "layer4")
    }
    assert spans == {"layer1": {1}, "layer2": {1}, "layer3": {3}, "layer4": {3}}


def test_frames_mix_in_layer3_and_not_before() -> None:
    torch.manual_seed(2)
    network = SlowOnly(64).eval()
    _unsettle(network)
    clip = torch.randn(1, 3, 4, 48, 48)
    other = clip.clone()
    other[:, :, 0] += 1
    found: dict[str, list[Tensor]] = {"layer2": [], "layer3": []}
    for name, seen in found.items():
        getattr(network, name).register_forward_hook(lambda *call, seen=seen: seen.append(call[2]))
    network(clip)
    network(other)

    assert torch.equal(found["layer2"][0][:, :, 1:], found["layer2"][1][:, :, 1:])
    assert not torch.equal(found["layer3"][0][:, :, 1:], found["layer3"][1][:, :, 1:])


@pytest.mark.parametrize(
    ("options", "places"),
    [
        ({"stages": (3, 4), "often": "alternate"}, "2.1 2.3 3.1 3.3 3.5"),
        ({"stages": (4,), "often": "once"}, "3.4"),
        ({"stages": (2, 5)}, "1.0 1.1 1.2 4.0 4.1 4.2"),
    ],
)
def test_context_goes_where_it_is_asked(options: dict[str, Any], places: str) -> None:
    network = SlowOnly(64, context="snl", **options)
    found = [name for name, module in network.named_modules() if isinstance(module, ClipContext)]
    assert found == [f"layer{place}.context" for place in places.split()]


@pytest.mark.parametrize("spec", ["nl", "nl/norm=true", "snl", "gc/ratio=4", "apnb", "cgnl"])
def test_a_context_block_spans_all_frames(spec: str) -> None:
    torch.manual_seed(3)
    block = ClipContext(create_nested(spec, 16)).eval()
    _unsettle(block)
    clip = torch.randn(1, 16, 3, 6, 7)
    other = clip.clone()
    other[:, :, 0] *= -1

    assert block(clip).shape == clip.shape
    assert not torch.allclose(block(clip)[:, :, 2], block(other)[:, :, 2])


@pytest.mark.parametrize("spec", ["nl", "snl", "gc/ratio=4", "cgnl"])
def test_context_without_a_grid_does_not_know_the_order_of_frames(spec: str) -> None:
    torch.manual_seed(4)
    block = ClipContext(create_nested(spec, 16)).double().eval()
    _unsettle(block)
    clip, order = torch.randn(2, 16, 3, 5, 6, dtype=torch.float64), [2, 0, 1]

    torch.testing.assert_close(block(clip[:, :, order]), block(clip)[:, :, order])


def test_sub_sampling_stays_within_frames() -> None:
    """Folded, two rows of a frame of odd height would be pooled with the next frame's."""
    torch.manual_seed(5)
    block = create_nested("nl/sub_sample=true/pool_first=true", 16).double()
    clip, order = torch.randn(1, 16, 3, 5, 6, dtype=torch.float64), [1, 2, 0]
    whole = ClipContext(block)

    torch.testing.assert_close(whole(clip[:, :, order]), whole(clip)[:, :, order])


@pytest.mark.parametrize("options", [{}, {"style": "pytorch", "context": "nl", **FIVE}, {"context": "gc/ratio=4"}])
@pytest.mark.parametrize("shape", [(2, 3, 3, 64, 96), (1, 3, 5, 65, 97)])
def test_clips_give_classes_and_every_parameter_learns(options: dict[str, Any], shape: tuple[int, ...]) -> None:
    network = create("slow_only", 64, classes=7, **options).train()
    logits = network(torch.randn(shape))

    assert logits.shape == (shape[0], 7)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name


def test_a_clip_of_the_published_size_stands_for_a_map_of_28() -> None:
    assert SlowOnly(32).input_shape(2, 28, 30) == (2, 3, 8, 224, 240)
    assert SlowOnly(32, frames=4).input_shape(1, 3, 5) == (1, 3, 4, 24, 40)


@pytest.mark.parametrize(
    ("channels", "options", "said"),
    [
        (48, {}, "channels 48 are not divisible by 32"),
        (64, {"depth": 18}, "depth 18 is not one of 50, 101"),
        (64, {"frames": 0}, "classes and frames must be at least 1, not 400 and 0"),
        (64, {"stages": "3+6", "context": "gc"}, "stage 6 does not exist"),
        (64, {"context": "gx"}, "'gx' is not a context block; did you mean 'gc'? allowed: identity, nl,"),
        (64, {"context": "jpu"}, "not a context block"),
        (64, {"context": "gc/ratio=5"}, "not divisible by the ratio 5"),
        (64, {"often": "twice"}, "option 'often' of 'slow_only' cannot be 'twice'"),
    ],
)
def test_what_cannot_be_built_is_said_in_one_line(channels: int, options: dict[str, Any], said: str) -> None:
    with pytest.raises(SpecError) as caught:
        create("slow_only", channels, **options)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 4, 2, 32, 32)])
def test_an_input_that_is_no_clip_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must be a clip"):
        SlowOnly(32)(torch.randn(shape))


def test_a_context_block_that_changes_the_shape_is_refused() -> None:
    network = SlowOnly(64, context="nl/fuse=concat", stages=(5,), often="once")
    with pytest.raises(ValueError, match="must keep the shape"):
        network.eval()(torch.randn(1, 3, 2, 32, 32))


@pytest.mark.parametrize("place", ["after1x1", "after_add"])
def test_a_bottleneck_of_clips_takes_the_width_that_it_has(place: Any) -> None:
    bottleneck = ClipBottleneck(16, 4, 1, 1, "pytorch", nn.Conv3d(16, 24, 1), place)
    with pytest.raises(ValueError, match="must return 16 channels here, not 24 as Conv3d does"):
        bottleneck(torch.randn(1, 16, 2, 4, 4))


def _unsettle(module: nn.Module) -> None:
    """Random statistics and affine parameters, so that no norm and no zero-initialised layer hides a difference."""
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm3d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 1.5)
    for parameter in module.parameters():
        if parameter.dim() == 1 or not parameter.any():
            nn.init.normal_(parameter, mean=0.5, std=0.2)
