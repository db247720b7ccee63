"""The settings with no state behind them: for type checks, and for making migrations."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("TKLBAM_HUB_STATE", tempfile.gettempdir() + "/tklbam-hub-checks")
os.environ.setdefault("TKLBAM_HUB_SECRET_KEY", "not a secret: nothing is served with these settings, only looked at")
os.environ.setdefault("TKLBAM_HUB_MASTER_KEY", "not a secret: nothing is stored with these settings, only looked at")

from tklbam_hub.settings import *  # noqa: F403
