"""Every other back end of duplicity's, by its own code alone."""

from __future__ import annotations

from tklbam_core.api import EngineAddress

from ..access import passwords
from ..bridge.faults import Store
from ..client import BridgeStore
from .base import Family


class Other(Family):
    def engine(self) -> EngineAddress:
        password = self.access.password()
        return EngineAddress(url=self.address.url(), environment=passwords(password) if password else {})

    def store(self) -> Store:
        return BridgeStore("other", {"url": self.address.url()}, self.engine(), self.access.timeout)
