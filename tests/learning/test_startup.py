"""What a training that is not compiled never loads: torch's compiler, two seconds of its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TRAINS = """
import sys
from pathlib import Path
from tests.learning import small
training = small.training(Path(sys.argv[1]), told=small.section(optimizer=sys.argv[2], schedule="constant"))
for _ in training.run():
    pass
print(training.step, *sorted({"torch._dynamo", "torch._inductor", "torch.distributed.fsdp"} & sys.modules.keys()))
"""


def test_a_training_that_is_not_compiled_does_not_load_the_compiler(tmp_path: Path) -> None:
    for optimizer in ("adamw", "muon"):
        command = [sys.executable, "-c", TRAINS, str(tmp_path / optimizer), optimizer]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == ["8"], optimizer
