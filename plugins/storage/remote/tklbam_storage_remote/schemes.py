"""The kinds of addresses: what they are, what they need, and which are not served and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["ssh", "rsync", "lftp", "webdav", "imap", "swift", "rclone", "other"]

LOGIN = "in the address, the credentials file (user, password), or ~/.netrc"
KEYS = "an ssh agent, ~/.ssh/id_*, ssh-key-file, or a password (address, credentials file)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheme:
    """One kind of address. `programs` and `modules` are what must be there: each of them with the name of what brings
    it, (Debian's package or this distribution's extra)."""

    name: str
    kind: Kind
    what: str
    forms: tuple[str, ...]
    options: tuple[str, ...] = ()
    credentials: str = ""
    programs: tuple[tuple[str, str], ...] = ()
    modules: tuple[tuple[str, str], ...] = ()


OPTIONS = {
    "ssh-key-file": "private key to log in with (path)",
    "ssh-known-hosts": "file with the servers' keys, instead of ~/.ssh/known_hosts (path)",
    "ca-file": "certificates to trust instead of the system's (path, PEM)",
    "bandwidth-limit": "most KiB a second that are sent or fetched",
    "ftp-mode": "passive (default) or active",
    "imap-mailbox": "mailbox that holds the backup (default INBOX)",
    "swift-auth-url": "where to log in (default: SWIFT_AUTHURL of the environment)",
    "swift-auth-version": "1 (default), 2 or 3; with 3 also SWIFT_PROJECT_NAME and so on in the environment",
    "swift-storage-policy": "storage policy of a container that is made",
    "rclone-config": "rclone's configuration (default: root's own)",
}

_LFTP = (("lftp", "lftp"),)
_SSH = (("ssh", "openssh-client"),)
_PARAMIKO = (("paramiko", "sftp"),)
_TLS = ("ca-file", "bandwidth-limit", "ftp-mode")

SCHEMES: tuple[Scheme, ...] = (
    Scheme(
        name="sftp",
        kind="ssh",
        what="a folder on a server that speaks ssh",
        forms=("sftp://user@host/folder", "sftp://user@host:2222//absolute/folder", "ssh://user@host/folder"),
        options=("ssh-key-file", "ssh-known-hosts"),
        credentials=KEYS,
        modules=_PARAMIKO,
    ),
    Scheme(
        name="scp",
        kind="ssh",
        what="the same for servers with a shell and no sftp",
        forms=("scp://user@host/folder", "scp://user@host//absolute/folder"),
        options=("ssh-key-file", "ssh-known-hosts"),
        credentials=KEYS,
        modules=_PARAMIKO,
    ),
    Scheme(
        name="rsync",
        kind="rsync",
        what="an rsync daemon's module (with ::), or a folder over ssh",
        forms=("rsync://user@host::/module/folder", "rsync://user@host/folder", "rsync://user@host//absolute/folder"),
        options=("ssh-key-file", "ssh-known-hosts", "bandwidth-limit"),
        credentials="daemon: password in the address or the credentials file; over ssh: an agent or ssh-key-file",
        programs=(("rsync", "rsync"),),
    ),
    Scheme(
        name="ftp",
        kind="lftp",
        what="an FTP server, unencrypted: the password can be read on the way",
        forms=("ftp://user@host/folder",),
        options=("bandwidth-limit", "ftp-mode"),
        credentials=LOGIN,
        programs=_LFTP,
    ),
    Scheme(
        name="ftps",
        kind="lftp",
        what="an FTP server with TLS from the start (port 990)",
        forms=("ftps://user@host/folder",),
        options=_TLS,
        credentials=LOGIN,
        programs=_LFTP,
    ),
    Scheme(
        name="ftpes",
        kind="lftp",
        what="an FTP server with TLS after AUTH (port 21)",
        forms=("ftpes://user@host/folder",),
        options=_TLS,
        credentials=LOGIN,
        programs=_LFTP,
    ),
    Scheme(
        name="lftp+sftp",
        kind="lftp",
        what="sftp through lftp, which can limit bandwidth",
        forms=("lftp+sftp://user@host/folder",),
        options=("ssh-key-file", "ssh-known-hosts", "bandwidth-limit"),
        credentials="an ssh agent or ssh-key-file",
        programs=_LFTP + _SSH,
    ),
    Scheme(
        name="webdav",
        kind="webdav",
        what="a WebDAV server, unencrypted",
        forms=("webdav://user@host/folder",),
        credentials=LOGIN,
    ),
    Scheme(
        name="webdavs",
        kind="webdav",
        what="a WebDAV server with TLS (Nextcloud, ownCloud, Apache)",
        forms=("webdavs://user@host/folder",),
        options=("ca-file",),
        credentials=LOGIN,
    ),
    Scheme(
        name="imap",
        kind="imap",
        what="a mailbox, unencrypted; the path tells several backups in it apart",
        forms=("imap://user@host/name",),
        options=("imap-mailbox",),
        credentials=LOGIN,
    ),
    Scheme(
        name="imaps",
        kind="imap",
        what="a mailbox, with TLS; the path tells several backups in it apart",
        forms=("imaps://user@host/name",),
        options=("ca-file", "imap-mailbox"),
        credentials=LOGIN,
    ),
    Scheme(
        name="swift",
        kind="swift",
        what="OpenStack Swift by its own API",
        forms=("swift://container/prefix",),
        options=("ca-file", "swift-auth-url", "swift-auth-version", "swift-storage-policy"),
        credentials="credentials file (user, password), or SWIFT_USERNAME, SWIFT_PASSWORD… in the environment",
        modules=(("swiftclient", "swift"),),
    ),
    Scheme(
        name="cf+http",
        kind="swift",
        what="Rackspace Cloud Files, through its Swift API",
        forms=("cf+http://container",),
        options=("ca-file", "swift-auth-url"),
        credentials="credentials file (user, password: the API key), or CLOUDFILES_USERNAME, CLOUDFILES_APIKEY",
        modules=(("swiftclient", "swift"),),
    ),
    Scheme(
        name="rclone",
        kind="rclone",
        what="whatever rclone reaches: a remote of its configuration",
        forms=("rclone://remote:folder",),
        options=("rclone-config", "bandwidth-limit"),
        credentials="in rclone's own configuration",
        programs=(("rclone", "rclone"),),
    ),
)

_UNTRIED = "by duplicity's own back end, which is not among those that this plugin is tested with"
_ENVIRONMENT = "as duplicity's manual says for {}: in the environment"

OTHERS: tuple[Scheme, ...] = tuple(
    Scheme(
        name=name,
        kind="other",
        what=f"{what}, {_UNTRIED}",
        forms=(form,),
        credentials=_ENVIRONMENT.format(f"{name}://"),
        modules=tuple((module, "") for module in modules),
    )
    for name, what, form, modules in (
        ("ad", "Amazon Drive", "ad://folder", ("requests",)),
        ("azure", "Azure Blob Storage", "azure://container", ("azure.storage.blob",)),
        ("b2", "Backblaze B2", "b2://account@bucket/folder", ("b2sdk",)),
        ("box", "Box", "box:///folder", ("boxsdk",)),
        ("dpbx", "Dropbox", "dpbx:///folder", ("dropbox",)),
        ("gdrive", "Google Drive", "gdrive://account@domain/folder", ("googleapiclient",)),
        ("idrived", "IDrive", "idrived://folder", ()),
        ("jottacloud", "Jottacloud", "jottacloud:///folder", ("jottalib",)),
        ("mf", "MediaFire", "mf://user@mediafire.com/folder", ("mediafire",)),
        ("onedrive", "OneDrive", "onedrive://folder", ("requests_oauthlib",)),
        ("pca", "OVH's cold archive", "pca://container", ("swiftclient", "keystoneclient")),
        ("pydrive", "Google Drive", "pydrive://account@domain/folder", ("pydrive2",)),
    )
)

BY_NAME = {scheme.name: scheme for scheme in (*SCHEMES, *OTHERS)}

ALIASES = {
    "ssh": "sftp",
    "paramiko+sftp": "sftp",
    "paramiko+scp": "scp",
    "pexpect+sftp": "sftp",
    "pexpect+scp": "scp",
    "lftp+ftp": "ftp",
    "lftp+ftps": "ftps",
    "lftp+ftpes": "ftpes",
    "ncftp+ftp": "ftp",
    "fish": "scp",
    "lftp+fish": "scp",
    "lftp+webdav": "webdav",
    "lftp+webdavs": "webdavs",
    "lftp+http": "webdav",
    "lftp+https": "webdavs",
    "gdocs": "pydrive",
    "pydrive+gdocs": "pydrive",
}
"""Other names by which addresses were written, and what each stands for."""

_SIZES = (
    "duplicity's back end for it does not tell how large files are, so that a damaged backup could not be told from a "
    "whole one"
)
_GONE = "that service has ended"

REFUSED = {
    "hsi": _SIZES,
    "tahoe": _SIZES,
    "mega": _SIZES,
    "megav2": _SIZES,
    "megav3": _SIZES,
    "slate": _SIZES,
    "sx": _SIZES,
    "gdata+gdocs": _GONE,
    "cf+hubic": _GONE,
    "u1": _GONE,
    "u1+http": _GONE,
}
"""Addresses that duplicity knows, or once knew, and that can't be served."""

HOSTLESS = frozenset({"swift", "cf+http", "rclone", *(scheme.name for scheme in OTHERS)})
"""Schemes whose addresses have no host: all that follows `//` is a path."""
