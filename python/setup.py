"""Builds libinfold.so.0 by CMake in the source tree around, for the package to carry; or takes that of INFOLD_LIBRARY.
infold.h is read for it now (infold/_header.py): by each process that would take longer than most sessions."""

import os
import pathlib
import runpy
import shutil
import subprocess

from setuptools import Distribution, setup
from setuptools.command.bdist_wheel import bdist_wheel
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
            package = pathlib.Path(self.build_lib) / "infold"
            shutil.copyfile(found, package / NAME)
            header = runpy.run_path(str(ROOT / "python/infold/_header.py"))
            header["write"](str(package / "_ffi.py"))


class ForThisMachine(Distribution):
    def has_ext_modules(self):
        return True


class Wheel(bdist_wheel):
    """The library is the machine's; nothing is of one version of Python, for cffi reads _ffi.py as it is."""

    def get_tag(self):
        return "py3", "none", super().get_tag()[2]


setup(cmdclass={"build_py": Build, "bdist_wheel": Wheel}, distclass=ForThisMachine)
