"""Tensors of files that torch really wrote, read without torch: every dtype, every view, no payload."""

import argparse
import io
import os
import zipfile

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from wsanalyze.errors import CheckpointError, NoWeightsError
from wsanalyze.files.local import LocalFiles, stat_file
from wsanalyze.tensors.files import read_tensors

FLOATS = [
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e4m3fnuz,
    torch.float8_e5m2,
    torch.float8_e5m2fnuz,
]
INTEGERS = [torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool, torch.uint16, torch.uint32]


@pytest.fixture
def save(tmp_path):
    def save(value, name="file.pt", **options):
        torch.save(value, tmp_path / name, **options)
        return tmp_path / name

    return save


@pytest.fixture
def rewrite(tmp_path):
    """Save, then replace records of the archive; `change` gets and returns bytes by name without the root."""

    def rewrite(value, change, method=zipfile.ZIP_STORED):
        buffer = io.BytesIO()
        torch.save(value, buffer)
        path = tmp_path / "file.pt"
        with zipfile.ZipFile(buffer) as old:
            records = {name.partition("/")[2]: old.read(name) for name in old.namelist()}
        with zipfile.ZipFile(path, "w", method) as new:
            for name, content in (change(records) or records).items():
                new.writestr(f"archive/{name}", content)
        return path

    return rewrite


def random(*shape, dtype=torch.float32, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_floats_of_every_width(save, read_set, read_elements, dtype):
    weight = random(5, 7, dtype=dtype)
    info = read_set(save({"weight": weight})).infos["model"]["weight"]
    assert info.dtype == str(dtype).removeprefix("torch.")
    assert info.type.floating
    np.testing.assert_array_equal(read_elements(info).astype(np.float64), weight.double().numpy())


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128], ids=str)
def test_complex_numbers(save, read_set, read_elements, dtype):
    weight = torch.complex(random(3, 4), random(3, 4, seed=1)).to(dtype)
    info = read_set(save({"weight": weight})).infos["model"]["weight"]
    np.testing.assert_array_equal(read_elements(info), weight.numpy())


@pytest.mark.parametrize("dtype", INTEGERS, ids=str)
def test_integers_are_listed_but_are_no_weights(save, read_set, dtype):
    info = read_set(save({"codes": torch.ones(2, 3).to(dtype)})).infos["model"]["codes"]
    assert info.shape == (2, 3)
    assert not info.type.floating


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
def test_dtypes_that_are_not_known_are_skipped_by_name(save, read_set):
    found = read_set(save({"half": torch.zeros(2, 2, dtype=torch.complex32), "weight": random(2, 2)}))
    assert list(found.infos["model"]) == ["weight"]
    assert [(skip.name, skip.reason) for skip in found.skips] == [("half", "dtype complex32 is not known")]


VIEWS = {
    "transposed": lambda w: w.T,
    "sliced rows": lambda w: w[2:5],
    "sliced columns": lambda w: w[:, 1:4],
    "every other": lambda w: w[::2, ::3],
    "permuted": lambda w: w.reshape(2, 3, 8).permute(2, 0, 1),
    "one element": lambda w: w[3, 4],
    "one column": lambda w: w[:, 5:6],
    "nothing": lambda w: w[6:],
    "flat": lambda w: w.reshape(-1),
    "channels last": lambda w: w.reshape(1, 2, 3, 8).to(memory_format=torch.channels_last),
    "odd stride of a single row": lambda w: w.as_strided((1, 4), (17, 1), 3),
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e5m2], ids=str)
def test_views_are_read_as_torch_sees_them(save, read_set, read_elements, view, dtype):
    weight = view(random(6, 8, dtype=dtype))
    info = read_set(save({"whole": random(6, 8), "weight": weight})).infos["model"]["weight"]
    np.testing.assert_array_equal(read_elements(info).astype(np.float64), weight.double().numpy())
    assert info.contiguous == weight.is_contiguous()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_strided_view_is_read_as_torch_sees_it(data, tmp_path_factory):
    sizes = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    strides = [data.draw(st.integers(1, 12)) for _ in sizes]
    offset = data.draw(st.integers(0, 5))
    weight = torch.arange(200.0).as_strided(sizes, strides, offset)
    path = tmp_path_factory.getbasetemp() / "strided.pt"
    path.unlink(missing_ok=True)
    torch.save({"w": weight}, path)
    with LocalFiles() as source:
        try:
            found = read_tensors(source, [stat_file(path)], [""])
        except NoWeightsError as error:
            assert "its elements share memory" in str(error)  # noqa: PT017 - one of two right answers
            assert len(weight.unique()) < weight.numel()
            return
        info = found.infos["model"]["w"]
        piece = info.pieces[0]
        raw = np.empty(piece.nbytes, dtype=np.uint8)
        source.read_into(piece.file, piece.offset, raw.data)
        np.testing.assert_array_equal(info.view(raw).reshape(sizes), weight.numpy())


def test_an_expanded_view_is_skipped_with_the_reason(save, read_set):
    found = read_set(save({"wide": random(1, 4).expand(5, 4), "weight": random(2, 2)}))
    assert [skip.reason for skip in found.skips] == ["its elements share memory (an expanded view)"]


def test_conjugate_and_negative_views_are_skipped_with_the_reason(save, read_set, read_elements):
    value = torch.complex(random(2, 2), random(2, 2, seed=1))
    found = read_set(save({"conj": value.clone().conj(), "neg": value.clone().conj().imag, "plain": value}))
    assert {skip.name for skip in found.skips} == {"conj", "neg"}
    assert all("resolve_conj" in skip.reason for skip in found.skips)
    np.testing.assert_array_equal(read_elements(found.infos["model"]["plain"]), value.numpy())


def test_tied_tensors_lie_at_the_same_place(save, read_set):
    weight = random(4, 4)
    infos = read_set(save({"embed.weight": weight, "head.weight": weight})).infos["model"]
    assert infos["embed.weight"].pieces == infos["head.weight"].pieces


def test_scalars_and_nothing(save, read_set, read_elements):
    infos = read_set(save({"scale": torch.tensor(2.5), "empty": torch.zeros(0, 3)})).infos["model"]
    assert infos["scale"].shape == ()
    assert read_elements(infos["scale"]) == 2.5
    assert infos["empty"].numel == 0
    assert infos["empty"].pieces[0].nbytes == 0


class Marked(torch.Tensor):
    """A subclass, as torchao, fastai and others have them."""


@pytest.mark.parametrize("protocol", range(2, 6))
def test_parameters_subclasses_and_other_values(save, read_set, read_elements, protocol):
    plain = random(3, 3)
    weight = torch.nn.Parameter(plain.clone())
    weight.note = "a parameter with attributes of its own"
    state = {
        "parameter": weight,
        "buffer": torch.nn.Buffer(plain.clone()),
        "subclass": plain.clone().as_subclass(Marked),
        "subclass of a parameter": torch.nn.Parameter(plain.clone().as_subclass(Marked)),
        "sparse": plain.to_sparse(),
        "meta": torch.empty(2, 2, device="meta"),
        "numpy scalar": np.float64(1.5),
        "numpy array": np.arange(4),
        "objects": np.array([{"a": 1}], dtype=object),
        "namespace": argparse.Namespace(lr=0.1),
        "epoch": 3,
        "text": "a",
    }
    found = read_set(save(state, pickle_protocol=protocol))
    infos = found.infos["model"]
    assert set(infos) == {"parameter", "buffer", "subclass", "subclass of a parameter"}
    for info in infos.values():
        np.testing.assert_array_equal(read_elements(info), plain.numpy())
    reasons = {skip.name: skip.reason for skip in found.skips}
    assert set(reasons) == {"sparse", "meta"}
    assert "_rebuild_sparse_tensor" in reasons["sparse"]


@pytest.mark.filterwarnings("ignore:.*quantize")
def test_quantised_tensors_are_skipped(save, read_set):
    quantised = torch._empty_affine_quantized((2, 2), scale=0.1, zero_point=0, dtype=torch.qint8)
    found = read_set(save({"codes": quantised, "weight": random(2, 2)}))
    assert list(found.infos["model"]) == ["weight"]
    assert "_rebuild_qtensor" in found.skips[0].reason


def test_a_whole_module_is_read_without_its_class(save, read_set, read_elements):
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.LSTM(4, 2))
    infos = read_set(save(module)).infos["model"]
    assert set(infos) == set(module.state_dict())
    for name, value in module.state_dict().items():
        np.testing.assert_array_equal(read_elements(infos[name]), value.numpy())


def test_the_order_of_the_model_is_kept(save, read_set):
    names = ["z.weight", "a.weight", "layers.10.weight", "layers.2.weight"]
    found = read_set(save({name: random(2, 2) for name in names}))
    assert list(found.infos["model"]) == names
    assert found.ordered


def test_big_endian_archives(rewrite, read_set, read_elements):
    weight = random(3, 5)
    tail = weight[1:, 2:]

    def swap(records):
        records["byteorder"] = b"big"
        records["data/0"] = np.frombuffer(records["data/0"], "<f4").astype(">f4").tobytes()
        return records

    infos = read_set(rewrite({"weight": weight, "tail": tail}, swap)).infos["model"]
    np.testing.assert_array_equal(read_elements(infos["weight"]), weight.numpy())
    np.testing.assert_array_equal(read_elements(infos["tail"]), tail.numpy())


def test_big_endian_half_precision(rewrite, read_set, read_elements):
    weight = random(4, 4, dtype=torch.bfloat16)

    def swap(records):
        records["byteorder"] = b"big"
        records["data/0"] = np.frombuffer(records["data/0"], "<u2").astype(">u2").tobytes()
        return records

    info = read_set(rewrite({"weight": weight}, swap)).infos["model"]["weight"]
    np.testing.assert_array_equal(read_elements(info).astype(np.float64), weight.double().numpy())


def test_a_compressed_storage_is_refused(rewrite, read_set, tmp_path):
    path = rewrite({"weight": random(40, 40)}, lambda records: records)
    packed = tmp_path / "packed.pt"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(packed, "w") as new:
        for name in old.namelist():
            method = zipfile.ZIP_DEFLATED if "/data/" in name else zipfile.ZIP_STORED
            new.writestr(name, old.read(name), method)
    with pytest.raises(CheckpointError, match="compressed or encrypted"):
        read_set(packed)


def test_a_missing_storage_is_refused_by_name(rewrite, read_set):
    path = rewrite({"weight": random(2, 2)}, lambda records: {k: v for k, v in records.items() if k != "data/0"})
    with pytest.raises(CheckpointError, match="'weight' refers to a storage that the file does not hold"):
        read_set(path)


def test_a_storage_that_is_too_short_is_refused_by_name(rewrite, read_set):
    def cut(records):
        records["data/0"] = records["data/0"][:-1]
        return records

    with pytest.raises(CheckpointError, match="'weight' is larger than the storage"):
        read_set(rewrite({"weight": random(2, 2)}, cut))


_HEAD = b"\x80\x02}U\x06weight"


def _pickle_of(args, function=b"ctorch._utils\n_rebuild_tensor_v2\n", storage=b"FloatStorage", key=b"0"):
    reference = b"(X\x07\x00\x00\x00storagectorch\n" + storage + b"\nU\x01" + key + b"U\x03cpuK\x04tQ"
    return _HEAD + function + b"(" + reference + args + b"tRs."


GOOD_ARGS = b"K\x00(K\x02K\x02t(K\x02K\x01t"
ARGS = {
    "a negative offset": b"J\xff\xff\xff\xff(K\x02K\x02t(K\x02K\x01t",
    "a negative size": b"K\x00(J\xff\xff\xff\xffK\x02t(K\x02K\x01t",
    "a negative stride": b"K\x00(K\x02K\x02t(J\xff\xff\xff\xffK\x01t",
    "a size of 2^60": b"K\x00(\x8a\x08" + (2**60).to_bytes(8, "little") + b"K\x02t(K\x02K\x01t",
    "booleans": b"K\x00(\x88\x88t(K\x02K\x01t",
    "floats": b"K\x00(G?\xf0\x00\x00\x00\x00\x00\x00K\x02t(K\x02K\x01t",
    "more sizes than strides": b"K\x00(K\x02K\x02t(K\x02t",
    "text": b"K\x00U\x01aU\x01b",
    "a thousand axes": b"K\x00(" + b"K\x01" * 1000 + b"t(" + b"K\x01" * 1000 + b"t",
    "nothing": b"",
}


@pytest.mark.parametrize("args", ARGS.values(), ids=ARGS.keys())
def test_damaged_arguments_are_refused_by_name(rewrite, read_set, args):
    path = rewrite({"weight": random(2, 2)}, lambda records: records | {"data.pkl": _pickle_of(args)})
    with pytest.raises(CheckpointError, match="'weight' has damaged arguments"):
        read_set(path)


REFERENCES = {
    "no storage": b"NQ",
    "a short tuple": b"(X\x07\x00\x00\x00storagetQ",
    "not of a storage": b"(U\x05otherctorch\nFloatStorage\nU\x010U\x03cpuK\x04tQ",
    "a type that is text": b"(X\x07\x00\x00\x00storageU\x01xU\x010U\x03cpuK\x04tQ",
    "a key that is a number": b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nK\x00U\x03cpuK\x04tQ",
    "none at all": b"N",
}


@pytest.mark.parametrize("reference", REFERENCES.values(), ids=REFERENCES.keys())
def test_damaged_references_are_refused_by_name(rewrite, read_set, reference):
    data = b"\x80\x02}U\x06weightctorch._utils\n_rebuild_tensor_v2\n(" + reference + GOOD_ARGS + b"tRs."
    path = rewrite({"weight": random(2, 2)}, lambda records: records | {"data.pkl": data})
    with pytest.raises(CheckpointError, match="'weight' has damaged arguments"):
        read_set(path)


@pytest.mark.parametrize(("second", "reason"), [(1, "larger than the storage"), (2, "has damaged arguments")])
def test_sizes_beyond_the_storage_are_refused(rewrite, read_set, second, reason):
    huge = (2**50).to_bytes(8, "little")
    args = b"K\x00(\x8a\x08" + huge + bytes([ord("K"), second]) + b"t(K\x02K\x01t"
    path = rewrite({"weight": random(2, 2)}, lambda records: records | {"data.pkl": _pickle_of(args)})
    with pytest.raises(CheckpointError, match=reason):
        read_set(path)


def test_the_ways_of_older_torch(rewrite, read_set, read_elements):
    weight = random(2, 2)
    old = {
        "first version": _pickle_of(GOOD_ARGS, b"ctorch._utils\n_rebuild_tensor\n"),
        "a size that is called": _pickle_of(b"K\x00ctorch\nSize\n(K\x02K\x02t\x85R(K\x02K\x01t"),
        "a storage of CUDA": _pickle_of(GOOD_ARGS).replace(b"ctorch\nFloat", b"ctorch.cuda\nFloat"),
    }
    for data in old.values():
        path = rewrite({"weight": weight}, lambda records, data=data: records | {"data.pkl": data})
        np.testing.assert_array_equal(read_elements(read_set(path).infos["model"]["weight"]), weight.numpy())


def test_a_wrapper_around_itself_ends(rewrite, read_set):
    inner = _pickle_of(GOOD_ARGS)[len(_HEAD) : -2]
    wrapped = inner
    for _ in range(20):
        wrapped = b"ctorch._utils\n_rebuild_parameter\n(" + wrapped + b"\x88NtR"
    path = rewrite({"weight": random(2, 2)}, lambda records: records | {"data.pkl": _HEAD + wrapped + b"s."})
    with pytest.raises(NoWeightsError):
        read_set(path)


@pytest.mark.parametrize("args", [b"NNNt", b"ctorch\nTensor\nNNt", b"Nt", b"t"])
def test_a_damaged_wrapper_is_skipped_by_name(rewrite, read_set, args):
    function = b"ctorch._tensor\n_rebuild_from_type_v2\n("
    data = _pickle_of(GOOD_ARGS)[:-1] + b"U\x03odd" + function + args + b"Rs."
    path = rewrite({"weight": random(2, 2)}, lambda records: records | {"data.pkl": data})
    assert [(s.name, s.reason) for s in read_set(path).skips] == [
        ("odd", "rebuilt by torch._tensor._rebuild_from_type_v2: not a plain tensor")
    ]


def test_records_that_overlap_are_refused(rewrite, read_set):
    path = rewrite({"a": random(8, 8), "b": random(8, 8, seed=1)}, lambda records: records)
    data = bytearray(path.read_bytes())
    inner = bytearray(b"PK\x03\x04" + bytes(26))  # a local header for data/1 within the bytes of data/0
    inner[26:28] = len(b"archive/data/1").to_bytes(2, "little")
    inner += b"archive/data/1"
    start = data.index(b"archive/data/0") + len(b"archive/data/0")
    data[start : start + len(inner)] = inner
    entry = data.index(b"PK\x01\x02", data.rindex(b"archive/data/0"))
    data[entry + 42 : entry + 46] = start.to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match="'data/0' and 'data/1' overlap"):
        read_set(path)


def test_names_with_half_a_surrogate_are_refused(save, read_set):
    with pytest.raises(CheckpointError, match=r"'a\\ud800' has a name that is no text"):
        read_set(save({"a\ud800": random(2, 2)}))


def test_names_may_hold_anything_else(save, read_set):
    names = ["\x1b[2J", "<script>", "=1+1", "[bold]", "a\nb", "\u202e"]
    assert list(read_set(save({name: random(2, 2) for name in names})).infos["model"]) == names


class _Evil:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("protocol", range(2, 6))
def test_weights_beside_a_payload_are_read_and_it_does_not_run(save, read_set, read_elements, tmp_path, protocol):
    canary = tmp_path / "canary"
    weight = random(3, 3)
    evil = _Evil(f"touch {canary}")
    state = {"state_dict": {"weight": weight, "evil": evil}, "args": evil, "optimizer": np.array([evil], dtype=object)}
    found = read_set(save(state, pickle_protocol=protocol))
    np.testing.assert_array_equal(read_elements(found.infos["model"]["weight"]), weight.numpy())
    assert not canary.exists()
    torch.load(tmp_path / "file.pt", weights_only=False)  # it would
    assert canary.exists()


@pytest.mark.parametrize(
    "value", [{}, {"epoch": 3}, [1, 2], "text", None, {"optimizer": {"state": {}, "param_groups": []}}]
)
def test_no_weights_is_an_error_of_its_own(save, read_set, value):
    with pytest.raises(NoWeightsError, match="holds no weights"):
        read_set(save(value))


SAVED = io.BytesIO()
torch.save({"state_dict": {"a.weight": random(3, 4), "b": random(2, 2).T}, "epoch": 1}, SAVED)
GOOD = SAVED.getvalue()


@settings(deadline=1000, max_examples=200)
@given(edits=st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_a_garbled_file_is_read_or_refused(tmp_path_factory, edits):
    data = bytearray(GOOD)
    for position, value in edits:
        data[position] = value
    _read_or_refuse(tmp_path_factory, bytes(data))


PICKLE = zipfile.ZipFile(SAVED).read("archive/data.pkl")


@settings(deadline=1000, max_examples=200)
@given(edits=st.lists(st.tuples(st.integers(0, len(PICKLE) - 1), st.integers(0, 255)), min_size=1, max_size=3))
def test_a_garbled_pickle_in_a_good_file_is_read_or_refused(tmp_path_factory, edits):
    changed = bytearray(PICKLE)
    for position, value in edits:
        changed[position] = value
    buffer = io.BytesIO()
    with zipfile.ZipFile(SAVED) as old, zipfile.ZipFile(buffer, "w") as new:
        for name in old.namelist():
            new.writestr(name, bytes(changed) if name.endswith("data.pkl") else old.read(name))
    _read_or_refuse(tmp_path_factory, buffer.getvalue())


def _read_or_refuse(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "garbled.pt"
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    with LocalFiles() as source:
        try:
            found = read_tensors(source, [stat_file(path)], [""])
        except CheckpointError as error:
            assert "\n" not in str(error)  # noqa: PT017 - one of two right answers
            return
        for infos in found.infos.values():
            for info in infos.values():
                piece = info.pieces[0]
                assert piece.offset >= 0
                assert piece.offset + piece.nbytes <= len(data)
                if info.type.floating:
                    raw = np.empty(piece.nbytes, dtype=np.uint8)
                    source.read_into(piece.file, piece.offset, raw.data)
                    assert info.view(raw).size == info.numel
