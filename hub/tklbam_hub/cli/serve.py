"""The server: gunicorn with threads, in one command."""

from __future__ import annotations

import os
from typing import Any

import click

from tklbam_hub.cli import django_setup

# A request of a server that waits for cloud credentials may take this long; the database's patience is below it.
TIMEOUT = 60
GRACE = 30


@click.command()
@click.option("--bind", default="127.0.0.1:8000", show_default=True, help="HOST:PORT, [HOST]:PORT or unix:/path.")
@click.option("--workers", type=click.IntRange(min=1), help="Processes; as many as cores, at most 4, by default.")
@click.option("--threads", type=click.IntRange(min=1), default=8, show_default=True, help="Threads of each process.")
@click.option("--no-migrate", is_flag=True, help="Leave the database's form as it is.")
@click.option("--access-log", is_flag=True, help="Write a line a request to standard output.")
def serve(bind: str, workers: int | None, threads: int, no_migrate: bool, access_log: bool) -> None:
    """Serve the API and the console until SIGTERM, which lets running requests end.

    Without TLS: for more than this machine put a proxy in front (docs/hub.md).
    """
    if no_migrate:
        django_setup.ready()
    else:
        django_setup.open_database()
    from django.conf import settings
    from django.db import connections
    from gunicorn.app.base import BaseApplication

    from tklbam_hub.accounts.models import Account

    if not no_migrate and not Account.objects.exists():
        click.echo("no account yet: make one with `tklbam-hub init NAME file:///srv/backups`", err=True)
    connections.close_all()

    class Server(BaseApplication):  # type: ignore[misc]
        """gunicorn, told what to do by us alone: no configuration file, no arguments of its own."""

        def load_config(self) -> None:
            for name, value in options(bind, workers, threads, access_log).items():
                if name in self.cfg.settings:
                    self.cfg.set(name, value)

        def load(self) -> Any:
            from tklbam_hub.wsgi import application

            return application

    click.echo(f"serving {settings.PUBLIC_URL} at {bind}", err=True)
    Server().run()


def options(bind: str, workers: int | None, threads: int, access_log: bool) -> dict[str, Any]:
    """gunicorn's settings; those that its version does not know are left out."""
    return {
        "bind": [bind],
        "workers": workers or min(4, os.cpu_count() or 1),
        "threads": threads,
        "worker_class": "gthread",
        "timeout": TIMEOUT,
        "graceful_timeout": GRACE,
        "keepalive": 5,
        "backlog": 1024,
        "limit_request_line": 8190,
        "limit_request_fields": 60,
        "accesslog": "-" if access_log else None,
        # Without the query, in which an API key may stand.
        "access_log_format": '%(h)s %(t)s "%(m)s %(U)s" %(s)s %(b)s %(M)sms',
        "errorlog": "-",
        "loglevel": "warning",
        "proc_name": "tklbam-hub",
        # Our own middleware decides whom to believe about the client's address and TLS; nobody names the path but the
        # request's own line.
        "forwarded_allow_ips": "",
        "secure_scheme_headers": {},
        "forwarder_headers": "",
        # Heartbeats go to memory, not to a disk that may be busy.
        "worker_tmp_dir": "/dev/shm" if os.access("/dev/shm", os.W_OK) else None,
        "control_socket_disable": True,
    }
