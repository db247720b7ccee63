"""Writing the audit log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.http import HttpRequest

from tklbam_hub.middleware import client_address

if TYPE_CHECKING:
    from tklbam_hub.accounts.models import Account


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: `name` as it stands in the log, and the IP address it came from, if any."""

    name: str
    address: str = ""


OPERATOR = Actor("operator")


def of_request(request: HttpRequest, name: str = "") -> Actor:
    """The actor behind a request: the named one, or who is signed in."""
    return Actor(name or request.user.get_username() or "nobody", client_address(request))


def record(actor: Actor, action: str, *, account: Account | None = None, subject: str = "", detail: str = "") -> None:
    """Adds an entry, in the transaction of the change that it tells of. `action` is `thing.verb`."""
    from tklbam_hub.audit.models import AuditEntry

    AuditEntry.objects.create(
        account=account,
        actor=actor.name[:200],
        action=action,
        subject=subject[:200],
        address=actor.address or None,
        detail=detail[:500],
    )
