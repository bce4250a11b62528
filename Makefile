# `make demo`, `make test`, `make figures`, `make bench`, `make docs`, `make flakes` and `make mutants`
# each set up what they need in .venv, once.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready
DOCS_READY := .venv/.docs_ready
MUTANTS_READY := .venv/.mutants_ready
FLAKES_READY := .venv/.flakes_ready

# What vulture takes for dead and is not: called by pytest and tyro through their decorators, by Python,
# the standard library, tests and napari's manifest through their names, or read with all other
# fields of its dataclass.
CALLED_BY_OTHERS := "@pytest.fixture,@pytest.fixture(*),@_RULES.struct_rule"
NAMED_BY_OTHERS := "__getattr__,handle_*,do_GET,log_message,close_connection,linkname,damage_*,pytestmark,pytest_*,application,widget,better_half,halves_lead,_MAX_MEMORY_LEAK_SIZE"

.PHONY: demo test bench figures docs flakes mutants clean

demo: $(READY)
	@$(BIN)/python experiments/h0_baselines.py --minutes 1.25 --pairs 25 \
		--elastix-pairs 2 --out runs/demo

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/vulture equicomir experiments benchmarks mutants paper_figures tests \
		--ignore-decorators $(CALLED_BY_OTHERS) --ignore-names $(NAMED_BY_OTHERS)
	$(BIN)/mypy
	$(BIN)/pytest -n auto --maxprocesses 4 --dist worksteal

figures: $(READY)
	@missing=; for script in paper_figures/fig*.py paper_figures/table*_*.py; do \
		$(BIN)/python $$script || missing="$$missing $$script"; done; \
	[ -z "$$missing" ] || { echo "make figures: not drawn, each for the reason it gives above:$$missing" >&2; exit 1; }

# On phantoms, and with DATA=folder on the data sets too.
bench: $(READY)
	$(BIN)/python benchmarks/registration_speed.py
	$(BIN)/python benchmarks/peers.py $(if $(DATA),--data $(DATA)) --pairs 3 --slow-pairs 1 --minutes 1 \
		--records runs/bench/records --models runs/bench/models --page runs/bench/peers.md

docs: $(DOCS_READY)
	@rm -rf docs/build docs/api/modules
	@$(BIN)/python -m sphinx -W --keep-going -q docs docs/build/html
	@echo "docs/build/html/index.html"

# Whether a test fails now and then: other cases, another order and other seeds each time.
flakes: $(FLAKES_READY)
	@failed=0; \
	for run in $$(seq 20) all1 all2 all3; do \
		case $$run in all*) what=;; *) what=tests/properties;; esac; \
		seed=$$(date +%s); \
		HYPOTHESIS_PROFILE=anew $(BIN)/pytest -p randomly --randomly-seed=$$seed -n auto \
			--maxprocesses 4 --dist worksteal $$what > .venv/flake.txt 2>&1; status=$$?; \
		echo "run $$run, --randomly-seed=$$seed: $$(grep -E 'passed|failed|error' .venv/flake.txt | tail -1)"; \
		[ $$status = 0 ] || { failed=$$((failed + 1)); grep -E '^(FAILED|ERROR)' .venv/flake.txt; }; \
	done; echo "$$failed of 23 runs failed"; [ $$failed = 0 ]

mutants: $(MUTANTS_READY)
	$(BIN)/python -m mutants

# What setup.cfg asks for is installed with its own dependencies; then escnn, whose metadata wants a
# Fortran compiler for a package that is never used here, and the project itself, without.
$(READY): setup.cfg setup.py constraints.txt Makefile
	@[ -n "$(PYTHON)" ] && $(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' \
		|| { echo "equicomir: expected Python 3.11 as python3.11 or python3, found" \
		"$$($(or $(PYTHON),false) --version 2>/dev/null || echo none); install it or say make PYTHON=/path/to/python3.11." >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "equicomir: expected Python's venv module, found none; on Debian: apt install python3.11-venv." >&2; exit 2; }
	@echo "Setting up .venv (once; some minutes, and some GB for torch)"
	@rm -f $(READY)
	@$(PYTHON) -m venv --clear .venv
	@$(BIN)/python -c "$$REQUIREMENTS" baselines export test > .venv/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps escnn==1.0.11
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --use-pep517 --editable .
	@touch $(READY)

# The site's generator is installed by the first `make docs`: nothing else needs it.
$(DOCS_READY): $(READY)
	@$(BIN)/python -c "$$REQUIREMENTS" docs > .venv/docs_requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/docs_requirements.txt
	@touch $(DOCS_READY)

# Likewise what shuffles tests.
$(FLAKES_READY): $(READY)
	@$(BIN)/python -c "$$REQUIREMENTS" flakes > .venv/flakes_requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/flakes_requirements.txt
	@touch $(FLAKES_READY)

# Likewise what plants faults.
$(MUTANTS_READY): $(READY)
	@$(BIN)/python -c "$$REQUIREMENTS" mutants > .venv/mutants_requirements.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -r .venv/mutants_requirements.txt
	@touch $(MUTANTS_READY)

# Every requirement of setup.cfg, and of the extras that are named.
define REQUIREMENTS
import configparser, sys
read = configparser.ConfigParser(interpolation=None)
read.read("setup.cfg")
extras = read["options.extras_require"]
lines = [read["options"]["install_requires"], *(extras[e] for e in sys.argv[1:])]
print("setuptools")
for line in map(str.strip, "\n".join(lines).splitlines()):
    if line and line[0] not in "#%":
        print(line)
endef
export REQUIREMENTS

clean:
	rm -rf .venv runs build *.egg-info
