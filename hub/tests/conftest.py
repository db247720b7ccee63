"""One real Hub a test process, and its models in the tests' own process, set up when first asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.hub_client import HubClient
from tests.hub_server import HubServer, hub_server

if TYPE_CHECKING:
    from tklbam_hub.accounts.models import Account

MakeClient = Callable[..., HubClient]


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubServer]:
    """A running Hub that all tests of a process share: each makes accounts of its own."""
    # Fuzzing and tests of refusals send more wrong keys than an honest address would.
    with hub_server(tmp_path_factory.mktemp("hub"), TKLBAM_HUB_KEY_FAILURES="1000000") as server:
        yield server


@pytest.fixture(scope="session")
def models(hub: HubServer) -> None:
    """Makes `tklbam_hub`'s models usable in this process; they look at the running Hub's database."""
    with pytest.MonkeyPatch.context() as patch:
        for name in list(os.environ):
            if name.startswith(("TKLBAM_HUB_", "DJANGO_", "DATABASE_URL")):
                patch.delenv(name)
        for name in ("TKLBAM_HUB_STATE", "TKLBAM_HUB_URL"):
            patch.setenv(name, hub.environment[name])
        patch.setenv("DJANGO_SETTINGS_MODULE", "tklbam_hub.settings")
        import django
        from django.conf import settings

        # The logging of other tests in this process stays as it is.
        settings.LOGGING_CONFIG = None
        django.setup()


@pytest.fixture
def rollback(models: None) -> Iterator[None]:
    """For tests that call the code itself: what they write is gone afterwards."""
    from django.db import transaction

    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def make_account(models: None, request: pytest.FixtureRequest) -> Callable[..., Account]:
    """A function that makes an account named after the test."""
    from tklbam_hub.accounts.models import Account

    made: list[str] = []

    def make(**fields: object) -> Account:
        name = f"{request.node.name[:100]}-{os.getpid()}-{len(made)}".replace("[", "-").replace("]", "-")
        made.append(name)
        return Account.objects.create(username=name, **fields)

    return make


@pytest.fixture
def make_client(hub: HubServer, make_account: Callable[..., Account]) -> MakeClient:
    """A function that links a server to a new account (or the given one) and returns what it speaks to the Hub with."""
    from tklbam_hub.accounts import keys
    from tklbam_hub.audit.log import OPERATOR

    def make(account: Account | None = None, *, own_records_only: bool = False, **fields: object) -> HubClient:
        account = account or make_account(**fields)
        key, text = keys.create(account, "a server", OPERATOR, own_records_only=own_records_only)
        client = HubClient(hub.api_url, api_key=text)
        client.account, client.key = account, key
        client.link()
        return client

    return make


@pytest.fixture
def client(make_client: MakeClient) -> HubClient:
    return make_client()


@pytest.fixture
def archive(tmp_path: Path) -> bytes:
    """A profile archive of the least that makes one."""
    from tests.hub_client import profile_archive

    return profile_archive({"dirindex.conf": b"/etc\n", "dirindex": b"", "packages": b"base-files\n"})
