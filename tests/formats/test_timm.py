"""What timm's CheckpointSaver leaves: numbered epochs, `last` and `model_best` as further names of them, averages."""

import argparse

import pytest
import torch


@pytest.fixture(scope="module")
def saved(library, tmp_path_factory):
    """A folder of four epochs of a real small model and its moving average; returns the weights of both."""
    return save(library, tmp_path_factory.mktemp("timm"))


def save(library, folder, *, recoveries=False):
    """Train for four epochs; save after each, and with recoveries also in its course, what is kept of both."""
    pytest.importorskip("timm", reason="timm cannot be imported where torchvision is missing")
    raw, averaged = [], []
    with library(), torch.random.fork_rng(devices=[]):
        import timm
        from timm.utils import CheckpointSaver, ModelEmaV3

        torch.manual_seed(0)
        model = timm.create_model("resnet10t", pretrained=False, num_classes=3)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        ema = ModelEmaV3(model, decay=0.5)
        saver = CheckpointSaver(
            model,
            optimizer,
            args=argparse.Namespace(model="resnet10t", lr=0.01, opt_kwargs={}),
            model_ema=ema,
            amp_scaler=None,
            checkpoint_dir=str(folder),
            recovery_dir=str(folder),
            max_history=10,
        )

        def keep():
            raw.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            averaged.append({name: tensor.clone() for name, tensor in ema.module.state_dict().items()})

        def step():
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
            ema.update(model)

        for epoch in range(8, 12):
            step()
            if recoveries:
                saver.save_recovery(epoch, batch_idx=100)
                keep()
                step()
            saver.save_checkpoint(epoch, metric=[0.1, 0.3, 0.9, 0.2][epoch - 8])
            keep()
    return folder, raw, averaged


def test_names_and_links(saved):
    folder, _, _ = saved
    names = sorted(path.name for path in folder.iterdir())
    epochs = [f"checkpoint-{n}.pth.tar" for n in (10, 11, 8, 9)]
    assert names == [*epochs, "last.pth.tar", "model_best.pth.tar"]
    assert (folder / "model_best.pth.tar").samefile(folder / "checkpoint-10.pth.tar")


def test_the_weights_as_trained(saved, analyze, check, statuses):
    folder, raw, _ = saved
    series = analyze(folder)
    check(series, raw, steps=[8, 9, 10, 11], tied=())
    assert statuses(series)["last"] == statuses(series)["model_best"] == "duplicate"
    assert "the model weights are read (--weights chooses)" in series.provenance.notes


def test_the_moving_average(saved, analyze, check):
    folder, raw, averaged = saved
    assert not torch.equal(raw[-1]["conv1.0.weight"], averaged[-1]["conv1.0.weight"])
    series = analyze(folder, weights="ema")
    check(series, averaged, steps=[8, 9, 10, 11], tied=())
    assert series.provenance.weights == "ema"


def test_recoveries_lie_before_the_end_of_their_epoch(library, analyze, check, statuses, tmp_path):
    """timm keeps the last two; they note the number of an epoch that was not over yet."""
    folder, raw, _ = save(library, tmp_path, recoveries=True)
    assert {path.name for path in folder.glob("recovery*")} == {f"recovery-{n}-100.pth.tar" for n in (10, 11)}
    series = analyze(folder)
    kept = [raw[index] for index in (1, 3, 4, 5, 6, 7)]  # those of epochs 8 and 9 are gone
    check(series, kept, steps=[8, 9, 10, 10, 11, 11], tied=())
    alive = [label for label, status in statuses(series).items() if status == "ok"]
    assert alive[2:] == ["recovery-10-100", "checkpoint-10", "recovery-11-100", "checkpoint-11"]
    assert statuses(series)["last"] == statuses(series)["model_best"] == "duplicate"


def test_milestones_are_further_names(saved, analyze, check, statuses, tmp_path):
    """Named by the number of epochs that are over, one more than the epoch inside."""
    folder, raw, _ = saved
    for path in folder.iterdir():
        (tmp_path / path.name).hardlink_to(path)
    (tmp_path / "milestone-12.pth.tar").hardlink_to(folder / "last.pth.tar")
    series = analyze(tmp_path)
    check(series, raw, steps=[8, 9, 10, 11], tied=())
    assert statuses(series)["milestone-12"] == "duplicate"


def test_the_pickled_arguments_are_looked_through(saved):
    """They are a Namespace, which torch itself loads only where it is told that the file is trusted."""
    folder, _, _ = saved
    with pytest.raises(Exception, match="weights_only"):
        torch.load(folder / "checkpoint-8.pth.tar", weights_only=True)
