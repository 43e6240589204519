"""Definitions laid over the names of checkpoints: order, kinds, prefixes, and what does not fit."""

import string

from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.layers.definition import Architecture, fit_architecture
from wsanalyze.series import Kind

SHAPES = {
    "zebra.weight": (8, 3, 3, 3),
    "zebra.bias": (8,),
    "norm.weight": (8,),
    "norm.running_mean": (8,),
    "blocks.0.b.weight": (16, 8),
    "blocks.0.a.weight": (8, 16),
    "blocks.1.b.weight": (16, 8),
    "blocks.1.a.weight": (8, 16),
    "apex.weight": (10, 8),
}
KINDS = {name: Kind.NORM if "norm" in name else Kind.LINEAR for name in SHAPES if "running" not in name}
DEFINED = Architecture("zoo of timm", "config.json", SHAPES, KINDS)
parts = st.text(string.ascii_lowercase, min_size=1, max_size=4)
names = st.lists(parts, min_size=1, max_size=4).map(".".join)


def fit(shapes, rows=None):
    return fit_architecture(DEFINED, shapes, list(shapes) if rows is None else rows)


@given(st.permutations(list(SHAPES)), st.dictionaries(names, st.just((4, 4)), max_size=3), parts)
def test_names_are_put_into_the_order_of_the_definition_and_none_is_lost(order, others, prefix):
    own = {name: SHAPES[name] for name in order}
    mixed = {**own, **{name: shape for name, shape in others.items() if name not in own}}
    found, text = fit(mixed)
    assert sorted(found.names) == sorted(mixed)
    assert [name for name in found.names if name in own] == list(SHAPES)
    assert found.kinds == KINDS
    assert f"{len(KINDS)} of {len(mixed)}" in text
    below, _ = fit({f"{prefix}.{name}": shape for name, shape in mixed.items()})
    assert below.names == tuple(f"{prefix}.{name}" for name in found.names)
    assert below.kinds == {f"{prefix}.{name}": kind for name, kind in found.kinds.items()}


def test_what_is_unknown_stands_behind_its_module_or_its_forerunner():
    shapes = {
        "blocks.0.b.lora_A.weight": (2, 8),
        "extra.weight": (4, 4),
        "blocks.1.c.weight": (4, 4),
        **dict(sorted(SHAPES.items())),
    }
    found, _ = fit(shapes)
    assert found.names.index("blocks.0.b.lora_A.weight") == found.names.index("blocks.0.b.weight") + 1
    assert found.names.index("extra.weight") == found.names.index("blocks.0.b.lora_A.weight") + 1
    assert found.names.index("blocks.1.c.weight") == found.names.index("blocks.1.a.weight") + 1
    first, _ = fit({"unknown.weight": (1, 1), **SHAPES})
    assert first.names[0] == "unknown.weight"


def test_other_numbers_of_classes_and_channels_are_known_and_other_layers_are_not():
    shapes = {**SHAPES, "apex.weight": (3, 8), "zebra.weight": (8, 1, 3, 3), "blocks.0.a.weight": (4, 32)}
    found, _ = fit(shapes)
    assert KINDS.keys() - found.kinds.keys() == {"blocks.0.a.weight"}
    assert found.names == tuple(SHAPES)
    assert "blocks.0.b.weight" not in fit({**SHAPES, "blocks.0.b.weight": (16, 8, 1)})[0].kinds


@given(st.integers(0, len(KINDS)))
def test_less_than_half_is_another_model(num_known):
    strange = {f"strange{index}.weight": (5, 5) for index in range(len(KINDS) - num_known)}
    shapes = {**{name: SHAPES[name] for name in list(KINDS)[:num_known]}, **strange}
    found, text = fit(shapes)
    assert (found is None) == (num_known < len(KINDS) / 2)
    assert f"{num_known} of {len(shapes)} layers" in text
    assert "zoo of timm" in text
    assert "config.json" in text


def test_only_rows_are_counted():
    shapes = {**SHAPES, **{f"other{index}.weight": (5,) for index in range(50)}}
    assert fit(shapes)[0] is None
    assert fit(shapes, ["apex.weight", "other0.weight"])[0] is not None


def test_nothing_at_all_does_not_fit():
    assert fit({})[0] is None
    assert fit({"strange.weight": (2, 2)})[0] is None
    assert fit(SHAPES, [])[0] is None
