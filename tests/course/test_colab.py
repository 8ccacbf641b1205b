import subprocess
import sys
from importlib import metadata

from mammo_utils.course import colab


def test_of_the_real_list_nothing_is_missing_here_and_kept_packages_are_never_asked_for():
    assert colab.missing(metadata.requires("mammo-utils")) == []
    assert colab.missing([f"{name}>=999" for name in colab.KEPT]) == []
    assert colab.missing(["No_Such.Thing", "ruff"]) == ["No_Such.Thing"]


def test_names_are_compared_as_the_index_does():
    assert colab.missing(["Scikit_Learn", "scikit.image", "Lightning-Fabric>=1"]) == []


def test_the_module_loads_without_any_package():
    code = (
        "import sys; before = set(sys.modules); import mammo_utils.course.colab;"
        "print({n.split('.')[0] for n in set(sys.modules) - before} - set(sys.stdlib_module_names))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "{'mammo_utils'}"


def run_cell(source, before, cwd):
    """What the cell does in IPython after ``before``."""
    code = f"{before}\nfrom IPython.core.interactiveshell import InteractiveShell\n"
    code += f"InteractiveShell.instance().run_cell({source!r}).raise_error()"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=cwd)


def test_the_cell_does_nothing_anywhere_else_and_says_what_to_do_on_colab(tmp_path):
    cell = colab.setup_cell({}, "0.1.0")
    result = run_cell(cell, "", tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    # Away from Colab there is no folder /content, so nothing can be installed here.
    result = run_cell(cell, "import sys; sys.modules['google.colab'] = sys", tmp_path)
    assert "Upload the course with the Files panel" in result.stdout, result.stderr


def test_a_decided_address_is_fetched_at_the_release_tag():
    cell = colab.setup_cell({"Repository": "https://example.org/course"}, "1.2.3")
    assert '"git+https://example.org/course@v1.2.3"' in cell
    assert "--no-deps" in cell
