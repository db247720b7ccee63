"""`make bench`: every measurement, each a ratio of our own to what the system offers, taken in one run."""

from __future__ import annotations

import importlib
import sys

MODULES = ("startup", "scan", "engine", "native", "backup", "restore", "mysql", "postgres", "s3", "hub")


def main(names: list[str]) -> None:
    for name in names or MODULES:
        print(f"\n== {name}", flush=True)
        importlib.import_module(f"tests.bench.{name}").run()


if __name__ == "__main__":
    main(sys.argv[1:])
