"""Both counters against the closed form of every block: bias, normalisation and pooling are not counted."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest

from bench.axes import parse_blocks
from bench.case import make_case
from bench.static import trace_figures, with_fvcore
from bench.workload import build

SHAPES = [(16, 16, 64), (17, 23, 64), (24, 24, 128), (21, 30, 96), (15, 28, 256)]
S = 1 + 9 + 36 + 64


def half(size: int) -> int:
    """Positions along one axis after an unpadded 3x3 convolution of stride 2."""
    return (size - 3) // 2 + 1


def ldv1(h: int, w: int, c: int) -> int:
    total = 0
    for _ in range(3):
        h, w = half(h), half(w)
        total += 9 * c * h * w
    return total


def cgnl(n: int, c: int, groups: int = 8) -> int:
    d = c // 2
    return 3 * n * c * d + 2 * n * d + n * c * d // groups


def ldv2(n: int, c: int, k: int = 5) -> int:
    d = c
    return n * (6 * c * d + c * d + 2 * c**2 + 2 * k**2 * d)


def pyramid(h: int, w: int) -> tuple[int, int, int]:
    """Positions at strides 8, 16 and 32."""
    return h * w, math.ceil(h / 2) * math.ceil(w / 2), math.ceil(h / 4) * math.ceil(w / 4)


def jpu(h: int, w: int, c: int) -> int:
    n3, n4, n5 = pyramid(h, w)
    width = c // 4
    lateral = 9 * width * (n3 * c // 4 + n4 * c // 2 + n5 * c)
    return lateral + 4 * n3 * (9 * 3 * width + 3 * width * width)


def fpn(h: int, w: int, c: int) -> int:
    n3, n4, n5 = pyramid(h, w)
    return (c // 4) * (n3 * c // 4 + n4 * c // 2 + n5 * c)


def gald_global(h: int, w: int, c: int, aggregation: Callable[[int, int], int]) -> int:
    small = half(h) * half(w)
    return 9 * c * small + aggregation(small, c)


def nl(n: int, c: int) -> int:
    return 4 * n * c * (c // 2) + 2 * n**2 * (c // 2)


def psp(c: int, width: int, out: int, n: int) -> int:
    levels = (1 + 4 + 9 + 36) * c * width
    return levels + (n * (c + 4 * width) * out if out else 0)


FORMS: dict[str, Callable[[int, int, int], int]] = {
    "identity": lambda h, w, c: 0,
    "nl": lambda h, w, c: nl(h * w, c),
    "nl:inner=24": lambda h, w, c: 4 * h * w * c * 24 + 2 * (h * w) ** 2 * 24,
    "nl:scale=true,norm=true": lambda h, w, c: nl(h * w, c),
    "nl:mode=dot_product": lambda h, w, c: nl(h * w, c),
    "nl:mode=gaussian": lambda h, w, c: (h * w) ** 2 * (c + c // 2) + 2 * h * w * c * (c // 2),
    "nl:mode=concat": lambda h, w, c: 4 * h * w * c * (c // 2) + (h * w) ** 2 * (c + c // 2),
    "nl:sub_sample=true": lambda h, w, c: 4 * h * w * c * (c // 2) + 2 * (h * w) * ((h // 2) * (w // 2)) * (c // 2),
    "nl:fuse=project": lambda h, w, c: nl(h * w, c) + 2 * h * w * c * c,
    "snl": lambda h, w, c: 2 * h * w * c + c * c,
    "gc": lambda h, w, c: 2 * h * w * c + 2 * c * c // 16,
    "gc:ratio=4": lambda h, w, c: 2 * h * w * c + 2 * c * c // 4,
    "gc:ratio=4,fusion=both": lambda h, w, c: 2 * h * w * c + 4 * c * c // 4,
    "gc:pooling=avg": lambda h, w, c: 2 * c * c // 16,
    "se": lambda h, w, c: 2 * c * c // 16,
    "apnb": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * h * w * S * (c // 2),
    "apnb:share=none": lambda h, w, c: 4 * h * w * c * (c // 2) + 2 * h * w * S * (c // 2),
    "apnb:share=query_key,norm=true": lambda h, w, c: 4 * h * w * c * (c // 2) + 2 * h * w * S * (c // 2),
    "apnb:sizes=1+2+3+6": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * h * w * 50 * (c // 2),
    "apnb:sampling=max,sizes=15": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * h * w * 225 * (c // 2),
    "apnb:sampling=pyramid_random": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * h * w * S * (c // 2),
    "apnb:sampling=none,share=none": lambda h, w, c: nl(h * w, c),
    "fnb": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * (h * w) ** 2 * (c // 2),
    "afnb": lambda h, w, c: 5 * h * w * c * (c // 2) // 2 + 2 * h * w * S * (c // 2),
    "afnb:share=none": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * h * w * S * (c // 2),
    "cgnl": lambda h, w, c: cgnl(h * w, c),
    "cgnl:groups=4": lambda h, w, c: cgnl(h * w, c, 4),
    "psp": lambda h, w, c: psp(c, c // 4, 0, h * w),
    "psp:width=32,out=48": lambda h, w, c: psp(c, 32, 48, h * w),
    "aspp": lambda h, w, c: (c // 8) * (h * w * c * (1 + 27) + c) + 5 * (c // 8) ** 2 * h * w,
    "ldv1": ldv1,
    "ldv1:down=average": lambda h, w, c: 0,
    "ldv2": lambda h, w, c: ldv2(h * w, c),
    "ldv2:kernel=3,dilation=2": lambda h, w, c: ldv2(h * w, c, 3),
    "gald": lambda h, w, c: gald_global(h, w, c, cgnl) + ldv1(h, w, c),
    "gald:ga=nl,ld=v2": lambda h, w, c: gald_global(h, w, c, nl) + ldv2(h * w, c),
    "gald:ga=psp": lambda h, w, c: gald_global(h, w, c, lambda n, c: psp(c, c, c, n)) + ldv1(h, w, c),
    "jpu": jpu,
    "fpn": fpn,
    "bilinear": lambda h, w, c: 0,
}


@pytest.mark.parametrize(("h", "w", "c"), SHAPES)
@pytest.mark.parametrize("block", FORMS)
def test_both_counters_equal_the_closed_form(block: str, h: int, w: int, c: int) -> None:
    ((name, options),) = parse_blocks(block)
    case = make_case(name, options, h, w, c)
    figures = with_fvcore(trace_figures(case), build(case))
    expected = FORMS[block](h, w, c)
    assert (figures.macs, figures.macs_torch, figures.macs_fvcore) == (expected, expected, expected)
    assert figures.flops == 2 * expected


@pytest.mark.parametrize("block", ["nl", "apnb", "gc", "cgnl", "ldv2"])
def test_a_batch_costs_its_images(block: str) -> None:
    one, four = (trace_figures(make_case(block, {}, 16, 18, 64, batch=b)).macs for b in (1, 4))
    assert four == 4 * one


def bottleneck(n_in: int, n_out: int, inside: int, width: int) -> int:
    """A bottleneck with its stride in the 3x3: reduce, convolve, expand; `inside` channels come in."""
    return n_in * inside * width + n_out * 9 * width * width + n_out * width * 4 * width


def resnet50(side: int, output_stride: int, base: int) -> int:
    """Convolutions of ResNet-50 on a square image whose side divides by 32."""
    total = (side // 2) ** 2 * 49 * 3 * base
    stride, inside = 4, base
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = base * 2**stage
        before = side // stride
        if stage:
            stride = min(2 * stride, output_stride)
        after = side // stride
        for block in range(blocks):
            n_in, n_out = (before**2 if block == 0 else after**2), after**2
            total += bottleneck(n_in, n_out, inside, width)
            total += n_out * inside * 4 * width if block == 0 else 0
            inside = 4 * width
    return total


@pytest.mark.parametrize("output_stride", [8, 16, 32])
@pytest.mark.parametrize(("size", "c"), [(4, 64), (8, 128), (12, 96), (16, 64), (20, 256)])
def test_backbones_equal_their_closed_form(size: int, c: int, output_stride: int) -> None:
    name = "dilated" if output_stride == 8 else "resnet"
    options = {} if output_stride == 8 else {"os": output_stride}
    case = make_case(name, options, size, size, c)
    figures = with_fvcore(trace_figures(case), build(case))
    assert figures.macs == figures.macs_fvcore == resnet50(8 * size, output_stride, c // 32)


def test_resnet50_costs_what_is_published_for_it() -> None:
    figures = trace_figures(make_case("resnet", {}, 28, 28, 2048))
    assert figures.params == 25_557_032 - 2_049_000
    assert round(figures.macs / 1e9, 2) == 4.09
