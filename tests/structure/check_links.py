"""Links in Markdown files lead to files that exist, and to headings that they have; paths in them exist, too.

usage: check_links.py ROOT"""

import pathlib
import re
import sys

FOLDERS = "bench|cmake|docs|fuzz|include|models|passes|proto|python|src|tests|tools"
PLACEHOLDER = re.compile(r"FAMILY|verb_object")


def anchors(path):
    """Headings as GitHub names them."""
    headings = re.findall(r"^#+ (.*)$", path.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}


def broken(root, document):
    text = document.read_text()
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document.parent / path if path else document
        if not target.exists() or (anchor and anchor not in anchors(target)):
            yield f"the link {link} leads nowhere"
    for path in re.findall(rf"(?<![\w/.])(?:{FOLDERS})/[\w./*-]*\w", text):
        if not PLACEHOLDER.search(path) and not any(root.glob(path)) and not any(root.glob(path + "*")):
            yield f"there is no {path}"


def main():
    root = pathlib.Path(sys.argv[1]).resolve()
    documents = [*root.glob("*.md"), *root.glob("docs/*.md"), root / "models/README.md"]
    wrong = [f"{d.relative_to(root)}: {what}" for d in documents for what in broken(root, d)]
    print("\n".join(wrong) or "every link fits")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
