"""The whole command: `tklbam restore` of 20,000 files, kept to be undone, and of one of them; against restic's."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from tests.bench.engine import SECRET, make_tree, size_of
from tests.bench.timing import paired_ratio, timed

TKLBAM = str(Path(sys.executable).parent / "tklbam")
ROUNDS = 3
MAX_ALL, MAX_ONE = 3.0, 3.0


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        root = base / "root"
        changed = make_tree(root)
        shutil.rmtree(root / "TKLBAM")
        restic = {"RESTIC_PASSWORD": SECRET, "RESTIC_REPOSITORY": str(base / "restic"), "RESTIC_CACHE_DIR": f"{base}/c"}
        timed(["restic", "init", "-q"], restic)
        timed(["restic", "backup", "-q", str(root / "srv")], restic)
        address = f"file://{base}/store"
        timed([TKLBAM, "init", "--solo", "--force-profile=empty", "--root", str(root)])
        timed([TKLBAM, "backup", "--address", address, "--root", str(root), "/srv"])
        ours = [TKLBAM, "restore", "--address", address, "--secretfile", str(root / "var/lib/tklbam/secret"), "--root"]
        theirs = ["restic", "restore", "-q", "latest", "--target"]
        one = "/" + changed[len(changed) // 2]
        for what, mine, other, allowed in (
            ("all files", [], [], MAX_ALL),
            ("one file", ["--limits", one], ["--include", f"{root}{one}"], MAX_ONE),
        ):
            # What is restored stays until all is done: some file systems are slow where much was just removed.
            times: list[list[float]] = [[], []]
            for number in range(ROUNDS):
                for side, (words, more, environment) in enumerate(((ours, mine, {}), (theirs, other, restic))):
                    place = base / f"{what}-{side}-{number}"
                    (place / "etc").mkdir(parents=True)
                    times[side].append(timed([*words, str(place), *more], environment))
                    expected = (root / one[1:]).stat().st_size if mine else size_of(root / "srv")
                    found = place / "srv" if side == 0 else Path(f"{place}{root}/srv")
                    assert size_of(found) == expected
            print(
                f"tklbam restore of {what:9} {min(times[0]):6.2f} s, restic {min(times[1]):6.2f} s, "
                f"ratio {paired_ratio(*times):.2f} (median of {ROUNDS}, allowed {allowed})"
            )


if __name__ == "__main__":
    run()
