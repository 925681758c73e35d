"""The scripts of docs/scale.md, as far as they can be tried without a cluster."""

from __future__ import annotations

import importlib.util
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML
from torch.distributed.run import get_args_parser

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "scale.md").read_text(encoding="utf-8")
DIRECTIVES = {
    "job-name": r"\w+",
    "nodes": r"\d+",
    "ntasks-per-node": "1",  # torchrun, which starts the others
    "gpus-per-node": r"\d+",
    "cpus-per-task": r"\d+",
    "time": r"\d+:\d\d:\d\d",
    "signal": r"TERM@\d+",  # to the processes, not to the shell
    "requeue": "",
    "open-mode": "append",
    "output": r"[\w%.-]+",
}
"""What of sbatch's is used, each with what it may be told."""


def block(language: str) -> str:
    """The first in a language; those that follow name their files, and are tried beside this module."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0]


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    return {one["kind"]: one for one in YAML(typ="safe").load_all(block("yaml"))}


def torchrun(words: list[str]) -> Any:
    """What torchrun itself makes of its arguments."""
    told = get_args_parser().parse_args(words)
    assert told.module
    assert importlib.util.find_spec(told.training_script)
    assert told.rdzv_backend == "c10d"
    return told


def test_the_slurm_script_is_a_shell_script_with_directives_that_slurm_knows() -> None:
    script = block("bash")
    assert script.startswith("#!/bin/bash\n#SBATCH ")
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)
    head = script.partition("\n\n")[0].splitlines()[1:]
    told = dict(re.fullmatch(r"#SBATCH --([a-z-]+)=?(.*)", line).groups() for line in head)  # type: ignore[union-attr]
    assert told.keys() == DIRECTIVES.keys()
    for name, value in told.items():
        assert re.fullmatch(DIRECTIVES[name], value), name
    assert "#SBATCH" not in script.partition("\n\n")[2]  # sbatch stops looking at the first command


def test_slurm_starts_a_process_for_each_gpu() -> None:
    script = block("bash")
    command = re.search(r"torchrun (.*?)\nthen", script, re.DOTALL)
    assert command
    told = torchrun(shlex.split(command[1].replace("\\\n", " ").replace('"$SLURM_NNODES"', "2")))
    assert f"--gpus-per-node={told.nproc_per_node}\n" in script


@pytest.mark.parametrize(
    ("works", "count", "last"), [(0, "", "dvc repro"), (1, "3", "scontrol requeue 7"), (1, "20", "")]
)
def test_slurm_hands_over_what_is_finished_and_queues_again_what_is_not(
    tmp_path: Path, works: int, count: str, last: str
) -> None:
    """Run for real, with stand-ins for what a cluster has."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / ".venv/bin/activate").write_text("")
    for name, body in {"srun": f"exit {works}", "dvc": 'echo dvc "$@"', "scontrol": 'echo scontrol "$@"'}.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    told = {"SLURM_SUBMIT_DIR": str(tmp_path), "SLURM_JOB_ID": "7", "SLURM_NNODES": "2", "SLURM_JOB_NODELIST": "n[1-2]"}
    told |= {"SLURM_RESTART_COUNT": count} if count else {}
    path = f"{tmp_path}:/usr/bin:/bin"
    done = subprocess.run(
        ["bash", "-u"], input=block("bash"), env={**told, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    assert done.stdout.strip().split("\n")[-1] == last


def test_the_pods_of_the_manifest_find_one_another(manifest: dict[str, Any]) -> None:
    service, job = manifest["Service"], manifest["Job"]["spec"]
    pod = job["template"]["spec"]
    assert (manifest["Service"]["apiVersion"], manifest["Job"]["apiVersion"]) == ("v1", "batch/v1")
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= job["template"]["metadata"]["labels"].items()
    assert pod["subdomain"] == service["metadata"]["name"]
    assert job["completionMode"] == "Indexed"  # which gives pods the names that they meet by
    (container,) = pod["containers"]
    told = torchrun(container["command"][1:])
    assert container["command"][0] == "torchrun"
    assert told.nnodes == str(job["completions"]) == str(job["parallelism"])
    assert told.nproc_per_node == str(container["resources"]["limits"]["nvidia.com/gpu"])
    assert told.rdzv_endpoint.startswith(f"{manifest['Job']['metadata']['name']}-0.{service['metadata']['name']}:")


def test_the_manifest_survives_being_moved(manifest: dict[str, Any]) -> None:
    pod = manifest["Job"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["restartPolicy"] == "OnFailure"
    assert pod["terminationGracePeriodSeconds"] >= 60
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
    assert container["workingDir"] in {mount["mountPath"] for mount in container["volumeMounts"]}
