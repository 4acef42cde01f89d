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


def half(size: int, padding: int = 0) -> int:
    """Positions along one axis after a 3x3 convolution of stride 2."""
    return (size + 2 * padding - 3) // 2 + 1


def ldv1(h: int, w: int, c: int, stages: int = 3, padding: int = 0) -> int:
    total = 0
    for _ in range(stages):
        h, w = half(h, padding), half(w, padding)
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


def pooled_first(n: int, s: int, c: int) -> int:
    """A non-local block whose phi and g see `s` pooled positions only."""
    return 2 * n * c * (c // 2) + 2 * s * c * (c // 2) + 2 * n * s * (c // 2)


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
    "nl:sub_sample=true,pool=3": lambda h, w, c: 4 * h * w * c * (c // 2) + h * w * half(h) * half(w) * c,
    "nl:sub_sample=true,pool_first=true": lambda h, w, c: pooled_first(h * w, (h // 2) * (w // 2), c),
    "nl:sub_sample=true,pool_first=true,pool=3": lambda h, w, c: pooled_first(h * w, half(h) * half(w), c),
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
    "afnb:sampling=none,share=none": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * (h * w) ** 2 * (c // 2),
    "afnb:share=none": lambda h, w, c: 3 * h * w * c * (c // 2) + 2 * h * w * S * (c // 2),
    "cgnl": lambda h, w, c: cgnl(h * w, c),
    "cgnl:groups=4": lambda h, w, c: cgnl(h * w, c, 4),
    "psp": lambda h, w, c: psp(c, c // 4, 0, h * w),
    "psp:width=32,out=48": lambda h, w, c: psp(c, 32, 48, h * w),
    "aspp": lambda h, w, c: (c // 8) * (h * w * c * (1 + 27) + c) + 5 * (c // 8) ** 2 * h * w,
    "ldv1": ldv1,
    "ldv1:stages=2,padding=1,relu=false": lambda h, w, c: ldv1(h, w, c, 2, 1),
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


def halved(size: int) -> int:
    """Positions along one axis after a padded 3x3 of stride 2."""
    return (size + 1) // 2


def stages(h: int, w: int, inside: int, base: int, output_stride: int, layers: tuple[int, ...]) -> int:
    """The bottlenecks of all stages on a map of stride 4 with `inside` channels."""
    total, stride = 0, 4
    for stage, blocks in enumerate(layers):
        width, before = base * 2**stage, h * w
        if stage and stride < output_stride:
            h, w, stride = halved(h), halved(w), 2 * stride
        for block in range(blocks):
            total += bottleneck(before if block == 0 else h * w, h * w, inside, width)
            total += h * w * inside * 4 * width if block == 0 else 0
            inside = 4 * width
    return total


def resnet50(side: int, output_stride: int, base: int) -> int:
    """Convolutions of ResNet-50 on a square image whose side divides by 32."""
    return (side // 2) ** 2 * 49 * 3 * base + stages(side // 4, side // 4, base, base, output_stride, (3, 4, 6, 3))


def deep_trunk(h: int, w: int, c: int, ceil: bool, output_stride: int = 8) -> int:
    """Convolutions of a ResNet of `LAYERS`, deep stem, on an image of h x w; with `ceil` its max pooling rounds up."""
    base, h, w = c // 32, halved(h), halved(w)
    stem = h * w * 9 * (3 * base + 3 * base * base)
    h, w = (h // 2 + 1, w // 2 + 1) if ceil else (halved(h), halved(w))
    return stem + stages(h, w, 2 * base, base, output_stride, LAYERS)


def context_head(h: int, w: int, c: int, block: Callable[[int, int, int], int], given: int = 1) -> int:
    """Two 3x3 around a block on C/4 channels that returns `given` times as many, 3x3 with c5 beside, 1x1 to 19."""
    q = c // 4
    return h * w * (9 * c * q + 9 * given * q * q + 9 * (c + q) * q + q * 19) + block(h, w, q)


def asymmetric_head(n: int, c: int, keys: int) -> int:
    """Fusion of c4 and c5 at D = C/8, 3x3 to C/4, attention of the same D, each projected, 1x1 to 19."""
    q, d = c // 4, c // 8
    fusion = n * (c * d + 2 * (c // 2) * d + d * c) + 2 * n * keys * d + n * 2 * c * c
    context = n * 4 * q * d + 2 * n * keys * d + n * 2 * q * q
    return fusion + n * 9 * c * q + context + n * q * 19


def encoding_head(n: int, c: int, kernel: int) -> int:
    """Convolution to D = C/4, 1x1, 32 codewords, the gate, logits of 59 classes; those of presence are for training."""
    d = c // 4
    return n * (kernel**2 * c * d + d * d + 2 * 32 * d + d * 59) + d * d


def pyramid_head(n: int, c: int) -> int:
    return psp(c, c // 4, 0, n) + n * (9 * 2 * c * (c // 4) + (c // 4) * 59)


def atrous_head(h: int, w: int, c: int) -> int:
    e = c // 8
    return FORMS["aspp"](h, w, c) + h * w * (9 * e * e + e * 59)


def auxiliary(n: int, c: int, width: int, classes: int) -> int:
    return n * (9 * (c // 2) * width + width * classes)


LAYERS, ROUNDED_UP = (1, 2, 1, 2), ("gcnet", "galdnet", "ann")
NETWORK_FORMS: dict[str, Callable[[int, int, int], int]] = {
    "fcn": lambda h, w, c: h * w * (9 * c * (c // 4) + (c // 4) * 19),
    "fcn:aux=always": lambda h, w, c: h * w * (9 * c * (c // 4) + (c // 4) * 19) + auxiliary(h * w, c, c // 8, 19),
    "gcnet:head=identity": lambda h, w, c: context_head(h, w, c, lambda h, w, q: 0),
    "gcnet:head=identity,aux=always": lambda h, w, c: (
        context_head(h, w, c, lambda h, w, q: 0) + auxiliary(h * w, c, c // 4, 19)
    ),
    "gcnet:head=nl": lambda h, w, c: context_head(h, w, c, FORMS["nl"]),
    "gcnet:head=gc/ratio=4": lambda h, w, c: context_head(h, w, c, FORMS["gc:ratio=4"]),
    "galdnet": lambda h, w, c: context_head(h, w, c, FORMS["gald"]),
    "galdnet:arrangement=parallel": lambda h, w, c: context_head(h, w, c, FORMS["gald"], 2),
    "ann": lambda h, w, c: asymmetric_head(h * w, c, S),
    "ann:fusion=fnb,context=nb": lambda h, w, c: asymmetric_head(h * w, c, h * w),
    "fastfcn:up=none": lambda h, w, c: encoding_head(h * w, c, 3),
    "fastfcn": lambda h, w, c: jpu(h, w, c) + encoding_head(h * w, c, 1),
    "fastfcn:aux=always": lambda h, w, c: (
        jpu(h, w, c) + encoding_head(h * w, c, 1) + c // 4 * 59 + auxiliary(halved(h) * halved(w), c, c // 8, 59)
    ),
    "fastfcn:up=bilinear": lambda h, w, c: encoding_head(h * w, c, 3),
    "fastfcn:head=psp": lambda h, w, c: jpu(h, w, c) + pyramid_head(h * w, c),
    "fastfcn:head=aspp": lambda h, w, c: jpu(h, w, c) + atrous_head(h, w, c),
}


@pytest.mark.parametrize(("h", "w", "c", "side"), [(16, 18, 64, "even"), (17, 16, 128, "odd")])
@pytest.mark.parametrize("network", NETWORK_FORMS)
def test_networks_are_trunk_and_head(network: str, h: int, w: int, c: int, side: str) -> None:
    ((name, options),) = parse_blocks(network)
    case = make_case(name, {**options, "side": side, "layers": LAYERS}, h, w, c)
    figures = with_fvcore(trace_figures(case), build(case))
    ceil, less = name in ROUNDED_UP, 7 if side == "odd" else 0
    output_stride = 32 if name == "fastfcn" and options.get("up") != "none" else 8
    trunk = deep_trunk(8 * h - less, 8 * w - less, c, ceil, output_stride)
    more = 1 if ceil and side == "even" else 0
    expected = trunk + NETWORK_FORMS[network](h + more, w + more, c)

    assert (figures.macs, figures.macs_torch, figures.macs_fvcore) == (expected, expected, expected)


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
