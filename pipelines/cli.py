"""The command `lmmodel`: one word a page, each page a file in `pipelines/pages/`, imported when it is asked for."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from lmmodel.params.refusal import Refusal, suggestion

COMMANDS = {
    "run": ("", "whatever is out of date, made; then the report"),
    "report": ("", "what stands: the model, the table, samples"),
    "design": ("[NAME|FILE]", "a design drawn, counted, foretold;  --against, --fit, --json"),
    "check": ("[NAME|FILE]", "the whole contract kit;  --only TEST, --json"),
    "trial": ("A B", "two designs on the same batches: which learns faster;  --json"),
    "kinds": ("[FAMILY [KIND]]", "the menu: every part, its options, its source"),
    "new": ("FAMILY NAME", "a working component of your own under experiments/, to change"),
    "compare": ("[RESULT ...]", "what differs, what was equal, and is it noise;  --by"),
    "plan": ("", "what dvc repro would do to each stage, and why;  --json"),
    "doctor": ("", "what is broken, and how to mend it;  --fix, --deep"),
    "generate": ("[CHECKPOINT]", "text from a trained model;  --prompt, --chat"),
    "import": ("FOLDER TARGET", "a Hugging Face folder made into a checkpoint"),
    "export": ("CHECKPOINT FOLDER", "a checkpoint made into a Hugging Face folder"),
}
"""What each command takes and does, in the order of the help."""

_PAGES = {"import": "importing", "export": "exporting"}
"""Pages that are not called like their command: `import` is a word of Python's own."""

_OTHERS = {
    "dvc repro": "the pipeline",
    "dagster dev": "the same pipeline, in a browser",
    "mlflow ui": "what came out, side by side",
}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaints are Refusals like all others."""

    def error(self, message: str) -> NoReturn:
        raise Refusal(f"{self.prog}: {message}; `{self.prog} --help` says what there is")


def main(words: Sequence[str] | None = None) -> None:
    """Run one command; ends the process with 1, and a line or two, where it cannot."""
    words = list(sys.argv[1:] if words is None else words)
    try:
        _dispatch(words)
        sys.stdout.flush()
    except Refusal as refusal:
        print(refusal, file=sys.stderr)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    except BrokenPipeError:  # whoever read us has seen enough: `lmmodel kinds | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None


def _dispatch(words: list[str]) -> None:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return
    name, rest = words[0], words[1:]
    if name not in COMMANDS:
        raise Refusal(f"lmmodel: '{name}' is not one of {', '.join(COMMANDS)}{suggestion(name, list(COMMANDS))}")
    page = importlib.import_module(module(name))
    parser = _Parser(
        prog=f"lmmodel {name}", description=page.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    page.arguments(parser)
    page.show(parser.parse_args(rest))


def module(name: str) -> str:
    """The module of a command's page."""
    return f"pipelines.pages.{_PAGES.get(name, name)}"


def overview() -> str:
    """What `lmmodel` alone prints: the menu."""
    lines = ["Design a language model as data, prove the design, train it, and compare it honestly.", ""]
    for name, (takes, text) in COMMANDS.items():
        lines.append(f"  {f'lmmodel {name} {takes}':<34}{text}")
    lines += ["", *(f"  {command:<34}{text}" for command, text in _OTHERS.items())]
    return "\n".join([*lines, "", "What a command takes in full: lmmodel COMMAND --help"])


if __name__ == "__main__":
    main()
