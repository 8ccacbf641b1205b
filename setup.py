"""Only what pyproject.toml cannot say: a wheel carries data/weights and data/results inside the package."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithShippedFiles(build_py):
    def run(self):
        super().run()
        if self.editable_mode:  # a clone is read in place, see mammo_utils.profile.shipped
            return
        for kind in ("weights", "results"):
            for file in sorted(Path("data", kind).rglob("*")):
                if file.is_file():
                    target = Path(self.build_lib, "mammo_utils", "shipped", file.relative_to("data"))
                    self.mkpath(str(target.parent))
                    self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithShippedFiles})
