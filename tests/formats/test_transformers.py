"""Checkpoints of transformers: a real training by its Trainer, and `save_pretrained` in all the ways it writes."""

import json

import pytest
import torch


@pytest.fixture(scope="module")
def make_bert(library):
    """A BERT of two layers whose output layer is tied to its word embedding."""
    with library():
        from transformers import BertConfig, BertForMaskedLM

        def make(seed=0):
            with library(), torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                return BertForMaskedLM(
                    BertConfig(
                        vocab_size=40,
                        hidden_size=16,
                        num_hidden_layers=2,
                        num_attention_heads=2,
                        intermediate_size=24,
                        max_position_embeddings=12,
                    )
                )

    return make


@pytest.fixture(scope="module")
def trained(make_bert, library, tmp_path_factory):
    """A folder written by `Trainer`, and the weights at each of its checkpoints."""
    folder = tmp_path_factory.mktemp("trainer")
    with library(), torch.random.fork_rng(devices=[]):
        from transformers import Trainer, TrainerCallback, TrainingArguments

        class Keeper(TrainerCallback):
            kept = {}  # noqa: RUF012 - one test, one keeper

            def on_save(self, _args, state, _control, model=None, **_kwargs):
                self.kept[state.global_step] = {n: t.clone() for n, t in model.state_dict().items()}

        words = torch.randint(0, 40, (24, 8), generator=torch.Generator().manual_seed(0))
        arguments = TrainingArguments(
            folder,
            max_steps=12,
            save_steps=4,
            per_device_train_batch_size=2,
            learning_rate=1e-2,
            use_cpu=True,
            report_to=[],
            disable_tqdm=True,
            logging_strategy="no",
            seed=0,
        )
        dataset = [{"input_ids": row, "labels": row} for row in words]
        trainer = Trainer(make_bert(), arguments, train_dataset=dataset, callbacks=[Keeper()])
        trainer.train()
    return folder, Keeper.kept


TIED = ("cls.predictions.decoder.weight", "cls.predictions.decoder.bias")


def test_the_trainer(trained, analyze, check):
    folder, kept = trained
    assert sorted(kept) == [4, 8, 12]
    beside = {path.name for path in (folder / "checkpoint-12").iterdir()}
    assert {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"} <= beside
    series = analyze(folder)
    check(series, list(kept.values()), steps=[4, 8, 12], tied=TIED)
    assert [record.label for record in series.checkpoints] == ["checkpoint-4", "checkpoint-8", "checkpoint-12"]
    assert {record.format for record in series.checkpoints} == {"safetensors"}


def test_the_model_that_the_trainer_leaves_at_the_end(trained, make_bert, analyze, check, statuses, library, tmp_path):
    """`trainer.save_model()` into the folder of the run: the last checkpoint once more."""
    folder, kept = trained
    for step in kept:
        (tmp_path / f"checkpoint-{step}").symlink_to(folder / f"checkpoint-{step}")
    model = make_bert()
    model.load_state_dict(kept[12])
    with library():
        model.save_pretrained(tmp_path)
    series = analyze(tmp_path)
    check(series, list(kept.values()), steps=[4, 8, 12], tied=TIED)
    assert statuses(series)["final"] == "duplicate"


def test_one_checkpoint_of_the_trainer(trained, analyze):
    folder, _ = trained
    series = analyze(folder / "checkpoint-8")
    assert [(record.step, record.label) for record in series.checkpoints] == [(8, "checkpoint-8")]


@pytest.mark.parametrize("size", ["4KB", "8KB"])
def test_save_pretrained_in_shards(trained, make_bert, analyze, check, library, tmp_path, size):
    _, kept = trained
    for step, state in kept.items():
        model = make_bert()
        model.load_state_dict(state)
        with library():
            model.save_pretrained(tmp_path / f"step-{step}", max_shard_size=size)
        index = json.loads((tmp_path / f"step-{step}" / "model.safetensors.index.json").read_text())
        assert len(set(index["weight_map"].values())) > 2
    series = analyze(tmp_path)
    check(series, list(kept.values()), steps=list(kept), tied=TIED)
    assert all(" files" in record.format for record in series.checkpoints)


def test_pytorch_model_bin(trained, analyze, check, tmp_path):
    """As transformers wrote them before version 5: a state dict by torch.save, with `config.json` beside."""
    _, kept = trained
    for step, state in kept.items():
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        tied = state | {
            "cls.predictions.decoder.weight": state["bert.embeddings.word_embeddings.weight"],
            "cls.predictions.decoder.bias": state["cls.predictions.bias"],
        }
        torch.save(tied, folder / "pytorch_model.bin")
        torch.save({"beta1": torch.ones(3)}, folder / "training_args.bin")
        (folder / "config.json").write_text("{}")
    series = analyze(tmp_path)
    check(series, list(kept.values()), steps=list(kept), tied=TIED)
    assert {e.layer for e in series.events if e.kind == "tied"} == set(TIED)


def test_gpt2_with_its_transposed_layers(library, analyze, check, tmp_path):
    """Conv1D keeps its weights the other way round, and the file as the module does."""
    states = []
    with library(), torch.random.fork_rng(devices=[]):
        from transformers import GPT2Config, GPT2LMHeadModel

        torch.manual_seed(0)
        model = GPT2LMHeadModel(GPT2Config(vocab_size=32, n_positions=8, n_embd=8, n_layer=2, n_head=2))
        for step in (1, 2, 3):
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter.add_(0.01 * torch.randn_like(parameter))
            model.save_pretrained(tmp_path / f"checkpoint-{step}")
            states.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
    series = analyze(tmp_path)
    check(series, states, steps=[1, 2, 3], tied=("lm_head.weight",))
    assert [series.rows[series.names.index("transformer.h.0.attn.c_attn.weight")].shape] == [(8, 24)]
