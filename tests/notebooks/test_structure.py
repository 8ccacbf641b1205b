"""Every notebook of the course keeps the rules, and its copy for students is what the master gives."""

from pathlib import Path

import pytest

from mammo_utils.course import exercises, rules, write

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
COPIES = sorted((FOLDER / "exercises").glob("*.ipynb"))


def test_the_course_has_only_notebooks_of_its_plan():
    assert NOTEBOOKS, f"no notebook in {FOLDER}"
    assert {path.stem for path in NOTEBOOKS} <= set(rules.COURSE)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_keeps_every_rule(path):
    found = rules.problems(path)
    assert not found, "\n" + "\n".join(found)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_copy_for_students_is_what_the_master_gives(path):
    copy = FOLDER / "exercises" / path.name
    assert copy.exists(), "run make notebooks"
    wanted = exercises.cut(write.read(path))
    assert copy.read_text(encoding="utf-8") == write.text(wanted), "run make notebooks"
    assert rules.dead_links(wanted, copy.parent) == []


def test_no_copy_is_left_of_a_notebook_that_is_gone():
    assert [path.name for path in COPIES] == [path.name for path in NOTEBOOKS]
