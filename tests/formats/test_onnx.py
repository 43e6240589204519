"""Models in ONNX: the initialisers of their graphs, in the file or beside it."""

import numpy as np
import pytest
import torch


@pytest.fixture
def save_onnx(train, library, tmp_path):
    """Save every moment as a model whose initialisers are the weights; returns the folder and the states."""

    def save(make_tensor=None, **options):
        with library():
            import onnx

            states = []
            for moment in train():
                state = {name: tensor for name, tensor in moment.state.items() if name != "head.weight"}
                make = make_tensor or onnx.numpy_helper.from_array
                initializers = [make(np.ascontiguousarray(t.numpy()), name) for name, t in state.items()]
                x = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [11, 8])
                y = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [11, 8])
                node = onnx.helper.make_node("Add", ["x", "embed.weight"], ["y"])
                model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [x], [y], initializers))
                onnx.checker.check_model(model)
                path = tmp_path / f"step_{moment.step}.onnx"
                onnx.save(
                    model, path, **{k: v.format(path.name) if isinstance(v, str) else v for k, v in options.items()}
                )
                states.append(moment.state)
        return tmp_path, states

    return save


def test_initialisers(save_onnx, analyze, check):
    folder, states = save_onnx()
    series = analyze(folder)
    check(series, states)
    assert {record.format for record in series.checkpoints} == {"ONNX"}


def test_initialisers_in_a_file_beside(save_onnx, analyze, check):
    folder, states = save_onnx(
        save_as_external_data=True, all_tensors_to_one_file=True, location="{}.data", size_threshold=0
    )
    assert (folder / "step_90.onnx.data").stat().st_size > 1000
    check(analyze(folder), states)


def test_lists_of_floats(save_onnx, analyze, check):
    """What `helper.make_tensor` makes: float_data instead of raw bytes."""
    import onnx

    def make(array, name):
        kind = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
        return onnx.helper.make_tensor(name, kind, array.shape, array.flatten())

    folder, states = save_onnx(make)
    check(analyze(folder), states)


def test_half_precision(train, library, analyze, check, tmp_path):
    states = []
    for moment in train():
        half = {n: t.half() for n, t in moment.state.items() if t.is_floating_point() and n != "head.weight"}
        with library():
            import onnx

            initializers = [onnx.numpy_helper.from_array(t.numpy(), name) for name, t in half.items()]
            graph = onnx.helper.make_graph([], "g", [], [], initializers)
            onnx.save(onnx.helper.make_model(graph), tmp_path / f"step_{moment.step}.onnx")
        states.append(half)
    check(analyze(tmp_path), states)
    assert states[0]["embed.weight"].dtype == torch.float16
