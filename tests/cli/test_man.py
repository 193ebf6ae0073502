"""The manual page has every command, option and environment variable that there is, and no others."""

import os
import pathlib
import re
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMMAND = pathlib.Path(os.environ.get("INFOLD", ROOT / "build/release/infold")).resolve()
COMMON = "Options on models"
ABOVE = {"bench": ["run"], "verify": ["optimize"], "recalibrate": ["optimize"]}  # whose options a section refers to


def help_of(*words):
    return subprocess.run([COMMAND, "help", *words], capture_output=True, text=True, check=True).stdout


def options_in(text):
    return set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text))


def page():
    """The text of each section, by title."""
    text = (ROOT / "docs/infold.1").read_text().replace("\\-", "-")
    parts = re.split(r"^\.S[SH] (.*)$", text, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


def test_commands_and_options():
    sections, known = page(), options_in(" ".join(page().values()))
    commands = re.findall(r"^  infold (\w+)", help_of(), re.M)
    assert set(re.findall(r"^\.B infold (\w+)$", sections["SYNOPSIS"], re.M)) | {"version"} == set(commands)
    offered = {c: options_in("\n".join(re.findall(r"^  (-.{29})", help_of(c), re.M))) for c in commands}
    for command in commands:
        told = [sections.get(title, "") for title in [command, COMMON, *ABOVE.get(command, [])]]
        assert offered[command] <= options_in(" ".join(told)), command
    assert known <= set().union(*offered.values())


def test_environment():
    sources = [p.read_text() for p in [*ROOT.glob("src/**/*.c")]]
    asked = {name for text in sources for name in re.findall(r'getenv\("(\w+)"\)', text)}
    assert asked == set(re.findall(r"^\.B ([A-Z_]+)$", page()["ENVIRONMENT"], re.M))
