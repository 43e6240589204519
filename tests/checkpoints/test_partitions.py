"""Checkpoints that are split over the ranks that trained them: one of each, or refused with what merges them."""

import pytest

from wsanalyze.errors import SourceError

DISTRIBUTED = (".metadata", "__0_0.distcp", "__1_0.distcp", "__10_0.distcp")


def zero3(folder, *, ranks=2, prefix="", parallel=1):
    """Names of the files that DeepSpeed's engine writes in stage 3."""
    return [
        f"{folder}/{prefix if kind == 'optim' else ''}zero_pp_rank_{rank}_mp_rank_{mp:02d}_{kind}_states.pt"
        for rank in range(ranks)
        for mp in range(parallel)
        for kind in ("model", "optim")
    ]


def test_torch_distributed_its_description_first_and_notes_last(put, locate):
    names = (*DISTRIBUTED, "meta.pt", "common.pt", "optimizer.pt")
    found = locate(put(*(f"step-{step}/{name}" for step in (1, 20) for name in names)))
    assert [(c.label, c.layout, c.prefixes) for c in found] == [
        (f"step-{step}", "distributed", ("",) * 6) for step in (1, 20)
    ]
    assert [file.url.rpartition("/")[2] for file in found[0].files] == [*DISTRIBUTED, "common.pt", "meta.pt"]


@pytest.mark.parametrize(
    ("inner", "beside"),
    [
        ("pytorch_model_fsdp_0", ("optimizer_0/.metadata", "optimizer_0/__0_0.distcp", "scheduler.pt")),
        ("weights", ("context/model.yaml",)),
        (".", ("metadata.json", "common.pt")),
    ],
    ids=["Trainer and accelerate", "NeMo", "Megatron"],
)
def test_torch_distributed_in_folders_of_a_trainer(put, locate, inner, beside):
    for step in (100, 200):
        put(*(f"run/checkpoint-{step}/{inner}/{name}" for name in DISTRIBUTED))
        put(*(f"run/checkpoint-{step}/{name}" for name in beside))
    found = locate(put("x.txt", text="") / "run")
    assert [(c.label, c.layout) for c in found] == [(f"checkpoint-{step}", "distributed") for step in (100, 200)]
    assert not any("optimizer" in file.url for checkpoint in found for file in checkpoint.files)
    alone = locate(put("x.txt", text="") / "run" / "checkpoint-100")
    assert [(c.label, c.layout) for c in alone] == [("checkpoint-100", "distributed")]


def test_a_folder_named_like_a_file(put, locate):
    """Lightning's FSDP strategy saves `epoch=0-step=10.ckpt` as a folder."""
    put(*(f"epoch=0-step={step}.ckpt/{name}" for step in (5, 10) for name in (*DISTRIBUTED, "meta.pt")))
    found = locate(put("x.txt", text=""))
    assert [(c.label, len(c.files)) for c in found] == [("epoch=0-step=5.ckpt", 5), ("epoch=0-step=10.ckpt", 5)]


def test_two_models_of_one_state(put, locate):
    put(*(f"checkpoint_0/pytorch_model_fsdp_{i}/{name}" for i in (0, 1) for name in DISTRIBUTED))
    (found,) = locate(put("x.txt", text="") / "checkpoint_0")
    assert found.layout == "distributed"
    assert set(found.prefixes) == {"pytorch_model_fsdp_0.", "pytorch_model_fsdp_1."}


def test_models_in_layouts_that_differ(put, locate):
    put(*(f"checkpoint_0/unet/{name}" for name in DISTRIBUTED), "checkpoint_0/vae/model.safetensors")
    (found,) = locate(put("x.txt", text="") / "checkpoint_0")
    assert found.problem.endswith("checkpoint_0: holds models in layouts that differ: give the folder of one of them")


def test_chunks_without_their_description(put, locate):
    put(*(f"step-{step}/{name}" for step in (1, 2) for name in DISTRIBUTED))
    (put("x.txt", text="") / "step-1" / ".metadata").unlink()
    found = locate(put("x.txt", text=""))
    assert "step-1: lacks the .metadata of a torch.distributed checkpoint" in found[0].problem
    assert found[1].problem is None


def test_a_description_alone_is_a_checkpoint_whose_chunks_are_gone(put, locate):
    assert [c.layout for c in locate(put("step-1/.metadata", "step-2/.metadata", "step-2/__0_0.distcp"))] == [
        "distributed"
    ] * 2


def test_a_whole_model_beside_chunks_is_read_instead(put, find):
    put(*(f"step-1/{name}" for name in DISTRIBUTED))
    assert find(put("step-1/model.safetensors") / "step-1") == {"step-1": ["model.safetensors"]}
    assert find(put("run/.metadata", "run/step_1.pt", "run/step_2.pt") / "run") == {
        "step_1": ["step_1.pt"],
        "step_2": ["step_2.pt"],
    }


@pytest.mark.parametrize("name", [".metadata", "__1_0.distcp", "zero_pp_rank_1_mp_rank_00_model_states.pt"])
def test_a_file_of_many_given_directly_stands_for_all(put, locate, name):
    folder = "global_step5" if name.startswith("zero") else "step-5"
    put(*(f"step-5/{name}" for name in DISTRIBUTED), *zero3("global_step5"))
    (found,) = locate(put("x.txt", text="") / folder / name)
    assert (found.label, len(found.files)) == (folder, 4)
    again = locate(str(put("x.txt", text="") / folder / "*"))
    assert {c.origin for c in again} == {found.origin}


@pytest.mark.parametrize("prefix", ["", "bf16_"])
@pytest.mark.parametrize("folder", ["global_step90", "checkpoint-90/global_step90", "checkpoint_0/pytorch_model"])
def test_zero3(put, locate, folder, prefix):
    put(*zero3(f"run/{folder}", prefix=prefix))
    put(f"run/{folder}/../latest", text="global_step90")
    (found,) = locate(put("x.txt", text="") / "run")
    assert (found.layout, len(found.files), found.prefixes, found.problem) == ("zero3", 4, ("",) * 4, None)
    assert found.label == ("checkpoint_0" if "checkpoint_0" in folder else "global_step90")


def test_the_model_whole_beside_its_partitions_is_read_instead(put, locate):
    put(*zero3("checkpoint-7/global_step7"))
    (found,) = locate(put("checkpoint-7/model.safetensors") / "checkpoint-7")
    assert [file.url.rpartition("/")[2] for file in found.files] == ["model.safetensors"]
    (found,) = locate(put(*zero3("step_8"), "step_8/pytorch_model.bin") / "step_8")
    assert (found.layout, len(found.files), len(found.unread)) == ("files", 1, 4)


def test_zero_1_and_2_hold_the_model_whole(put, find):
    names = ["mp_rank_00_model_states.pt", *(f"bf16_zero_pp_rank_{r}_mp_rank_00_optim_states.pt" for r in (0, 1))]
    put(*(f"global_step{step}/{name}" for step in (9, 10) for name in names))
    assert find(put("latest", text="global_step10")) == {
        "global_step9": ["mp_rank_00_model_states.pt"],
        "global_step10": ["mp_rank_00_model_states.pt"],
    }


REFUSED = {
    "ZeRO-3 and slices": (zero3("global_step1", parallel=2), "deepspeed_to_transformers"),
    "DeepSpeed": ([f"global_step1/mp_rank_0{i}_model_states.pt" for i in (0, 1)], "deepspeed_to_transformers"),
    "a pipeline with slices": (
        [f"global_step1/layer_0{n}-model_0{i}-model_states.pt" for n in (0, 1, 2) for i in (0, 1)],
        "deepspeed_to_transformers",
    ),
    "Megatron": ([f"iter_0000001/mp_rank_0{i}/model_optim_rng.pt" for i in (0, 1)], "tools/checkpoint/convert.py"),
    "Megatron's pipeline": (
        [f"iter_0000001/mp_rank_00_00{i}/{name}.pt" for i in (0, 1) for name in ("model_optim_rng", "distrib_optim")],
        "tools/checkpoint/convert.py",
    ),
    "Llama": ([f"step_1/consolidated.0{i}.pth" for i in (0, 1)], "convert_llama_weights_to_hf"),
    "FSDP": ([f"step_1/pytorch_model_fsdp_rank{i}.bin" for i in (0, 1)], "merge them into one file first"),
}


@pytest.mark.parametrize(("names", "advice"), REFUSED.values(), ids=REFUSED)
def test_slices_are_refused_with_what_merges_them(put, locate, names, advice):
    (found,) = locate(put(*names))
    assert "is split over the 2 ranks that trained it: " in found.problem
    assert advice in found.problem
    assert "\n" not in found.problem


def test_slices_are_no_checkpoint_but_the_others_are_read(put, locate):
    for step in (1, 2):
        put(*(f"iter_{step:07d}/mp_rank_0{i}/model_optim_rng.pt" for i in range(step)))
    found = {c.label: c.problem for c in locate(put("latest_checkpointed_iteration.txt", text="2"))}
    assert found["iter_0000001"] is None
    assert "2 ranks" in found["iter_0000002"]


def test_a_pipeline_without_slices_is_read_as_its_layers(put, locate):
    put(*(f"global_step4/layer_0{n}-model_states.pt" for n in (0, 1)), "global_step4/mp_rank_00_model_states.pt")
    (found,) = locate(put("latest", text="global_step4"))
    assert found.problem is None
    assert "layer_01-model_states." in found.prefixes


def test_megatron_without_its_description(put, locate):
    put("iter_0000100/common.pt", "iter_0000200/common.pt")
    with pytest.raises(SourceError, match=r"iter_0000100: is a Megatron checkpoint without \.metadata"):
        locate(put("iter_0000100/metadata.json", "iter_0000200/metadata.json"))


def slices(folder, *ranks, model="model"):
    return [f"{folder}/shard-{rank:05d}-{model}-0000{part}-of-00002.safetensors" for rank in ranks for part in (1, 2)]


def test_slices_in_safetensors_are_one_model(put, locate):
    found = locate(put(*slices("step-1", 1, 2), *slices("step-2", 1, 2), *slices("step-2/sharded", 1, 2)))
    assert [(c.label, c.layout, len(c.files), c.problem) for c in found] == [
        ("step-1", "slices", 4, None),
        ("step-2", "slices", 4, None),
    ]
    (alone,) = locate(put() / slices("step-1", 2)[0])
    assert (alone.label, alone.layout, len(alone.files)) == ("step-1", "slices", 4)


def test_slices_of_a_rank_that_are_missing(put, locate):
    (found,) = locate(put(*slices("step-1", 1, 3)) / "step-1")
    assert found.problem.endswith("lacks the slices of rank 2 (shard-00002-model-*)")


def test_the_model_beside_its_slices_is_read_instead(put, locate):
    put(*slices("step-1", 1, 2), "step-1/model-00001-of-00001.safetensors", "step-1/optimizer.pt")
    (found,) = locate(put() / "step-1")
    assert (found.layout, len(found.files), len(found.unread)) == ("files", 1, 4)
