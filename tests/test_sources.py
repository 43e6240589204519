import pytest

from wsanalyze.checkpoints.base import Checkpoint
from wsanalyze.errors import SourceError
from wsanalyze.sources import locate_checkpoints


class Hub:
    """Knows what lies at some addresses."""

    def __init__(self, **notes):
        self.notes = notes

    def locate(self, source):
        labels = source.rpartition("@")[2].split("+")
        base = source.partition("@")[0]
        found = [Checkpoint(None, label, f"{base}@{label}", (), ()) for label in labels]
        return found, self.notes.get(labels[0], ())


def labels(*sources, **notes):
    return [c.label for c in locate_checkpoints(sources, hub=Hub(**notes)).checkpoints]


def test_sources_are_taken_in_the_order_given():
    located = locate_checkpoints(["hf://a/b@step2", "hf://a/b@step1+step3"], "hf://a/b@step0", Hub())
    assert [c.label for c in located.checkpoints] == ["step2", "step1", "step3"]
    assert [c.label for c in located.base] == ["step0"]
    assert located.sources == ("hf://a/b@step2", "hf://a/b@step1+step3")


def test_main_beside_others_is_the_last_and_its_note_is_dropped():
    left_out = ("main is left out: no name says which step it is", "v1 is left out")
    located = locate_checkpoints(["hf://a/b@step1+step2", "hf://a/b@main"], hub=Hub(step1=left_out))
    assert [c.label for c in located.checkpoints] == ["step1", "step2", "main (final)"]
    assert located.notes == ("v1 is left out",)
    assert labels("hf://a/b@main") == ["main"]
    assert locate_checkpoints(["hf://a/b@step1+step2"], hub=Hub(step1=left_out)).notes == left_out


def test_the_same_names_elsewhere_are_told_apart(tmp_path):
    assert labels("hf://a/b@step1", "hf://c/d@step1+step2") == ["step1 (a/b)", "step1 (c/d)", "step2"]
    (tmp_path / "step1.safetensors").write_bytes(b"")
    assert labels(str(tmp_path / "step1.safetensors"), "hf://c/d@step1") == ["step1", "step1 (c/d)"]
    assert labels("hf://a/b@step1", "hf://a/b@step1") == ["step1", "step1"]


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "a source is empty"),
        ("s3://bucket/x", "only files, folders and hf:// are read"),
        ("nothing-there", "no such file or folder$"),
        ("hf:/a/b", r"no such file or folder \(on the Hub: hf://a/b\)"),
        ("hf.co/a/b", r"\(on the Hub: hf://a/b\)"),
        ("org/nothing-there", r"\(on the Hub: hf://org/nothing-there\)"),
    ],
)
def test_what_is_no_source_is_refused_with_advice(source, words):
    with pytest.raises(SourceError, match=words):
        locate_checkpoints([source], hub=Hub())


def test_a_base_is_one_checkpoint():
    with pytest.raises(SourceError, match="holds 2 checkpoints, name one of them: step1, step2"):
        locate_checkpoints(["hf://a/b@step3"], "hf://a/b@step1+step2", Hub())
