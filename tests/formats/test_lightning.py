"""Checkpoints of a real training by Lightning: `epoch=3-step=400.ckpt`, versions, `last`."""

import pytest
import torch
from torch import nn

NUM_EPOCHS, BATCHES = 3, 4


@pytest.fixture(scope="module")
def train_lightning(library):
    """Train a tiny module and save as told; returns {global step: weights} of every moment that a file was due at."""
    with library():
        import lightning

        class Classifier(lightning.LightningModule):
            def __init__(self):
                super().__init__()
                self.stem = nn.Conv2d(3, 8, 3)
                self.norm = nn.BatchNorm2d(8)
                self.embed = nn.Embedding(11, 8)
                self.head = nn.Linear(8, 11)
                self.head.weight = self.embed.weight

            def training_step(self, batch, _index):
                images, words = batch
                seen = self.norm(self.stem(images)).relu().mean((2, 3))
                return nn.functional.cross_entropy(self.head(seen + self.embed(words)), words)

            def configure_optimizers(self):
                optimizer = torch.optim.AdamW(self.parameters(), lr=0.01)
                return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

        class Keeper(lightning.Callback):
            def __init__(self, every):
                self.every, self.kept = every, {}

            def on_train_batch_end(self, trainer, module, *_):
                if trainer.global_step % self.every == 0:
                    self.kept[trainer.global_step] = {n: t.clone() for n, t in module.state_dict().items()}

    def train(every, *savers, max_epochs=NUM_EPOCHS):
        with library(), torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            images = torch.randn(2 * BATCHES, 3, 6, 6)
            words = torch.randint(0, 11, (2 * BATCHES,))
            loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(images, words), batch_size=2)
            keeper = Keeper(every)
            trainer = lightning.Trainer(
                max_epochs=max_epochs,
                accelerator="cpu",
                logger=False,
                enable_progress_bar=False,
                enable_model_summary=False,
                callbacks=[keeper, *savers],
            )
            trainer.fit(Classifier(), loader)
        return keeper.kept

    return train


@pytest.fixture(scope="module")
def checkpointing(library):
    with library():
        from lightning.pytorch.callbacks import ModelCheckpoint
    return ModelCheckpoint


@pytest.fixture(scope="module")
def averaging(library):
    with library():
        from lightning.pytorch.callbacks import EMAWeightAveraging
    return EMAWeightAveraging


@pytest.mark.parametrize("save_last", [True, "link"])
def test_every_checkpoint_and_last(train_lightning, checkpointing, analyze, check, statuses, tmp_path, save_last):
    kept = train_lightning(
        BATCHES, checkpointing(tmp_path, save_top_k=-1, save_last=save_last, every_n_train_steps=BATCHES)
    )
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["epoch=0-step=4.ckpt", "epoch=1-step=8.ckpt", "epoch=2-step=12.ckpt", "last.ckpt"]
    assert (tmp_path / "last.ckpt").is_symlink() == (save_last == "link")
    series = analyze(tmp_path)
    check(series, list(kept.values()), steps=list(kept))
    assert statuses(series)["last"] == "duplicate"
    assert "ordered by global_step in the files" in series.provenance.notes


def test_several_checkpoints_of_an_epoch(train_lightning, checkpointing, analyze, check, tmp_path):
    kept = train_lightning(2, checkpointing(tmp_path, save_top_k=-1, every_n_train_steps=2))
    assert list(kept) == [2, 4, 6, 8, 10, 12]
    check(analyze(tmp_path), list(kept.values()), steps=list(kept))


def test_names_that_lightning_had_to_tell_apart(train_lightning, checkpointing, analyze, check, tmp_path):
    """Without a number in the file name, `-v1`, `-v2` are all that is added: the step is inside."""
    kept = train_lightning(
        BATCHES, checkpointing(tmp_path, filename="weights", save_top_k=-1, monitor="step", every_n_train_steps=BATCHES)
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["weights-v1.ckpt", "weights-v2.ckpt", "weights.ckpt"]
    check(analyze(tmp_path), list(kept.values()), steps=list(kept))


def test_weights_only_in_the_default_folder(train_lightning, checkpointing, analyze, check, tmp_path):
    """`lightning_logs/version_0/checkpoints`, given by its top."""
    folder = tmp_path / "lightning_logs" / "version_0" / "checkpoints"
    kept = train_lightning(
        BATCHES, checkpointing(folder, save_top_k=-1, save_weights_only=True, every_n_train_steps=BATCHES)
    )
    (folder.parent / "hparams.yaml").write_text("lr: 0.01\n")
    check(analyze(tmp_path), list(kept.values()), steps=list(kept))


def test_two_savers_that_kept_the_same_step(train_lightning, checkpointing, analyze, check, statuses, tmp_path):
    """`epoch=2-step=12.ckpt` and `epoch=2-step=12-v1.ckpt`: the second is a copy under another name."""
    kept = train_lightning(
        BATCHES,
        checkpointing(tmp_path, save_top_k=-1, every_n_train_steps=BATCHES),
        checkpointing(tmp_path, save_top_k=1, monitor="step", mode="max", every_n_train_steps=2 * BATCHES),
    )
    doubled = [path for path in tmp_path.iterdir() if path.stem.endswith("-v1")]
    assert doubled
    series = analyze(tmp_path)
    copies = {label: status for label, status in statuses(series).items() if label.endswith("-v1")}
    assert copies == dict.fromkeys((path.stem for path in doubled), "duplicate")
    check(series, list(kept.values()), steps=list(kept))
    assert {event.checkpoint for event in series.events if event.kind == "duplicate"} == {
        index for index, record in enumerate(series.checkpoints) if record.status == "duplicate"
    }


def test_the_average_of_the_weights_is_told_from_the_weights(
    train_lightning, checkpointing, averaging, analyze, check, tmp_path
):
    """`WeightAveraging` puts the average into `state_dict`, and the weights as trained beside it."""
    averages = averaging(decay=0.5)
    kept = train_lightning(BATCHES, averages, checkpointing(tmp_path, save_top_k=-1, every_n_train_steps=BATCHES))
    check(analyze(tmp_path), list(kept.values()), steps=list(kept))
    check(analyze(tmp_path, weights="model"), list(kept.values()), steps=list(kept))
    files = sorted(tmp_path.iterdir())
    means = [torch.load(path, weights_only=False)["state_dict"] for path in files]
    assert not torch.equal(means[-1]["head.weight"], kept[max(kept)]["head.weight"])
    check(analyze(tmp_path, weights="ema"), means, steps=list(kept))
