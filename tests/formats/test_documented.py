"""docs/formats.md is true: versions are those that are pinned, tests are there, bounds and advice are the code's."""

import re
from pathlib import Path

import pytest

from wsanalyze.checkpoints import units
from wsanalyze.checkpoints.partitions import explain_ranks
from wsanalyze.files import foreign, onnx_model, pickle_machine, safetensors_header, torch_archive, zip_records
from wsanalyze.tensors import files, state_dicts

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "formats.md"
TEXT = PAGE.read_text(encoding="utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TEXT.splitlines() if line.startswith("| ")]


def section(title):
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_versions_are_those_that_are_pinned():
    pinned = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    told = re.findall(r"\b([a-z][\w-]*) (\d+\.\d+\.\d+)", section("Read"))
    assert len({name for name, _ in told}) > 10
    assert {(name, version) for name, version in told if pinned.get(name) != version} == set()


def test_every_layout_that_is_read_names_its_test():
    rows = [row for row in ROWS if len(row) == 4 and row[0] != "layout"]
    assert len(rows) > 15
    for row in rows:
        assert re.search(r"\[test\]\(\.\./tests/(formats|files)/test_\w+\.py\)$", row[3]), row


def test_links_lead_somewhere():
    for target in re.findall(r"\]\(([^)#]+)\)", TEXT):
        assert (PAGE.parent / target).exists(), target


BOUNDS = {
    "a header of safetensors": safetensors_header.MAX_HEADER_BYTES,
    "tensors of a safetensors file": safetensors_header.MAX_TENSORS,
    "bytes to read of a checkpoint whose tensors overlap": files.MAX_READINGS,
    "a number in a header": safetensors_header._MAX_DIGITS,
    "a pickle": pickle_machine.MAX_PICKLE_BYTES,
    "opcodes of a pickle": pickle_machine.MAX_OPCODES,
    "items that a pickle copies": pickle_machine.MAX_COPIES,
    "an integer in a pickle": pickle_machine._MAX_LONG_BYTES,
    "levels of a state dict": state_dicts._MAX_NESTING,
    "the name of a tensor": state_dicts._MAX_NAME_CHARS,
    "records of a zip archive": zip_records.MAX_RECORDS,
    "the directory of a zip archive": zip_records._MAX_DIRECTORY_BYTES,
    "code of a TorchScript archive": torch_archive.MAX_CODE_BYTES,
    "initialisers of an ONNX model": onnx_model.MAX_INITIALIZERS,
    "fields of an ONNX model": onnx_model._MAX_FIELDS,
    "the index of shards": units._MAX_INDEX_BYTES,
}


@pytest.mark.parametrize(("of", "bound"), BOUNDS.items())
def test_a_bound_is_that_of_the_code(of, bound):
    (row,) = [row for row in ROWS if row[0] == of]
    assert row[1].startswith(f"{bound:,}")


def test_every_bound_is_checked_and_its_message_is_in_the_code():
    rows = [row for row in ROWS if len(row) == 3 and row[0] in BOUNDS]
    assert {row[0] for row in rows} == set(BOUNDS)
    code = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "wsanalyze").rglob("*.py")))
    plain = re.sub(r"\{[^{}]*\}", "...", code)
    for row in rows:
        for message in re.findall(r"`([^`]+)`", row[2]):
            for part in re.split(r"\.\.\.|\d{2,}", message):
                for words in re.split(r"[()]", part):
                    assert words.strip() in plain, message


ADVICE = {
    "Orbax": foreign.explain_folder({"_METADATA"}),
    "Flax": foreign.explain_name("x.msgpack"),
    "Keras": foreign.explain_name("x.h5"),
    "GGUF, GGML": foreign.explain_name("x.gguf"),
    "Paddle": foreign.explain_name("x.pdparams"),
    "NeMo 1": foreign.explain_name("x.nemo"),
    "Core ML": foreign.explain_name("x.mlpackage"),
    "TensorFlow": f"{foreign.explain_name('x.index')} {foreign.explain_name('saved_model.pb')}",
    "Megatron-LM, several ranks": explain_ranks(Path(), 2, ""),
    "Megatron-LM in zarr form": foreign.explain_folder({"common.pt", "metadata.json"}),
    "DeepSpeed with tensor parallelism": explain_ranks(Path(), 2, "mp_rank_00_model_states"),
    "Llama's slices": explain_ranks(Path(), 2, "consolidated.00"),
    "slices of other trainers": explain_ranks(Path(), 2, "model_rank_0"),
}


@pytest.mark.parametrize(("layout", "told"), ADVICE.items())
def test_what_to_do_is_what_the_program_says(layout, told):
    (row,) = [row for row in ROWS if row[0] == layout]
    for command in re.findall(r"`([^`]+)`", row[2]) or [row[2].split(" into ")[0]]:
        assert command in told
