"""The `dpkg` profile on systems made by hand: what is as installed is no change, and every change is seen."""

from __future__ import annotations

import os
import stat

import pytest

from tklbam_core.api import FormatError
from tklbam_core.api.profiles import read_index

MACHINE = """
/etc/fstab /etc/hostname /etc/hosts /etc/machine-id /etc/resolv.conf /etc/ssh/ssh_host_rsa_key /etc/network/interfaces
/etc/udev/rules.d/70-net.rules /etc/default/grub /etc/passwd /etc/shadow- /var/lib/dpkg/status-old /var/lib/apt/lists/x
/etc/apt/sources.list /etc/apt/sources.list.d/debian.sources /var/cache/x /var/log/syslog /var/lib/mysql/ibdata1
/var/lib/postgresql/15/main/x /etc/tklbam/conf /var/lib/tklbam/secret /home/ann/.cache/x
"""
KEPT = """
/etc/ssh/sshd_config /etc/cron.d/job /var/spool/cron/crontabs/root /var/mail/ann /var/vmail/x /home/ann/.bashrc
/root/.ssh/authorized_keys /var/lib/postgresql/.pgpass /etc/apt/sources.list.d/docker.list /etc/tklbam/hooks.d/x
/var/lib/systemd/linger/ann /var/www/site/index.php /opt/app/x
"""


def test_an_untouched_system_has_no_changes(tree, derive):
    tree.package("nginx", conffiles={"/etc/nginx/nginx.conf": "worker 1;\n"}, directories=["/etc/nginx/conf.d"])
    tree.write("/etc/motd", "Welcome to GNU/Linux\n")
    assert derive().changes() == set()


def test_a_changed_conffile_is_seen(tree, derive):
    tree.package("nginx", conffiles={"/etc/nginx/nginx.conf": "worker 1;\n"})
    tree.write("/etc/nginx/nginx.conf", "worker 2;\n")
    assert derive().changes() == {("o", "/etc/nginx/nginx.conf")}


def test_a_change_behind_an_unchanged_size_and_mtime_is_seen(tree, derive):
    tree.package("tool", {"/usr/local/lib/tool/rules": "allow\n"}, conffiles={"/etc/tool.conf": "on 1\n"})
    for path, content in (("/usr/local/lib/tool/rules", "deny!\n"), ("/etc/tool.conf", "on 0\n")):
        before = tree.place(path).stat()
        tree.write(path, content, int(before.st_mtime))
        assert tree.place(path).stat().st_size == before.st_size
    assert derive().changes() == {("o", "/usr/local/lib/tool/rules"), ("o", "/etc/tool.conf")}


def test_a_change_after_the_profile_was_made_is_seen_behind_its_mtime_with_checksums(tree, derive):
    tree.package("tool", conffiles={"/etc/tool.conf": "on 1\n"})
    derived = derive()
    tree.write("/etc/tool.conf", "on 0\n", int(tree.place("/etc/tool.conf").stat().st_mtime))
    assert derived.changes(checksum=True) == {("o", "/etc/tool.conf")}


def test_a_deleted_conffile_and_a_deleted_packaged_file_are_seen(tree, derive):
    tree.package("tool", {"/var/lib/tool/data": "x"}, conffiles={"/etc/tool/tool.conf": "on\n"})
    tree.place("/etc/tool/tool.conf").unlink()
    tree.place("/var/lib/tool/data").unlink()
    assert derive().changes() == {("d", "/etc/tool/tool.conf"), ("d", "/var/lib/tool/data")}


def test_a_deleted_conffile_is_seen_though_its_directory_is_gone_too(tree, derive):
    tree.package("tool", conffiles={"/etc/tool/sub/tool.conf": "on\n"})
    tree.place("/etc/tool/sub/tool.conf").unlink()
    tree.place("/etc/tool/sub").rmdir()
    tree.place("/etc/tool").rmdir()
    assert derive().changes() == {("d", "/etc/tool/sub/tool.conf")}


def test_nothing_is_deleted_behind_a_directory_that_became_a_link(tree, derive):
    tree.package("web", {"/var/www/html/index.html": "hello"})
    tree.place("/var/www/html/index.html").rename(tree.write("/srv/html/index.html", ""))
    tree.place("/var/www/html").rmdir()
    tree.link("/var/www/html", "/srv/html")
    changes = derive().changes()
    assert ("o", "/var/www/html") in changes
    assert ("o", "/srv/html/index.html") in changes
    assert not [path for kind, path in changes if kind == "d"]


def test_new_files_and_directories_are_seen(tree, derive):
    tree.write("/etc/new.conf", "mine\n")
    tree.write(os.fsdecode(b"/srv/odd\xff\n/file"), "mine\n")
    tree.link("/usr/local/bin/mine", "/opt/mine/bin/mine")
    assert {("o", "/etc/new.conf"), ("o", "/usr/local/bin/mine"), ("o", "/srv/odd\udcff\n/file")} <= derive().changes()


def test_a_copy_of_a_packaged_example_is_a_change(tree, derive):
    tree.package("tool", {"/usr/share/doc/tool/examples/tool.conf": "on\n"})
    tree.write("/etc/tool.conf", "on\n")
    assert derive().changes() == {("o", "/etc/tool.conf")}


def test_a_packaged_link_that_leads_elsewhere_is_seen(tree, derive):
    tree.package("tool", links={"/etc/tool/current": "/usr/lib/tool/1", "/etc/tool/other": "/usr/lib/tool/2"})
    tree.place("/etc/tool/current").unlink()
    tree.link("/etc/tool/current", "/usr/local/lib/mine")
    assert derive().changes() == {("o", "/etc/tool/current")}


def test_a_packaged_empty_directory_replaced_by_a_link_is_seen(tree, derive):
    tree.place("/var/www").rmdir()
    tree.link("/var/www", "/srv/www")
    assert derive().changes() == {("o", "/var/www")}


def test_a_diverted_file_is_looked_for_where_it_lies(tree, derive):
    tree.package("tool", {"/etc/tool/data": "original\n"})
    tree.place("/etc/tool/data").rename(tree.place("/etc/tool/data.distrib"))
    tree.package("other", {"/etc/tool/data": "other's\n"})
    tree.write("/var/lib/dpkg/diversions", "/etc/tool/data\n/etc/tool/data.distrib\nother\n")
    derived = derive()
    assert derived.changes() == set()
    paths = {entry.path for entry in read_index(derived.profile.index)}
    assert {b"/etc/tool/data", b"/etc/tool/data.distrib"} <= paths


@pytest.mark.root
def test_modes_and_owners_set_with_statoverride_are_stored(tree, derive):
    tree.package("tool", conffiles={"/etc/tool.conf": "on\n", "/etc/tool.keys": "on\n"}, directories=["/etc/tool.d"])
    overrides = ("root root 640 /etc/tool.conf", "root #33 755 /etc/tool.d", "root root 644 /etc/tool.keys")
    tree.write("/var/lib/dpkg/statoverride", "".join(f"{line}\n" for line in overrides))
    tree.place("/etc/tool.conf").chmod(0o640)
    tree.place("/etc/tool.keys").chmod(0o644)
    tree.place("/etc/tool.d").chmod(0o755)
    os.chown(tree.place("/etc/tool.d"), 0, 33)
    assert derive().changes() == {("s", "/etc/tool.conf"), ("s", "/etc/tool.d")}


def test_what_dpkg_was_told_not_to_unpack_is_not_missed(tree, derive):
    tree.write(
        "/etc/dpkg/dpkg.cfg.d/minimal",
        "# no docs\npath-exclude=/var/lib/tool/doc/*\npath-include=/var/lib/tool/doc/copyright\n",
    )
    tree.package(
        "tool",
        {"/var/lib/tool/doc/a/manual": "x", "/var/lib/tool/doc/copyright": "x"},
        missing=["/var/lib/tool/doc/a/manual", "/var/lib/tool/doc/copyright"],
    )
    assert {change for change in derive().changes() if change[0] == "d"} == {("d", "/var/lib/tool/doc/copyright")}


def test_obsolete_conffiles_and_those_of_removed_packages_are_not_missed(tree, derive):
    tree.package("old", conffiles={"/etc/old.conf": "on\n"}, flags=" obsolete")
    tree.package("gone", conffiles={"/etc/gone.conf": "on\n"}, state="deinstall ok config-files")
    tree.place("/etc/old.conf").unlink()
    tree.place("/etc/gone.conf").unlink()
    assert derive().changes() == set()


def test_the_index_has_mode_owner_times_and_digest_of_what_is_there(tree, derive):
    tree.package("tool", conffiles={"/etc/tool.conf": "on\n"})
    tree.place("/etc/tool.conf").chmod(0o600)
    entry = next(e for e in read_index(derive().profile.index) if e.path == b"/etc/tool.conf")
    status = tree.place("/etc/tool.conf").lstat()
    assert (entry.mode, entry.size, entry.mtime) == (stat.S_IFREG | 0o600, 3, int(status.st_mtime))
    assert entry.ctime == status.st_ctime_ns
    # BLAKE2b-128 of "on\n", computed with `b2sum -l 128`
    assert entry.digest == "178fd7e91770cf21b596c1bdf82e08be"


def test_a_damaged_status_file_is_an_error_with_its_place(tree, derive):
    tree.write("/var/lib/dpkg/status", "Package: x\nthis is no field\n")
    with pytest.raises(FormatError, match=r"dpkg/status:2"):
        derive()


def test_an_unclean_list_of_checksums_is_a_warning(tree, derive):
    tree.package("third-party", {"/opt/tool/data": "x"})
    (tree.info / "third-party.md5sums").write_text("what is this\n")
    derived = derive()
    assert ("o", "/opt/tool/data") in derived.changes()
    assert any("no checksums" in warning for warning in derived.info.warnings)


def test_data_outside_of_what_is_scanned_is_named(tree, derive):
    tree.write("/data/photos/1.jpg", "x")
    tree.place("/empty").mkdir()
    tree.write("/var/lib/docker/volumes/db/_data/x", "x")
    warnings = " ".join(derive().info.warnings)
    assert "/data is not backed up" in warnings
    assert "/var/lib/docker/volumes is not backed up" in warnings
    assert "/empty" not in warnings


def test_what_belongs_to_the_machine_stays_out(tree, derive):
    machine = MACHINE.split()
    kept = KEPT.split()
    for path in machine + kept:
        tree.write(path, "x")
    found = {path for kind, path in derive().changes() if kind == "o"}
    assert found == set(kept)
