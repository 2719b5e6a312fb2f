# Two commands: `make run` (the demo, end to end) and `make test` (the gate, the same by hand and in CI).
PYTHON ?= python3.11
BIN := .venv/bin
WORKERS ?= auto

.PHONY: run test lint bench-dedup schemas notebooks clean lock

run: .venv
	$(BIN)/python -m curate.demo demo

test: .venv lint
	$(BIN)/pytest -n $(WORKERS) --dist loadgroup

# Deduplication beside six other tools, each in an environment of its own: DATA and WORK are folders.
bench-dedup: .venv
	$(BIN)/python benchmarks/dedup.py $(DATA) $(WORK)

lint: .venv
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Pinned by constraints.txt; made anew when what it installs changes.
.venv: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev,s3,fast,lid176,lingua,ner,semantic,tune,score,tokens,webdataset,lm-eval,ray]'
	touch .venv

# Write manifests/schema/ from the code (after a change of what recipes, source manifests or answers may hold).
schemas: .venv
	for name in recipe source answers; do $(BIN)/curate schema $$name > manifests/schema/$$name.schema.json; done

# Run the notebooks and keep what they show.
notebooks: .venv
	$(BIN)/python notebooks/execute.py

# Write constraints.txt from pyproject.toml (after a change of its dependencies).
lock:
	$(PYTHON) -m venv .venv-lock
	.venv-lock/bin/pip install --quiet --editable '.[dev,s3,fast,lid176,lingua,ner,semantic,tune,score,tokens,webdataset,lm-eval,ray]'
	(echo '# Exact versions of everything a checkout installs; `make lock` writes it.'; \
	 echo 'torch==2.13.0'; .venv-lock/bin/pip freeze --exclude-editable --exclude torch) > constraints.txt
	rm -rf .venv-lock

clean:
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
