"""Kinds by the classes of modules, against what the modules themselves are asked for one by one."""

import pytest

from wsanalyze.layers.kinds import tell_kinds
from wsanalyze.layers.module_kinds import tell_module_kinds
from wsanalyze.series import Kind

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm", reason="timm cannot be imported where torchvision is missing")

BLOCKS = timm.models._efficientnet_blocks
CONVNEXT = timm.models.convnext.ConvNeXtBlock
ATTENTION = timm.models.vision_transformer.Attention | timm.models.swin_transformer.WindowAttention
GATES = BLOCKS.SqueezeExcite | timm.layers.SEModule
NORMS = (
    torch.nn.modules.batchnorm._NormBase | torch.nn.LayerNorm | torch.nn.GroupNorm | timm.layers.grn.GlobalResponseNorm
)
TOKENS = {"cls_token": Kind.EMBEDDING, "pos_embed": Kind.POSITION, "relative_position_bias_table": Kind.POSITION}
MODELS = (
    "resnet18",
    "resnext26ts",
    "mobilenetv2_100",
    "efficientnet_b0",
    "efficientnet_el",
    "vit_tiny_patch16_224",
    "convnext_atto",
    "convnextv2_atto",
    "swin_tiny_patch4_window7_224",
)


def build(name, **arguments):
    with torch.device("meta"):
        return timm.create_model(name, pretrained=False, **arguments)


def expected(model):
    """Kinds of the parameters of the models above: no name is looked at, but which module each one is."""
    kinds = {}
    for path, module in model.named_modules():
        for name, value in module.named_parameters(recurse=False):
            kinds[f"{path}.{name}".lstrip(".")] = expect(model, path, module, name, value.ndim)
    return kinds


def expect(model, path, module, name, ndim):
    if isinstance(module, NORMS) or (isinstance(module, CONVNEXT) and name == "gamma"):
        return Kind.NORM
    if name in TOKENS:
        return TOKENS[name]
    if ndim == 1:
        return Kind.BIAS
    return expect_weight(model, path, module)


def expect_weight(model, path, module):
    parent = model.get_submodule(path.rpartition(".")[0])
    conv = isinstance(module, torch.nn.Conv2d)
    cases = {
        Kind.HEAD: module in (model.get_classifier(), getattr(model, "conv_head", None)),
        Kind.SQUEEZE_EXCITE: isinstance(parent, GATES),
        Kind.EMBEDDING: isinstance(parent, timm.layers.PatchEmbed),
        Kind.DEPTHWISE: conv and module.groups == module.in_channels > 1,
        Kind.CONV: conv and module.kernel_size != (1, 1) and module.groups < module.in_channels,
    }
    found = [kind for kind, holds in cases.items() if holds]
    return found[0] if found else expect_matrix(parent, module)


def expect_matrix(parent, module):
    if isinstance(parent, ATTENTION):
        return {id(parent.qkv): Kind.ATTENTION_QKV, id(parent.proj): Kind.ATTENTION_OUT}[id(module)]
    if hasattr(parent, "fc1"):
        return {id(parent.fc1): Kind.MLP_UP, id(parent.fc2): Kind.MLP_DOWN}[id(module)]
    if isinstance(module, torch.nn.Linear):
        return Kind.LINEAR
    ends = isinstance(parent, BLOCKS.InvertedResidual | BLOCKS.EdgeResidual) and module is parent.conv_pwl
    return Kind.POINTWISE_LINEAR if ends else Kind.POINTWISE


@pytest.mark.parametrize("name", MODELS)
def test_kinds_are_those_of_the_modules(name):
    model = build(name)
    kinds = tell_module_kinds(model)
    assert kinds == expected(model)
    assert list(kinds) == [name for name, _ in model.named_parameters()]


def test_the_models_above_hold_what_is_tested():
    found = {kind for name in MODELS for kind in tell_module_kinds(build(name)).values()}
    assert found >= {*Kind} - {
        *(kind for kind in Kind if kind.startswith(("attention q", "attention k", "attention v", "lora"))),
        *(Kind.RECURRENT, Kind.MLP_GATE, Kind.EXPERT, Kind.ROUTER, Kind.ADAPTER, Kind.OTHER),
    }


@pytest.mark.parametrize(
    ("model", "parameter", "kind"),
    [
        ("cait_xxs24_224", "blocks_token_only.0.attn.q.weight", Kind.ATTENTION_Q),
        ("cait_xxs24_224", "blocks.0.attn.proj_l.weight", Kind.LINEAR),
        ("cait_xxs24_224", "blocks.0.gamma_1", Kind.NORM),
        ("levit_128s", "stages.0.blocks.0.mlp.ln1.linear.weight", Kind.MLP_UP),
        ("levit_128s", "stages.0.blocks.0.attn.attention_biases", Kind.POSITION),
        ("levit_128s", "head.linear.weight", Kind.HEAD),
        ("levit_128s", "head_dist.linear.weight", Kind.HEAD),
        ("eva02_base_patch14_224", "blocks.0.mlp.fc1_g.weight", Kind.MLP_GATE),
        ("eva02_base_patch14_224", "blocks.0.mlp.fc1_x.weight", Kind.MLP_UP),
        ("mobilenetv4_hybrid_medium", "blocks.2.4.attn.key.down_conv.weight", Kind.DEPTHWISE),
        ("mobilenetv4_hybrid_medium", "blocks.2.4.attn.key.proj.weight", Kind.ATTENTION_K),
        ("mobilenetv4_conv_small", "blocks.2.0.pw_proj.conv.weight", Kind.POINTWISE_LINEAR),
        ("mobilevit_xxs", "stages.0.0.conv3_1x1.conv.weight", Kind.POINTWISE_LINEAR),
        ("rexnet_100", "features.3.conv_pwl.conv.weight", Kind.POINTWISE_LINEAR),
        ("cspnext_tiny", "stages.0.1.blocks.0.conv2.pointwise_conv.conv.weight", Kind.POINTWISE),
        ("eca_resnext26ts", "stages.0.0.attn.conv.weight", Kind.SQUEEZE_EXCITE),
        ("efficientnet_cc_b0_4e", "blocks.4.0.conv_dw.weight", Kind.DEPTHWISE),
        ("sequencer2d_s", "stages.0.blocks.0.rnn_tokens.rnn_v.weight_hh_l0", Kind.RECURRENT),
        ("swinv2_tiny_window8_256", "layers.0.blocks.0.attn.cpb_mlp.0.weight", Kind.POSITION),
        ("dm_nfnet_f0", "stages.0.0.conv1.gain", Kind.NORM),
        ("dla34", "fc.weight", Kind.HEAD),
        ("volo_d1_224", "aux_head.weight", Kind.HEAD),
        ("vit_base_r26_s32_224", "patch_embed.backbone.stem.conv.weight", Kind.CONV),
        ("vit_base_r26_s32_224", "patch_embed.proj.weight", Kind.EMBEDDING),
        ("deit_tiny_distilled_patch16_224", "head_dist.weight", Kind.HEAD),
        ("vit_small_patch14_dinov2", "patch_embed.proj.weight", Kind.EMBEDDING),
    ],
)
def test_of_other_models(model, parameter, kind):
    assert tell_module_kinds(build(model))[parameter] is kind


def test_a_first_convolution_on_grey_images_is_a_full_one():
    assert tell_module_kinds(build("resnet18", in_chans=1))["conv1.weight"] is Kind.CONV


def test_what_no_class_tells_is_told_by_names():
    class Odd(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.something = torch.nn.Parameter(torch.zeros(2, 2))
            self.words = torch.nn.Embedding(2, 2)
            self.mlp = torch.nn.ModuleDict({"fc1": torch.nn.Linear(2, 2)})

    kinds = tell_module_kinds(Odd())
    assert kinds.pop("words.weight") is Kind.EMBEDDING
    assert kinds == tell_kinds({"something": (2, 2), "mlp.fc1.weight": (2, 2), "mlp.fc1.bias": (2,)})
