# `make` lists the targets. `make demo` and `make test` each set up all that they need.

PYTHON ?= $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$name; break; }; done)
PORT ?= 8000
WORKERS ?= 2

SETUP := tools/virtual-environment
FULL := .venv/.ready
CHECK := .venv-check/.ready
DEMO := .venv-demo/.ready
PEERS := .venv-peers/.ready
PARALLEL := -n $(WORKERS) --dist loadgroup

.NOTPARALLEL:
.DELETE_ON_ERROR:
.PHONY: help install demo test check bench clean system-packages

help: ## list the targets
	@echo "asgi_gateway; PYTHON=/path/to/python3 chooses the interpreter (3.11 or newer)"
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST)

install: system-packages $(FULL) ## a virtual environment in .venv with every extra and tool

demo: $(DEMO) ## the reference application on its embedded defaults, on port 8000 (PORT=…)
	@.venv-demo/bin/python -m example_app --port $(PORT)

test: system-packages check install ## everything, against real servers too; installs what it needs on Debian and Ubuntu
	PYTHONOPTIMIZE=1 .venv/bin/python -m pytest $(PARALLEL) -m "not integration and not timing" \
		-W "ignore:assertions not in test modules:pytest.PytestConfigWarning"
	.venv/bin/python -m pytest $(PARALLEL) -m "integration and not timing"
	.venv/bin/python -m pytest -m timing

check: $(CHECK) ## format, lint, types, layers and unit tests; needs no system packages
	.venv-check/bin/ruff format --check .
	.venv-check/bin/ruff check .
	.venv-check/bin/mypy
	.venv-check/bin/lint-imports
	.venv-check/bin/python -m pytest --ignore=tests/integration $(PARALLEL) -m "not integration and not timing"

bench: install $(PEERS) ## ratios against peers measured in the same run
	.venv/bin/python -m bench

clean: ## remove the virtual environments and all caches
	rm -rf .venv .venv-check .venv-demo .venv-peers .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis \
		.coverage dist build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

system-packages:
	@tools/system-packages $(PYTHON)

$(FULL): pyproject.toml $(SETUP)
	@echo "The first time, python-ldap and gssapi are compiled, which takes a minute or two"
	@$(SETUP) .venv "$(PYTHON)" -e '.[all]' --group test
	@touch $@

$(PEERS): pyproject.toml $(SETUP)
	@$(SETUP) .venv-peers "$(PYTHON)" --group peers
	@touch $@

# Only wheels that need no compiler, and no LDAP, Kerberos or Redis: unit tests must pass without them.
$(CHECK): pyproject.toml $(SETUP)
	@$(SETUP) .venv-check "$(PYTHON)" -e . --group check
	@touch $@

$(DEMO): pyproject.toml $(SETUP)
	@$(SETUP) .venv-demo "$(PYTHON)" -e '.[server]'
	@touch $@
