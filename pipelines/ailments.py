"""What breaks people's days: found by looking alone, explained in a sentence, and mended when that is asked for.

Each examination gives what it finds. They are made in an order in which one can rely on those before it.
"""

from __future__ import annotations

import getpass
import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from lmmodel.params.refusal import Refusal
from pipelines import ailing_store, interpreter, wording
from pipelines.ailment import Ailment
from pipelines.dagster_dvc import health, lockfile, remotes, runcache, turn
from pipelines.scratch import Scratch, spent

HERE = Path()
SOON_READ_BYTES = 200_000_000
"""So much is read in a second or two; from there on it is shown how far that is."""


def examine(*, deep: bool = False) -> Iterator[Ailment]:
    """Everything that is found in the project here, each looked for only when what was found before is dealt with.

    deep: every object in DVC's cache is read, and not only those of the results in `dvc.lock`.
    """
    looks = (python, book, lock, identity, runs, partial(cache, deep=deep), lost, storage, scratch, *ailing_store.LOOKS)
    for look in looks:
        yield from look()


def python() -> Iterator[Ailment]:
    """The interpreter that `dvc repro` would start stages with."""
    found = shutil.which("python")
    if lack := _lack(found) if found else "is not on the path":
        text = f"`dvc repro` starts stages with `python`, {f'which is {found}, and that' if found else 'which'} {lack}."
        yield Ailment(text, f"{interpreter.remedy()}.")


def _lack(python: str) -> str:
    asked = "from pipelines import interpreter; print(interpreter.lacking())"
    done = subprocess.run([python, "-c", asked], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout.strip() if done.returncode == 0 else "cannot read this project's code"


def identity() -> Iterator[Ailment]:
    """The name and address that git writes into a commit; every `dvc exp run` makes one."""
    lacking = [key for key in ("name", "email") if not _git_knows(key)]
    if not lacking or not (HERE / ".git").exists():
        return
    given = {"name": getpass.getuser(), "email": f"{getpass.getuser()}@{socket.gethostname()}"}
    told = wording.listed([f"user.{key} {given[key]}" for key in lacking])
    yield Ailment(
        f"git knows no {wording.listed([f'user.{key}' for key in lacking])}, and `dvc exp run` fails where it commits.",
        f"writes {told} into .git/config; better ones of your own: git config --global user.name ...",
        partial(_introduce, {key: given[key] for key in lacking}),
    )


def _git_knows(key: str) -> bool:
    told = all(os.environ.get(f"GIT_{who}_{key.upper()}") for who in ("AUTHOR", "COMMITTER"))
    return told or subprocess.run(["git", "config", f"user.{key}"], capture_output=True, check=False).returncode == 0


def _introduce(given: dict[str, str]) -> str:
    for key, value in given.items():
        subprocess.run(["git", "config", f"user.{key}", value], check=True)
    return ""


def book() -> Iterator[Ailment]:
    """dvc's book of who works on what."""
    try:
        dead = health.dead_entries(HERE)
    except turn.BookError:
        yield _damaged_book()
        return
    if dead:
        whom = wording.listed([f"process {one.pid} ({one.command})" for one in dict.fromkeys(dead)][:3])
        yield Ailment(
            f"{turn.BOOK} says that {whom} works here, which is gone: dvc may wait for it for ever.",
            "takes out the entries of processes that are gone",
            _bury,
        )


def _bury() -> str:
    list(turn.holders(HERE.resolve(), []))  # whoever looks who has to be waited for takes out the dead
    return ""


def _damaged_book() -> Ailment:
    text = f"{turn.BOOK} was cut short by a dvc that was killed: every dvc command fails until it is gone."
    if working := health.at_work(HERE):
        return Ailment(text, f"{working[0]} is at work here: wait for it or stop it, then --fix deletes that file.")
    return Ailment(text, "deletes that file, in which nothing else is kept", _forget_book)


def _forget_book() -> str:
    turn.BOOK.unlink()
    return ""


def lock() -> Iterator[Ailment]:
    """`dvc.lock`, which dvc writes in place."""
    reason = lockfile.unreadable(HERE.resolve())
    if reason and reason.path and reason.path.name == lockfile.NAME:
        yield Ailment(
            f"{os.path.relpath(reason.path)} {lockfile.harm(reason.path)}: every dvc command fails on it.",
            "keeps its whole entries; `dvc repro` restores the others from the run cache",
            lambda: "; ".join(lockfile.mend(HERE.resolve())),
        )
    elif reason and reason.lacks_git:
        yield Ailment(
            "This is no git repository, as where the files came out of an archive: every dvc command fails.",
            "makes it one (`git init`); `git add -A && git commit` then keeps what stands here",
            _begin,
        )
    elif reason:
        yield Ailment(f"dvc cannot read this project: {reason}", "mend what that names, or `git checkout` it.")


def _begin() -> str:
    subprocess.run(["git", "init", "--quiet", "."], check=True)
    return ""


def runs() -> Iterator[Ailment]:
    """The run cache, in which dvc looks for what a stage once made."""
    if empty := runcache.vacant(HERE.resolve()):
        yield Ailment(
            f"{os.path.relpath(empty[0])} was left empty by a dvc that was killed: `dvc repro` fails on its stage, "
            "with join() argument must be str, bytes, or os.PathLike object, not 'NoneType'.",
            "removes it" if len(empty) == 1 else f"removes it, and {len(empty) - 1} more",
            _vacate,
        )


def _vacate() -> str:
    runcache.mend(HERE.resolve())
    return ""


def cache(*, deep: bool) -> Iterator[Ailment]:
    """Every object that matters, byte by byte."""
    objects = health.objects(HERE, every=deep)
    if bad := _corrupt(objects):
        whose = sorted({os.path.relpath(place) for one in bad for place in one.places}) or [str(bad[0].path)]
        yield Ailment(
            f"{wording.several(len(bad), 'object')} in DVC's cache changed since DVC wrote it "
            f"({wording.listed(whose[:3])}): `dvc checkout` would lay out wrong bytes in silence.",
            "removes it, with copies of it in the project, and puts the right bytes back where the project has them",
            partial(_remove, bad),
        )


def _corrupt(objects: list[health.Object]) -> list[health.Object]:
    from lmmodel.progress import bar

    size_bytes = sum(one.path.stat().st_size for one in objects)
    if size_bytes < SOON_READ_BYTES:
        return list(health.corrupt(objects))
    with bar(size_bytes, "B", "reading DVC's cache") as line:
        return list(health.corrupt(objects, seen=line.advance))


def _remove(bad: list[health.Object]) -> str:
    lost = health.remove(HERE, bad)
    told = f"{wording.listed(lost)}: `dvc pull` brings it back if it was pushed, `dvc repro` makes it again"
    return told if lost else ""


def lost() -> Iterator[Ailment]:
    """Results that lie here, and that DVC's cache has lost: somebody made room, or a disk failed."""
    if outputs := health.only_here(HERE):
        yield Ailment(
            f"DVC's cache has lost what still lies here ({wording.few(outputs)}): `dvc repro` would make it again.",
            "puts them into the cache again",
            _keep,
        )


def _keep() -> str:
    health.keep(HERE)
    return ""


def storage() -> Iterator[Ailment]:
    """The remotes, and whether what comes from them is read."""
    if lockfile.unreadable(HERE.resolve()) or not (names := remotes.unverified(HERE)):
        return
    yield Ailment(
        f"What comes from {wording.listed(names)} is believed unread: an object that was changed there would be laid "
        "out as the right one.",
        f"sets `verify` for {'it' if len(names) == 1 else 'them'}: whatever is pulled is held against its hash",
        partial(_verify, names),
    )


def _verify(names: list[str]) -> str:
    remotes.verify(HERE, names)
    return ""


def scratch() -> Iterator[Ailment]:
    """What stages leave behind until the next one tidies up."""
    try:
        left = spent()
    except Refusal:
        return
    if left:
        room = sum(path.stat().st_size for one in left for path in one.folder.rglob("*") if path.is_file())
        yield Ailment(
            f"{wording.several(len(left), 'scratch folder')} of finished work "
            f"({wording.listed([one.stage.name for one in left])}) takes {wording.storage(room)}.",
            "removes it: DVC has the result",
            partial(_discard, left),
            harmless=True,
        )


def _discard(left: list[Scratch]) -> str:
    for one in left:
        one.discard()
    return ""
