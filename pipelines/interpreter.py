"""Says in one line that a stage was started under a Python that is not the project's.

`dvc repro` starts whatever `python` is first on the path; without the environment that is the system's. This runs
before anything else of the project, so it uses only what every Python 3 has.
"""

import os
import sys

_OLDEST = (3, 11)
_TELLING = ("pydantic", "ruamel", "tqdm", "numpy", "torch", "pyarrow", "sentencepiece")


def check() -> None:
    """End the process, in one line, when it cannot run a stage. Only `python -m pipelines.<stage>` is looked at."""
    if sys.argv[:1] != ["-m"]:  # what runpy leaves there until it has found the module
        return
    if lack := lacking():
        sys.exit(f"this is {sys.executable}, and it {lack}: {remedy()}")


def lacking() -> str:
    """What keeps this interpreter from running a stage, in a few words; nothing where it can."""
    from importlib.util import find_spec

    if sys.version_info[:2] < _OLDEST:
        return "is Python {}.{}, older than {}.{}".format(*sys.version_info[:2], *_OLDEST)
    missing = [name for name in _TELLING if find_spec(name) is None]
    return f"lacks {', '.join(missing)}" if missing else ""


def remedy() -> str:
    """How the project's own interpreter is entered, or made."""
    if os.path.isfile(os.path.join(".venv", "bin", "activate")):
        return "source .venv/bin/activate, then again"
    return "`make run` makes the environment, source .venv/bin/activate enters it"
