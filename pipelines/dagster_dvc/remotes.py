"""Whether what comes from a project's remotes is read before it is believed.

DVC holds a pulled object against its hash only where the remote's settings say ``verify = true``. Without that, one
that was changed on the remote is laid out, and from then on everything counts as up to date.
"""

from __future__ import annotations

import os

from pipelines.dagster_dvc import graph


def unverified(root: str | os.PathLike[str]) -> list[str]:
    """The remotes, by name, whose objects are believed unread."""
    with graph.repository(root) as repo:
        return [name for name, told in repo.config["remote"].items() if not told.get("verify")]


def verify(root: str | os.PathLike[str], names: list[str]) -> None:
    """Have what comes from these remotes read: told beside each, or, of one that only this machine knows, here."""
    with graph.repository(root) as repo:
        committed = repo.config.load_one("repo").get("remote", {})
        levels = {name: "repo" if name in committed else "local" for name in names}
        for level in dict.fromkeys(levels.values()):
            with repo.config.edit(level) as settings:
                for name in (name for name in names if levels[name] == level):
                    settings.setdefault("remote", {}).setdefault(name, {})["verify"] = "true"
