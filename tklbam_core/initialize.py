"""Initialising: link an account → profile → key → secret. Read it from `initialize` down.

The secret is written last and is what "initialised" means: killed before it, the next run makes up what is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from .api.errors import KeyPacketError, NotInitializedError, PluginError, TklbamError, UsageError
from .api.models import Account
from .api.progress import Progress, silent
from .host import Host
from .hub_account import hub_location
from .keys import packet
from .keys.secret import new_secret
from .plugins import Plugins
from .profiles import EnsuredProfile, ensure_profile
from .registry import Registry

HUB_PLUGIN = "tklbam-profiles-hub"


class AlreadyInitializedError(NotInitializedError):
    """There is a secret already, and nothing else was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitRequest:
    """What the administrator asked for. `force` does all over again but never makes a new secret; `wanted` is
    `--force-profile`, `configured` the `force-profile` of the configuration."""

    api_key: str | None = None
    solo: bool = False
    force: bool = False
    wanted: str | None = None
    configured: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Initialized:
    """What was done. `new_secret`: one was made; `protected`: the key has a passphrase; `linked`: there is an
    account."""

    profile: EnsuredProfile
    new_secret: bool
    protected: bool
    linked: bool


def initialize(
    request: InitRequest,
    host: Host,
    registry: Registry,
    plugins: Plugins,
    *,
    note: Callable[[str], None],
    warn: Callable[[str], None],
    progress: Progress = silent,
) -> Initialized:
    """Makes a system ready for its first backup. The caller holds the lock of the root.

    Raises AlreadyInitializedError, UsageError (neither an API key nor `solo`), PluginError (no Hub plugin),
    ProfileError, TklbamError. What was there before stays in force whatever goes wrong.
    """
    check_request(request, registry)
    account = _link(request, host, registry, plugins, note)
    profile = ensure_profile(
        host,
        registry,
        plugins,
        wanted=request.wanted or request.configured,
        renew=request.force or request.wanted is not None,
        note=note,
        warn=warn,
        progress=progress,
    )
    made = _make_keys(registry)
    key = registry.key_packet
    return Initialized(
        profile=profile,
        new_secret=made,
        protected=key is not None and packet.is_protected(key),
        linked=account is not None,
    )


def check_request(request: InitRequest, registry: Registry) -> None:
    """Whether the request makes sense on this system. Changes nothing; raises what `initialize` would."""
    if request.api_key and request.solo:
        raise UsageError("an API key links this system to a Hub, --solo keeps it without one", "Give one of the two.")
    ready = registry.secret is not None and registry.key_packet is not None and registry.profile is not None
    linking = request.api_key is not None and registry.account is None
    if ready and not linking and not request.force and request.wanted is None:
        raise AlreadyInitializedError(
            "already initialized", "Use --force to get the profile anew, or --force-profile=… for another one."
        )
    if not request.api_key and not request.solo and registry.account is None and registry.secret is None:
        raise UsageError(
            "say how this system is to be backed up",
            "With a Hub account: tklbam init API-KEY (the key is on your profile page). With storage of your own and "
            "no Hub: tklbam init --solo",
        )


def _link(
    request: InitRequest, host: Host, registry: Registry, plugins: Plugins, note: Callable[[str], None]
) -> Account | None:
    if not request.api_key:
        return registry.account
    if not plugins.load("records"):
        raise PluginError(
            "an API key needs a Hub plugin, and none is installed",
            f"Install {HUB_PLUGIN}, or use --solo to do without a Hub.",
        )
    hub = hub_location(host, registry)
    account: Account | None = plugins.first("records", "tklbam_records_link", api_key=request.api_key, hub=hub)
    if account is None:
        raise PluginError("no Hub plugin takes this API key", "Check it on your profile page.")
    registry.write_account(replace(account, hub=hub))
    registry.forget_credentials()
    note("linked to the Hub account")
    return account


def _make_keys(registry: Registry) -> bool:
    """Makes what is missing of key and secret; returns whether the secret is new. Never replaces either."""
    secret, key = registry.secret, registry.key_packet
    if secret is not None:
        if key is None:
            registry.write_key_packet(packet.seal(secret, ""))
        return False
    if key is not None:
        registry.keep_secret(_secret_in(key, registry))
        return False
    secret = new_secret()
    registry.write_key_packet(packet.seal(secret, ""))
    registry.keep_secret(secret)
    return True


def _secret_in(key: bytes, registry: Registry) -> str:
    place = registry.directory / "key"
    try:
        secret = packet.opens_without_passphrase(key)
    except KeyPacketError as error:
        raise KeyPacketError(
            f"{place}: {error.what}", "Move it away if no backup depends on it, then run init again."
        ) from error
    if secret is None:
        raise TklbamError(
            f"{place} is there, protected by a passphrase, but the secret it holds is not",
            "It may open older backups: keep it safe elsewhere, remove it here, then run init again.",
        )
    return secret
