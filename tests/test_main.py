import subprocess
import sys

import pytest

from mammo_utils.__main__ import COMMANDS, main


def loaded_after(code):
    """The top-level packages that a fresh interpreter has loaded after ``code``."""
    code += "\nimport sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(result.stdout.splitlines()[-1].split())


def test_help_lists_every_command_and_imports_nothing_heavy():
    code = "from mammo_utils.__main__ import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert not {"torch", "pandas", "numpy", "matplotlib"} & loaded_after(code)
    text = subprocess.run([sys.executable, "-m", "mammo_utils", "-h"], capture_output=True, text=True).stdout
    assert all(f"  {name} " in text for name in COMMANDS)


def test_the_package_imports_neither_torch_nor_pandas():
    assert not {"torch", "pandas"} & loaded_after("import mammo_utils, mammo_utils.profile")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, capsys):
    with pytest.raises(SystemExit) as end:
        main([name, "--help"])
    assert end.value.code == 0
    assert COMMANDS[name][1] in " ".join(capsys.readouterr().out.split())


def test_a_wrong_command_gets_the_list_of_right_ones(capsys):
    with pytest.raises(SystemExit) as end:
        main(["tarin"])
    assert end.value.code == 2
    message = capsys.readouterr().err
    assert all(name in message for name in COMMANDS)
