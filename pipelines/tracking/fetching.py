"""A checkpoint out of DVC's cache, by its hash: the folder that a model of the registry is loaded from."""

from __future__ import annotations

import shutil
from pathlib import Path

from lmmodel.learning.checkpoint import KINDS, own_kinds
from lmmodel.params.kinds import OWN_FOLDER
from lmmodel.params.refusal import Refusal
from pipelines import paths
from pipelines.dagster_dvc import graph
from pipelines.dagster_dvc.archive import Archive


def checkpoint(project: Path, oid: str) -> Path:
    """The folder that DVC calls `oid`, laid out below `.lmmodel/`; fetched where the project has a remote."""
    target = project / paths.OWN / "served" / oid.removesuffix(".dir")
    if target.is_dir():
        return target
    partial = target.with_name(f".{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with graph.repository(project) as repo:
        files = Archive(repo, fetching=True).folder(oid)
    if files is None:
        raise Refusal(f"{oid}: is not in DVC's cache; `dvc fetch` brings it, where it was pushed")
    for name, content in files:
        (partial / name).parent.mkdir(parents=True, exist_ok=True)
        (partial / name).write_bytes(content)
    partial.rename(target)
    return target


def code(project: Path, folder: Path) -> list[Path]:
    """The files of the project that the model in `folder` is made of: components of one's own, as it was trained with.

    They are code, and a registry is open to others. So those alone run that lie in the project too, byte for byte; a
    Refusal names the first that does not.
    """
    return [_same(kind, project, folder) for kind in own_kinds(folder)]


def _same(kind: str, project: Path, folder: Path) -> Path:
    here, kept = project / kind, folder / KINDS / kind
    parts = Path(kind).parts
    is_inside = parts[0] == OWN_FOLDER and ".." not in parts
    if not is_inside or not here.is_file() or not kept.is_file() or here.read_bytes() != kept.read_bytes():
        raise Refusal(
            f"{here}: is not what this model was trained with ({kept}), and no code is run but the project's own"
        )
    return here
