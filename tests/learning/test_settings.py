import subprocess
import sys

import pytest
from pydantic import ValidationError

from lmmodel.learning.settings import Budget, Finetune, Launch, Pretrain


@pytest.mark.parametrize("section", [Pretrain, Finetune, Launch])
def test_a_section_is_read_back_as_it_was_written(section: type) -> None:
    assert section.model_validate(section().dump()) == section()


def test_validate_is_what_the_key_is_called() -> None:
    assert Pretrain.model_validate({"validate": {"times": 3}}).validation.times == 3
    assert "validate" in Pretrain().dump()


@pytest.mark.parametrize("told", [{}, {"tokens": 1, "epochs": 1}])
def test_a_budget_is_told_in_exactly_one_way(told: dict) -> None:
    with pytest.raises(ValidationError, match="exactly one of tokens, epochs, flops, tokens_per_parameter"):
        Budget.model_validate(told)


def test_no_processes_are_refused() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        Launch.model_validate({"processes": 0})


def test_none_skips_as_a_bare_word() -> None:
    assert Finetune.model_validate({"method": "none"}).method.kind == "none"


def test_reading_settings_imports_no_torch() -> None:
    code = "import sys; from lmmodel.learning.settings import Pretrain; Pretrain(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_batch_that_is_not_whole_sequences_is_refused_with_what_would_be() -> None:
    assert Pretrain(batch_tokens=96).sequences(16) == 6
    with pytest.raises(ValueError, match=r"100 is not .* model\.context 16 tokens: 96 or 112 is"):
        Pretrain(batch_tokens=100).sequences(16)
    with pytest.raises(ValueError, match="16 is the least"):
        Finetune(batch_tokens=10).sequences(16)
