"""The test Hub and an independent server say the same of the same repositories."""

from pathlib import Path

import huggingface_hub as hf
import numpy as np
from huggingface_hub.utils import get_session


def look():
    """All that both can say: refs, trees, a description, metadata and bytes."""
    trees = [sorted(map(repr, hf.list_repo_tree("org/model", revision=name, recursive=True))) for name in ("a", "v1")]
    url = hf.hf_hub_url("org/model", "model.safetensors", revision="a")
    metadata = hf.get_hf_file_metadata(url)
    info = hf.model_info("org/model", revision="a")
    return {
        "refs": sorted(map(repr, hf.list_repo_refs("org/model").branches + hf.list_repo_refs("org/model").tags)),
        "trees": trees,
        "paths": sorted(map(repr, hf.get_paths_info("org/model", ["config.json", "none", "logs"], revision="a"))),
        "info": (info.id, info.sha, info.last_modified, info.created_at, [s.rfilename for s in info.siblings]),
        "metadata": (metadata.commit_hash, metadata.etag, metadata.size),
        "dataset": list(map(repr, hf.list_repo_tree("data", repo_type="dataset"))),
        "bytes": Path(hf.hf_hub_download("org/model", "model.safetensors", revision="a")).read_bytes(),
        "folder": sorted(p.name for p in Path(hf.snapshot_download("org/model", revision="v1")).rglob("*")),
    }


def test_both_say_the_same_but_olah_ignores_ranges(hub, serve_by_olah):
    weights = np.random.default_rng(0).bytes(300_000)
    repo = hub.add_repo("org/model")
    repo.commit("a", {"model.safetensors": weights, "config.json": "{}", "logs/1/a.txt": "x"})
    repo.commit("b", {"model.safetensors": weights[:2000]})
    repo.tag("v1", "b")
    data = hub.add_repo("data", "dataset")
    data.commit("main", {"weights.bin": weights})
    ours = look()
    serve_by_olah(repo, data)
    theirs = look()
    assert {name: theirs[name] for name in ours} == ours
    answer = get_session().get(hf.hf_hub_url("org/model", "config.json", revision="a"), headers={"Range": "bytes=1-1"})
    assert (answer.status_code, answer.content) == (200, b"{}")
