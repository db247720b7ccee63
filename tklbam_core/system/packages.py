"""Lists of packages: what a profile, a backup and a report say about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

from ..api.errors import FormatError

MACHINE_PACKAGES = (
    # kernels and what is built for them
    "linux-image*",
    "linux-headers*",
    "linux-modules*",
    "linux-kbuild*",
    "linux-config*",
    "linux-compiler*",
    "linux-signed*",
    "linux-generic*",
    "linux-virtual*",
    "linux-lowlatency*",
    "linux-kvm*",
    "linux-aws*",
    "linux-azure*",
    "linux-gcp*",
    "linux-oracle*",
    "linux-oem*",
    "linux-raspi*",
    "linux-cloud-tools*",
    "pve-kernel*",
    "pve-headers*",
    "proxmox-kernel*",
    "proxmox-headers*",
    "raspberrypi-kernel*",
    "initramfs-tools*",
    "dracut*",
    # boot loaders
    "grub",
    "grub-*",
    "grub2*",
    "shim-signed*",
    "shim-unsigned",
    "shim-helpers*",
    "systemd-boot*",
    "extlinux",
    "lilo",
    "u-boot*",
    "raspi-firmware",
    "os-prober",
    # firmware
    "firmware-*",
    "linux-firmware*",
    "intel-microcode",
    "amd64-microcode",
    "iucode-tool",
    # guests of a hypervisor or a cloud
    "open-vm-tools*",
    "qemu-guest-agent",
    "spice-vdagent",
    "virtualbox-guest*",
    "hyperv-daemons",
    "xe-guest-utilities*",
    "xenstore-utils",
    "cloud-init",
    "cloud-guest-utils",
    "cloud-initramfs*",
    "cloud-image-utils",
    "cloud-utils",
    "walinuxagent",
    "waagent",
    "google-guest-agent",
    "google-osconfig-agent",
    "google-compute-engine*",
    "gce-compute-image-packages",
    "ec2-hibinit-agent",
    "ec2-instance-connect",
    "amazon-ec2*",
)
"""Packages that belong to the machine, not to its administrator's work: never installed by a restore."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9+.-]*(:[a-z0-9-]+)?")


def is_package_name(name: str) -> bool:
    """Whether `name` has the form NAME or NAME:ARCH (deb-control(5)); anything else never reaches apt."""
    return _NAME.fullmatch(name) is not None


def is_machine_package(name: str) -> bool:
    """Whether `name` belongs to the machine (kernel, boot loader, firmware, hypervisor or cloud guest tools)."""
    bare = name.partition(":")[0]
    return any(fnmatchcase(bare, pattern) for pattern in MACHINE_PACKAGES)


def new_packages(installed: Iterable[str], base: Iterable[str]) -> list[str]:
    """Names, sorted, that are installed and not in the base list (a profile's `packages`)."""
    return sorted(set(installed) - set(base))


def read_package_list(path: Path) -> list[str]:
    """A file of one package a line (formats: `packages`, `newpkgs`), in its order, each name once.

    Blank lines and `#` comments are passed over. Raises FormatError for what is no package name.
    """
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return parse_package_list(file, path)


def parse_package_list(lines: Iterable[str], source: Path | str) -> list[str]:
    """`read_package_list` for lines that come from elsewhere; `source` names them in errors."""
    names: dict[str, None] = {}
    for number, line in enumerate(lines, 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        if not is_package_name(name):
            raise FormatError(source, number, f"{name!r} is no package name", "Write one package name a line.")
        names[name] = None
    return list(names)


def format_package_list(names: Iterable[str]) -> bytes:
    """The content of a `packages` or `newpkgs` file: sorted, one a line."""
    return "".join(f"{name}\n" for name in sorted(names)).encode()
