"""Authors' weights: full-size names and shapes, and every way in which they may not fit."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import pytest
import torch

from modules.checkpoints import from_official
from modules.options import SpecError
from tests.modules.test_golden import FOLDER, distance, outputs_of, read

KEYS = FOLDER / "keys"
CLASSIFIER = 2048 * 1000 + 1000
R50, R101 = [3, 4, 6, 3], [3, 4, 23, 3]
CONTEXT = [False, True, True, True]
EFFICIENCY = {"in_channels": 2048, "out_channels": 2048, "key_channels": 256, "value_channels": 256}


def fastfcn(layers: list[int], jpu: str | None) -> dict[str, object]:
    return {"nclass": 59, "layers": layers, "aux": True, "jpu": jpu, "dilated": jpu is None}


FULL_SIZE: Mapping[str, tuple[str, dict[str, object]]] = {
    "ann_deepbase_resnet101_nc19": ("ann.asymmetric_non_local_network", {"num_classes": 19, "layers": R101}),
    "ann_resnet101_nc19": (
        "ann.asymmetric_non_local_network",
        {"num_classes": 19, "layers": R101, "deep_base": False},
    ),
    "block_ann_eff_apnb_2048": ("ann.efficiency.APNB", EFFICIENCY),
    "block_ann_eff_nb_2048": ("ann.efficiency.BaseOC_Module", EFFICIENCY),
    "block_jpu_w512": ("fastfcn.JPU", {"in_channels": [512, 1024, 2048]}),
    "block_jpux_w512": ("fastfcn.JPU_X", {"in_channels": [512, 1024, 2048]}),
    "fastfcn_deeplab_resnet101_jpu_nc59": ("fastfcn.DeepLabV3", fastfcn(R101, "JPU")),
    "fastfcn_deeplab_resnet50_dilated_nc59": ("fastfcn.DeepLabV3", fastfcn(R50, None)),
    "fastfcn_deeplab_resnet50_jpu_nc59": ("fastfcn.DeepLabV3", fastfcn(R50, "JPU")),
    "fastfcn_encnet_resnet101_dilated_nc59": ("fastfcn.EncNet", fastfcn(R101, None)),
    "fastfcn_encnet_resnet101_jpu_nc59": ("fastfcn.EncNet", fastfcn(R101, "JPU")),
    "fastfcn_encnet_resnet50_dilated_nc59": ("fastfcn.EncNet", fastfcn(R50, None)),
    "fastfcn_encnet_resnet50_jpu_nc59": ("fastfcn.EncNet", fastfcn(R50, "JPU")),
    "fastfcn_encnet_resnet50_jpu_x_nc59": ("fastfcn.EncNet", fastfcn(R50, "JPU_X")),
    "fastfcn_psp_resnet101_jpu_nc59": ("fastfcn.PSP", fastfcn(R101, "JPU")),
    "fastfcn_psp_resnet50_dilated_nc59": ("fastfcn.PSP", fastfcn(R50, None)),
    "fastfcn_psp_resnet50_jpu_nc59": ("fastfcn.PSP", fastfcn(R50, "JPU")),
    "galdnet_r101_nc19": ("gald.GALDNet", {"num_classes": 19, "layers": R101}),
    "galdnet_r50_nc19": ("gald.GALDNet", {"num_classes": 19, "layers": R50}),
    "gcnet_r101_gcb_r4_c3-c5": (
        "gcnet.ResNet",
        {"depth": 101, "gcb": {"ratio": 1 / 4}, "stage_with_gcb": CONTEXT},
    ),
    "gcnet_r50_baseline": ("gcnet.ResNet", {"depth": 50}),
    "gcnet_r50_gcb_r16_c3-c5": ("gcnet.ResNet", {"gcb": {"ratio": 1 / 16}, "stage_with_gcb": CONTEXT}),
    "gcnet_r50_gcb_r4_c3-c5": ("gcnet.ResNet", {"gcb": {"ratio": 1 / 4}, "stage_with_gcb": CONTEXT}),
}


def recorded_keys(stem: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((KEYS / f"{stem}.json").read_text())
    return data


def test_every_full_size_recording_is_tested() -> None:
    assert {path.stem for path in KEYS.glob("*.json")} == set(FULL_SIZE)


@pytest.mark.parametrize("stem", FULL_SIZE)
def test_full_size_state_dicts_fit_without_memory(stem: str) -> None:
    source, config = FULL_SIZE[stem]
    data = recorded_keys(stem)
    state = {name: torch.empty(shape, device="meta") for name, shape in data["state_dict"].items()}

    module = from_official(source, state, **config)

    unused = CLASSIFIER if "pretrained.fc.weight" in state else 0
    assert sum(parameter.numel() for parameter in module.parameters()) == data["num_params"] - unused
    assert all(parameter.is_meta for parameter in module.parameters())


def refusal(source: str, state: Mapping[str, Any], config: Mapping[str, Any]) -> str:
    """The one line with which weights or arguments are refused."""
    with pytest.raises(SpecError) as caught:
        from_official(source, state, **config)
    message = str(caught.value)
    assert "\n" not in message
    assert source in message
    return message


FITTING = sorted({read(path.stem).source: path.stem for path in FOLDER.glob("*.pt")}.values())


@pytest.mark.parametrize("stem", FITTING)
def test_a_missing_name_is_told_as_the_authors_spell_it(stem: str) -> None:
    golden = read(stem)
    for name in (next(iter(golden.state)), list(golden.state)[-1]):
        state = {key: value for key, value in golden.state.items() if key != name}

        assert f"missing '{name}'" in refusal(golden.source, state, golden.config)


@pytest.mark.parametrize("stem", FITTING)
def test_a_renamed_name_is_missing_and_unexpected(stem: str) -> None:
    golden = read(stem)
    name = next(iter(golden.state))
    state = {f"{key}_" if key == name else key: value for key, value in golden.state.items()}

    assert f"missing '{name}'; unexpected '{name}_'" in refusal(golden.source, state, golden.config)


@pytest.mark.parametrize("stem", FITTING)
def test_another_shape_is_told_with_both_shapes(stem: str) -> None:
    golden = read(stem)
    name = next(key for key, value in golden.state.items() if value.ndim)
    needed = golden.state[name].shape
    given = (needed[0] + 1, *needed[1:])

    message = refusal(golden.source, {**golden.state, name: torch.zeros(given)}, golden.config)

    assert f"of another shape '{name}' {tuple(given)}, not {tuple(needed)}" in message


def test_only_the_first_names_are_listed() -> None:
    golden = read("jpu")

    message = refusal(golden.source, {}, golden.config)

    assert re.search(r"missing ('[^']+', ){2}'[^']+' and \d+ more", message)


@pytest.mark.parametrize("stem", ["apnb_psp1368", "ann_eff_apnb", "ann_eff_baseoc_nb", "ann_net_tiny_mg111"])
def test_two_names_of_one_tensor_must_agree(stem: str) -> None:
    golden = read(stem)
    second = next(name for name in golden.state if "f_query.0.weight" in name and "fusion" not in name)
    first = second.replace("f_query", "f_key")
    other = {**golden.state, second: golden.state[second] + 1}

    assert f"'{second}' and '{first}' are one tensor" in refusal(golden.source, other, golden.config)


@pytest.mark.parametrize(
    ("stem", "prefix"), [("fast_net_encnet_jpu_tiny", "pretrained."), ("fast_resnet_tiny_dilated", "")]
)
def test_the_unused_classifier_of_fastfcn_is_the_only_thing_left_out(stem: str, prefix: str) -> None:
    golden = read(stem)
    extra = {f"{prefix}fc.weight": torch.zeros(10, 32), f"{prefix}fc.bias": torch.zeros(10)}

    module = from_official(golden.source, {**golden.state, **extra}, **golden.config).eval()

    assert distance(module, golden) <= golden.tolerance
    more = {**golden.state, **extra, f"{prefix}fc.scale": torch.zeros(1)}
    assert f"unexpected '{prefix}fc.scale'" in refusal(golden.source, more, golden.config)
    ann = read("ann_net_tiny_mg111")
    state = {**ann.state, "backbone.fc.weight": torch.zeros(10, 32)}
    assert "unexpected 'backbone.fc.weight'" in refusal(ann.source, state, ann.config)


def test_files_older_than_the_counters_of_batch_norms_fit() -> None:
    golden = read("fast_net_psp_jpu_tiny")
    state = {name: value for name, value in golden.state.items() if not name.endswith("num_batches_tracked")}
    assert len(state) < len(golden.state)

    assert distance(from_official(golden.source, state, **golden.config).eval(), golden) <= golden.tolerance


def test_the_auxiliary_head_may_be_left_out() -> None:
    golden = read("fast_net_encnet_jpu_tiny")
    state = {name: value for name, value in golden.state.items() if not name.startswith("auxlayer.")}
    module = from_official(golden.source, state, **{**golden.config, "aux": False}).eval()

    ours = outputs_of(module, golden)

    assert len(ours) == 2
    assert all(float((a - b).abs().max()) <= golden.tolerance for a, b in zip(ours, golden.outputs[:2], strict=True))


def test_an_unknown_source_names_the_nearest() -> None:
    assert "did you mean 'ann.APNB'?" in refusal("ann.APBN", {}, {})


def test_an_unknown_argument_names_the_nearest() -> None:
    golden = read("apnb_psp1368")

    message = refusal(golden.source, golden.state, {**golden.config, "psp_sizes": [1]})

    assert "unknown argument 'psp_sizes'" in message
    assert "did you mean 'psp_size'?" in message


@pytest.mark.parametrize("stem", [stem for stem in FITTING if read(stem).source != "gcnet.ResNet"])
def test_an_argument_without_default_is_asked_for(stem: str) -> None:
    golden = read(stem)
    needed = next(iter(golden.config))

    assert f"needs the argument '{needed}'" in refusal(
        golden.source, golden.state, {key: value for key, value in golden.config.items() if key != needed}
    )


@pytest.mark.parametrize(
    ("stem", "argument", "value"),
    [
        ("apnb_psp1368", "sizes", [1, 2]),
        ("apnb_psp1368", "out_channels", 8),
        ("ann_net_tiny_mg111", "dilate_scale", 16),
        ("ann_net_tiny_mg111", "width_div", 0),
        ("fast_separable", "kernel_size", 5),
        ("fast_net_psp_jpu_tiny", "jpu", "FPN"),
        ("fast_net_psp_jpu_tiny", "dilated", True),
        ("fast_net_psp_jpu_tiny", "jpu_width", 16),
        ("fast_psp_head", "up_kwargs", {"mode": "bilinear", "align_corners": False}),
        ("gald_aspp", "dilations", [12, 24]),
        ("gc_att_add", "fusion_types", ["channel_sub"]),
        ("gc_att_add", "fusion_types", []),
        ("gcnet_resnet_tiny_gcb_caffe", "gcb", {"ratio": 0.25, "headers": 2}),
        ("gcnet_resnet_tiny_gcb_caffe", "num_stages", 3),
        ("gcnet_resnet_tiny_gcb_caffe", "stage_blocks", [1, 1]),
        ("nl_mmcv_embedded_gaussian", "norm_cfg", {"type": "GN"}),
        ("nl_gcnetrepo_dot_product", "mode", "gaussian"),
    ],
)
def test_arguments_without_a_counterpart_are_refused(stem: str, argument: str, value: object) -> None:
    golden = read(stem)

    assert "cannot build" in refusal(golden.source, golden.state, {**golden.config, argument: value})


def test_what_is_no_tensor_is_refused() -> None:
    golden = read("gc_att_add")

    assert "'conv_mask.bias' " in refusal(golden.source, {**golden.state, "conv_mask.bias": [0.0]}, golden.config)
