"""docs/ops.md lists the operators as the command does. As a program: writes the list anew."""
import pathlib
import subprocess

from nodes import COMMAND, ROOT

PAGE = ROOT / "docs/ops.md"


def current():
    """The page with the list of this build."""
    said = subprocess.run([*COMMAND, "ops", "--markdown"], capture_output=True, text=True, check=True).stdout
    return PAGE.read_text().split("| Operator |")[0] + said


def test_list_is_current():
    assert PAGE.read_text() == current(), f"run {pathlib.Path(__file__).name} as a program"


def test_every_operator_has_a_page():
    names = {line.split(" | ")[0][2:] for line in PAGE.read_text().splitlines() if line.startswith("| ")} - {"Operator"}
    assert len(names) > 200
    for name in ("Conv", "TreeEnsemble", "LabelEncoder", "Adam"):
        assert name in names
        page = subprocess.run([*COMMAND, "ops", name], capture_output=True, text=True, check=True).stdout
        assert f" {name}, version " in page and "  types " in page


if __name__ == "__main__":
    PAGE.write_text(current())
