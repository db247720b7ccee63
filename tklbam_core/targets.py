"""Where backups can go: the kinds of addresses that the storage plugins serve, as they describe themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .api.errors import PluginError, TklbamError
from .api.models import SchemeInfo
from .plugins import Plugin, Plugins, find

STORAGE_PLUGINS: Mapping[str, str] = {
    "file": "tklbam-storage-local",
    "s3": "tklbam-storage-s3",
    **dict.fromkeys(
        (
            "sftp", "ssh", "scp", "rsync", "ftp", "ftps", "ftpes", "lftp+sftp", "imap", "imaps", "webdav", "webdavs",
            "swift", "cf+http", "rclone",
            *("azure", "b2", "box", "dpbx", "gdrive", "pydrive", "gdocs", "idrived", "jottacloud", "mf", "onedrive"),
            *("ad", "pca", "fish", "paramiko+sftp", "paramiko+scp", "pexpect+sftp", "pexpect+scp", "ncftp+ftp"),
            *("lftp+ftp", "lftp+ftps", "lftp+ftpes", "lftp+fish", "lftp+webdav", "lftp+webdavs"),
            *("lftp+http", "lftp+https", "pydrive+gdocs"),
        ),
        "tklbam-storage-remote",
    ),
}  # fmt: skip
"""Which distribution serves a scheme: to say what to install, nothing is imported by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One kind of address. `info` is None where the plugin does not describe it."""

    name: str
    distribution: str
    version: str
    info: SchemeInfo | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Schemes:
    """What can be stored to. `absent` are schemes (→ distribution) whose plugin is not installed; `problems` a line for
    each plugin that failed to describe itself."""

    found: tuple[Scheme, ...]
    absent: Mapping[str, str]
    problems: tuple[str, ...] = ()


def survey_schemes(plugins: Plugins) -> Schemes:
    """Asks every storage plugin. One that can't be loaded is among the problems of `plugins`; no network is used."""
    schemes: list[Scheme] = []
    problems: list[str] = []
    for kin in _by_object(plugins.load("storage")):
        try:
            described = _described(kin[0], plugins)
        except TklbamError as error:
            problems.append(error.what)
            described = []
        by_name = {plugin.name: plugin for plugin in kin}
        for info in described:
            plugin = by_name.get(info.scheme, kin[0])
            schemes.append(
                Scheme(name=info.scheme, distribution=plugin.distribution, version=plugin.version, info=info)
            )
        told = {form.partition(":")[0] for info in described for form in info.forms} | {i.scheme for i in described}
        schemes += [
            Scheme(name=plugin.name, distribution=plugin.distribution, version=plugin.version)
            for plugin in kin
            if plugin.name not in told
        ]
    installed = {plugin.name for plugin in find(["storage"])} | {scheme.name for scheme in schemes}
    distributions = {plugin.distribution for plugin in find(["storage"])}
    absent = {
        scheme: distribution
        for scheme, distribution in STORAGE_PLUGINS.items()
        if scheme not in installed and distribution not in distributions
    }
    return Schemes(found=tuple(sorted(schemes, key=_order)), absent=absent, problems=tuple(problems))


def _order(scheme: Scheme) -> tuple[int, str]:
    known = list(STORAGE_PLUGINS)
    return (known.index(scheme.name) if scheme.name in known else len(known), scheme.name)


def _by_object(plugins: Sequence[Plugin]) -> list[list[Plugin]]:
    """One object may serve several schemes, under a name each."""
    kin: dict[str, list[Plugin]] = {}
    for plugin in plugins:
        kin.setdefault(plugin.value, []).append(plugin)
    return list(kin.values())


def _described(plugin: Plugin, plugins: Plugins) -> list[SchemeInfo]:
    """Raises PluginError, which names the plugin."""
    answer = plugins.caller(plugin, "tklbam_storage_schemes")()
    if answer is None:
        return []
    if not isinstance(answer, list | tuple) or not all(isinstance(item, SchemeInfo) for item in answer):
        raise PluginError(
            f"plugin {plugin.label} ({plugin.distribution}) describes its addresses with what is no SchemeInfo",
            "Report this to the plugin's author.",
        )
    return list(answer)
