# What a person or a machine does with this checkout; each target is readable by itself.
PYTHON ?= python3
PYTEST_ARGS ?= -n 3 --dist worksteal
BIN := .venv/bin
PLUGINS := plugins/mysql plugins/postgres plugins/sqlite plugins/storage/local plugins/storage/s3 plugins/storage/remote plugins/profiles/local plugins/profiles/hub hub
SERVERS := acl apache2-bin attr chromium debootstrap dovecot-imapd e2fsprogs gpgv lftp libcap2-bin mariadb-client mariadb-server openssh-server openssl postgresql postgresql-client proftpd-core proftpd-mod-crypto rclone rsync
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Programs are compiled once, as where they are installed, and not each time they start.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: demo test test-mysql bench lint dist setup clean
setup: .venv/.ready

.venv/.ready: requirements.lock pyproject.toml $(PLUGINS:=/pyproject.toml) tests/setup-venv
	tests/install-packages gnupg util-linux tar
	tests/setup-venv $(PYTHON) .venv . $(PLUGINS)
	touch $@

demo: setup
	$(BIN)/python tests/demo.py

test: setup
	tests/install-packages $(SERVERS)
	servers=$$(tests/unpack-servers .cache/servers) && env $$servers $(BIN)/python -m pytest $(PYTEST_ARGS)

# MySQL is in no stable release of Debian's; root only.
test-mysql: setup
	tests/install-packages $(SERVERS)
	tests/make-server-root sid .cache/servers/sid mysql-server-core mysql-client-core
	TKLBAM_MYSQL_ROOT=$(CURDIR)/.cache/servers/sid $(BIN)/python -m pytest plugins/mysql

bench: setup
	tests/install-packages $(SERVERS) restic borgbackup
	$(BIN)/python -m tests.bench

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy tklbam_core $(wildcard plugins/*/tklbam_* plugins/*/*/tklbam_*)
	cd hub && ../$(BIN)/mypy tklbam_hub

dist: setup
	for each in . $(PLUGINS); do $(BIN)/python -m build --no-isolation --outdir dist $$each || exit 1; done

clean:
	rm -rf .venv dist
