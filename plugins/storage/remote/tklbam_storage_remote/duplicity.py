"""The duplicity that is installed, as far as its back ends matter: its Python, and what that has."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from tklbam_core.api import CommandError, TargetError, run

_PROBE = (
    "import importlib.util, sys\n"
    "def there(name):\n"
    "    try:\n"
    "        return importlib.util.find_spec(name) is not None\n"
    "    except ImportError:\n"
    "        return False\n"
    "print(*[name for name in sys.argv[1:] if not there(name)])\n"
)


def program() -> Path | None:
    """The duplicity beside this Python, else the one on PATH."""
    beside = Path(sys.executable).with_name("duplicity")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("duplicity")
    return Path(found) if found else None


def interpreter() -> str:
    """The Python that runs it, from the script's first lines. Raises TargetError."""
    found = program()
    if found is None:
        raise TargetError("duplicity is not installed", "Install duplicity 2 or newer.")
    with found.open("rb") as script:
        head = script.read(1024).decode("utf-8", "replace").splitlines()
    words = head[0].removeprefix("#!").split() if head and head[0].startswith("#!") else []
    if words and words[0].endswith("/env"):
        words = [shutil.which(words[-1]) or ""]
    if words and re.fullmatch(r"python[\d.]*", Path(words[0]).name):
        return words[0]
    # Long paths do not fit into a first line; installers then write a line of shell that names the Python.
    longer = re.search(r"exec'? [\"']?(/[^\"' ]*python[\d.]*)", "\n".join(head))
    if longer is None:
        raise TargetError(f"{found} does not say which Python runs it", "Install duplicity again.")
    return longer[1]


def missing_modules(names: Iterable[str]) -> list[str]:
    """Which of these that Python does not have. Raises TargetError."""
    wanted = list(names)
    try:
        answer = run([interpreter(), "-c", _PROBE, *wanted])
    except CommandError as error:
        raise TargetError(f"duplicity's Python does not work: {error.what}", "Install duplicity again.") from error
    return answer.stdout.decode().split()
