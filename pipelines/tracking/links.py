"""Where a browser finds what MLflow shows: read off files of this machine, without asking a server or MLflow itself."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from urllib.parse import urlsplit

from lmmodel import folder
from pipelines.tracking import past
from pipelines.tracking.leaderboard import VIEW
from pipelines.tracking.location import experiment, uri
from pipelines.tracking.notes import place

LOCAL = "http://127.0.0.1:5000"
"""Where `mlflow ui`, started in the project's folder, answers."""

_MET = "experiment.json"


def candidates(root: Path | None = None) -> str:
    """The candidates by what they came to; beside them, what belongs to trainings rather than to agents."""
    return page(f"runs?viewStateShareKey={VIEW}&workflowType=machine_learning", root)


def page(shown: str, root: Path | None = None) -> str:
    """The page `shown` of the experiment; as long as its number is not known, that of all experiments."""
    number, origin = _number(root), server(root) or LOCAL
    return f"{origin}/#/experiments/{number}/{shown}" if number else origin


def server(root: Path | None = None) -> str:
    """The server that holds the runs, without the name and the password of who asks it; nothing where none does."""
    told = urlsplit(uri(root))
    if told.scheme not in ("http", "https"):
        return ""
    return told._replace(netloc=told.netloc.rpartition("@")[2]).geturl().rstrip("/")


def command(root: Path | None = None) -> str:
    """What makes MLflow's page answer at `LOCAL`, in a shell of the project's folder."""
    return "mlflow ui" if past.is_local(root) else 'mlflow ui --backend-store-uri "$MLFLOW_TRACKING_URI"'


def met(number: str, root: Path | None = None) -> None:
    """Keep the number of the experiment, for those who will not ask for it."""
    folder.write(place(root) / _MET, json.dumps({"where": _where(root), "number": number}))


def _number(root: Path | None) -> str:
    """From the local database; as it was met last, where that is not what holds the runs."""
    if past.is_local(root):
        found = past.rows("SELECT experiment_id FROM experiments WHERE name = ?", experiment(), root=root)
        return str(found[0][0]) if found else ""
    try:
        known = json.loads((place(root) / _MET).read_text(encoding="utf-8"))
        return str(known["number"]) if known["where"] == _where(root) else ""
    except (OSError, ValueError, LookupError, TypeError):
        return ""


def _where(root: Path | None) -> str:
    """The store and the experiment, as a hash: a password may be part of it."""
    return sha256(json.dumps([uri(root), experiment()]).encode()).hexdigest()
