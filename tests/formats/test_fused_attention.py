"""Models whose queries, keys and values are one weight: split, they are what three separate weights would be."""

import pytest
import torch

STEPS = (2, 10, 30)
SIZES = {"vocab_size": 20, "hidden_size": 16, "num_attention_heads": 4, "intermediate_size": 8}
MODELS = {
    "GPT2": {"vocab_size": 20, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 4},
    "GPTNeoX": SIZES | {"num_hidden_layers": 2},
    "Falcon": SIZES | {"num_hidden_layers": 2, "new_decoder_architecture": True, "num_kv_heads": 2, "bias": True},
}


def cut(name, tensor, kind):
    """The three parts of a fused tensor by torch's own views; anything else as it is."""
    module, _, part = name.rpartition(".")
    if module.endswith("c_attn"):
        parts = tensor.chunk(3, dim=-1)
    elif module.endswith("query_key_value") and kind == "GPTNeoX":
        parts = [p.flatten(0, 1) for p in tensor.unflatten(0, (4, 3, 4)).unbind(1)]
    elif module.endswith("query_key_value"):
        groups = tensor.unflatten(0, (2, 4, 4))
        parts = groups[:, :2].flatten(0, 2), groups[:, 2].flatten(0, 1), groups[:, 3].flatten(0, 1)
    else:
        return {name: tensor}
    return {f"{module}.{letter}.{part}": p.contiguous() for letter, p in zip("qkv", parts, strict=True)}


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("safe", [True, False])
def test_parts_give_the_sums_of_separate_weights(kind, dtype, safe, library, analyze, check, tmp_path):
    if not safe and dtype is torch.bfloat16:
        return
    states = []
    with library(), torch.random.fork_rng(devices=[]):
        import transformers

        torch.manual_seed(0)
        model = getattr(transformers, f"{kind}Model")(getattr(transformers, f"{kind}Config")(**MODELS[kind])).to(dtype)
        for step in STEPS:
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.1 * torch.randn_like(parameter))
            folder = tmp_path / f"checkpoint-{step}"
            model.save_pretrained(folder)
            if not safe:
                (folder / "model.safetensors").unlink()
                torch.save(model.state_dict(), folder / "pytorch_model.bin")
            state = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
            states.append({n: t for name, tensor in state.items() for n, t in cut(name, tensor, kind).items()})
    series = analyze(tmp_path, split_qkv=True)
    check(series, states, steps=STEPS, tied=(), exact=False)  # what is computed is added up in float64
    kinds = {row.name.rsplit(".", 2)[1]: row.kind.value for row in series.rows if row.name.endswith("q.weight")}
    assert kinds == {"q": "attention q"}
    assert not any(event.kind == "dtype" for event in series.events)
    whole = analyze(tmp_path)
    assert len(whole.rows) < len(series.rows)
    assert not any(".q." in row.name for row in whole.rows)


def test_what_stays_whole_says_why(library, analyze, tmp_path):
    for step in STEPS:
        torch.save({"h.0.attn.query_key_value.weight": torch.randn(12, 4)}, tmp_path / f"step_{step}.pt")
    with library():
        series = analyze(tmp_path, split_qkv=True)
    assert series.names == ("h.0.attn.query_key_value.weight",)
    (skip,) = series.skips
    assert skip.name == "h.0.attn.query_key_value"
    assert skip.reason.startswith("not split into queries, keys and values: config.json")
