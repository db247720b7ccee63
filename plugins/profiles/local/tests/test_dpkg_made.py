"""What maintainer scripts make: as installed it is no change, and what the administrator made of it is one."""

from __future__ import annotations

import hashlib

import pytest

UNIT = "/lib/systemd/system/tool.service"
WANTS = "/etc/systemd/system/multi-user.target.wants/tool.service"
HELPER = "/var/lib/systemd/deb-systemd-helper-enabled"


@pytest.fixture
def alternative(tree):
    tree.package("vi", {"/usr/bin/vim": "v", "/usr/bin/nano": "n", "/usr/share/man/nano.1": "m"})
    tree.write(
        "/var/lib/dpkg/alternatives/editor",
        "auto\n/usr/bin/editor\neditor.1\n/usr/share/man/editor.1\n\n"
        "/usr/bin/nano\n40\n/usr/share/man/nano.1\n/usr/bin/vim\n30\n\n\n",
    )
    tree.link("/etc/alternatives/editor", "/usr/bin/nano")
    tree.link("/etc/alternatives/editor.1", "/usr/share/man/nano.1")
    tree.package("alternatives", directories=["/etc/alternatives"])
    return tree


def test_alternatives_by_priority_are_no_change(alternative, derive):
    assert derive().changes() == set()


def test_an_alternative_chosen_by_hand_is_seen(alternative, derive):
    alternative.place("/etc/alternatives/editor").unlink()
    alternative.link("/etc/alternatives/editor", "/usr/bin/vim")
    assert derive().changes() == {("o", "/etc/alternatives/editor")}


def test_an_alternative_that_was_removed_is_seen(alternative, derive):
    alternative.place("/etc/alternatives/editor.1").unlink()
    assert derive().changes() == {("d", "/etc/alternatives/editor.1")}


def test_an_alternative_of_the_administrators_own_is_seen(alternative, derive):
    state = alternative.place("/var/lib/dpkg/alternatives/editor")
    state.write_text(state.read_text().replace("/usr/bin/nano\n40", "/opt/ed/ed\n99\n\n/usr/bin/nano\n40"))
    alternative.write("/opt/ed/ed", "mine")
    for name, target in (("editor", "/opt/ed/ed"), ("mine", "/opt/ed/ed")):
        alternative.place(f"/etc/alternatives/{name}").unlink(missing_ok=True)
        alternative.link(f"/etc/alternatives/{name}", target)
    alternative.write("/var/lib/dpkg/alternatives/mine", "auto\n/usr/bin/mine\n\n/opt/ed/ed\n10\n\n")
    assert {("o", "/etc/alternatives/editor"), ("o", "/etc/alternatives/mine")} <= derive().changes()


@pytest.fixture
def service(tree):
    tree.package("tool", {UNIT: "[Service]\n"}, directories=["/etc/systemd/system"])
    tree.write(f"{HELPER}/tool.service.dsh-also", f"{WANTS}\n/etc/systemd/system/alias.service\n")
    tree.write(f"{HELPER}/multi-user.target.wants/tool.service", "")
    tree.write(f"{HELPER}/alias.service", "")
    tree.link(WANTS, UNIT)
    tree.link("/etc/systemd/system/alias.service", UNIT)
    return tree


def test_a_service_that_its_package_enabled_is_no_change(service, derive):
    assert derive().changes() == set()


def test_a_service_that_was_disabled_is_seen(service, derive):
    service.place(WANTS).unlink()
    assert derive().changes() == {("d", WANTS)}


def test_a_service_that_was_enabled_or_masked_by_hand_is_seen(service, derive):
    service.link("/etc/systemd/system/timers.target.wants/tool.service", UNIT)
    service.link("/etc/systemd/system/other.service", "/dev/null")
    changes = derive().changes()
    assert ("o", "/etc/systemd/system/timers.target.wants/tool.service") in changes
    assert ("o", "/etc/systemd/system/other.service") in changes


def test_the_unit_behind_an_enabled_service_replaced_by_hand_is_seen(service, derive):
    service.place(WANTS).unlink()
    service.link(WANTS, "/etc/systemd/system/tool.service")
    assert derive().changes() == {("o", WANTS)}


@pytest.fixture
def init_script(tree):
    header = "#!/bin/sh\n### BEGIN INIT INFO\n# Default-Start: 2 3\n# Default-Stop: 0\n### END INIT INFO\n"
    tree.package(
        "daemon", conffiles={"/etc/init.d/daemon": header}, directories=[f"/etc/rc{level}.d" for level in "0123456S"]
    )
    for path in ("rc2.d/S03daemon", "rc3.d/S01daemon", "rc0.d/K01daemon"):
        tree.link(f"/etc/{path}", "../init.d/daemon")
    return tree


def test_links_that_follow_from_init_headers_are_no_change(init_script, derive):
    assert derive().changes() == set()


def test_an_init_script_disabled_in_a_runlevel_is_seen(init_script, derive):
    init_script.place("/etc/rc2.d/S03daemon").unlink()
    init_script.link("/etc/rc2.d/K01daemon", "../init.d/daemon")
    assert derive().changes() == {("o", "/etc/rc2.d/K01daemon"), ("d", "/etc/rc2.d/S01daemon")}


def test_links_of_an_init_script_of_no_package_are_a_change(init_script, derive):
    init_script.write("/etc/init.d/mine", "#!/bin/sh\n# Default-Start: 2\n")
    init_script.link("/etc/rc2.d/S01mine", "../init.d/mine")
    assert {("o", "/etc/init.d/mine"), ("o", "/etc/rc2.d/S01mine")} == derive().changes()


def test_ucf_files_as_shipped_are_no_change(tree, derive):
    tree.package("ssh", {"/usr/share/openssh/sshd_config": "Port 22\n"}, directories=["/etc/ssh"])
    tree.write("/etc/ssh/sshd_config", "Port 22\n")
    _ucf(tree, "/etc/ssh/sshd_config", "Port 22\n")
    assert derive().changes() == set()


def test_ucf_files_changed_or_removed_are_seen(tree, derive):
    tree.package("ssh", {"/usr/share/ssh/a": "Port 22\n"}, directories=["/etc/ssh"])
    _ucf(tree, "/etc/ssh/a", "Port 22\n")
    _ucf(tree, "/etc/ssh/b", "Port 22\n")
    tree.write("/etc/ssh/a", "Port 23\n")
    assert derive().changes() == {("o", "/etc/ssh/a"), ("d", "/etc/ssh/b")}


def test_ucf_files_made_of_answers_and_passwords_are_stored(tree, derive):
    tree.package("webapp", directories=["/etc/webapp"])
    tree.write("/etc/webapp/db.php", "password = secret\n")
    _ucf(tree, "/etc/webapp/db.php", "password = secret\n")
    assert derive().changes() == {("o", "/etc/webapp/db.php")}


def _ucf(tree, path, content):
    registry = tree.place("/var/lib/ucf/hashfile")
    registry.parent.mkdir(parents=True, exist_ok=True)
    with registry.open("a") as file:
        file.write(f"{hashlib.md5(content.encode(), usedforsecurity=False).hexdigest()}  {path}\n")


PAM = "# auth\n$auth_primary\nauth\trequisite\tpam_deny.so\n$auth_additional\n# end\n"
UNIX = (
    "Name: Unix\nDefault: yes\nPriority: 256\nAuth-Type: Primary\nAuth:\n\t[success=end default=ignore]\tpam_unix.so "
    "try_first_pass\nAuth-Initial:\n\t[success=end default=ignore]\tpam_unix.so nullok\n"
)
LDAP = UNIX.replace("Unix", "LDAP").replace("256", "128").replace("pam_unix", "pam_ldap")
HOME = "Name: Home\nDefault: no\nPriority: 0\nAuth-Type: Additional\nAuth:\n\toptional pam_home.so\n"


@pytest.fixture
def pam(tree):
    tree.package(
        "pam",
        {
            "/usr/share/pam/common-auth": PAM,
            "/usr/share/pam-configs/unix": UNIX,
            "/usr/share/pam-configs/ldap": LDAP,
            "/usr/share/pam-configs/home": HOME,
        },
        directories=["/etc/pam.d"],
    )
    tree.write(
        "/etc/pam.d/common-auth",
        "# auth\nauth\t[success=2 default=ignore]\tpam_unix.so nullok\n"
        "auth\t[success=1 default=ignore]\tpam_ldap.so try_first_pass \n"
        "auth\trequisite\tpam_deny.so\n# end\n",
    )
    return tree


def test_pam_files_with_all_defaults_are_no_change(pam, derive):
    assert derive().changes() == set()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("# end", "auth optional pam_home.so\n# end"),
        (" nullok", ""),
        ("success=2", "success=1"),
        ("# end", "# end\n# mine"),
    ],
)
def test_pam_files_that_say_anything_else_are_seen(pam, derive, old, new):
    place = pam.place("/etc/pam.d/common-auth")
    place.write_text(place.read_text().replace(old, new))
    assert derive().changes() == {("o", "/etc/pam.d/common-auth")}


@pytest.fixture
def certificates(tree):
    shipped = "/usr/share/ca-certificates/mozilla"
    tree.package(
        "ca-certificates",
        {f"{shipped}/A.crt": "AAA\n", f"{shipped}/B.crt": "BBB"},
        directories=["/etc/ssl/certs"],
    )
    tree.write("/etc/ca-certificates.conf", "# chosen\nmozilla/A.crt\nmozilla/B.crt\n")
    for name, code in (("A", "0a0a0a0a"), ("B", "0b0b0b0b")):
        tree.link(f"/etc/ssl/certs/{name}.pem", f"{shipped}/{name}.crt")
        tree.link(f"/etc/ssl/certs/{code}.0", f"{name}.pem")
    tree.write("/etc/ssl/certs/ca-certificates.crt", "AAA\nBBB\n")
    return tree


def test_packaged_certificates_are_no_change(certificates, derive):
    assert derive().changes() == set()


def test_a_certificate_of_ones_own_is_seen(certificates, derive):
    certificates.write("/usr/local/share/ca-certificates/own.crt", "OWN\n")
    certificates.link("/etc/ssl/certs/own.pem", "/usr/local/share/ca-certificates/own.crt")
    certificates.link("/etc/ssl/certs/0c0c0c0c.0", "own.pem")
    certificates.write("/etc/ssl/certs/ca-certificates.crt", "AAA\nBBB\nOWN\n")
    assert {path for kind, path in derive().changes() if kind == "o"} == {
        "/usr/local/share/ca-certificates/own.crt",
        "/etc/ssl/certs/own.pem",
        "/etc/ssl/certs/0c0c0c0c.0",
        "/etc/ssl/certs/ca-certificates.crt",
    }


def test_a_certificate_deselected_is_seen(certificates, derive):
    certificates.write("/etc/ca-certificates.conf", "# chosen\nmozilla/A.crt\n!mozilla/B.crt\n")
    certificates.place("/etc/ssl/certs/B.pem").unlink()
    certificates.place("/etc/ssl/certs/0b0b0b0b.0").unlink()
    certificates.write("/etc/ssl/certs/ca-certificates.crt", "AAA\n")
    assert {("o", "/etc/ca-certificates.conf"), ("d", "/etc/ssl/certs/B.pem")} <= derive().changes()


@pytest.fixture
def apache(tree):
    tree.package(
        "apache2",
        {"/usr/share/apache2/default-site/index.html": "It works\n"},
        conffiles={
            "/etc/apache2/mods-available/mime.load": "load\n",
            "/etc/apache2/mods-available/mime.conf": "conf\n",
            "/etc/apache2/mods-available/ssl.load": "load\n",
            "/etc/apache2/sites-available/000-default.conf": "site\n",
        },
        directories=["/etc/apache2/mods-enabled", "/etc/apache2/sites-enabled", "/var/lib/apache2"],
    )
    tree.write("/var/lib/apache2/module/enabled_by_maint/mime", "")
    tree.link("/etc/apache2/mods-enabled/mime.load", "../mods-available/mime.load")
    tree.link("/etc/apache2/mods-enabled/mime.conf", "../mods-available/mime.conf")
    tree.link("/etc/apache2/sites-enabled/000-default.conf", "../sites-available/000-default.conf")
    tree.write("/var/www/html/index.html", "It works\n")
    return tree


def test_apache_as_packages_set_it_up_is_no_change(apache, derive):
    assert derive().changes() == set()


def test_apache_modules_and_sites_switched_are_seen(apache, derive):
    apache.place("/etc/apache2/sites-enabled/000-default.conf").unlink()
    apache.place("/etc/apache2/mods-enabled/mime.conf").unlink()
    apache.link("/etc/apache2/mods-enabled/ssl.load", "../mods-available/ssl.load")
    apache.place("/var/www/html/index.html").unlink()
    assert derive().changes() == {
        ("d", "/etc/apache2/sites-enabled/000-default.conf"),
        ("d", "/etc/apache2/mods-enabled/mime.conf"),
        ("o", "/etc/apache2/mods-enabled/ssl.load"),
        ("d", "/var/www/html/index.html"),
    }


def test_php_modules_as_packages_enabled_them_are_no_change_and_disabled_ones_are(tree, derive):
    tree.package("php", directories=["/etc/php/8.2/fpm/conf.d", "/etc/php/8.2/mods-available", "/var/lib/php/modules"])
    for name in ("gd", "intl"):
        content = f"; priority=15\nextension={name}.so\n"
        tree.package(f"php-{name}", {f"/usr/share/php-{name}/{name}.ini": content})
        tree.write(f"/etc/php/8.2/mods-available/{name}.ini", content)
        _ucf(tree, f"/etc/php/8.2/mods-available/{name}.ini", content)
        tree.write(f"/var/lib/php/modules/8.2/fpm/enabled_by_maint/{name}", "")
        tree.write(f"/var/lib/php/modules/8.2/registry/{name}", "")
        tree.link(f"/etc/php/8.2/fpm/conf.d/15-{name}.ini", f"/etc/php/8.2/mods-available/{name}.ini")
    tree.place("/etc/php/8.2/fpm/conf.d/15-gd.ini").unlink()
    assert derive().changes() == {("d", "/etc/php/8.2/fpm/conf.d/15-gd.ini")}


def test_nginx_modules_of_packages_are_no_change(tree, derive):
    tree.package(
        "nginx-echo",
        {"/usr/share/nginx/modules-available/mod-echo.conf": "load\n"},
        directories=["/etc/nginx/modules-enabled"],
    )
    tree.link("/etc/nginx/modules-enabled/50-mod-echo.conf", "/usr/share/nginx/modules-available/mod-echo.conf")
    tree.link("/etc/nginx/modules-enabled/50-mine.conf", "/opt/mine.conf")
    assert derive().changes() == {("o", "/etc/nginx/modules-enabled/50-mine.conf")}


def test_login_shells_of_packages_are_no_change_and_others_are(tree, derive):
    tree.package("debianutils", {"/usr/share/debianutils/shells": "# shells\n/bin/sh\n"})
    tree.write("/var/lib/shells.state", "/bin/sh\n/bin/bash\n")
    tree.write("/etc/shells", "# shells\n/bin/sh\n/bin/bash\n")
    derived = derive()
    assert derived.changes() == set()
    tree.write("/etc/shells", "# shells\n/bin/sh\n/bin/bash\n/usr/bin/fish\n")
    assert derived.changes() == {("o", "/etc/shells")}


def test_an_edited_template_vouches_for_nothing(pam, derive):
    pam.write("/usr/share/base-files/profile", "umask 077\n")
    pam.write("/etc/profile", "umask 077\n")
    pam.write("/usr/share/base-files/motd", "Mine, with #OSNAME#\n")
    pam.write("/etc/motd", "Mine, with GNU/Linux\n")
    pam.write("/usr/share/pam/common-auth", PAM + "auth optional pam_mine.so\n")
    place = pam.place("/etc/pam.d/common-auth")
    place.write_text(place.read_text() + "auth optional pam_mine.so\n")
    assert derive().changes() == {("o", "/etc/profile"), ("o", "/etc/motd"), ("o", "/etc/pam.d/common-auth")}


def test_the_time_zone_is_a_setting(tree, derive):
    tree.package("tzdata", {"/usr/share/zoneinfo/Etc/UTC": "u", "/usr/share/zoneinfo/Europe/Oslo": "o"})
    tree.link("/etc/localtime", "/usr/share/zoneinfo/Europe/Oslo")
    tree.write("/etc/timezone", "Europe/Oslo\n")
    assert derive().changes() == {("o", "/etc/localtime"), ("o", "/etc/timezone")}
