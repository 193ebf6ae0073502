"""What is installed serves: the README's C program is built with pkg-config alone, linked either way, and runs; the Python
package carries its library."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("INFOLD_BUILD", ROOT / "build/release"))

PROGRAM = """
#include <stdio.h>
%s
static float pixels[3 * 32 * 32];
int main(int argc, char **argv) {
  (void)argc;
%s
  printf("%%f\\n", logits[0]);
  return 0;
}
"""


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("install")
    subprocess.run(["cmake", "--install", BUILD, "--prefix", folder], check=True, stdout=subprocess.DEVNULL)
    return folder


def program():
    readme = (ROOT / "README.md").read_text()
    include, body = re.search(r"```c\n(#include[^\n]*)\n(.*?)```", readme, re.S).groups()
    return PROGRAM % (include, body.replace('"net.onnx"', "argv[1]").replace("224, 224", "32, 32"))


@pytest.mark.skipif(not shutil.which("pkg-config"), reason="pkg-config is absent")
@pytest.mark.skipif(bool(os.environ.get("INFOLD_SANITIZE")), reason="sanitized libraries want the program sanitized")
@pytest.mark.parametrize("static", [False, True])
def test_program(prefix, tmp_path, static):
    pc = next(prefix.rglob("infold.pc"))
    environment = {**os.environ, "PKG_CONFIG_PATH": str(pc.parent), "LD_LIBRARY_PATH": str(pc.parent.parent)}
    flags = subprocess.run(["pkg-config", f"--define-variable=prefix={prefix}", "--cflags", "--libs",
                            *["--static"] * static, "infold"], env=environment, check=True, capture_output=True, text=True).stdout.split()
    if static:
        flags = [str(next(prefix.rglob("libinfold.a"))) if f == "-linfold" else f for f in flags]
    (tmp_path / "main.c").write_text(program())
    subprocess.run(["cc", "main.c", "-o", "main", *flags], cwd=tmp_path, check=True)
    done = subprocess.run([tmp_path / "main", ROOT / "models/residual_net/model.onnx"], env=environment, check=True, capture_output=True,
                          text=True)
    assert re.fullmatch(r"-?\d+\.\d+\n", done.stdout) and not done.stderr


@pytest.mark.skipif(bool(os.environ.get("INFOLD_SANITIZE")), reason="a sanitized library is not for an interpreter that is not")
def test_python_package(tmp_path):
    """As `pip install ./python` makes it, where the library of this build need not be made again: a wheel for any Python."""
    environment = {k: v for k, v in os.environ.items() if k not in ("INFOLD_LIBRARY", "PYTHONPATH")}
    pip, words = [sys.executable, "-m", "pip"], ["--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "wheel", *words, "--no-build-isolation", "--wheel-dir", tmp_path / "wheels", ROOT / "python"], check=True,
                   env=environment if BUILD == ROOT / "build/release" else os.environ)
    wheel, = (tmp_path / "wheels").iterdir()
    assert re.fullmatch(rf"infold-.*-py3-none-{re.sub('[-.]', '_', sysconfig.get_platform())}.whl", wheel.name)
    subprocess.run([*pip, "install", *words, "--target", tmp_path, wheel], check=True)
    code = "import infold; print(infold._library.places()[0]); print(infold.Session(__import__('sys').argv[1]).outputs[0].name)"
    done = subprocess.run([sys.executable, "-c", code, ROOT / "models/digits.onnx"], cwd=tmp_path, check=True, capture_output=True,
                          text=True, env=environment)
    assert done.stdout == f"{tmp_path}/infold/libinfold.so.0\nlogits\n"
