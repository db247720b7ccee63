"""Loaded by the Python of a duplicity run (as `sitecustomize`): it reaches the mail server that is meant.

duplicity's back end connects to port 143 or 993 of `IMAP_SERVER`, and its TLS trusts anybody. The name given there
leads nowhere; only here it stands for the server, its port, and verified certificates.
"""

from __future__ import annotations

import builtins
import importlib
import json
import os
import sys
from typing import Any


def install(told: dict[str, Any]) -> None:
    import imaplib
    import ssl

    plain, secure = imaplib.IMAP4.__init__, imaplib.IMAP4_SSL.__init__

    def meant(host: str, port: int) -> tuple[str, int]:
        return (told["host"], told["port"]) if host == told["nowhere"] else (host, port)

    def connect(self: imaplib.IMAP4, host: str = "", port: int = 143, *more: Any, **words: Any) -> None:
        plain(self, *meant(host, port), *more, **words)

    def connect_safely(self: imaplib.IMAP4_SSL, host: str = "", port: int = 993, *more: Any, **words: Any) -> None:
        words["ssl_context"] = ssl.create_default_context(cafile=told["ca_file"] or None)
        secure(self, *meant(host, port), *more, **words)

    builtins.log = Log()  # type: ignore[attr-defined]
    # IMAP4_SSL's own initialisation calls IMAP4's, by then with the server that is meant.
    imaplib.IMAP4.__init__ = connect  # type: ignore[method-assign]
    imaplib.IMAP4_SSL.__init__ = connect_safely  # type: ignore[method-assign]


class Log:
    """duplicity 3.2's back end for mail uses its module `log` and forgets to import it: a name that is not found in a
    module is looked for among the built-in ones, and there it is this."""

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module("duplicity.log"), name)


def hand_on() -> None:
    """Whatever else calls itself `sitecustomize` on this system still gets its turn."""
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [place for place in sys.path if os.path.abspath(place) != here]
    sys.modules.pop("sitecustomize", None)
    try:
        import sitecustomize  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        return


if "TKLBAM_MAIL" in os.environ:
    install(json.loads(os.environ["TKLBAM_MAIL"]))
    hand_on()
