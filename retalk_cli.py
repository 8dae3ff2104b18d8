"""Console script `retalk`: checks that the packages it will import are ours, then runs the command line of
`pipelines`.
"""

from __future__ import annotations

import sys

from retalk_models.installation import ForeignPackageError, check_packages


def main() -> int:
    """Run the command line; exit code 2 if another project's package is found in place of one of ours."""
    try:
        check_packages()
    except ForeignPackageError as problem:
        print(f"retalk: {problem}", file=sys.stderr)
        return 2
    from pipelines.cli.main import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
