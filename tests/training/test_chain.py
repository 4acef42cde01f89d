from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.training.chain import CONTROLS, SMALL_MAP, parse_chains, read_chain, trainable
from modules import registry
from modules.options import SpecError

LABELS = (
    *("identity", "mlp", "gc:ratio=8", "nl+ldv1", "nl+ldv2:kernel=5", "nl:scale=true,norm=true+ldv2:kernel=5"),
    *("apnb:sizes=1+3+6+ldv1", "gald:ga=nl/scale=true,ld=v2", "psp+ldv1", "nl+mlp", "aspp:rates=12+24+36", "fcn"),
)


@pytest.mark.parametrize("label", LABELS)
def test_labels_are_read_back(label: str) -> None:
    assert read_chain(label).label == label
    assert read_chain(read_chain(label).label) == read_chain(label)


@given(st.lists(st.sampled_from(LABELS), min_size=1, max_size=5))
def test_lists_are_read_item_by_item(labels: list[str]) -> None:
    assert [chain.label for chain in parse_chains(",".join(labels))] == labels


def test_parts_and_options_of_a_composition() -> None:
    chain = read_chain("apnb:sizes=1+3+6+ldv2:kernel=5", {"dilation": "2"})
    assert chain.entry == "apnb+ldv2"
    assert chain.options == {"apnb.sizes": (1, 3, 6), "ldv2.kernel": 5, "ldv2.dilation": 2}
    assert read_chain("ldv1:stages=1+ldv1:stages=3").options == {"ldv1#1.stages": 1, "ldv1#2.stages": 3}


def test_defaults_for_a_small_map_give_way_to_what_is_given() -> None:
    for name, small in SMALL_MAP.items():
        values = read_chain(name).parts[0].values
        assert {key: values[key] for key in small} == small
        published = registry.describe(name).resolve({})
        chain = read_chain(name, published)
        assert chain.parts[0].values == published
    assert read_chain("aspp:rates=2+4+6").label == "aspp"


def test_what_can_be_trained() -> None:
    names = trainable()
    assert set(registry.names("context")) | set(CONTROLS) <= set(names)
    assert not set(names) & set(registry.names("fusion") + registry.names("backbone"))


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("nll", "unknown block 'nll'; did you mean 'nl'"),
        ("nl+gcc", "unknown block 'gcc' in 'nl\\+gcc'; did you mean 'gc'"),
        ("nl+", "unknown block '' in"),
        ("fnb", "'fnb' is of family 'fusion' and cannot be trained"),
        ("nl+fcn", "'fcn' in 'nl\\+fcn' is a whole network and stands alone"),
        ("mlp:hidden=0", "option 'hidden' of 'mlp' cannot be '0'; allowed: 1 to"),
        ("mlp:width=3", "unknown option 'width' of 'mlp'; allowed: hidden"),
        ("gc:ration=3", "unknown option 'ration' of 'gc'; did you mean 'ratio'"),
        ("gc:ratio=many", "option 'ratio' of 'gc' cannot be 'many'"),
        ("gc:", "'' in 'gc:' is not an option; write gc:option=value"),
        ("gc:ratio=4,ratio=5", "stands twice"),
        ("fcn:classes=3", "is the number of the data set's classes"),
    ],
)
def test_labels_that_cannot_be(label: str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        read_chain(label)


@pytest.mark.parametrize("text", ["", "nl,,gc", "ratio=4,nl", "nl,ratio=4"])
def test_lists_that_cannot_be(text: str) -> None:
    with pytest.raises(SpecError):
        parse_chains(text)
