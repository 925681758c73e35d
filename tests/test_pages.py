"""What the pages say is what is there: commands, files, and the example that CONTRIBUTING shows whole."""

import re
from pathlib import Path

import pytest

from lmmodel.architecture.families import PARTS
from lmmodel.params.document import parse
from pipelines import parameters
from pipelines.cli import COMMANDS

ROOT = Path(__file__).resolve().parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", "docs/guide.md", "docs/team.md")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_the_example_of_a_kind_of_ones_own_is_the_file_itself():
    block = "\n".join(f"    {line}" if line else "" for line in text("experiments/fading.py").rstrip().split("\n"))
    assert block in text("CONTRIBUTING.md")


@pytest.mark.parametrize("page", PAGES)
def test_every_lmmodel_command_that_a_page_names_exists(page):
    named = set(re.findall(r"(?:`|^    )lmmodel ([a-z]+)", text(page), re.MULTILINE))
    assert named <= set(COMMANDS), f"{page} names {sorted(named - set(COMMANDS))}"


@pytest.mark.parametrize("page", PAGES)
def test_every_make_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([a-z-]+)", text(page), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_a_page_links_to_exists(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", text(page)):
        assert (ROOT / page).parent.joinpath(link).exists(), f"{page} links to {link}"


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md", "docs/scale.md"])
def test_what_a_page_installs_by_name_is_no_strangers_package(page):
    """Of the name of this project there is nothing of ours in any index: it is installed from where it lies."""
    told = re.findall(r"pip install ([^`\n&]*)", text(page))
    assert not [words for words in told if re.search(r"(^|[\s'\"])lmmodel\b", words)]


@pytest.mark.parametrize("extra", re.findall(r"'\.\[(\w+)\]'", text("docs/team.md")))
def test_the_extras_that_a_team_installs_are_there(extra):
    assert f"\n{extra} = [" in text("pyproject.toml")


def test_the_model_in_the_readme_is_the_default_one():
    shown = re.search(r"^    model:\n(?:    .*\n)+", text("README.md"), re.MULTILINE)
    assert shown is not None
    told = "\n".join(line[4:] for line in shown.group().splitlines())
    default = parse(text("params.yaml"), name="params.yaml").data
    assert parse(told, name="README.md").data["model"] == default["model"]


@pytest.mark.parametrize(
    "line", re.findall(r"^    ((?:position|attention|design): +\S.*?)(?:   .*)?$", text("README.md"), re.M)
)
def test_every_change_that_the_readme_suggests_is_a_model(line, monkeypatch):
    monkeypatch.chdir(ROOT)
    key, value = line.split(":", 1)
    default = text("params.yaml")
    if key == "design":
        start, end = default.index("  design:"), default.index("\ncorpus:")
        changed = f"{default[:start]}  design: {value.strip()}\n{default[end:]}"
    else:
        assert key in PARTS
        changed = re.sub(rf"^    {key}: .*$", f"    {key}: {value.strip()}", default, count=1, flags=re.MULTILINE)
    told = parameters.check(parse(changed, name="params.yaml"))
    assert told.declaration.canonical() != parameters.read().declaration.canonical()


def test_the_comments_of_the_default_file_list_the_kinds_that_exist():
    default = text("params.yaml")
    for family in PARTS.values():
        line = re.search(rf"^    {family.name}: .*#(.*)$", default, re.MULTILINE)
        assert line is not None
        used = re.search(rf"^    {family.name}: +{{kind: (\w+)", default, re.MULTILINE)
        assert used is not None
        named = set(re.findall(r"\w+", line.group(1).split(".")[0]))
        assert named | {used.group(1)} == set(family.names()), f"params.yaml's comment on {family.name}"
