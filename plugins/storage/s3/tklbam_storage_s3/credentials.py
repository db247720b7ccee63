"""Whose credentials are used: those handed over (by a Hub, a file or the address), else what boto3 finds by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tklbam_core.api import TargetError

PROVIDE = (
    "Put them into the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), ~/.aws/credentials "
    "or the credentials file."
)

PAUSE = timedelta(minutes=1)
"""Between two askings for fresh keys, while those that are here last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Keys:
    """One set of credentials. `expires` is None for those that last."""

    access_key: str
    secret_key: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    expires: datetime | None = None

    def metadata(self) -> dict[str, str | None]:
        """As botocore's refreshable credentials want it."""
        expires = self.expires.isoformat() if self.expires else None
        return {
            "access_key": self.access_key,
            "secret_key": self.secret_key,
            "token": self.token,
            "expiry_time": expires,
        }


def read_keys(given: Mapping[str, str], address: str) -> Keys | None:
    """What a Hub (fields by its own names) or a credentials file handed over; None where that is nothing.

    Raises TargetError where something of it is missing.
    """
    if not given:
        return None
    values = {name.replace("-", "").replace("_", "").lower(): value for name, value in given.items() if value}
    access, secret = values.get("accesskey"), values.get("secretkey")
    if not access or not secret:
        lacking = "access-key" if not access else "secret-key"
        raise TargetError(f"the credentials for {address} have no {lacking}", "An access-key needs its secret-key.")
    token = values.get("sessiontoken")
    if token is None and "usertoken" in values:
        token = ",".join(values[name] for name in ("usertoken", "producttoken") if name in values)
    for value in (access, secret, token or ""):
        if not value.isprintable() or value != value.strip():
            raise TargetError(f"the credentials for {address} hold characters that no key has", "Write them anew.")
    return Keys(access_key=access, secret_key=secret, token=token, expires=_moment(values.get("expiration"), address))


def _moment(text: str | None, address: str) -> datetime | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        raise TargetError(
            f"the credentials for {address} expire at {text!r}, which is no time",
            "It is written like 2026-11-25T17:00:00Z.",
        ) from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def gather(given: Mapping[str, str], access_key: str, secret_key: str) -> dict[str, str]:
    """What was handed over and what stood in the address, as one. `password` is what the core took out of an address.

    Keys in the address count before others; an access key alone says which of others' secrets is meant.
    """
    rest = dict(given)
    secret_key = rest.pop("password", "") or secret_key
    if not access_key:
        return rest
    if secret_key:
        return {"access-key": access_key, "secret-key": secret_key}
    known = rest.get("access-key", access_key) == access_key
    return {**rest, "access-key": access_key} if known else {"access-key": access_key}


class CredentialSource:
    """Credentials of one target, for all its threads. Nothing is read before they are first needed.

    `renew` answers fresh ones of the same kind as `given`; it is called shortly before the old ones expire.
    """

    def __init__(
        self,
        address: str,
        given: Mapping[str, str],
        renew: Callable[[], Mapping[str, str]] | None,
        session: Callable[[], Any],
    ) -> None:
        self._address = address
        self._keys = read_keys(given, address)
        self._renew = renew
        self._session = session
        self._loading = threading.Lock()
        self._loaded: Any = None
        self._expires = self._keys.expires if self._keys else None
        self._renewed: Keys | None = None
        self._asked = datetime.now(UTC)

    def provide(self, session: Any) -> None:
        """Makes a session use them. Raises TargetError where there are none at all."""
        self.load()
        if self._keys is not None:
            session.register_component("credential_provider", self)

    def load_credentials(self) -> Any:
        """By this name a session asks its provider."""
        return self.load()

    def load(self) -> Any:
        """Botocore's credentials. Raises TargetError where there are none at all."""
        session = None if self._keys else self._session()
        with self._loading:
            if self._loaded is None:
                self._loaded = self._handed_over() if session is None else session.get_credentials()
            if self._loaded is None:
                raise TargetError(f"{self._address}: there are no credentials", PROVIDE)
            return self._loaded

    @property
    def refreshable(self) -> bool:
        """Whether they are replaced while they are in use."""
        from botocore.credentials import RefreshableCredentials

        return isinstance(self.load(), RefreshableCredentials)

    def current(self) -> Keys:
        """The credentials as they are now, renewed first where they must be. Raises TklbamError."""
        frozen = self.load().get_frozen_credentials()
        return Keys(
            access_key=frozen.access_key, secret_key=frozen.secret_key, token=frozen.token, expires=self._expires
        )

    def _handed_over(self) -> Any:
        from botocore.credentials import Credentials, RefreshableCredentials

        keys = self._keys
        assert keys is not None
        if keys.expires is None or self._renew is None:
            return Credentials(keys.access_key, keys.secret_key, keys.token, method="tklbam")
        return RefreshableCredentials.create_from_metadata(keys.metadata(), self._fresh, "tklbam")

    def _fresh(self) -> dict[str, str | None]:
        assert self._renew is not None
        now = datetime.now(UTC)
        renewed = self._renewed
        lasts = renewed is not None and renewed.expires is not None and renewed.expires - now > 2 * PAUSE
        if renewed is not None and lasts and now - self._asked < PAUSE:
            # Keys that never last long would else be asked for with every request.
            return renewed.metadata()
        self._asked = now
        keys = read_keys(self._renew(), self._address)
        if keys is None or keys.expires is None or keys.expires <= datetime.now(UTC):
            raise TargetError(
                f"{self._address}: the credentials have expired and no fresh ones were handed out", "Try again later."
            )
        self._renewed, self._expires = keys, keys.expires
        return keys.metadata()
