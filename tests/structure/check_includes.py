"""Data goes one way: which folder of the source may include which, held to the files.

usage: check_includes.py SOURCE_DIR"""
import pathlib
import re
import sys

LOW = {"base", "tensor"}
# What a folder may include besides itself and the C library; "*" is everything.
ALLOWED = {
    "base": set(),
    "tensor": {"base"},
    "ir": LOW | {"ops/schema.h", "ops/op.h"},  # a node is resolved to its schema and row
    "io": LOW | {"ir", "onnx.pb-c.h"},
    "kernels": LOW,
    "ops": LOW | {"ir", "kernels"},
    "pass": LOW | {"ir", "ops"},
    "passes": LOW | {"ir", "ops", "pass"},
    "plan": LOW | {"ir", "ops", "kernels"},
    "exec": LOW | {"kernels", "plan"},
    "inspect": LOW | {"ir", "ops", "plan"},
    "api": {"*"},
    "verify": {"*"},  # runs sessions, as a user does
    "recalibrate": {"*"},  # the same
    "cli": {"infold/infold.h", "cli.h"},
}
# Libraries, by the folders that may know of them.
LIBRARIES = {
    "jansson.h": {"inspect", "api", "verify", "recalibrate"},
    "zip.h": {"io"},
    "onnx.pb-c.h": {"io"},
    "protobuf-c/protobuf-c.h": {"io"},
}
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def fits(folder, path):
    allowed = ALLOWED[folder]
    if "*" in allowed or path in allowed or path.split("/")[0] in allowed | {folder}:
        return True
    return "/" not in path and path.endswith(".inc")  # lists that the build makes


def offences(root):
    files = sorted([*root.glob("src/**/*.[ch]"), *root.glob("passes/*.[ch]")])
    assert len(files) > 50, "the source is not there"
    for f in files:
        folder = f.relative_to(root).parts[1 if f.is_relative_to(root / "src") else 0]
        for bracket, path in INCLUDE.findall(f.read_text()):
            if path in LIBRARIES and folder not in LIBRARIES[path]:
                yield f"{f.relative_to(root)} includes {path}, which is for {', '.join(sorted(LIBRARIES[path]))}"
            elif bracket == '"' and not fits(folder, path):
                yield f"{f.relative_to(root)} includes {path}; {folder}/ may include {', '.join(sorted(ALLOWED[folder]))}"


found = list(offences(pathlib.Path(sys.argv[1])))
print("\n".join(found) or "every include fits")
sys.exit(bool(found))
