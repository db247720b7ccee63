"""Which packages are the system's own: a restore must install what somebody chose, and nothing that comes along."""

from __future__ import annotations

from tklbam_profiles_local.debian.base import base_packages


def test_required_essential_and_automatic_packages_are_the_base(tree):
    tree.package("libc6", priority="optional")
    tree.package("login", priority="required", depends="libc6 (>= 2.36), libpam-modules | libpam-other:any")
    tree.package("libpam-modules")
    tree.package("apt")
    tree.package("nginx", depends="nginx-common")
    tree.package("nginx-common")
    tree.package("wget", priority="standard")
    tree.automatic("nginx-common")
    assert base_packages(tree.root) == [
        "apt",
        "base-files",
        "dpkg",
        "libc6",
        "libpam-modules",
        "login",
        "nginx-common",
    ]


def test_important_packages_were_chosen_in_a_container(tree):
    tree.package("cron", priority="important")
    assert "cron" not in base_packages(tree.root)


def test_important_packages_came_with_a_system_that_boots(tree):
    tree.package("cron", priority="important", depends="cron-daemon-common")
    tree.package("cron-daemon-common")
    tree.package("init", priority="important")
    assert {"cron", "cron-daemon-common", "init"} <= set(base_packages(tree.root))


def test_removed_packages_are_not_in_the_base(tree):
    tree.package("old", priority="required", state="deinstall ok config-files")
    assert "old" not in base_packages(tree.root)
