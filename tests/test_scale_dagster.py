"""The files of docs/scale.md that take Dagster beyond one machine, as far as they can be tried without one."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from importlib.resources import files
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import dagster as dg
import pytest
from dagster._config import process_config
from dagster._core.code_pointer import ModuleCodePointer
from dagster._core.instance.config import dagster_instance_config_schema
from dagster._core.launcher.base import LaunchRunContext, RunLauncher
from dagster._core.origin import JobPythonOrigin, RepositoryPythonOrigin
from dagster._core.workspace.load import location_origins_from_yaml_paths
from ruamel.yaml import YAML

from pipelines.dagster_dvc import assets
from pipelines.dagster_dvc.slurm import SlurmRunLauncher
from tests.test_scale import PAGE

BLOCKS = dict(re.findall(r"```(?:yaml|dockerfile)\n# ([^\n]+)\n(.*?)```", PAGE, re.DOTALL))
WITHOUT = "is not here: pip install -e '.[scale]'"
PLACES = ("docker", "kubernetes", "slurm")


def parsed(name: str) -> list[Any]:
    return list(YAML(typ="safe").load_all(StringIO(BLOCKS[name])))


def instance(place: str) -> dict[str, Any]:
    """`dagster.yaml` whole, as a person would have put it together."""
    launcher = BLOCKS[f"appended to deploy/dagster.yaml: {place}"]
    whole: dict[str, Any] = YAML(typ="safe").load(BLOCKS["deploy/dagster.yaml"] + launcher)
    return whole


def configured(kind: type[Any], place: str) -> dict[str, Any]:
    """What its launcher makes of its configuration, defaults filled in; nothing it does not know is let through."""
    told = instance(place)["run_launcher"]
    assert (kind.__module__.partition(".")[0], kind.__name__) == (told["module"].partition(".")[0], told["class"])
    result = process_config(kind.config_type(), told["config"])
    assert result.success, result.errors
    return dict(result.value)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[dg.DagsterInstance, LaunchRunContext]]:
    """A run of the whole pipeline that is to be launched."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as there:
        code = ModuleCodePointer("pipelines.definitions", "defs", working_directory="/project")
        repository = RepositoryPythonOrigin("python", code_pointer=code, container_image="lmmodel-dagster:1")
        job = dg.GraphDefinition(name="everything").to_job()
        made = there.create_run_for_job(
            job, job_code_origin=JobPythonOrigin("everything", repository_origin=repository)
        )
        yield there, LaunchRunContext(dagster_run=made, workspace=None)


def launched(launcher: RunLauncher, run: tuple[dg.DagsterInstance, LaunchRunContext]) -> None:
    there, context = run
    launcher.register_instance(there)
    launcher.launch_run(context)


def test_every_file_that_the_page_speaks_of_is_there() -> None:
    spoken = set(re.findall(r"`(deploy/[\w.-]+)`", PAGE)) | set(re.findall(r"-f (deploy/[\w.-]+)", PAGE))
    assert spoken <= set(BLOCKS)
    assert set(BLOCKS) - spoken == {f"appended to deploy/dagster.yaml: {place}" for place in PLACES}


@pytest.mark.parametrize("place", PLACES)
def test_dagster_takes_its_configuration(place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "USER", "PASSWORD"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", "it")
    told = instance(place)
    result = process_config(dagster_instance_config_schema(), told)
    assert result.success, result.errors
    assert told["concurrency"]["runs"]["max_concurrent_runs"] == 1  # dvc's book of who works where is for one machine


def test_dagster_finds_the_code_server(tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text(BLOCKS["deploy/workspace.yaml"])
    (origin,) = location_origins_from_yaml_paths([str(tmp_path / "workspace.yaml")])
    assert (origin.location_name, origin.host, origin.port) == ("lmmodel", "code", 4000)


def test_compose_knows_every_word_and_its_services_see_one_project() -> None:
    pytest.importorskip("check_jsonschema", reason=f"check-jsonschema {WITHOUT}")
    import jsonschema

    schema = files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text()
    (compose,) = parsed("deploy/compose.yaml")
    jsonschema.validate(compose, json.loads(schema))
    services = compose["services"]
    own = [services[name] for name in ("code", "page", "daemon")]
    launcher = instance("docker")["run_launcher"]["config"]
    for one in own:
        assert set(launcher["container_kwargs"]["volumes"]) <= set(one["volumes"])
        assert one["init"]  # else what dvc leaves behind stays a zombie, which dvc takes for the living
        assert set(launcher["env_vars"]) <= set(one["environment"])
        assert launcher["network"] in one["networks"]
    assert (
        compose["networks"][launcher["network"]]["name"] == launcher["network"]
    )  # without the project's name before it
    assert services["code"]["environment"]["DAGSTER_CURRENT_IMAGE"] == services["code"]["image"]
    assert services["code"]["command"].split()[-1] == "pipelines.definitions"
    assert all(port.startswith("127.0.0.1:") for port in services["page"]["ports"])


def test_docker_starts_a_container_for_a_run(
    run: tuple[dg.DagsterInstance, LaunchRunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """docker's own library takes all that it is told."""
    dagster_docker = pytest.importorskip("dagster_docker", reason=f"dagster-docker {WITHOUT}")
    from docker.models.containers import _create_container_args

    for name in ("HOST", "USER", "PASSWORD"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", "it")
    client = Mock()
    client.containers.create.return_value.id = "1"
    monkeypatch.setattr("docker.client.from_env", lambda: client)
    launcher = dagster_docker.DockerRunLauncher(**configured(dagster_docker.DockerRunLauncher, "docker"))
    launched(launcher, run)
    told = client.containers.create.call_args.kwargs
    made = _create_container_args({**told, "version": "1.44"})
    assert made["image"] == "lmmodel-dagster:1"
    assert made["command"][-3:-1] == ["api", "execute_run"]
    assert made["working_dir"] == "/project"
    assert made["host_config"]["Binds"] == ["/srv/lmmodel:/project"]
    assert made["host_config"]["Init"]
    assert made["environment"]["DAGSTER_PG_PASSWORD"] == "it"
    client.containers.create.return_value.start.assert_called_once()


def test_kubernetes_knows_every_word_of_its_manifest() -> None:
    models = pytest.importorskip("dagster_k8s.models", reason=f"dagster-k8s {WITHOUT}")
    from kubernetes import client

    kinds = {item["kind"]: item for item in parsed("deploy/dagster-kubernetes.yaml")}
    for kind, item in kinds.items():
        model = getattr(client, f"V1{kind}")
        models.k8s_model_from_dict(model, models.k8s_snake_case_dict(model, item))
    pod = kinds["Deployment"]["spec"]["template"]
    assert kinds["Deployment"]["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    for container in pod["spec"]["containers"]:
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    launcher = instance("kubernetes")["run_launcher"]["config"]
    assert (
        launcher["service_account_name"]
        == pod["spec"]["serviceAccountName"]
        == kinds["ServiceAccount"]["metadata"]["name"]
    )
    configuration = next(one for one in pod["spec"]["volumes"] if "configMap" in one)
    assert launcher["instance_config_map"] == configuration["configMap"]["name"]


def test_nobody_in_the_cluster_reaches_dagsters_page_or_code_server() -> None:
    kinds = {item["kind"]: item for item in parsed("deploy/dagster-kubernetes.yaml")}
    assert not kinds.keys() & {"Service", "Ingress"}
    pod = kinds["Deployment"]["spec"]["template"]["spec"]
    assert not pod.get("hostNetwork")
    commands = {one["name"]: one["command"] for one in pod["containers"]}
    listening = {name: words[words.index("-h") + 1] for name, words in commands.items() if "-h" in words}
    assert listening == {"code": "127.0.0.1", "page": "127.0.0.1"}
    (entry,) = parsed("deploy/workspace.yaml")[0]["load_from"]
    (alias,) = pod["hostAliases"]  # by which those in the pod find the code server
    assert (alias["ip"], alias["hostnames"]) == ("127.0.0.1", [entry["grpc_server"]["host"]])
    assert str(entry["grpc_server"]["port"]) in commands["code"]
    assert f"kubectl port-forward deployment/{kinds['Deployment']['metadata']['name']} 3000" in PAGE


def test_kubernetes_starts_a_job_for_a_run(
    run: tuple[dg.DagsterInstance, LaunchRunContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    dagster_k8s = pytest.importorskip("dagster_k8s", reason=f"dagster-k8s {WITHOUT}")
    batch = Mock()
    monkeypatch.setattr("dagster_k8s.launcher.load_kubernetes_config", lambda **told: None)
    told = configured(dagster_k8s.K8sRunLauncher, "kubernetes")
    launched(dagster_k8s.K8sRunLauncher(**told, k8s_client_batch_api=batch, k8s_client_core_api=Mock()), run)
    pod = batch.create_namespaced_job.call_args.kwargs["body"].spec.template.spec
    (container,) = pod.containers
    assert container.image == "lmmodel-dagster:1"
    assert container.args[-3:-1] == ["api", "execute_run"]
    assert container.working_dir == "/project"
    mounts = {mount.mount_path: mount.name for mount in container.volume_mounts}
    assert (mounts["/project"], mounts["/dev/shm"]) == ("project", "shared-memory")
    assert set(mounts.values()) <= {volume.name for volume in pod.volumes}
    told_of = {variable.name: variable for variable in container.env}
    assert told_of["DAGSTER_HOME"].value == "/dagster"
    assert told_of["DAGSTER_PG_PASSWORD"].value_from.secret_key_ref.name == "lmmodel-postgres"
    assert container.resources.limits["nvidia.com/gpu"] in (1, "1")
    assert pod.termination_grace_period_seconds == 300


def test_slurm_takes_its_configuration() -> None:
    assert configured(SlurmRunLauncher, "slurm")["options"]
    assert SlurmRunLauncher.from_config_value(None, configured(SlurmRunLauncher, "slurm"))


def test_the_image_holds_what_the_page_says_and_the_stages_need() -> None:
    lines = BLOCKS["deploy/Dockerfile"].splitlines()
    assert lines[0].startswith("FROM python:3.")
    assert "PYTHONPATH=/project" in BLOCKS["deploy/Dockerfile"]
    root = Path(__file__).resolve().parents[1]
    copied = [word for line in lines if line.startswith("COPY") for word in line.split()[1:-1]]
    assert all((root / name).exists() for name in copied)
    extra = re.search(r"'\.\[(\w+)\]'", BLOCKS["deploy/Dockerfile"])
    assert extra
    assert f"\n{extra[1]} = [" in (root / "pyproject.toml").read_text()


@pytest.mark.parametrize("named", ["dagster_docker:docker_executor", "dagster_k8s:k8s_job_executor"])
def test_the_page_names_executors_that_there_are(named: str) -> None:
    assert f"LMMODEL_EXECUTOR: {named}" in PAGE
    pytest.importorskip(named.partition(":")[0], reason=f"{named.partition(':')[0]} {WITHOUT}")
    assert assets.executor(named).name in named


def test_another_executor_is_named_or_refused() -> None:
    assert assets.executor(None) is dg.in_process_executor
    assert assets.executor("dagster:multiprocess_executor") is dg.multiprocess_executor
    with pytest.raises(TypeError, match="dagster:asset is no executor"):
        assets.executor("dagster:asset")
