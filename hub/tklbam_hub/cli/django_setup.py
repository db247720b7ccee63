"""Getting Django ready inside a command."""

from __future__ import annotations

import os

import click


def ready() -> None:
    """Loads settings and models. A setting that can't be used ends the command with the reason."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tklbam_hub.settings")
    import django

    from tklbam_hub.database import BadDatabaseUrl
    from tklbam_hub.environment import BadSetting

    try:
        django.setup()
    except (BadSetting, BadDatabaseUrl) as error:
        raise click.ClickException(str(error)) from None
    except PermissionError as error:
        raise click.ClickException(f"{error}: run this as the user that the Hub runs as") from None


def migrate() -> None:
    """Brings the database to this version's form; nothing to do is quick."""
    from django.core.management import call_command
    from django.db import OperationalError, connection
    from django.db.migrations.executor import MigrationExecutor

    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            call_command("migrate", interactive=False, verbosity=0)
    except OperationalError as error:
        raise click.ClickException(f"the database can't be used: {str(error).strip()}") from None


def open_database() -> None:
    """Ready, and migrated: every command that looks at data begins so, so that the first of them just works."""
    ready()
    migrate()
