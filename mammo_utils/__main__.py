"""``python -m mammo_utils COMMAND``: what takes too long, or too many files, for a notebook."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

if not __package__:  # `fabric run` starts a script by its path: this folder would hide Python's own profile
    sys.path[0] = str(Path(__file__).resolve().parents[1])

# Each module offers arguments(parser) and main(options) -> exit status or None.  It is imported only when its
# command is called, so that help costs no import of torch.
COMMANDS = {
    "doctor": ("mammo_utils.doctor", "say what is installed and found here, and what to do about the rest"),
    "show": ("mammo_utils.show.command", "draw how files of your own are read and prepared"),
    "prepare": ("mammo_utils.data.command", "read, split and cache a data set"),
    "train": (
        "mammo_utils.study.train_command",
        "train and score a segmenter, a screening or a histology system on a data set or your own folders",
    ),
    "pretrain": (
        "mammo_utils.study.pretrain_command",
        "train an encoder on images without labels, or on fractals",
    ),
    "recipe": (
        "mammo_utils.study.recipe_command",
        "the published density recipe end to end, on phantoms or on real folders",
    ),
    "encoder": ("mammo_utils.study.encoder_command", "make an encoder that comes with the course once more"),
    "screener": (
        "mammo_utils.study.screener_command",
        "write the screening classifier that comes with the course, from a run of its study",
    ),
    "density": (
        "mammo_utils.study.density_command",
        "percent density, class and interval of your own mammograms, or why there are none",
    ),
    "gauge": (
        "mammo_utils.study.gauge_command",
        "make the file of the density tool that comes with the course",
    ),
    "maps": (
        "mammo_utils.study.maps_command",
        "score heat maps of the screening classifier on phantom women",
    ),
    "clinic": (
        "mammo_utils.study.clinic_command",
        "list what the screening classifier and the density tool say of women at two sites",
    ),
    "film": ("mammo_utils.study.film", "compare what phantom women bring for a few labelled films"),
    "phantom": ("mammo_utils.study.command", "measure the phantom's statistics and controls"),
    "examples": ("mammo_utils.study.examples", "list what the trained arms of a study say of single images"),
    "study": ("mammo_utils.study.runs_command", "run, resume or check a study of settings and seeds"),
    "claims": (
        "mammo_utils.study.claims_command",
        "judge every claim of the published works by the tables of results",
    ),
    "figures": (
        "mammo_utils.study.exhibits_command",
        "write every figure and table of the published works that the tables of results are enough for",
    ),
}


def main(arguments: list[str] | None = None) -> int:
    """Run the command named in ``arguments`` (by default those of the process) and return its exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = argparse.ArgumentParser("python -m mammo_utils", description="Teaching and research only.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {}
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary)
        if arguments[:1] == [name]:
            modules[name] = import_module(module)
            modules[name].arguments(command)
    options = parser.parse_args(arguments)
    return modules[options.command].main(options) or 0


if __name__ == "__main__":
    sys.exit(main())
