"""Published designs: as large as published, and sound."""

import pytest

from lmmodel.architecture import check
from lmmodel.architecture.model import build
from lmmodel.architecture.resolve import designs, published, resolve
from lmmodel.params.document import parse
from tests.architecture import properties

PARAMETERS = {
    "bloom": 176_247_271_424,
    "deepseek_v3": 671_026_404_352,  # without the head for a further token
    "gemma2": 9_241_705_984,
    "gemma3": 999_885_952,
    "gpt2": 124_439_808,
    "gpt_neox": 6_857_302_016,
    "llama3": 8_030_261_248,
    "mamba2": 2_702_599_680,
    "mistral": 7_241_732_096,
    "mixtral": 46_702_792_704,
    "nanochat": 560_988_160,
    "olmo2": 7_298_617_344,
    "olmoe": 6_919_161_856,
    "qwen3": 8_190_735_360,
    "qwen3_moe": 30_532_122_624,
    "qwen3_next": 79_674_391_296,
    "transformer2017": 37_846_016,  # the base model's layers without attention to a source, and one table
}


def test_every_design_is_here():
    assert tuple(PARAMETERS) == designs()


@pytest.mark.parametrize("name", designs())
def test_a_design_is_as_large_as_published(name):
    size = published(name)
    vocab_size = size.pop("vocab_size")
    whole = "model:\n" + "".join(f"  {key}: {value}\n" for key, value in size.items())
    model = build(resolve(parse(whole, name="p"), vocab_size=vocab_size, design=name), device="meta")
    assert sum(parameter.numel() for parameter in model.parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("name", designs())
def test_a_design_is_sound(name):
    declaration = properties.declared(name, "width: 64, depth: 6, heads: 4, context: 64")
    assert [finding.text for finding in check.hard(declaration) if not finding.passed] == []
