"""The whole command: `tklbam backup` of 5,000 changed among 20,000 files, against raw duplicity on the same list."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.bench.engine import make_tree
from tests.bench.timing import timed

BIN = Path(sys.executable).parent
MAX_RATIO = 1.5
ROUNDS = 3


def run() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch)
        root = base / "root"
        changed = set(make_tree(root))
        # A profile in which all but the changed files are pristine.
        (root / "TKLBAM/fsdelta").unlink()
        (root / "TKLBAM").rmdir()
        profile = base / "profile"
        hidden = base / "hidden"
        for path in changed:
            (hidden / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).rename(hidden / path)
        (base / "conf").write_text("/srv\n")
        tklbam = str(BIN / "tklbam")
        timed(
            [
                tklbam,
                "internal",
                "create-profile",
                "--root",
                str(root),
                "--no-packages",
                str(profile),
                str(base / "conf"),
            ]
        )
        for path in changed:
            (hidden / path).rename(root / path)
        timed([tklbam, "init", "--solo", f"--force-profile={profile}", "--root", str(root)])
        (base / "list").write_bytes(b"".join(path.encode() + b"\0" for path in sorted(changed)))
        ours, raw = [], []
        for number in range(ROUNDS):
            address = f"file://{base}/ours-{number}"
            ours.append(timed([tklbam, "backup", "--full-backup", "now", "--address", address, "--root", str(root)]))
            raw.append(
                timed(
                    [
                        str(BIN / "duplicity"),
                        "full",
                        *("--archive-dir", f"{base}/archive-{number}"),
                        *("--null-separator", "--files-from", str(base / "list")),
                        str(root),
                        f"file://{base}/raw-{number}",
                    ],
                    {"PASSPHRASE": "a-benchmark-needs-no-secret-but-a-long-one"},
                )
            )
        ratios = sorted(a / b for a, b in zip(ours, raw, strict=True))
        print(
            f"tklbam backup {min(ours):6.1f} s, raw duplicity {min(raw):6.1f} s, ratio {ratios[len(ratios) // 2]:.2f} "
            f"(median of {ROUNDS}, allowed {MAX_RATIO})"
        )
