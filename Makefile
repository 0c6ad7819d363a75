# What a developer runs; `make` alone lists it. Works in a folder with spaces, and a second run repeats nothing.
.DEFAULT_GOAL := help
.PHONY: help setup test check demo demo-down accept-slice accept-registry accept-packs accept-bundles kit bench lock programs

ROOT := $(filter 0,$(shell id -u))
RUN := PATH="$$PWD/.venv/bin:$$PATH"
PYTEST := $(RUN) .venv/bin/python -m pytest -q
# What the demonstration, the lab and the tests against foreign programs run; on Debian, as root, installed if missing.
PROGRAMS := python3-venv podman runc skopeo mmdebstrap openssh-client openssl iproute2 containernetworking-plugins \
	apache2-utils uidmap dpkg-dev gpgv strace buildah containerd chromium chromium-driver fonts-dejavu-core nginx-light \
	libarchive-tools xfsprogs btrfs-progs softhsm2 opensc
# A network namespace that holds nothing but its own loopback; who is not root stays who he is inside.
ifdef ROOT
ALONE := unshare --net sh -c 'ip link set lo up && exec "$$@"' sh
else
ALONE := unshare --map-root-user --net sh -c 'ip link set lo up && exec "$$@"' sh \
	unshare --user --map-user=$(shell id -u) --map-group=$(shell id -g)
endif

help: ## List these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | awk -F'\t' '{ printf "  make %-16s %s\n", $$1, $$2 }'

setup: $(if $(ROOT),build/programs) build/venv ## Make the environment .venv (and, as root on Debian, install foreign programs)

build/programs: Makefile
	@missing=; for name in $(PROGRAMS); do \
		dpkg-query -W -f '$${Status}' $$name 2>/dev/null | grep -q '^install ok installed' || missing="$$missing $$name"; \
	done; \
	if [ -z "$$missing" ]; then :; \
	elif command -v apt-get >/dev/null; then \
		echo "Installing$$missing"; \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends $$missing >/dev/null; \
	else \
		echo "No apt-get here; the demonstration and the lab need these by another way:$$missing"; \
	fi
	@mkdir -p build && touch $@

build/venv: requirements/dev.lock pyproject.toml | $(if $(ROOT),build/programs)
	@for python in python3.11 /usr/bin/python3.11 python3 python3.12 python3.13 python3.14; do \
		$$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || continue; \
		echo "Making .venv with $$($$python --version)"; \
		rm -rf .venv && exec $$python -m venv .venv; \
	done; \
	echo "No Python 3.11 or newer with venv was found; on Debian: apt-get install python3-venv" >&2; exit 1
	@echo "Installing the pinned packages into it, which takes about a minute"
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.lock
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@mkdir -p build && touch $@

test: setup ## Run all tests; without root those that need Python alone
	@layers="tests --ignore=tests/interop --ignore=tests/lab --ignore=tests/bench --ignore=tests/slow -n 2"; \
	if $(ALONE) true 2>/dev/null; then \
		echo "Python layers, with no network but loopback:"; \
		$(RUN) $(ALONE) .venv/bin/python -m pytest -q $$layers -m "not interop and not lab"; \
	else \
		echo "Python layers (a network namespace cannot be made here, so the network stays in sight):"; \
		$(PYTEST) $$layers -m "not interop and not lab"; \
	fi
ifdef ROOT
	@echo "Against foreign programs:"
	@$(PYTEST) tests --ignore=tests/lab --ignore=tests/bench --ignore=tests/slow -m interop
	@echo "In the lab:"
	@$(PYTEST) tests/lab
else
	@echo "Left out: the tests against foreign programs and in the lab, which need root on Debian; run make test as root."
endif

check: setup ## Lint, format, types, playbooks
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	@if [ -d playbooks/roles ]; then echo ansible-lint playbooks; $(RUN) ansible-lint --offline -q playbooks; fi

demo: setup ## From nothing to a running isolated site, told step by step
	@$(RUN) .venv/bin/python -m tests.lab.demo up

demo-down: setup ## Remove everything the demonstration made
	@$(RUN) .venv/bin/python -m tests.lab.demo down

accept-slice: setup ## Show the first slice's promises, in figures
	@$(RUN) .venv/bin/python -m tests.lab.accept_slice

accept-registry: setup ## Show the complete registry's promises, in figures
	@$(RUN) .venv/bin/python -m tests.lab.accept_registry

accept-packs: setup ## Show the promises of packs, profiles and mirrors, in figures
	@$(RUN) .venv/bin/python -m tests.lab.accept_packs

accept-bundles: setup ## Show what bundles and trust promise, beside other bundlers
	@$(RUN) .venv/bin/python -m tests.lab.accept_bundles

kit: setup ## Build the kit into dist/
	@$(RUN) dryport kit build --out dist

bench: setup ## Measure
	@for file in tests/bench/[a-z]*.py; do \
		name=$$(basename $$file .py); echo "$$name:"; $(RUN) .venv/bin/python -m tests.bench.$$name || exit 1; \
	done

lock: setup ## Pin and hash the newest fitting packages in requirements/
	@for name in runtime dev; do \
		case $$name in dev) more="--extra dev --allow-unsafe --constraint requirements/runtime.lock";; *) more=;; esac; \
		echo "requirements/$$name.lock"; \
		CUSTOM_COMPILE_COMMAND="make lock" .venv/bin/python -m piptools compile --quiet --upgrade --generate-hashes \
			--strip-extras --no-emit-index-url --no-emit-find-links --no-emit-trusted-host $$more \
			--output-file requirements/$$name.lock pyproject.toml || exit 1; \
	done
