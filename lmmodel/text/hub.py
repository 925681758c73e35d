"""A dataset from the Hugging Face hub, or files anywhere on the web, streamed: `datasets.load_dataset`.

A connection that breaks is taken up at the row where it broke. No code from the hub is ever run.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from lmmodel.params.refusal import Refusal, suggestion
from lmmodel.params.settings import Count, Natural, Settings, Words
from lmmodel.text.fetch import fetch, is_passing, pauses
from lmmodel.text.rows import Row, library
from lmmodel.text.split import digest

_LOG = logging.getLogger(__name__)
Item = TypeVar("Item")
_BREAK_SECONDS = 1
_BUILDERS = ("text", "json", "parquet", "csv", "arrow")


class Hub(Settings):
    """Which dataset, how much of it, and how patiently.

    `name` is a dataset of the hub (`roneneldan/TinyStories`), whose `revision` (a commit) makes it the same next year;
    or a format (`parquet`, `json`, `text`, `csv`), the URLs of whose files are `data_files: {train: [...]}`.
    Files named under `sha256` are fetched whole and checked before they are read; all others are streamed.
    `documents` and `bytes` end the reading of a split early; each None means all.
    """

    name: str = ""
    configuration: str | None = None
    split: str = "train"
    revision: str | None = None
    data_files: dict[str, Words] = {}
    sha256: dict[str, str] = {}
    documents: Count | None = None
    bytes: Count | None = None
    retries: Natural = 5


def rows(hub: Hub, *, split: str, place: str, scratch: Path) -> Iterator[Row]:
    """The rows of `split`, `documents` of them at most. `place` is the section in whose name things are refused."""
    _require(hub, place=place)
    files = {
        part: [_local(hub, file, place=place, scratch=scratch) for file in names]
        for part, names in hub.data_files.items()
        if part == split
    }
    if hub.data_files and not files:
        raise Refusal(f"{place}.data_files: has no split '{split}'; there is {', '.join(hub.data_files)}")
    for count, row in enumerate(_persistent(hub, split=split, files=files, place=place)):
        if count == hub.documents:
            return
        yield row


def within(items: Iterable[Item], *, size: Callable[[Item], int], limit: int | None) -> Iterator[Item]:
    """`items`, as long as their sizes together stay within `limit`; None: all."""
    total = 0
    for item in items:
        total += size(item)
        if limit is not None and total > limit:
            return
        yield item


def _require(hub: Hub, *, place: str) -> None:
    if not hub.name:
        raise Refusal(f"{place}.name: is missing; name a dataset (roneneldan/TinyStories) or {', '.join(_BUILDERS)}")
    if hub.name in _BUILDERS and not hub.data_files:
        raise Refusal(f"{place}.data_files: is missing; {hub.name} needs data_files: {{train: [URL, ...]}}")
    named = [file for files in hub.data_files.values() for file in files]
    for file in hub.sha256:
        if file not in named:
            raise Refusal(
                f"{place}.sha256: '{file}' is not one of data_files, so nothing of it is checked"
                f"{suggestion(file, named)}"
            )
    for file in named:
        if hub.name in _BUILDERS and "://" not in file:
            raise Refusal(f"{place}.data_files: '{file}' is not a URL; files on this machine are for kind files")
    if hub.name not in _BUILDERS and hub.revision is None:
        raise Refusal(
            f"{place}.revision: is missing; pin a commit of {hub.name}, so that it is the same text next year"
        )


def _local(hub: Hub, file: str, *, place: str, scratch: Path) -> str:
    """`file`, or where it was put after it was found to be what its SHA-256 says."""
    if file not in hub.sha256:
        return file
    if not file.startswith(("http://", "https://")):
        raise Refusal(f"{place}.sha256: '{file}' is not a URL of the web; a revision pins what is on the hub")
    scratch.mkdir(parents=True, exist_ok=True)
    name = f"{digest(file)}-{file.partition('?')[0].rpartition('/')[2]}"
    return str(fetch(file, scratch / name, sha256=hub.sha256[file], retries=hub.retries))


def _persistent(hub: Hub, *, split: str, files: Mapping[str, list[str]], place: str) -> Iterator[Row]:
    """All rows, going on after each break at the row where it came."""
    waits = pauses(hub.retries)
    dataset: Any = None
    state: Any = None
    broken = False
    while True:
        try:
            if dataset is None:
                dataset = _open(hub, split=split, files=files)
                if state is not None:
                    dataset.load_state_dict(state)
            for row in dataset:
                waits = pauses(hub.retries)
                yield row
            return
        except Exception as error:
            wait = next(waits)
            if wait is None or not (broken or _may_pass(error, hub, opened=dataset is not None)):
                raise _refusal(error, hub, place=place) from None
            broken = True  # from here on all is tried again: to one who comes back, a busy server's files seem missing
            if dataset is not None:
                dataset, state = None, dataset.state_dict()
            _LOG.warning("%s: the connection broke (%s); once more in %g s", hub.name, _words(error), wait)
            time.sleep(wait)


def _may_pass(error: Exception, hub: Hub, *, opened: bool) -> bool:
    """Whether to try again. Opening a dataset of the hub is not: its own client has tried for half a minute by then."""
    return _is_break(error) and (opened or hub.name in _BUILDERS)


def _open(hub: Hub, *, split: str, files: Mapping[str, list[str]]) -> Any:
    datasets = library()
    config = datasets.config  # its own patience is 20 times 5 seconds, at every read
    config.STREAMING_READ_MAX_RETRIES = config.STREAMING_OPEN_MAX_RETRIES = 2
    config.STREAMING_READ_RETRY_INTERVAL = config.STREAMING_OPEN_RETRY_INTERVAL = _BREAK_SECONDS
    return datasets.load_dataset(
        hub.name,
        hub.configuration,
        split=split,
        revision=hub.revision,
        data_files=dict(files) or None,
        streaming=True,
        **({"sample_by": "document"} if hub.name == "text" else {}),
    )


def _is_break(error: BaseException | None) -> bool:
    while error is not None:
        if is_passing(error):
            return True
        error = error.__cause__
    return False


def _refusal(error: Exception, hub: Hub, *, place: str) -> Refusal:
    what = f"{place}: {hub.name}" + (f" ({hub.configuration})" if hub.configuration else "")
    text = _words(error)
    if "Bad split" in text or "Unknown split" in text:
        return Refusal(f"{place}.split: {text}")
    if "BuilderConfig" in text or "Config name is missing" in text:
        return Refusal(f"{place}.configuration: {text}")
    if _is_break(error):
        return Refusal(f"{what} cannot be reached; is there a network? ({text})")
    return Refusal(f"{what} cannot be read: {text}")


def _words(error: BaseException) -> str:
    return (" ".join(str(error.__cause__ or error).split()) or type(error).__name__)[:300]
