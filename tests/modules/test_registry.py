"""The registry: what is listed, how it is described, spelled and built, and what it says to bad input."""

from __future__ import annotations

from typing import Literal

import pytest
from torch import Tensor, nn

from modules import registry
from modules.options import SpecError, options_of, text_of

CONTEXT = ["identity", "nl", "snl", "gc", "se", "apnb", "cgnl", "psp", "aspp", "ldv1", "ldv2", "gald", "encoding"]
CONTEXT += ["pam", "cam", "criss_cross", "psa"]
NETWORK = [
    "fcn",
    "gcnet",
    "galdnet",
    "ann",
    "fastfcn",
    "danet",
    "ccnet",
    "psanet",
    "gc_resnet",
    "slow_only",
    "mask_rcnn",
]


@pytest.fixture
def scratch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy of the registry that the test may add to."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))


class Doubled(nn.Module):
    """Twice its input.

    Nothing more.
    """

    def __init__(
        self,
        channels: int,
        times: int = 2,
        width: int | None = None,
        how: Literal["left", "right"] = "left",
        rate: float = 0.5,
        sizes: tuple[int, ...] = (1, 2),
        flag: bool = False,
        impl: Literal["reference", "fused"] = "reference",
    ) -> None:
        super().__init__()
        self.given = {"times": times, "width": width, "how": how, "rate": rate, "sizes": sizes, "flag": flag}
        self.impl = impl
        if channels % 2:
            raise ValueError(f"channels {channels} are not divisible by 2")

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def test_every_block_is_listed_in_its_family() -> None:
    assert registry.names("context") == CONTEXT
    assert registry.names("fusion") == ["fnb", "afnb"]
    assert registry.names("upsample") == ["jpu", "fpn", "bilinear"]
    assert registry.names("backbone") == ["resnet", "dilated"]
    assert registry.names("network") == NETWORK
    assert set(registry.names()) == {name for family in registry.FAMILIES for name in registry.names(family)}


@pytest.mark.parametrize("name", registry.names())
def test_every_entry_says_what_it_is(name: str) -> None:
    entry = registry.describe(name)

    assert entry.name == name
    assert entry.paper
    assert entry.equation
    assert 10 < len(entry.summary) < 130
    assert entry.impls[0] == "reference"


@pytest.mark.parametrize("name", registry.names())
def test_defaults_survive_being_written_and_read(name: str) -> None:
    entry = registry.describe(name)
    texts = {option: text_of(value) for option, value in entry.resolve({}).items()}

    assert entry.resolve(texts) == entry.resolve({})
    assert entry.changed(entry.resolve(texts)) == {}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("nl", {"mode": "dot_product", "inner": 4, "scale": False, "sub_sample": True, "norm": True, "fuse": "none"}),
        ("apnb", {"sizes": (1, 4), "sampling": "pyramid_random", "share": "query_key", "scale": False, "seed": 3}),
        ("gc", {"ratio": 4, "pooling": "avg", "fusion": "both"}),
        ("ldv2", {"kernel": 7, "dilation": 1, "inner": 4, "value_from": "xg", "mask_border": True}),
        ("gald", {"ga": "nl", "ld": "v2", "arrangement": "parallel"}),
        ("resnet", {"depth": 101, "os": 16, "multi_grid": (1, 2, 4), "stem": "deep", "context": "gc"}),
    ],
)
def test_options_read_from_text_as_from_values(name: str, options: dict[str, registry.OptionValue]) -> None:
    entry = registry.describe(name)
    texts = {option: text_of(value) for option, value in options.items()}

    assert entry.resolve(texts) == entry.resolve(options)


def test_spell_joins_options_as_on_the_command_line() -> None:
    assert registry.spell("nl", {}) == "nl"
    assert registry.spell("apnb", {"sizes": (1, 2), "scale": False}) == "apnb:sizes=1+2,scale=false"


def test_a_registered_class_becomes_an_entry(scratch: None) -> None:
    registry.register("doubled", family="context", paper="ours", equation="1")(Doubled)
    entry = registry.describe("doubled")

    assert entry.summary == "Twice its input."
    assert entry.impls == ("reference", "fused")
    assert list(entry.options) == ["times", "width", "how", "rate", "sizes", "flag"]
    assert registry.names("context")[-1] == "doubled"
    module = registry.create("doubled", 4, "fused", times="3", width="none", rate="1", sizes=[4], flag="on")
    assert isinstance(module, Doubled)
    assert module.given == {"times": 3, "width": None, "how": "left", "rate": 1.0, "sizes": (4,), "flag": True}
    assert module.impl == "fused"


@pytest.mark.parametrize(
    ("name", "family", "message"),
    [
        ("nl", "context", "the name is taken"),
        ("my-block", "context", "letters, digits and '_' only"),
        ("mine", "contxt", "unknown family 'contxt'; did you mean 'context'"),
    ],
)
def test_what_cannot_be_registered_is_refused(scratch: None, name: str, family: registry.Family, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        registry.register(name, family=family)(Doubled)


def test_a_constructor_that_does_not_fit_is_refused(scratch: None) -> None:
    class Bare(nn.Module):
        def __init__(self) -> None:
            super().__init__()

    class Unreadable(nn.Module):
        def __init__(self, channels: int, other: nn.Module | None = None) -> None:
            super().__init__()

    class Needy(nn.Module):
        def __init__(self, channels: int, width: int) -> None:
            super().__init__()

    for build, message in (
        (Bare, "must take 'channels'"),
        (Unreadable, "no text can spell"),
        (Needy, "needs a default"),
    ):
        with pytest.raises(SpecError, match=message):
            registry.register("mine", family="context")(build)
    assert "mine" not in registry.names()


@pytest.mark.parametrize(
    ("name", "channels", "options", "message"),
    [
        ("apmb", 8, {}, "unknown block 'apmb'; did you mean 'apnb'"),
        ("gc", 32, {"ratoi": 4}, "unknown option 'ratoi' of 'gc'; did you mean 'ratio'"),
        ("gc", 32, {"ratio": "four"}, "option 'ratio' of 'gc' cannot be 'four'; allowed: integer"),
        ("gc", 32, {"ratio": True}, "cannot be 'True'"),
        ("gc", 32, {"pooling": "max"}, r"cannot be 'max'; allowed: att\|avg"),
        ("apnb", 32, {"sizes": "1+x"}, r"allowed: integers joined by \+"),
        ("gc", 0, {}, "channels must be at least 1, not 0"),
        ("gc", 100, {"ratio": 16, "pooling": "avg"}, "cannot build 'gc:pooling=avg': channels 100 are not divisible"),
        ("gald", 32, {"ga": "resnet"}, "'resnet' is of family 'backbone', not a context block"),
        ("gald", 32, {"ga": "nll"}, "'nll' is not a context block; did you mean 'nl'"),
        ("gald", 32, {"ga": "gald"}, "ga cannot be 'gald' itself"),
        ("resnet", 64, {"context": "jpu"}, "'jpu' is of family 'upsample', not a context block"),
        ("gcnet", 64, {"head": "jpu"}, "'jpu' is of family 'upsample', not a context block; allowed: identity, nl,"),
        ("gcnet", 64, {"head": "gcnet"}, "'gcnet' is of family 'network', not a context block; did you mean 'gc'"),
        ("gcnet", 64, {"head": "none"}, "'none' is not a context block; allowed: identity, nl,"),
        ("gcnet", 64, {"head": "gc/ratio"}, "'ratio' in 'gc/ratio' is not an option of its own; write name/option="),
        ("gcnet", 64, {"head": "gc/ratio=3"}, "cannot build 'gc:ratio=3': channels 16 are not divisible by the ratio"),
        ("gcnet", 64, {"head": "gc/ratoi=4"}, "unknown option 'ratoi' of 'gc'; did you mean 'ratio'"),
        ("galdnet", 64, {"ga": "gald/ld=v2"}, "ga cannot be 'gald' itself"),
        ("galdnet", 64, {"ld": "v2", "residual": "code"}, "residual=code is defined for ld=v1 only"),
        (
            "ann",
            64,
            {"fusion": "nb"},
            r"option 'fusion' of 'ann' cannot be 'nb'; did you mean 'fnb'\? allowed: afnb\|fnb\|common\|none",
        ),
        ("ann", 64, {"side": "both"}, r"option 'side' of 'ann' cannot be 'both'; allowed: even\|odd"),
        ("fcn", 64, {"aux": "never"}, r"option 'aux' of 'fcn' cannot be 'never'; allowed: train\|always\|none"),
        (
            "fastfcn",
            64,
            {"variant": "jpu_x", "up": "fpn"},
            "variant=jpu_x is one of JPU, so it needs up=jpu",
        ),
        ("fastfcn", 64, {"variant": "jpu_x"}, "width 16 is not divisible by 64"),
        ("fastfcn", 64, {"head": "fcn"}, r"option 'head' of 'fastfcn' cannot be 'fcn'; allowed: encoding\|aspp\|psp"),
        ("ccnet", 64, {"recurrence": 0}, "recurrence must be at least 1, not 0"),
        ("ccnet", 64, {"recurrence": 0, "block": "nl"}, "recurrence must be at least 1, not 0"),
        ("psanet", 64, {"shrink": 0}, "shrink must be at least 1, not 0"),
    ],
)
def test_what_cannot_be_built_is_named(name: str, channels: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        registry.create(name, channels, **options)
    assert "\n" not in str(caught.value)


def test_an_unknown_implementation_is_named() -> None:
    with pytest.raises(SpecError, match="'snl' has no implementation 'fast'; allowed: reference"):
        registry.create("snl", 8, "fast")


def test_options_of_leaves_the_reserved_out() -> None:
    assert list(options_of(Doubled, ("channels", "impl", "times"))) == ["width", "how", "rate", "sizes", "flag"]


@pytest.mark.parametrize(
    ("spec", "name", "options"),
    [
        ("gc", "gc", {}),
        ("gc/ratio=4", "gc", {"ratio": "4"}),
        ("gc/ratio=4/pooling=avg", "gc", {"ratio": "4", "pooling": "avg"}),
        ("apnb/sizes=1+2/sampling=pyramid_max", "apnb", {"sizes": "1+2", "sampling": "pyramid_max"}),
    ],
)
def test_a_nested_spec_is_a_name_and_the_text_of_its_options(spec: str, name: str, options: dict[str, str]) -> None:
    assert registry.read_nested(spec) == (name, options)


@pytest.mark.parametrize(
    ("spec", "item"),
    [
        ("gc/", ""),
        ("gc/ratio", "ratio"),
        ("gc/ratio=", "ratio="),
        ("gc/=4", "=4"),
        ("gc/ratio=4//pooling=avg", ""),
        ("gc/ratio=4/ratio=8", "ratio=8"),
    ],
)
def test_a_malformed_nested_spec_is_quoted_where_it_breaks(spec: str, item: str) -> None:
    with pytest.raises(SpecError) as caught:
        registry.read_nested(spec)
    form = "write name/option=value/option=value"
    assert str(caught.value) == f"'{item}' in '{spec}' is not an option of its own; {form}"


def test_nested_options_stand_over_the_defaults_of_their_place(scratch: None) -> None:
    registry.register("doubled", family="context", paper="ours", equation="1")(Doubled)
    block = registry.create_nested("doubled/width=3/sizes=4+5/flag=true", 4, times=7, width=9)

    assert isinstance(block, Doubled)
    assert block.given == {"times": 7, "width": 3, "how": "left", "rate": 0.5, "sizes": (4, 5), "flag": True}
    assert block.impl == "reference"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("jpu", "'jpu' is of family 'upsample', not a context block"),
        ("fnb/inner=4", "'fnb' is of family 'fusion', not a context block"),
        ("gx", r"^'gx' is not a context block; did you mean 'gc'\? allowed: identity, nl, snl, gc, "),
        ("", "'' is not a context block; allowed: identity, nl, snl, gc, "),
        ("gc/width=4", "unknown option 'width' of 'gc'"),
        ("gc/ratio=x", "option 'ratio' of 'gc' cannot be 'x'; allowed: integer"),
        ("gc/ratio=5", "cannot build 'gc:ratio=5': channels 32 are not divisible by the ratio 5"),
        ("gc:ratio=4", "^'gc:ratio=4' inside an option is written 'gc/ratio=4'$"),
        ("gc/ratio=4,pooling=avg", "^'gc/ratio=4,pooling=avg' inside an option is written 'gc/ratio=4/pooling=avg'$"),
        ("gc:ratio=4,pooling=avg", "^'gc:ratio=4,pooling=avg' inside an option is written 'gc/ratio=4/pooling=avg'$"),
        ("gc/channels=4", "^'channels' in 'gc/channels=4' cannot be set: a block inside an option has its place's$"),
        ("gc/ratio=4/impl=fused", "^'impl' in 'gc/ratio=4/impl=fused' cannot be set: a block inside an option has its"),
    ],
)
def test_a_nested_block_that_cannot_be_is_named(spec: str, message: str) -> None:
    with pytest.raises(SpecError, match=message) as caught:
        registry.create_nested(spec, 32)
    assert "\n" not in str(caught.value)
