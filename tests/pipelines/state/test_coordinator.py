"""The coordinator: what was decided for a title outlives the coordinator's own process."""

from __future__ import annotations

from pathlib import Path

from pipelines.state.coordinator import Coordinator


def test_a_board_started_again_knows_what_was_decided(tmp_path: Path) -> None:
    first = Coordinator(folder=str(tmp_path))
    first.decide("a plan", '{"done": ["de\nu"]}\n')
    first.decide("b plan", "first")
    first.decide("b plan", "second")
    with (tmp_path / "decisions.jsonl").open("a") as file:
        file.write('["c plan", "{do')  # killed in the middle
    again = Coordinator(folder=str(tmp_path))
    assert again.decided("a plan") == first.decided("a plan")
    assert again.decided("b plan") == "second"
    assert again.decided("c plan") is None
    assert Coordinator().decided("a plan") is None


def test_a_torn_line_does_not_spoil_the_next(tmp_path: Path) -> None:
    (tmp_path / "decisions.jsonl").write_text('["a plan", "one"]\n["b pl')
    Coordinator(folder=str(tmp_path)).decide("c plan", "two")
    again = Coordinator(folder=str(tmp_path))
    assert (again.decided("a plan"), again.decided("c plan")) == ("one", "two")


def test_without_its_folder_it_only_remembers(tmp_path: Path) -> None:
    coordinator = Coordinator(folder=str(tmp_path / "elsewhere"))
    coordinator.decide("a", "one")
    assert coordinator.decided("a") == "one"
