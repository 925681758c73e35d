from __future__ import annotations

import dagster as dg

from pipelines.dagster_dvc.checks import Finding, check


@dg.asset
def soup() -> None: ...


@dg.asset(deps=[soup])
def meal() -> None: ...


def evaluate(finding: Finding, *, blocking: bool = False) -> dg.ExecuteInProcessResult:
    def is_hot() -> Finding:
        """It is hot."""
        return finding

    return dg.materialize([soup, meal, check("soup", is_hot, blocking=blocking)], raise_on_error=False)


def test_nothing_wrong_passes_and_shows_its_figures() -> None:
    (result,) = evaluate(Finding(figures={"degrees": 80})).get_asset_check_evaluations()
    assert result.passed
    assert result.check_name == "is_hot"
    assert result.metadata["degrees"] == dg.MetadataValue.int(80)


def test_what_is_wrong_is_listed_up_to_a_point() -> None:
    (result,) = evaluate(Finding([f"spoon {n} is cold" for n in range(7)])).get_asset_check_evaluations()
    assert not result.passed
    assert result.description
    assert result.description.splitlines()[0] == "spoon 0 is cold"
    assert result.description.splitlines()[-1] == "and 2 more"


def test_only_a_blocking_check_keeps_what_follows_from_running() -> None:
    assert len(evaluate(Finding(["cold"])).get_asset_materialization_events()) == 2
    blocked = evaluate(Finding(["cold"]), blocking=True)
    assert [event.asset_key for event in blocked.get_asset_materialization_events()] == [dg.AssetKey("soup")]
