"""Every header compiles alone; the public one as C99 and as C++ as well.

usage: check_headers.py SOURCE_DIR CC CXX FLAG…"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

root, cc, cxx, flags = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
PUBLIC = root / "include/infold/infold.h"
C11 = ["-std=gnu11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-unused-const-variable",
       "-Wno-psabi", "-Wno-missing-field-initializers"]


def compile_alone(job):
    compiler, language, options, header = job
    done = subprocess.run([compiler, *options, "-fsyntax-only", "-x", language, "-"], text=True, capture_output=True,
                          input=f'#include "{header}"\n')
    return "" if done.returncode == 0 else f"{header.relative_to(root)} as {language}:\n{done.stderr.strip()}"


jobs = [(cc, "c", [*C11, *flags], h) for h in sorted(root.glob("src/**/*.h"))]
jobs.append((cc, "c", ["-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Werror"], PUBLIC))
if cxx:
    jobs.append((cxx, "c++", ["-std=c++11", "-pedantic-errors", "-Wall", "-Wextra", "-Werror"], PUBLIC))
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    found = [e for e in pool.map(compile_alone, jobs) if e]
print("\n".join(found) or f"{len(jobs)} headers compile alone")
sys.exit(bool(found))
