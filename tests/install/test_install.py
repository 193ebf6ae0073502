"""What is installed serves: the README's C program is built with pkg-config alone, linked either way, and runs."""

import os
import pathlib
import re
import shutil
import subprocess

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
