"""A kind is a file: `attention: {kind: multi_head}` is `lmmodel/architecture/attention/multi_head.py`.

There is no table, decorator or enum to edit: a family is a folder, and a kind is there because its file is. A kind's
file holds a docstring (the idea, its source), a class `Options`, and one member named for the family.

What a kind can be told is read without running the rest of its file: only the statements that `Options` needs are
executed. So a whole parameter file is validated, and the menu printed, without importing torch.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from lmmodel.params.refusal import Refusal, suggestion
from lmmodel.params.settings import Settings

OWN_FOLDER = "experiments"
"""Where kinds of one's own live: the only folder of theirs that the pipeline watches for changes."""

_PACKAGES = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Family:
    """A folder of kinds, and the name of what each of them defines.

    `own` says whether a kind may also be a person's own file below `experiments/`.
    """

    package: str
    member: str
    own: bool = False

    @property
    def name(self) -> str:
        """The family's word: the last part of its package."""
        return self.package.rpartition(".")[2]

    @property
    def folder(self) -> Path:
        """Where the family's kinds lie."""
        return _PACKAGES.joinpath(*self.package.split("."))

    def names(self) -> tuple[str, ...]:
        """The kinds that come with the project, in alphabetical order."""
        return tuple(sorted(path.stem for path in self.folder.glob("*.py") if not path.stem.startswith("_")))

    def is_own(self, kind: str) -> bool:
        """Whether `kind` is a person's own file rather than a name."""
        return kind.endswith(".py") or "/" in kind

    def module_name(self, kind: str) -> str:
        """What the kind's module is called in Python."""
        if self.is_own(kind):
            return ".".join(PurePosixPath(kind).with_suffix("").parts)
        return f"{self.package}.{kind}"

    def file(self, kind: str) -> Path:
        """The kind's file; a Refusal when there is no such kind."""
        if self.is_own(kind):
            return self._own_file(kind)
        path = self.folder / f"{kind}.py"
        if not kind.isidentifier() or kind.startswith("_") or not path.is_file():
            raise Refusal(f"'{kind}' is not one of {', '.join(self.names())}{suggestion(kind, self.names())}")
        return path

    def _own_file(self, kind: str) -> Path:
        parts = PurePosixPath(kind).parts
        if not self.own:
            raise Refusal(f"'{kind}' is a file, and {self.name} takes only {', '.join(self.names())}")
        if parts[0] != OWN_FOLDER or ".." in parts or not kind.endswith(".py"):
            raise Refusal(f"'{kind}' should be a file {OWN_FOLDER}/....py: only that folder is watched for changes")
        if not Path(kind).is_file():
            raise Refusal(f"'{kind}' does not exist here. Queued experiments see what git tracks: git add {kind}")
        return Path(kind)

    def options(self, kind: str, file: Path | None = None) -> type[Settings]:
        """What `kind` can be told, without importing what it computes with."""
        path = file or self.file(kind)
        return _options(path.resolve(), path.stat().st_mtime_ns, self.module_name(kind), self.member)

    def load(self, kind: str, file: Path | None = None) -> Any:
        """The kind's member (a class or a function), its module really imported."""
        if not self.is_own(kind):
            self.file(kind)
            module = importlib.import_module(self.module_name(kind))
        else:
            path = file or self.file(kind)
            module = _own_module(path.resolve(), path.stat().st_mtime_ns, self.module_name(kind))
        return getattr(module, self.member)

    def declares(self, kind: str, name: str, file: Path | None = None, *, default: Any = None) -> Any:
        """What the kind's class says `name` is, read off the file without importing it."""
        path = file or self.file(kind)
        return _declared(path.resolve(), path.stat().st_mtime_ns, self.member).get(name, default)

    def docstring(self, kind: str) -> str:
        """The docstring of the kind's file: the idea and its source."""
        return ast.get_docstring(parsed(self.file(kind), kind)) or ""

    def summary(self, kind: str) -> str:
        """The first line of the kind's docstring."""
        return self.docstring(kind).partition("\n")[0]


@dataclass(frozen=True)
class Chosen:
    """A kind and what it was told. `file` is set where a kind of one's own came with a checkpoint."""

    kind: str
    options: Settings
    file: Path | None = None

    def dump(self) -> dict[str, Any]:
        """Plain data: the kind beside its options."""
        return {"kind": self.kind, **self.options.dump()}


def choice(family: Family) -> Any:
    """The type of a field that holds one of `family`: `name`, or `{kind: name, options}`."""
    return Annotated[Chosen, _Choice(family)]


def choose(family: Family, value: Any, code: Mapping[str, Path] | None = None) -> Chosen:
    """`value` (a name, or a mapping with `kind`) as a kind of `family` with its options.

    `code`, where given, lists the only files of one's own that may be used, by kind: so that loading a checkpoint runs
    nothing that its reader did not name. Raises pydantic's ValidationError, whose places are relative to `value`.
    """
    if isinstance(value, Chosen):
        return value
    place: tuple[str, ...] = ()
    if isinstance(value, str):
        value = {"kind": value}
    elif isinstance(value, dict) and "kind" in value:
        place = ("kind",)
    else:
        raise _refused(f"should be one of {', '.join(family.names())}, or {{kind: NAME, options}}", (), value)
    kind = value["kind"]
    if not isinstance(kind, str):
        raise _refused(f"{kind!r} is not one of {', '.join(family.names())}", place, kind)
    try:
        file = _given(kind, code) if code is not None and family.is_own(kind) else None
        options = family.options(kind, file)
    except Refusal as error:
        raise _refused(str(error), place, kind) from None
    told = {key: item for key, item in value.items() if key != "kind"}
    try:
        return Chosen(kind, options.model_validate(told), file)
    except ValidationError as error:
        raise _explained(error, family, kind) from None


def _given(kind: str, code: Mapping[str, Path]) -> Path:
    if kind not in code:
        raise Refusal(f"'{kind}' is code outside the package; it runs only when you name it: code=['{kind}']")
    return code[kind]


def _refused(text: str, place: tuple[str | int, ...], value: Any) -> ValidationError:
    error = PydanticCustomError("refused", "{text}", {"text": text})
    return ValidationError.from_exception_data("choice", [InitErrorDetails(type=error, loc=place, input=value)])


def _explained(error: ValidationError, family: Family, kind: str) -> ValidationError:
    """The same error, where an option that this kind does not have is told from one that no kind has."""
    details: list[InitErrorDetails] = []
    for problem in error.errors(include_url=False):
        if problem["type"] == "extra_forbidden" and len(problem["loc"]) == 1:
            text = _no_option(family, kind, str(problem["loc"][0]))
        elif problem["type"] == "value_error":
            text = str(problem["ctx"]["error"])
        else:
            return error
        custom = PydanticCustomError("refused", "{text}", {"text": text})
        details.append(InitErrorDetails(type=custom, loc=problem["loc"], input=problem["input"]))
    return ValidationError.from_exception_data("choice", details)


def _no_option(family: Family, kind: str, option: str) -> str:
    known = list(family.options(kind).model_fields)
    takes = f"which takes {', '.join(known)}" if known else "which takes none"
    others = [name for name in family.names() if option in family.options(name).model_fields]
    have = "has" if len(others) == 1 else "have"
    whole = f"'{kind}' in place of the whole section takes its own defaults"
    hint = f" ({', '.join(others)} {have} it; {whole})" if others else suggestion(option, known)
    return f"is not an option of {kind}, {takes}{hint}"


class _Choice:
    """How pydantic reads, writes and describes a choice from a family."""

    def __init__(self, family: Family) -> None:
        self.family = family

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        def read(value: Any, info: core_schema.ValidationInfo) -> Chosen:
            context = info.context if isinstance(info.context, dict) else {}
            return choose(self.family, value, context.get("code"))

        return core_schema.with_info_plain_validator_function(
            read, serialization=core_schema.plain_serializer_function_ser_schema(Chosen.dump)
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return describe(self.family)


def describe(family: Family) -> dict[str, Any]:
    """The JSON schema of a choice from `family`, for editors."""
    names = family.names()
    own = [{"type": "string", "pattern": rf"^{OWN_FOLDER}/.+\.py$"}] if family.own else []
    kinds: list[dict[str, Any]] = []
    for name in names:
        schema = family.options(name).model_json_schema()
        properties = {"kind": {"const": name}, **schema.get("properties", {})}
        kinds.append({**schema, "title": name, "description": family.summary(name), "properties": properties})
    if own:
        kinds.append({"type": "object", "properties": {"kind": own[0]}, "required": ["kind"]})
    return {"anyOf": [{"enum": list(names)}, *own, *kinds]}


def parsed(path: Path, name: str) -> ast.Module:
    """A kind's file; a Refusal, by `name`, where it is not Python."""
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise Refusal(f"{name}:{error.lineno}: is not Python: {error.msg}") from None
    except ValueError as error:  # not text, or a zero in it
        raise Refusal(f"{name}: is not Python: {error}") from None


@lru_cache(maxsize=512)
def _options(path: Path, modified: int, module: str, member: str) -> type[Settings]:
    """The class `Options` of a kind's file, made of the statements that it needs and no others."""
    tree = parsed(path, path.name)
    defined = {node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    for needed in ("Options", member):
        if needed not in defined:
            raise Refusal(f"'{path.name}' defines no {needed}; a kind's file holds Options and {member}")
    light = ModuleType(f"{module}:options")
    light.__file__ = str(path)
    sys.modules[light.__name__] = light  # pydantic looks annotations up in the module of the class
    code = compile(ast.Module(_slice(tree, "Options"), type_ignores=[]), str(path), "exec", dont_inherit=True)
    try:
        exec(code, light.__dict__)  # the kind's own file, which a parameter file named
    except Exception as error:  # whatever a person's own file may raise
        raise Refusal(f"'{path.name}': its Options cannot be read: {type(error).__name__}: {error}") from None
    options = light.__dict__["Options"]
    if not (isinstance(options, type) and issubclass(options, Settings)):
        raise Refusal(f"'{path.name}': Options should be a Settings (from lmmodel.params.settings import Settings)")
    return options


def _slice(tree: ast.Module, name: str) -> list[ast.stmt]:
    """The top-level statements of `tree` that `name` needs, in their order."""
    wanted, kept = {name}, set()
    grew = True
    while grew:
        grew = False
        for index, node in enumerate(tree.body):
            if index not in kept and (_binds(node) & wanted or _is_future(node)):
                kept.add(index)
                wanted |= {
                    part.id for part in ast.walk(node) if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load)
                }
                wanted |= _words_of_annotations(node)
                grew = True
    return [tree.body[index] for index in sorted(kept)]


def _binds(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).split(".")[0] for alias in node.names}
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {part.id for target in node.targets for part in ast.walk(target) if isinstance(part, ast.Name)}
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        return {node.target.id}
    return set()


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


def _words_of_annotations(node: ast.stmt) -> set[str]:
    """Names inside annotations that are written as text."""
    words: set[str] = set()
    for part in ast.walk(node):
        note = getattr(part, "annotation", None)
        if isinstance(note, ast.Constant) and isinstance(note.value, str):
            words |= {name.id for name in ast.walk(ast.parse(note.value, mode="eval")) if isinstance(name, ast.Name)}
    return words


@lru_cache(maxsize=64)
def _own_module(path: Path, modified: int, name: str) -> ModuleType:
    """A person's own kind, imported from its file under its own name."""
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise Refusal(f"'{path.name}' cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    source = path.read_bytes()
    module.__dict__["__source__"] = source  # what runs, whatever becomes of the file: see pipelines/gate.py
    exec(compile(source, str(path), "exec", dont_inherit=True), module.__dict__)
    return module


@lru_cache(maxsize=512)
def _declared(path: Path, modified: int, member: str) -> dict[str, Any]:
    """The constants in the body of a kind's class: literals, and sets of them."""
    tree = parsed(path, path.name)
    found: dict[str, Any] = {}
    for node in next((n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == member), tree).body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and _is_constant(node.value):
                expression = compile(ast.Expression(node.value), str(path), "eval")
                found[target.id] = eval(expression, {"__builtins__": {}, "frozenset": frozenset})
    return found


def _is_constant(value: ast.expr) -> bool:
    """Whether an expression is made of literals alone, `frozenset({...})` included."""
    literal = (ast.Constant, ast.Tuple, ast.List, ast.Set, ast.Dict, ast.Load, ast.UnaryOp, ast.USub)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "frozenset":
        return all(_is_constant(argument) for argument in value.args)
    return all(isinstance(part, literal) for part in ast.walk(value))
