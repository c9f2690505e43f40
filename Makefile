# Everything runs in one environment, .venv, which the first command that needs it makes
# and which is made again when pyproject.toml or constraints.txt changes.

BIN = .venv/bin
PACKAGES = docs reference fatal_signals tests
ROOMS = .:reference:docs/machinery:tests:tests/programs

.PHONY: help html test check test-site test-all evidence bench mutants soak format clean

help:
	@echo 'make html      build the handbook and say where to open it'
	@echo 'make test      run every block of the handbook, and the proofs'
	@echo 'make check     format, lint, types, spelling, a strict build'
	@echo 'make test-site look at the built handbook in Chromium: links, search, axe-core'
	@echo 'make test-all  make test, on every Python from 3.11 up that is installed'
	@echo 'make evidence  record the evidence again (needs strace, Python 2.7, 3.6, 3.11 to 3.13)'
	@echo 'make bench     the boss beside its peers and beside C, ten minutes (needs cc)'
	@echo 'make mutants   change the modules at one place each: do the tests notice?'
	@echo 'make soak      loops and bosses under signals for MINUTES=10'
	@echo 'make format    format the code'
	@echo 'make clean     remove what these commands have made'

html: .venv/html
	@$(BIN)/sphinx-build -q -c . -d build/doctrees docs build/html
	@echo "Open file://$(CURDIR)/build/html/index.html"

# In two processes per processor: tests/support/workers.py says who runs what.
test: .venv/made
	@$(BIN)/pytest -n auto --durations=10 docs/ tests/ $(PYTEST)

check: .venv/made
	@$(BIN)/ruff format --check --quiet . || { echo 'make: run make format' >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@for part in $(PACKAGES); do $(BIN)/mypy --no-error-summary $$part || exit 1; done
	@$(BIN)/codespell $(PACKAGES) *.md *.toml conf.py Makefile
	@$(BIN)/sphinx-build -q -E -W -n -c . -d build/check/doctrees docs build/check/html
	@echo 'check: all good'

test-site: .venv/site
	@$(BIN)/pytest -n auto tests/handbook/site/test_site.py $(PYTEST)

test-all: .venv/made
	@$(BIN)/python tests/programs/every_python.py $(PYTEST)

bench: .venv/made
	@PYTHONPATH=$(ROOMS) $(BIN)/python -m bench $(BENCH)

evidence: .venv/made
	@cd docs && PYTHONPATH=machinery:.. ../$(BIN)/python -m blocks
	@PYTHONPATH=$(ROOMS) $(BIN)/python tests/programs/record_points.py

mutants: .venv/mutants
	@PYTHONPATH=$(ROOMS) $(BIN)/python tests/programs/mutants.py $(MUTANTS)

soak: .venv/made
	@PYTHONPATH=$(ROOMS) $(BIN)/python tests/programs/soak.py --minutes $(or $(MINUTES),10) $(SOAK)

format: .venv/made
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache

.venv/site: .venv/made
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[site]'
	@touch $@

.venv/mutants: .venv/made
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[mutants]'
	@touch $@

.venv/made: .venv/html
	@$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt \
	  -e '.[docs,test,check]'
	@touch $@

.venv/html: pyproject.toml constraints.txt
	@found=; \
	for python in $(PYTHON) python3 python3.13 python3.12 python3.11; do \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; \
	  then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo 'make: no Python 3.11 or later on the PATH; install one, or name it:' \
	    'make PYTHON=/path/to/python' >&2; exit 2; \
	fi; \
	if ! $$found -c 'import ensurepip, venv' 2>/dev/null; then \
	  echo "make: $$found has no venv module; install it" \
	    '(Debian, Ubuntu: apt install python3-venv)' >&2; exit 2; \
	fi; \
	echo "Making .venv with $$($$found --version); this takes up to a minute."; \
	rm -rf .venv && $$found -m venv .venv && \
	$(BIN)/pip install -qq --disable-pip-version-check -c constraints.txt -e '.[docs]'
	@touch $@
