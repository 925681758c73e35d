"""A checkpoint out of DVC's cache, by its hash: the folder that a model of the registry is loaded from."""

from __future__ import annotations

import shutil
from pathlib import Path

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
