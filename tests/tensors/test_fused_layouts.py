"""Layouts that names tell for certain: in timm, only where the modules really keep three blocks of rows."""

import warnings

import pytest
import torch

from wsanalyze.files.base import FileRef
from wsanalyze.tensors.base import Piece, TensorInfo
from wsanalyze.tensors.fused_layouts import Layout, ModelConfig, find_modules, tell_layout

BLOCKS = {"deit_tiny_patch16_224": 12, "beit_base_patch16_224": 12, "swin_tiny_patch4_window7_224": 12}
NOT_BLOCKS = ("coatnet_0_224", "maxvit_pico_rw_256", "tiny_vit_5m_224", "levit_128s", "efficientformer_l1")


@pytest.fixture
def tell(tmp_path):
    """The layouts, or reasons, of all fused modules of a model of timm, which is made without elements."""

    def run(name):
        with warnings.catch_warnings(), torch.device("meta"):
            warnings.simplefilter("ignore")
            import timm

            model = timm.create_model(name)
        piece = Piece(FileRef("memory", 0, ""), 0, 0)
        infos = {n: TensorInfo(n, "float32", tuple(t.shape), (piece,)) for n, t in model.state_dict().items()}
        return [tell_layout(module, infos, ModelConfig(str(tmp_path))) for module in find_modules(infos)]

    return run


@pytest.mark.parametrize("name", BLOCKS)
def test_plain_vision_transformers_are_told(tell, name):
    layouts = tell(name)
    assert len(layouts) == BLOCKS[name]
    assert all(isinstance(layout, Layout) and layout.count == 1 for layout in layouts)


@pytest.mark.parametrize("name", NOT_BLOCKS)
def test_those_that_go_by_heads_are_not_taken_for_them(tell, name):
    assert not any(isinstance(layout, Layout) for layout in tell(name))


@pytest.mark.parametrize(
    ("name", "module"),
    [
        ("transformer.h.0.attn.c_attn.weight", "transformer.h.0.attn.c_attn"),
        ("c_attn.bias", "c_attn"),
        ("layers.0.self_attn.in_proj_weight", "layers.0.self_attn.in_proj"),
        ("in_proj_bias", "in_proj"),
        ("mixer.in_proj.weight", None),
        ("x.qkv.weight.absmax", None),
        ("x.c_attn.lora_A.weight", None),
        ("xqkv.weight", None),
        ("x.qkv.qweight", None),
        ("x.qkv.conv.weight", None),
    ],
)
def test_names_of_fused_weights(name, module):
    assert [found.name for found in find_modules([name])] == ([module] if module else [])
