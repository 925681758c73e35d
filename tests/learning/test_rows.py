"""Who holds which rows, and who owns what: everything exactly once, and as much for each."""

from __future__ import annotations

import threading

import torch
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.learning.crew import Crew
from lmmodel.learning.rows import Rows, owners

SHAPES = {"a": torch.Size([7, 3]), "b": torch.Size([2, 4]), "c": torch.Size([5, 2, 2]), "d": torch.Size([3])}


class Together(Crew):
    """Threads in place of processes: what one gives for another lies on a table that all see."""

    def __init__(self, rank: int, size: int, table: dict, gate: threading.Barrier) -> None:
        super().__init__(rank, size)
        self.table, self.gate = table, gate

    def exchanged(self, given: list[torch.Tensor], expected: list[int]) -> list[torch.Tensor]:
        self.table |= {(self.rank, other): vector for other, vector in enumerate(given)}
        self.gate.wait()
        found = [self.table[other, self.rank] for other in range(self.size)]
        assert [one.numel() for one in found] == expected
        self.gate.wait()
        return found


def all_of(size: int, owned: dict[str, int]) -> list[Rows]:
    table, gate = {}, threading.Barrier(size, timeout=20)  # type: ignore[var-annotated]
    return [Rows(SHAPES, owned, Together(rank, size, table, gate)) for rank in range(size)]


@given(st.integers(1, 9))
def test_rows_are_dealt_as_torch_deals_them(size: int) -> None:
    rows = all_of(size, {})
    for name, shape in SHAPES.items():
        whole = torch.arange(shape.numel()).view(shape)
        parts = [whole[one.own(name)] for one in rows]
        assert torch.equal(torch.cat(parts), whole)
        for part, chunk in zip(parts, whole.chunk(size), strict=False):
            assert torch.equal(part, chunk)


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 1000), max_size=20), st.integers(1, 6))
def test_each_has_one_owner_and_none_owns_much_more_than_another(numbers: dict[str, int], size: int) -> None:
    found = owners(numbers, size)
    assert [*found] == [*numbers]
    loads = [sum(numbers[name] for name in numbers if found[name] == rank) for rank in range(size)]
    assert max(loads) - min(loads) <= max(numbers.values(), default=0)


@given(st.integers(1, 5))
def test_what_goes_to_its_owner_comes_back_in_rows(size: int) -> None:
    owned = owners({name: shape.numel() for name, shape in SHAPES.items() if name != "d"}, size)
    wholes = {name: torch.randn(SHAPES[name]) for name in owned}
    met: list[dict[str, torch.Tensor]] = [{}] * size
    back: list[dict[str, torch.Tensor]] = [{}] * size

    def work(rank: int, rows: Rows) -> None:
        met[rank] = rows.to_owners({name: wholes[name][rows.own(name)] for name in owned})
        back[rank] = rows.from_owners(met[rank])

    each = [threading.Thread(target=work, args=one) for one in enumerate(all_of(size, owned))]
    for thread in each:
        thread.start()
    for thread in each:
        thread.join()
    for rank, rows in enumerate(all_of(size, owned)):
        assert met[rank].keys() == {name for name in owned if owned[name] == rank}
        assert all(torch.equal(value, wholes[name]) for name, value in met[rank].items())
        assert all(torch.equal(value, wholes[name][rows.own(name)]) for name, value in back[rank].items())
        assert back[rank].keys() == owned.keys()
