import json
import subprocess
import sys

from mammo_utils.course import exercises, rules, write


def test_no_word_of_a_solution_is_left_and_the_names_stay():
    source = '''\
import numpy as np  # a hint

def dice(
    a: np.ndarray, b: np.ndarray, *, empty: float = 1.0
) -> float:
    """Overlap of two masks.

    Both are bool.
    """
    secret = (a & b).sum()
    return secret

def area(mask):
    # the secret is to sum
    return secret_sum(mask)

low, high = secret_quantiles(image)
threshold: float = 0.123456
image[0] = secret
print("secret")'''
    assert (
        exercises.placeholder(source)
        == '''\
def dice(
    a: np.ndarray, b: np.ndarray, *, empty: float = 1.0
) -> float:
    """Overlap of two masks.

    Both are bool.
    """
    ...  # your turn

def area(mask):
    ...  # your turn

low = ...  # your turn
high = ...  # your turn
threshold = ...  # your turn'''
    )
    assert exercises.placeholder("image[0] = 2") == "# your turn"


def test_a_copy_has_no_outputs_and_no_solution_and_the_master_is_untouched(example):
    before = json.dumps(example)
    copy = exercises.cut(example)
    assert json.dumps(example) == before
    assert [cell["id"] for cell in copy["cells"]] == [cell["id"] for cell in example["cells"]]
    code = [cell for cell in copy["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    changed = [
        (a, b) for a, b in zip(example["cells"], copy["cells"], strict=True) if a["source"] != b["source"]
    ]
    solution, links = changed[1], changed[0]
    assert len(changed) == 2
    assert "return int" in solution[0]["source"]
    assert "return" not in solution[1]["source"]
    assert "(../../data/table.csv)" in links[1]["source"]
    assert "(00_start.ipynb#top)" in links[1]["source"]
    assert "(https://example.org)" in links[1]["source"]


def test_links_of_the_copy_hold_from_its_own_folder(folder, example):
    copies = folder / "exercises"
    copies.mkdir(exist_ok=True)
    (copies / "00_start.ipynb").touch()
    assert rules.dead_links(exercises.cut(example), copies) == []
    assert rules.dead_links(example, copies) != []


def test_a_copy_runs_and_each_check_asks_for_an_answer(folder, example):
    ran = write.run(exercises.cut(example), folder=folder)
    said = "".join(output["text"] for output in ran["cells"][8]["outputs"])
    assert said == (
        "your turn: area returns nothing yet. Hint: sum the mask\n"
        "your turn: the doubled area has no answer yet. Hint: twice the area\n"
    )


def test_checks_say_right_in_the_master(example):
    said = "".join(output["text"] for output in example["cells"][8]["outputs"])
    assert said == "right: area\nright: the doubled area\n"


def test_figures_of_a_notebook_become_files(folder, tmp_path):
    command = [sys.executable, "-m", "mammo_utils.course.figures", tmp_path, folder / "01_example.ipynb"]
    subprocess.run(command, check=True, capture_output=True)
    (picture,) = tmp_path.iterdir()
    assert picture.name == "01_example_1.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
