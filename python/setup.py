"""Builds libinfold.so.0 by CMake in the source tree around, for the package to carry; or takes that of INFOLD_LIBRARY."""

import os
import pathlib
import shutil
import subprocess

from setuptools import Distribution, setup
from setuptools.command.build_py import build_py

ROOT = pathlib.Path(__file__).resolve().parent.parent
NAME = "libinfold.so.0"


def library():
    if "INFOLD_LIBRARY" in os.environ:
        return os.environ["INFOLD_LIBRARY"]
    subprocess.run(["cmake", "--preset", "release"], cwd=ROOT, check=True)
    subprocess.run(["cmake", "--build", "--preset", "release", "--target", NAME], cwd=ROOT, check=True)
    return ROOT / "build/release" / NAME


class Build(build_py):
    def run(self):
        super().run()
        found = library()
        if not self.editable_mode:  # an editable package finds that of the tree
            shutil.copyfile(found, pathlib.Path(self.build_lib) / "infold" / NAME)


class ForThisMachine(Distribution):
    def has_ext_modules(self):
        return True


setup(cmdclass={"build_py": Build}, distclass=ForThisMachine)
