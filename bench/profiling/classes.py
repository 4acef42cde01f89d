"""Classes of operators: one table from the operator's name to what it is, and whose a nested operator's time is."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping, Sequence

import torch

from bench.profiling.record import CONVOLUTION, COPY, MATMUL, NORMALISATION, OTHER, POOLING, SOFTMAX
from bench.static.operators import is_composite, moves_no_data

_NAMES: Mapping[str, str] = {
    CONVOLUTION: """
        convolution _convolution convolution_overrideable convolution_backward convolution_backward_overrideable
        conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d conv_tbc
        mkldnn_convolution cudnn_convolution cudnn_convolution_transpose cudnn_convolution_relu
        cudnn_convolution_add_relu miopen_convolution miopen_depthwise_convolution thnn_conv2d _slow_conv2d_forward
        _slow_conv2d_backward slow_conv3d slow_conv3d_forward slow_conv_transpose2d slow_conv_transpose3d
        slow_conv_dilated2d slow_conv_dilated3d _conv_depthwise2d conv_depthwise3d _nnpack_spatial_convolution
    """,
    MATMUL: """
        mm bmm addmm baddbmm addbmm mv addmv dot vdot matmul linear linear_backward einsum bilinear _trilinear
        addr outer _addmm_activation mkldnn_linear chain_matmul tensordot scaled_dot_product_attention
        _scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_backward
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention_for_cpu_backward
        _scaled_dot_product_efficient_attention _scaled_dot_product_efficient_attention_backward
        _scaled_dot_product_cudnn_attention _scaled_dot_product_cudnn_attention_backward
        _scaled_dot_product_attention_math window_products window_sums contextbench::window_products
        contextbench::window_sums
    """,
    SOFTMAX: """
        softmax _softmax _softmax_backward_data _safe_softmax log_softmax _log_softmax _log_softmax_backward_data
        _masked_softmax _masked_softmax_backward
    """,
    POOLING: """
        mean avg_pool1d avg_pool2d avg_pool3d avg_pool2d_backward avg_pool3d_backward adaptive_avg_pool1d
        adaptive_avg_pool2d adaptive_avg_pool3d _adaptive_avg_pool2d _adaptive_avg_pool3d
        _adaptive_avg_pool2d_backward _adaptive_avg_pool3d_backward mkldnn_adaptive_avg_pool2d max_pool1d max_pool2d
        max_pool3d max_pool1d_with_indices max_pool2d_with_indices max_pool3d_with_indices
        max_pool2d_with_indices_backward max_pool3d_with_indices_backward max_pool2d_backward mkldnn_max_pool2d
        adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d adaptive_max_pool2d_backward
        adaptive_max_pool3d_backward fractional_max_pool2d fractional_max_pool2d_backward
    """,
    NORMALISATION: """
        batch_norm _batch_norm_impl_index _batch_norm_impl_index_backward native_batch_norm
        native_batch_norm_backward _native_batch_norm_legit _native_batch_norm_legit_no_training
        _native_batch_norm_legit_functional _batch_norm_with_update _batch_norm_no_update batch_norm_backward
        cudnn_batch_norm cudnn_batch_norm_backward miopen_batch_norm miopen_batch_norm_backward batch_norm_stats
        batch_norm_elemt batch_norm_gather_stats_with_counts batch_norm_backward_reduce batch_norm_backward_elemt
        layer_norm native_layer_norm native_layer_norm_backward group_norm native_group_norm
        native_group_norm_backward instance_norm rms_norm _fused_rms_norm _fused_rms_norm_backward
        local_response_norm
    """,
    COPY: """
        copy clone _to_copy to contiguous cat concat stack constant_pad_nd pad _pad_enum _pad_circular
        reflection_pad1d reflection_pad2d reflection_pad3d reflection_pad2d_backward replication_pad1d
        replication_pad2d replication_pad3d replication_pad2d_backward index _unsafe_index index_select gather
        gather_backward scatter scatter_add index_put _index_put_impl _unsafe_index_put index_add index_copy
        index_backward take take_along_dim repeat repeat_interleave tile roll flip rot90 im2col col2im
        slice_backward select_backward diagonal_backward index_select_backward unfold_backward slice_scatter
        select_scatter as_strided_scatter pixel_shuffle pixel_unshuffle channel_shuffle lift_fresh_copy
    """,
    OTHER: """
        sum amax amin max min argmax argmin prod cumsum norm linalg_vector_norm var std var_mean std_mean
        logsumexp topk sort max_pool_double_backward value_selecting_reduction_backward
        upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_nearest2d_backward upsample_linear1d
        upsample_bilinear2d upsample_bilinear2d_backward upsample_bicubic2d upsample_trilinear3d
        upsample_trilinear3d_backward grid_sampler_2d grid_sampler_2d_backward
        empty empty_like empty_strided empty_permuted new_empty new_empty_strided new_zeros new_ones new_full zeros
        zeros_like ones ones_like full full_like scalar_tensor arange linspace eye tril triu tril_indices
        rand rand_like randn randn_like randint randperm bernoulli fill zero resize set _cdist_forward
        _cdist_backward native_dropout native_dropout_backward _local_scalar_dense
    """,
}
_CLASS_OF: Mapping[str, str] = {name: kind for kind, names in _NAMES.items() for name in names.split()}
_OPERATOR = re.compile(r"(\w+)::(\w+)")


def class_of(operator: str) -> str:
    """The class of an operator, `aten::bmm` or `bmm`; `other` for what the table does not name.

    The average over positions (`mean`) is pooling, attention in one kernel is matmul, and an operator in place is what
    it is out of place.
    """
    return _CLASS_OF.get(_plain(operator), OTHER)


def is_known(operator: str) -> bool:
    """Whether the class of an operator was decided, not left over: it is in the table, a view, or elementwise."""
    if _plain(operator) in _CLASS_OF:
        return True
    packet = _find(operator if "::" in operator else f"aten::{operator}")
    if packet is None:
        return False
    return any(moves_no_data(each) or torch.Tag.pointwise in each.tags for each in _overloads(packet).values())


def credited(chain: Sequence[str]) -> str | None:
    """The operator that the innermost of nested profiler events counts for; null where none is an operator.

    That is the outermost one which a trace would see, as it is not made of others: whatever it calls inside, a copy or
    an addition, is its own. What only composite operators did counts for the innermost that the table names.

    Args:
        chain: names of the events, the outermost first: `("aten::conv2d", "aten::convolution", "aten::copy_")` is
            `aten::convolution`, `("aten::contiguous", "aten::clone")` is `aten::clone`.
    """
    operators = [name for name in chain if _find(name) is not None]
    for name in operators:
        if not _only_composite(name):
            return name
    named = [name for name in operators if _plain(name) in _CLASS_OF]
    found = named or operators
    return found[-1] if found else None


def _plain(operator: str) -> str:
    """`aten::copy_` to `copy`; operators of other libraries keep their namespace."""
    plain = operator.removeprefix("aten::")
    return plain if plain.endswith("__") else plain.removesuffix("_")


@functools.cache
def _find(name: str) -> torch._ops.OpOverloadPacket | None:
    """The operator that a profiler event is named after; null for annotations, autograd's nodes, runtime calls."""
    match = _OPERATOR.fullmatch(name)
    if match is None or match[1] == "profiler":
        return None
    try:
        packet = getattr(getattr(torch.ops, match[1]), match[2])
    except (AttributeError, RuntimeError):
        return None
    return packet if isinstance(packet, torch._ops.OpOverloadPacket) else None


@functools.cache
def _only_composite(name: str) -> bool:
    packet = _find(name)
    if packet is None:
        return False
    return all(is_composite(each) for name, each in _overloads(packet).items() if not name.endswith("out"))


def _overloads(packet: torch._ops.OpOverloadPacket) -> dict[str, torch._ops.OpOverload]:
    """Overloads by name, without those that TorchScript alone knows."""
    found = {name: getattr(packet, name) for name in packet.overloads()}  # type: ignore[no-untyped-call]
    return {name: each for name, each in found.items() if torch._C._dispatch_has_kernel(each.name())}
