"""The command's words: sessions in tests/cli/*.txt, run from the root of the repository.

A session is lines "$ infold …" (or other commands, by the shell), each followed by what it prints: standard output, then
lines of standard error after "! ", then "[N]" when the exit code is N rather than 0. "[..]" stands for any text within a
line, a line "..." for any lines. $TMP is a folder of the session's own, empty at first. INFOLD_UPDATE=1 writes what
is printed into the sessions, where it does not fit. The examples of README.md and of
docs/batch_normalization.md are sessions, too."""

import os
import pathlib
import re
import subprocess

import pytest

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parents[1]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()


def steps(text):
    """(comment lines, command, expected lines) of each step."""
    found, comments = [], []
    for line in text.splitlines():
        if line.startswith("$ "):
            found.append((comments, line[2:], []))
            comments = []
        elif line.startswith("# ") and (not found or not found[-1][2] or not found[-1][2][-1]):
            comments.append(line)
        elif found:
            found[-1][2].append(line)
    return found


def run(command, tmp, folder=ROOT):
    environment = {**os.environ, "TMP": str(tmp), "COLUMNS": "80", "LC_ALL": "C.UTF-8",
                   "PATH": f"{COMMAND.parent}:{os.environ['PATH']}"}
    done = subprocess.run(command, shell=True, cwd=folder, capture_output=True, text=True, env=environment,
                          stdin=subprocess.DEVNULL, timeout=120)
    lines = done.stdout.splitlines() + ["! " + line for line in done.stderr.splitlines()]
    lines = [line.replace(str(tmp), "$TMP").rstrip() for line in lines]
    return lines + ([f"[{done.returncode}]"] if done.returncode else [])


def line_fits(expected, line):
    return re.fullmatch(".*".join(map(re.escape, expected.split("[..]"))), line) is not None


def fits(expected, lines):
    if not expected:
        return not lines
    if expected[0] == "...":
        return fits(expected[1:], lines) or bool(lines) and fits(expected, lines[1:])
    return bool(lines) and line_fits(expected[0], lines[0]) and fits(expected[1:], lines[1:])


def strip(lines):
    while lines and not lines[-1]:
        lines = lines[:-1]
    return lines


def check(text, tmp, folder=ROOT, blur=lambda line: line):
    """The session as it should read, and what does not fit."""
    written, wrong = [], []
    for comments, command, expected in steps(text):
        expected, lines = strip(expected), strip(run(command, tmp, folder))
        if not fits([blur(line) for line in expected], [blur(line) for line in lines]):
            wrong.append("\n".join([f"$ {command}", "expected:", *expected, "got:", *lines]))
            expected = lines
        written += [*comments, f"$ {command}", *expected, ""]
    return "\n".join(written), wrong


@pytest.mark.parametrize("session", sorted(HERE.glob("*.txt")), ids=lambda p: p.stem)
def test_session(session, tmp_path):
    written, wrong = check(session.read_text(), tmp_path)
    if wrong and os.environ.get("INFOLD_UPDATE"):
        session.write_text(written)
    assert not wrong, "\n\n".join(wrong)


def blur(line):
    """Times and fractions differ from machine to machine and from kernel to kernel."""
    return re.sub(r" +", " ", re.sub(r"-?\d+(\.\d+(e[-+]?\d+)?| ms)", "#", line))


@pytest.mark.parametrize("document", ["README.md", "docs/batch_normalization.md"])
def test_document(document, tmp_path):
    readme, all_wrong = ROOT / document, []
    (tmp_path / "models").symlink_to(ROOT / "models")
    parts = re.split(r"(```console\n.*?```\n)", readme.read_text(), flags=re.S)
    assert len(parts) > 3, f"{document} has examples"
    for i in range(1, len(parts), 2):
        session = parts[i].removeprefix("```console\n").removesuffix("```\n")
        text, wrong = check(session, tmp_path, tmp_path, blur)
        parts[i] = f"```console\n{text.rstrip()}\n```\n"
        all_wrong += wrong
    if all_wrong and os.environ.get("INFOLD_UPDATE"):
        readme.write_text("".join(parts))
    assert not all_wrong, "\n\n".join(all_wrong)
