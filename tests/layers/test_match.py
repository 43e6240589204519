"""Rows matched across checkpoints; whatever does not compare is a state or a skip with a reason."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsanalyze.errors import MatchError, UsageError
from wsanalyze.files.base import FileRef
from wsanalyze.layers.match import match_layers
from wsanalyze.series import Kind, State
from wsanalyze.tensors.base import Piece, TensorInfo


def side(index, **tensors):
    """One checkpoint: names (`__` for a dot) with a shape, perhaps a dtype, perhaps a place in the file."""
    found = {}
    for number, (key, given_) in enumerate(tensors.items()):
        name = key.replace("__", ".")
        shape, dtype, place = (*given_, *("float32", number)[len(given_) - 1 :])
        info = TensorInfo(name, dtype, shape, (Piece(FileRef(f"f{index}", 9999, ""), 100 * place, 4),))
        found[name] = info
    return found


def match(*sides, **options):
    made = [side(index, **tensors) for index, tensors in enumerate(sides)]
    return match_layers(made, [f"c{i}" for i in range(len(made))], **options)


M = ((4, 4), "float32")


def names(found):
    return [row.name for row in found.rows]


def reasons(found):
    return {skip.name: skip.reason for skip in found.skips}


def test_matrices_that_are_everywhere_compare():
    found = match({"a__weight": M, "b__weight": M}, {"a__weight": M, "b__weight": M}, {"b__weight": M, "a__weight": M})
    assert names(found) == ["a.weight", "b.weight"]
    assert found.pairs == ((0, 1), (1, 2))
    assert found.states.shape == (2, 2)
    assert (found.states == None).all()  # noqa: E711 - elementwise
    assert found.skips == ()
    assert found.tensors[0][1].pieces[0].file.url == "f1"


def test_rows_say_what_they_are():
    found = match(*[{"stem__weight": ((8, 3, 3, 3),), "layers__2__fc1__weight": M, "layers__10__fc1__weight": M}] * 2)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == ["stem.weight", "layers.2.fc1.weight", "layers.10.fc1.weight"]
    assert rows["layers.10.fc1.weight"].module == "layers.10.fc1"
    assert rows["layers.10.fc1.weight"].block == "layers.10"
    assert [row.depth for row in rows.values()] == [0, 1, 2]
    assert rows["stem.weight"].kind is Kind.CONV
    assert rows["stem.weight"].shape == (8, 3, 3, 3)


def test_new_and_missing_tensors_are_states():
    found = match({"a": M, "b": M}, {"a": M, "b": M, "c": M}, {"a": M, "c": M}, {"a": M, "c": M})
    states = dict(zip(names(found), found.states.tolist(), strict=True))
    assert states["a"] == [None, None, None]
    assert states["b"] == [None, State.MISSING, State.MISSING]
    assert states["c"] == [State.NEW, None, None]


def test_a_tensor_in_one_checkpoint_only_is_skipped():
    assert reasons(match({"a": M, "b": M}, {"a": M}, {"a": M})) == {"b": "only in c0"}
    found = match({"a": M, "b": M}, {"a": M}, {"a": M, "b": M})
    assert reasons(found) == {"b": "never in two successive checkpoints (in 2 of 3)"}


def test_resized_tensors_are_states_and_events():
    small, large = ((4, 4),), ((6, 4),)
    found = match({"e": small, "a": M}, {"e": small, "a": M}, {"e": large, "a": M}, {"e": large, "a": M})
    states = dict(zip(names(found), found.states.tolist(), strict=True))
    assert states["e"] == [None, State.RESIZED, None]
    event = next(event for event in found.events if event.kind == "resized")
    assert (event.layer, event.checkpoint) == ("e", 2)
    assert event.evidence == {"before": [4, 4], "after": [6, 4]}
    assert reasons(match({"e": small, "a": M}, {"e": large, "a": M})) == {"e": "changes its shape: [4, 4] to [6, 4]"}


def test_a_change_of_dtype_is_one_event_for_all_rows():
    half = ((4, 4), "bfloat16")
    found = match({"a": M, "b": M}, {"a": M, "b": M}, {"a": half, "b": half})
    events = [event for event in found.events if event.kind == "dtype"]
    assert len(events) == 1
    assert (events[0].layer, events[0].checkpoint) == (None, 2)
    assert events[0].text == "2 layers change from float32 to bfloat16 at c2: part of the change is rounding"
    single = [event for event in match({"a": M}, {"a": half}).events if event.kind == "dtype"]
    assert (single[0].layer, single[0].text.split(" at ")[0]) == ("a", "a changes from float32 to bfloat16")


def test_weights_that_become_codes_are_not_rounded():
    found = match({"a": M, "b": M}, {"a": M, "b": M}, {"a": ((4, 4), "int32"), "b": M})
    assert [event for event in found.events if event.kind == "dtype"] == []


def test_codes_are_not_weights():
    codes = ((4, 4), "int8")
    found = match({"a": M, "q": codes, "flag": ((1,), "bool")}, {"a": M, "q": codes, "flag": ((1,), "bool")})
    assert reasons(found)["q"] == "int8: not a weight that changes by degrees"
    assert reasons(found)["flag"] == "bool: not a weight that changes by degrees"
    found = match({"a": M, "q": M}, {"a": M, "q": M}, {"a": M, "q": codes})
    assert found.states.tolist()[1] == [None, State.NOT_COMPARABLE]
    assert (
        reasons(match({"a": M, "q": M}, {"a": M, "q": codes}))["q"]
        == "not comparable: changes between weights and codes"
    )


def test_buffers_scales_and_vectors_are_skipped_with_a_reason():
    tensors = {
        "a__weight": M,
        "a__scales": M,
        "a__attn__bias": ((1, 1, 4, 4),),
        "a__bias": ((4,),),
        "t": ((), "float32"),
    }
    found = match(tensors, tensors)
    assert names(found) == ["a.weight"]
    assert reasons(found) == {
        "a.scales": "a scale of quantised codes, not a weight",
        "a.attn.bias": "a buffer, not a parameter",
        "a.bias": "one-dimensional (--params all takes it in)",
        "t": "one-dimensional (--params all takes it in)",
    }
    assert names(match(tensors, tensors, params="all")) == ["a.bias", "a.weight", "t"]


def test_tied_tensors_count_once():
    tied = {"embed__weight": ((4, 4), "float32", 7), "x": M, "head__weight": ((4, 4), "float32", 7)}
    found = match(tied, tied, ordered=True)
    assert names(found) == ["embed.weight", "x"]
    assert reasons(found) == {"head.weight": "the same tensor as embed.weight (tied)"}
    assert [(event.kind, event.layer) for event in found.events] == [("tied", "head.weight")]


def test_a_tie_that_is_cut_later_counts_twice():
    tied = {"embed__weight": ((4, 4), "float32", 7), "head__weight": ((4, 4), "float32", 7)}
    cut = {"embed__weight": ((4, 4), "float32", 7), "head__weight": ((4, 4), "float32", 8)}
    assert names(match(tied, cut, ordered=True)) == ["embed.weight", "head.weight"]


def test_a_tied_tensor_that_is_asked_for_alone_is_a_row():
    tied = {"embed__weight": ((4, 4), "float32", 7), "head__weight": ((4, 4), "float32", 7)}
    found = match(tied, tied, pattern="head")
    assert names(found) == ["head.weight"]
    assert found.events == ()


def test_ties_of_what_is_no_row_are_not_told():
    tied = {"a": M, "b__bias": ((4,), "float32", 7), "c__bias": ((4,), "float32", 7)}
    assert match(tied, tied).events == ()


def test_tensors_without_elements_are_not_tied():
    empty = {"a": ((0, 4), "float32", 7), "b": ((0, 4), "float32", 7)}
    assert names(match(empty, empty)) == ["a", "b"]


def test_a_pattern_leaves_others_out_without_a_word():
    found = match(*[{"a__q": M, "b__k": M, "a__bias": ((4,),)}] * 2, pattern=r"^a\.")
    assert names(found) == ["a.q"]
    assert "b.k" not in reasons(found)


def test_a_pattern_that_is_none_is_wrong_usage():
    with pytest.raises(UsageError, match=r"--layers '\(' is no regular expression"):
        match({"a": M}, {"a": M}, pattern="(")


def test_a_pattern_that_matches_nothing_is_named():
    with pytest.raises(MatchError, match="--layers 'zzz' matches no tensor that could be compared"):
        match({"a": M}, {"a": M}, pattern="zzz")


def test_no_row_in_common_names_examples_of_both_sides():
    with pytest.raises(MatchError, match="c0 holds 'a', c1 holds 'b'; are they of one model"):
        match({"a": M}, {"b": M})
    with pytest.raises(MatchError, match="c0 holds 'nothing'"):
        match({}, {"b": M})


def test_a_single_checkpoint_has_rows_and_no_pairs():
    found = match({"a": M})
    assert names(found) == ["a"]
    assert found.pairs == ()
    assert found.states.shape == (1, 0)
    assert match_layers([], []).rows == ()


def test_the_order_of_the_model_is_kept_and_new_names_come_behind_their_forerunners():
    first = {"z": M, "a": M, "m": M}
    second = {"new0": M, "z": M, "new1": M, "new2": M, "a": M, "m": M}
    third = {"z": M, "other": M, "a": M, "m": M}
    found = match(first, second, second, third, third, ordered=True)
    assert names(found) == ["new0", "z", "other", "new1", "new2", "a", "m"]


@given(
    sides=st.lists(st.lists(st.sampled_from("abcdefgh"), unique=True), min_size=2, max_size=5),
    ordered=st.booleans(),
)
def test_every_tensor_is_a_row_or_a_skip_with_a_reason(sides, ordered):
    try:
        found = match(*[dict.fromkeys(names_, M) for names_ in sides], ordered=ordered)
    except MatchError:
        assert all(not set(before) & set(after) for before, after in itertools.pairwise(sides))
        return
    told = [*names(found), *reasons(found)]
    assert sorted(told) == sorted({name for names_ in sides for name in names_})
    for row, cells in zip(found.rows, found.states, strict=True):
        for (before, after), cell in zip(found.pairs, cells, strict=True):
            assert (cell is None) is (row.name in sides[before] and row.name in sides[after])


def test_many_names_without_a_match_take_no_time():
    half = 10_000
    first = {f"a{i}": None for i in range(half)}
    second = {f"b{i}": None for i in range(half)}
    info = side(0, x=M)["x"]
    with pytest.raises(MatchError):
        match_layers([dict.fromkeys(first, info), dict.fromkeys(second, info)], ["a", "b"], ordered=True)


U8, I32, F16, F8 = "uint8", "int32", "float16", "float8_e4m3fn"
# What quantised layers hold, as each library names it: codes, scales, zero points, tables; and what stays a weight.
QUANTISED = {
    "GPTQ": {
        "qweight": ((8, 16), I32),
        "qzeros": ((2, 2), I32),
        "scales": ((2, 16), F16),
        "g_idx": ((64,), I32),
    },
    "AWQ": {"qweight": ((64, 2), I32), "qzeros": ((2, 2), I32), "scales": ((2, 16), F16)},
    "bitsandbytes, 4 bits": {
        "weight": ((512, 1), U8),
        "weight.absmax": ((16, 1), "float32"),
        "weight.quant_map": ((16, 1), "float32"),
        "weight.nested_absmax": ((1, 1), "float32"),
        "weight.nested_quant_map": ((256, 1), "float32"),
        "weight.quant_state.bitsandbytes__nf4": ((80,), U8),
    },
    "bitsandbytes, 8 bits": {"weight": ((8, 8), "int8"), "SCB": ((8, 1), "float32"), "weight_format": ((), U8)},
    "blocks of float8": {"weight": ((128, 128), F8), "weight_scale_inv": ((1, 1), "float32")},
    "compressed-tensors, float8": {
        "weight": ((8, 8), F8),
        "weight_scale": ((8, 1), "bfloat16"),
        "input_scale": ((1, 1), "bfloat16"),
    },
    "compressed-tensors, packed": {
        "weight_packed": ((8, 1), I32),
        "weight_scale": ((8, 1), "bfloat16"),
        "weight_shape": ((2,), "int64"),
        "weight_zero_point": ((8, 1), "int8"),
    },
    "ModelOpt, 4 bits": {
        "weight": ((8, 4), U8),
        "weight_scale": ((8, 1), F8),
        "weight_scale_2": ((1, 1), "float32"),
        "input_scale": ((1, 1), "float32"),
    },
    "MXFP4": {
        "gate_up_proj_blocks": ((4, 8, 2, 16), U8),
        "gate_up_proj_scales": ((4, 8, 2), U8),
        "down_proj_blocks": ((4, 8, 2, 16), U8),
        "down_proj_scales": ((4, 8, 2), U8),
    },
    "MXFP4 with scales of its own type": {"weight": ((8, 8), "packed"), "weight_scale": ((8, 1), "float8_e8m0fnu")},
    "HQQ": {"W_q": ((8, 4), U8), "scale": ((8, 1), F16), "zero": ((8, 1), F16)},
    "AQLM": {"codes": ((8, 2, 1), "int16"), "codebooks": ((1, 256, 1, 8), F16), "scales": ((8, 1, 1, 1), F16)},
    "quanto": {"weight._data": ((8, 8), "int8"), "weight._scale": ((8, 1), F16), "input_scale": ((1, 1), F16)},
}


@pytest.mark.parametrize("library", QUANTISED)
def test_codes_and_their_scales_are_never_rows(library):
    layers = [f"model.layers.{i}.mlp.proj" for i in range(2)]
    tensors = {f"{layer}.{name}": given_ for layer in layers for name, given_ in QUANTISED[library].items()}
    plain = {"model.layers.0.norm.weight": ((8,), "float32"), "model.embed.weight": ((8, 8), "float32")}
    made = [
        {
            name: TensorInfo(name, dtype, shape, (Piece(FileRef(f"f{index}", 9999, ""), place, 4),))
            for place, (name, (shape, dtype)) in enumerate((plain | tensors).items())
        }
        for index in range(2)
    ]
    found = match_layers(made, ["c0", "c1"], params="all")
    assert set(names(found)) == set(plain)
    assert set(reasons(found)) == set(tensors)
    assert (found.states == None).all()  # noqa: E711 - elementwise


def test_float8_without_scales_is_a_weight():
    tensors = {"a__weight": ((8, 8), F8), "b__weight": ((8, 8), "float8_e5m2"), "logit_scale": ((), "float32")}
    assert names(match(tensors, tensors)) == ["a.weight", "b.weight"]


def test_weights_that_become_codes_are_told():
    before = {"a__weight": ((8, 8), "bfloat16"), "b__weight": M}
    after = {"a__weight": ((8, 8), F8), "a__weight_scale_inv": ((1, 1), "float32"), "b__weight": M}
    found = match(before, before, after)
    states = dict(zip(names(found), found.states.tolist(), strict=True))
    assert states == {"a.weight": [None, State.NOT_COMPARABLE], "b.weight": [None, None]}
