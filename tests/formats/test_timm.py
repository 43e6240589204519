"""What timm's CheckpointSaver leaves: numbered epochs, `last` and `model_best` as further names of them, averages."""

import argparse

import pytest
import torch


@pytest.fixture(scope="module")
def saved(library, tmp_path_factory):
    """A folder of five epochs of a real small model and its moving average; returns the weights of both."""
    pytest.importorskip("timm", reason="timm cannot be imported where torchvision is missing")
    folder = tmp_path_factory.mktemp("timm")
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
        for epoch in range(8, 12):
            for parameter in model.parameters():
                parameter.grad = torch.randn_like(parameter)
            optimizer.step()
            ema.update(model)
            saver.save_checkpoint(epoch, metric=[0.1, 0.3, 0.9, 0.2][epoch - 8])
            raw.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
            averaged.append({name: tensor.clone() for name, tensor in ema.module.state_dict().items()})
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
