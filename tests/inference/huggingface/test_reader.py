"""Folders as they lie about: older spellings, shards, halves of numbers; and those that are refused, by name."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from lmmodel.inference.huggingface import family as families
from lmmodel.inference.huggingface import reader, writer
from lmmodel.inference.huggingface.assembly import essence
from lmmodel.learning import checkpoint
from lmmodel.params.refusal import Refusal
from tests.inference.huggingface.theirs import VOCABULARY, declared, made, of_design

LLAMA = writer.fitting(declared("llama3")).config
TOKENS_BT = torch.randint(VOCABULARY, (2, 60), generator=torch.Generator().manual_seed(4))


@pytest.fixture
def llama(tmp_path: Path) -> Path:
    """A folder, to be spoilt."""
    of_design(tmp_path / "llama", "llama3")
    return tmp_path / "llama"


def change(folder: Path, **settings: object) -> None:
    path = folder / "config.json"
    told = {**json.loads(path.read_text()), **settings}
    path.write_text(json.dumps({key: value for key, value in told.items() if value != "absent"}))


def rewrite(folder: Path, change_one) -> None:
    path = folder / "model.safetensors"
    save_file({new: value.contiguous() for new, value in change_one(load_file(path)).items()}, path)


def same_as(theirs, folder: Path) -> bool:
    with torch.inference_mode():
        expected, found = theirs(TOKENS_BT).logits.float(), reader.read(folder).model(TOKENS_BT)
    return bool((found - expected).norm() / expected.norm() < 1e-5)


# -- settings beyond those of the shipped designs ---------------------------------------------------------------------

SCALED = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 24,
    },
    "yarn": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16},
    "yarn, told in full": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 16,
        "beta_fast": 16.0,
        "beta_slow": 2.0,
        "attention_factor": 1.3,
        "truncate": True,
    },
    "yarn, not truncated": {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 40,
        "beta_fast": 3.0,
        "truncate": False,
    },
}
VARIANTS = {
    **{f"llama3, {name}": ("llama3", {"rope_parameters": {"rope_theta": 1e4, **s}}) for name, s in SCALED.items()},
    "llama3 with biases": ("llama3", {"attention_bias": True, "mlp_bias": True, "head_dim": 24}),
    "mistral without a window": ("mistral", {"sliding_window": None, "hidden_act": "gelu"}),
    "gpt2 untied": ("gpt2", {"tie_word_embeddings": False, "n_inner": 96, "activation_function": "relu"}),
    "gpt_neox in a row": ("gpt_neox", {"use_parallel_residual": False, "attention_bias": False}),
    "qwen3 with windows": ("qwen3", {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1}),
    "gemma2 with a scale": ("gemma2", {"query_pre_attn_scalar": 40, "attn_logit_softcapping": None}),
    "qwen3_moe with a dense layer": ("qwen3_moe", {"mlp_only_layers": [0], "intermediate_size": 88}),
    "mamba2 untied": ("mamba2", {"tie_word_embeddings": False, "conv_kernel": 3}),
    "deepseek_v3, queries straight": ("deepseek_v3", {"q_lora_rank": None, "norm_topk_prob": False}),
    "deepseek_v3, yarn": (
        "deepseek_v3",
        {"rope_parameters": {"rope_theta": 1e4, **SCALED["yarn"], "mscale": 1.0, "mscale_all_dim": 0.707}},
    ),
}


INPUTS = "attention: {bias: inputs}"
QWEN2 = {
    "alike": {},
    "with windows": {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1, "layer_types": None},
}


@pytest.mark.parametrize("variant", QWEN2)
def test_qwen_2_has_biases_on_what_attention_reads_alone(variant, tmp_path):
    fit = writer.fitting(declared("llama3", INPUTS))
    assert fit.family.model_type == "qwen2"
    theirs = made(tmp_path / "theirs", {**fit.config, **QWEN2[variant]})
    assert same_as(theirs, tmp_path / "theirs")
    found = reader.read(tmp_path / "theirs")
    attention = found.model.layers[0].attention
    assert [part.bias is None for part in (attention.query, attention.key, attention.value, attention.out)] == [
        *(False, False, False),
        True,
    ]
    values = checkpoint.values(found.model)
    writer.write(tmp_path / "ours", values=values, declaration=found.model.declaration, facts=found.facts)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    with torch.inference_mode():
        assert torch.allclose(again(TOKENS_BT).logits, theirs(TOKENS_BT).logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", VARIANTS)
def test_settings_that_no_design_here_has_are_read_as_transformers_reads_them(variant, tmp_path):
    design, settings = VARIANTS[variant]
    told = {**writer.fitting(declared(design)).config, **settings}
    if "layer_types" in told and "use_sliding_window" in settings:
        del told["layer_types"]
    theirs = made(tmp_path / "theirs", told)
    assert same_as(theirs, tmp_path / "theirs")
    found = reader.read(tmp_path / "theirs")
    values = checkpoint.values(found.model)
    writer.write(tmp_path / "ours", values=values, declaration=found.model.declaration, facts=found.facts)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "ours", attn_implementation="eager").eval()
    with torch.inference_mode():
        assert torch.allclose(again(TOKENS_BT).logits, theirs(TOKENS_BT).logits, rtol=1e-5, atol=1e-5)


# -- folders that others wrote ----------------------------------------------------------------------------------------


def test_a_folder_in_shards_is_read_whole(llama):
    whole = reader.read(llama).model.state_dict()
    model = transformers.AutoModelForCausalLM.from_pretrained(llama)
    (llama / "model.safetensors").unlink()
    model.save_pretrained(llama, max_shard_size="60KB")
    assert len(list(llama.glob("*.safetensors"))) > 1
    shards = reader.read(llama).model.state_dict()
    assert all(torch.equal(shards[name], value) for name, value in whole.items())


def test_half_numbers_become_whole_ones_and_come_back_as_they_were(tmp_path):
    theirs = of_design(tmp_path / "theirs", "deepseek_v3").to(torch.bfloat16)
    theirs.save_pretrained(tmp_path / "theirs")

    def mixed(tensors):
        return {name: value.float() if "correction" in name else value for name, value in tensors.items()}

    rewrite(tmp_path / "theirs", mixed)
    found = reader.read(tmp_path / "theirs")
    assert {value.dtype for value in found.model.state_dict().values()} == {torch.float32}
    reader.bring(tmp_path / "theirs", tmp_path / "checkpoint")
    writer.send(tmp_path / "checkpoint", tmp_path / "ours")
    given, written = (load_file(tmp_path / name / "model.safetensors") for name in ("theirs", "ours"))
    assert written.keys() == given.keys()
    assert {value.dtype for value in given.values()} == {torch.float32, torch.bfloat16}
    assert all(
        written[name].dtype == value.dtype and torch.equal(written[name], value) for name, value in given.items()
    )


OLDER = {
    "llama3": {
        "rope_parameters": "absent",
        "rope_theta": 500_000.0,
        "rope_scaling": None,
        "torch_dtype": "float32",
        "dtype": "absent",
        "head_dim": "absent",
        "pretraining_tp": 1,
        "transformers_version": "4.30.0",
    },
    "gpt_neox": {"rope_parameters": "absent", "rotary_pct": 0.25, "rotary_emb_base": 10000, "attention_bias": "absent"},
    "gemma3": {
        "rope_parameters": "absent",
        "rope_theta": 1e6,
        "rope_local_base_freq": 1e4,
        "rope_scaling": None,
        "layer_types": "absent",
        "sliding_window_pattern": 6,
    },
    "qwen3_next": {
        "rope_parameters": "absent",
        "rope_theta": 1e7,
        "layer_types": "absent",
        "full_attention_interval": 4,
    },
    "bloom": {
        "hidden_size": "absent",
        "n_embed": 64,
        "n_head": "absent",
        "num_attention_heads": 4,
        "offset_alibi": 100,
    },
    "qwen3_moe": {"num_local_experts": "absent", "num_experts": 8, "max_window_layers": 48},
}


@pytest.mark.parametrize("design", OLDER)
def test_older_spellings_of_the_same_settings_say_the_same(design, tmp_path):
    of_design(tmp_path, design)
    new = reader.read(tmp_path).model.declaration
    change(tmp_path, **OLDER[design])
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path, attn_implementation="eager").eval()
    assert essence(reader.read(tmp_path).model.declaration) == essence(new)
    assert same_as(theirs, tmp_path)


def test_tensors_without_the_models_prefix_and_masks_of_old_files_are_known(tmp_path):
    theirs = of_design(tmp_path, "gpt2")

    def older(tensors):
        bare = {name.removeprefix("transformer."): value for name, value in tensors.items()}
        return {**bare, "h.0.attn.bias": torch.ones(1, 1, 64, 64).tril()}

    rewrite(tmp_path, older)
    assert same_as(theirs, tmp_path)
    assert reader.read(tmp_path).left_out == ["transformer.h.0.attn.bias"]


def test_a_tied_head_may_be_written_twice_but_not_differently(tmp_path):
    of_design(tmp_path, "gemma2")
    table = "model.embed_tokens.weight"
    rewrite(tmp_path, lambda tensors: {**tensors, "lm_head.weight": tensors[table].clone()})
    assert reader.read(tmp_path).left_out == []
    rewrite(tmp_path, lambda tensors: {**tensors, "lm_head.weight": tensors[table] + 1})
    with pytest.raises(Refusal, match="lm_head.weight differs from the embedding, and config.json ties the two"):
        reader.read(tmp_path)


NO_FIELDS = {
    *("rotary_pct", "rotary_emb_base", "rope_theta", "rope_local_base_freq"),  # inside rope_parameters by now
    *("sliding_window_pattern", "full_attention_interval"),  # layer_types by now
    *("seq_length", "max_position_embeddings"),  # of what knows no last place
    *("head_dim", "num_local_experts"),  # read, though not declared, by that or another name
}


@pytest.mark.parametrize("model_type", families.known())
def test_what_is_left_out_of_a_config_is_what_transformers_takes(model_type):
    config = transformers.CONFIG_MAPPING[model_type]
    fields = {name: field.default for name, field in config.__dataclass_fields__.items()}
    known = families.Family(model_type).defaults
    shared = {name: fields[name] for name in known if name in fields}
    assert {name: known[name] for name in shared} == shared
    assert known.keys() - fields.keys() <= NO_FIELDS


# -- folders that are refused -----------------------------------------------------------------------------------------

REFUSED = [
    ({"model_type": "lama"}, "model_type 'lama' is not one of bloom, .*: did you mean 'llama'"),
    ({"model_type": "absent"}, "model_type None is not one of"),
    ({"architectures": ["LlamaForSequenceClassification"]}, "architectures .* is not .*LlamaForCausalLM"),
    ({"auto_map": {"AutoModel": "theirs.Model"}}, "auto_map names code of its own, and no remote code is run"),
    ({"quantization_config": {"bits": 4}}, "quantization_config: its weights are quantized"),
    ({"attention_sink_tokens": 4}, "attention_sink_tokens 4 is not a setting that is understood here"),
    (
        {"rope_parameters": {"rope_type": "dynamic", "factor": 2.0}},
        'rope_parameters.rope_type "dynamic" has no counter',
    ),
    ({"rope_parameters": {"rope_type": "default", "mrope_section": [2, 3]}}, "rope_parameters.mrope_section"),
    (
        {"rope_parameters": {"rope_type": "yarn", "factor": 2.0, "truncate": "no"}},
        'rope_parameters.truncate "no" should be true or false',
    ),
    ({"rope_parameters": {"rope_type": "linear"}}, "rope_parameters.factor is missing"),
    ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 cannot be expressed"),
    ({"hidden_act": "mish"}, 'hidden_act "mish" has no counterpart here; there are silu, '),
    ({"mlp_bias": "no"}, 'mlp_bias "no" should be true or false'),
    ({"hidden_size": 64.5}, "hidden_size 64.5 should be a whole number from 1 on"),
    ({"hidden_size": "absent"}, "hidden_size is missing"),
    ({"num_key_value_heads": 3}, "cannot be declared: has 4 heads, which kv_heads 3 does not divide"),
    ({"is_encoder_decoder": True}, "is_encoder_decoder true cannot be expressed by a declaration; what can is false"),
    (
        {"intermediate_size": 100},
        r"model.layers.0.mlp.gate_proj.weight makes \(224, 64\) .* config.json makes it \(100",
    ),
]


@pytest.mark.parametrize(("settings", "told"), REFUSED, ids=[next(iter(settings)) for settings, _ in REFUSED])
def test_a_setting_that_cannot_be_declared_is_refused_by_name(llama, settings, told):
    change(llama, **settings)
    with pytest.raises(Refusal, match=told) as refused:
        reader.read(llama)
    assert str(llama) in str(refused.value)


OTHERS = [
    ("olmoe", {"clip_qkv": 8.0}, "clip_qkv 8.0 cannot be expressed"),
    ("bloom", {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm true"),
    ("gpt2", {"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx true"),
    ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention true"),
    ("deepseek_v3", {"rms_norm_eps": 1e-5}, "rms_norm_eps 1e-05 cannot be expressed"),
    ("deepseek_v3", {"v_head_dim": 32}, "v_head_dim 32 cannot be expressed"),
    ("deepseek_v3", {"rope_interleave": False}, "rope_interleave false"),
    ("mamba2", {"time_step_limit": [0.0, 2.0]}, r"time_step_limit \[0.0, 2.0\] cannot be expressed"),
    ("mamba2", {"n_groups": 2}, "n_groups 2 cannot be expressed by a declaration; what can is 1"),
    ("mamba2", {"use_conv_bias": False}, "use_conv_bias false"),
    ("qwen3_next", {"shared_expert_intermediate_size": 24}, "shared_expert_intermediate_size 24"),
    ("qwen3_next", {"layer_types": ["full_attention"] * 3}, "layer_types .* should name a kind for each of 4 layers"),
    ("gemma2", {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar 0 should be a number above 0"),
    (
        "qwen3",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": None, "layer_types": None},
        "max_window_layers null should be a whole number from 0 on",
    ),
    ("qwen3_moe", {"mlp_only_layers": 1}, "mlp_only_layers 1 should be a list of whole numbers"),
    ("qwen3_moe", {"mlp_only_layers": ["1"]}, r"mlp_only_layers \[\"1\"\] should be a list of whole numbers"),
    ("deepseek_v3", {"first_k_dense_replace": None}, "first_k_dense_replace null should be a whole number from 0 on"),
    ("gemma2", {"layer_types": ["full_attention", "chunked_attention"]}, "names 'chunked_attention'; there are"),
]


@pytest.mark.parametrize(("design", "settings", "told"), OTHERS, ids=[f"{d} {next(iter(s))}" for d, s, _ in OTHERS])
def test_so_is_one_of_each_architectures_own(design, settings, told):
    fit = writer.fitting(declared(design))
    with pytest.raises(Refusal, match=f"config.json: .*{told}"):
        fit.family.declare({**fit.config, **settings}, name="config.json")


def _less(tensors):
    del tensors["model.layers.1.mlp.up_proj.weight"]
    return tensors


SPOILT = [
    (_less, "hold no model.layers.1.mlp.up_proj.weight"),
    (lambda t: {**t, "model.layers.0.lora.weight": torch.zeros(2)}, "holds model.layers.0.lora.weight, which no part"),
    (
        lambda t: {n: v.double() for n, v in t.items()},
        "is torch.float64; what can be read is float32, bfloat16, float16",
    ),
    (lambda t: {n: v.to(torch.int8) for n, v in t.items()}, "is torch.int8"),
    (lambda t: {n: v[:5] for n, v in t.items()}, "config.json makes it"),
]


@pytest.mark.parametrize(("spoil", "told"), SPOILT, ids=[told[:20] for _, told in SPOILT])
def test_tensors_that_are_not_what_the_config_says_are_refused_by_name(llama, spoil, told):
    rewrite(llama, spoil)
    with pytest.raises(Refusal, match=told):
        reader.read(llama)


def test_pickled_weights_are_not_opened(llama):
    (llama / "model.safetensors").unlink()
    (llama / "pytorch_model.bin").write_bytes(b"cos\nsystem\n")
    with pytest.raises(Refusal, match="pytorch_model.bin: is pickled, which can run code, and is not opened"):
        reader.read(llama)


def test_a_folder_without_weights_or_with_a_broken_index_is_refused(llama):
    (llama / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(Refusal, match=re.escape(str(llama / "model.safetensors"))):
        reader.read(llama)
    (llama / "model.safetensors").unlink()
    with pytest.raises(Refusal, match="has neither model.safetensors nor model.safetensors.index.json"):
        reader.read(llama)
    index = llama / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"lm_head.weight": "../elsewhere.safetensors"}}))
    with pytest.raises(Refusal, match="names ../elsewhere.safetensors, which is no file of the folder"):
        reader.read(llama)
    index.write_text("{}")
    with pytest.raises(Refusal, match="does not say where tensors are"):
        reader.read(llama)


def test_nothing_is_written_over_and_nothing_half_done_is_left(llama, tmp_path):
    change(llama, hidden_act="mish")
    with pytest.raises(Refusal):
        reader.bring(llama, tmp_path / "target")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["llama"]
    (tmp_path / "target").mkdir()
    with pytest.raises(Refusal, match="exists already"):
        reader.bring(llama, tmp_path / "target")
