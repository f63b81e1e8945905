# Every target makes its own environment in .venv; nothing needs to be installed by hand.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test soak fuzz lint docs docs-figures notebook bench clean

demo: $(READY)            ## train the tutorial's VAE and a VAE of digits, show figures and pictures
	$(BIN)/aevb demo

test: $(READY)            ## the whole test suite, on all cores
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

soak: $(READY)            ## a thousand kills at random instants; minutes
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python tests/soak.py

fuzz: $(READY)            ## damaged files of every format, each to be read or refused in one sentence; ten minutes
	PYTHONPATH=tests OMP_NUM_THREADS=1 $(BIN)/python tests/fuzz_files.py

lint: $(READY)            ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv-docs/.ready   ## the documents as a site in site/, with a search and a reference; a warning fails
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --strict
	@echo "site/index.html"

docs-figures: $(READY)    ## make the pictures that README.md and docs/ show
	$(BIN)/python docs/make_figures.py

notebook: $(READY)        ## make vae_mock.ipynb, here and in the package, from its source
	$(BIN)/python notebooks/make.py

bench: $(READY) .venv-pythae/.ready .venv-jax/.ready  ## measure aevb beside other loops, and draw docs/performance.md anew
	$(BIN)/python benchmarks/speed.py --out benchmarks/results/speed.json
	$(BIN)/python benchmarks/draw_speed.py

clean:
	rm -rf .venv .venv-pythae .venv-jax .venv-docs site aevb-demo .pytest_cache .mypy_cache .ruff_cache

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(f"aevb needs Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}. Try: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# The site is made from the sources without running them: its environment needs no torch.
.venv-docs/.ready: pyproject.toml
	$(PYTHON) -m venv .venv-docs
	$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' | .venv-docs/bin/python -m pip install --quiet --requirement /dev/stdin
	@touch $@

.venv-%/.ready: benchmarks/peers/requirements-%.txt
	$(PYTHON) -m venv .venv-$*
	.venv-$*/bin/python -m pip install --quiet --requirement $<
	@touch $@
