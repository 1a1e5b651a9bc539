"""`python -m dashboards`: writes the dashboards' JSON and their table in the documentation anew."""

from __future__ import annotations

from dashboards import build, reference


def main() -> None:
    """Write everything that is generated."""
    for path in (*build.write(), reference.write()):
        print(path.relative_to(build.FOLDER.parent))  # noqa: T201 - a script that says what it wrote


main()
