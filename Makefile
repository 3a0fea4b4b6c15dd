# camrelay: what people do here. `make demo` and `make test` work on a fresh machine with python3, python3-venv
# and make; as root, `make test` installs the rest (tests/apt-packages.txt) by itself.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
PREFIX ?= /opt/camrelay
DESTDIR ?=
ETC     := $(DESTDIR)/etc/camrelay
UNITS   := $(DESTDIR)/etc/systemd/system
COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --upgrade --no-emit-index-url --no-annotate --no-header
PIP     := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: help demo run test unit interop bench lint format lock packages install uninstall clean

help:  ## this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

# pip builds camrelay itself in an environment of its own, with the locked build tools.
BUILD := PIP_CONSTRAINT=$(CURDIR)/requirements-build.lock PIP_BUILD_CONSTRAINT=$(CURDIR)/requirements-build.lock

$(VENV)/run.stamp: requirements.lock requirements-build.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'camrelay needs Python 3.11 or later (PYTHON=/path/to/python3.11 make ...)'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo 'python3-venv is missing: apt install python3-venv'; exit 1; }
	@echo 'setting up $(VENV): once, pip fetches some packages, about half a minute ...'
	@$(PIP) install --require-hashes -r requirements.lock
	@$(BUILD) $(PIP) install --no-deps --editable .
	@touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements-dev.lock
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(VENV)/run.stamp  ## two segments and a router in namespaces: watch users cross it
	@$(BIN)/camrelay demo

run: $(VENV)/run.stamp  ## run the daemon here with etc/camrelay.toml
	@$(BIN)/camrelay run --config etc/camrelay.toml

UNIT := $(BIN)/python -m pytest tests/unit --numprocesses auto --dist worksteal
# Laboratories beside each other; then what needs the machine for itself.
INTEROP := $(BIN)/python -m pytest tests/interop -m 'not alone' --numprocesses auto --maxprocesses 2 --dist loadgroup \
	&& $(BIN)/python -m pytest tests/interop -m alone

test: $(VENV)/dev.stamp packages  ## every test; as root with real clients in network namespaces
	@$(INTEROP)
	@$(UNIT)

unit: $(VENV)/dev.stamp  ## the tests that need neither root nor packages
	@$(UNIT)

interop: $(VENV)/dev.stamp packages  ## only the tests with real clients
	@$(INTEROP)

bench: $(VENV)/dev.stamp packages  ## throughput, latency, sweep, memory against a C forwarder, as ratios
	@$(BIN)/python -m tests.bench

lint: $(VENV)/dev.stamp  ## types, style, and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(VENV)/dev.stamp  ## write the style
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: $(VENV)/run.stamp  ## upgrade the locked versions to the newest
	@$(PIP) install uv
	@$(COMPILE) --generate-hashes pyproject.toml -o requirements.lock
	@$(COMPILE) --group build -o requirements-build.lock
	@$(COMPILE) --generate-hashes pyproject.toml --group dev -o requirements-dev.lock

packages:
	@tests/packages.sh

install:  ## install for good: /opt/camrelay, /etc/camrelay, systemd units (as root)
	$(PYTHON) -m venv $(DESTDIR)$(PREFIX)
	$(DESTDIR)$(PREFIX)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes -r requirements.lock
	$(BUILD) $(DESTDIR)$(PREFIX)/bin/python -m pip --quiet --disable-pip-version-check install --no-deps .
	$(if $(DESTDIR),find $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/pyvenv.cfg -type f -exec sed -i 's|$(DESTDIR)$(PREFIX)|$(PREFIX)|g' {} +)
	install -d $(ETC) $(UNITS) $(DESTDIR)$(PREFIX)/doc $(DESTDIR)/usr/local/bin $(DESTDIR)/usr/lib/sysusers.d $(DESTDIR)/usr/lib/tmpfiles.d $(DESTDIR)/usr/lib/sysctl.d
	test -e $(ETC)/camrelay.toml || install -m 0644 etc/camrelay.toml $(ETC)/camrelay.toml
	install -m 0644 systemd/camrelay.socket $(UNITS)/
	sed 's|/opt/camrelay|$(PREFIX)|' systemd/camrelay.service > $(UNITS)/camrelay.service
	cp -r docs README.md CHANGELOG.md $(DESTDIR)$(PREFIX)/doc
	install -m 0644 systemd/camrelay.sysusers.conf $(DESTDIR)/usr/lib/sysusers.d/camrelay.conf
	install -m 0644 systemd/camrelay.tmpfiles.conf $(DESTDIR)/usr/lib/tmpfiles.d/camrelay.conf
	install -m 0644 systemd/camrelay.sysctl.conf $(DESTDIR)/usr/lib/sysctl.d/60-camrelay.conf
	ln -sf $(PREFIX)/bin/camrelay $(DESTDIR)/usr/local/bin/camrelay
	@if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then \
		systemd-sysusers camrelay.conf; systemd-tmpfiles --create camrelay.conf; \
		sysctl --quiet --load /usr/lib/sysctl.d/60-camrelay.conf; systemctl daemon-reload; fi
	@$(if $(DESTDIR),,echo 'installed. Next: edit $(ETC)/camrelay.toml, then: camrelay config check && systemctl enable --now camrelay.socket camrelay.service')

uninstall:  ## remove what install put there; configuration and roster stay unless PURGE=1
	-@if [ -z '$(DESTDIR)' ] && [ -d /run/systemd/system ]; then systemctl disable --now camrelay.service camrelay.socket; fi
	rm -rf $(DESTDIR)$(PREFIX)
	rm -f $(UNITS)/camrelay.socket $(UNITS)/camrelay.service $(DESTDIR)/usr/local/bin/camrelay
	rm -f $(DESTDIR)/usr/lib/sysusers.d/camrelay.conf $(DESTDIR)/usr/lib/tmpfiles.d/camrelay.conf $(DESTDIR)/usr/lib/sysctl.d/60-camrelay.conf
	$(if $(PURGE),rm -rf $(ETC) $(DESTDIR)/var/lib/camrelay)

clean:  ## remove the virtual environment and caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist build
