"""Prints the credentials that a running TKLBAM hands out, in the form that AWS's `credential_process` is read in.

Run by path with nothing but the standard library (`python -I -S ask.py NAME`), by duplicity's boto3: it starts at once.
NAME is the abstract socket of `agent.py`; a secret never stands in the arguments.
"""

from __future__ import annotations

import json
import socket
import sys

PATIENCE = 120
"""Seconds: fresh credentials may have to come from afar."""


def main(name: str) -> int:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(PATIENCE)
        try:
            connection.connect(f"\0{name}")
            answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        except OSError as error:
            return _fail(f"the credentials could not be asked for: {error}")
    text = json.loads(answer or b'{"error": "the run that hands out the credentials has ended"}')
    if "error" in text:
        return _fail(text["error"])
    sys.stdout.write(json.dumps(text))
    return 0


def _fail(why: str) -> int:
    sys.stderr.write(f"{why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
