"""What a model of the registry runs, written into MLflow as it stands here: a prompt in, its continuation out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class Text(PythonModel):
    """A checkpoint out of DVC's cache, found by its hash.

    Takes a column of prompts, or a list of them; gives a list of what the model goes on with. Parameters of a request:
    `tokens`, `temperature`.
    """

    def load_context(self, context: Any) -> None:
        """Once, when the model is loaded."""
        import lmmodel
        from pipelines.tracking import fetching

        told = context.model_config
        project = Path(told["project"])  # where it was registered; on another machine, the clone in which it is loaded
        project = project if (project / ".dvc").is_dir() else Path.cwd()
        folder = fetching.checkpoint(project, told["oid"])
        self.model, self.tokenizer = lmmodel.load(folder, code=fetching.code(project, folder))

    def predict(self, context: Any, model_input: Any, params: dict[str, Any] | None = None) -> list[str]:
        """The continuation of each prompt."""
        from lmmodel.inference.generation import generate

        prompts = model_input.iloc[:, 0] if hasattr(model_input, "iloc") else model_input
        begin, end = self.tokenizer.begin, self.tokenizer.end
        ids = [[begin, *self.tokenizer.encode(str(prompt))] for prompt in prompts]
        return [self.tokenizer.decode(said) for said in generate(self.model, ids, stop=(begin, end), **(params or {}))]


set_model(Text())
