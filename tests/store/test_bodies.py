"""Bodies that an operator has kept: found by their request, bounded, private, and forgotten in time."""

from __future__ import annotations

from pathlib import Path

from fastanchor.store.bodies import Bodies

AT = 1_780_000_000.0
DAY = 86_400


def test_bodies_are_found_by_their_request_on_its_day_or_the_day_after(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path / "bodies")
    bodies.keep("req_1", AT, b"asked", b"answered")
    assert bodies.find("req_1", AT) == {"request": "asked", "answer": "answered", "cut": False}
    assert bodies.find("req_1", AT + DAY) is not None
    assert bodies.find("req_1", AT + 2 * DAY) is None
    assert bodies.find("req_2", AT) is None


def test_a_long_body_is_cut_and_says_so(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path, most=4)
    bodies.keep("req_1", AT, b"12345", "\u00e4\u00e4\u00e4".encode())
    found = bodies.find("req_1", AT)
    assert found == {"request": "1234", "answer": "\u00e4\u00e4", "cut": True}


def test_bodies_are_the_owners_alone(tmp_path: Path) -> None:
    Bodies(tmp_path / "bodies").keep("req_1", AT, b"", b"")
    (folder,) = (tmp_path / "bodies").iterdir()
    assert folder.stat().st_mode & 0o077 == 0


def test_whole_days_are_forgotten(tmp_path: Path) -> None:
    bodies = Bodies(tmp_path)
    for day in range(3):
        bodies.keep(f"req_{day}", AT + day * DAY, b"", b"")
    bodies.expire(AT + DAY)
    assert [bodies.find(f"req_{day}", AT + day * DAY) is not None for day in range(3)] == [False, True, True]
    Bodies(tmp_path / "nothing").expire(AT)


def test_a_disk_that_takes_nothing_costs_the_bodies_only(tmp_path: Path) -> None:
    (tmp_path / "bodies").write_text("no folder")
    bodies = Bodies(tmp_path / "bodies")
    bodies.keep("req_1", AT, b"", b"")
    assert bodies.failures == 1
    assert bodies.find("req_1", AT) is None
