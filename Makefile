# The verbs of the project. `make demo` is the main job, `make test` the proof; both need only Python and make.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
WHEEL_VENV ?= .venv-wheel
WHEEL_BIN = $(WHEEL_VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help setup check test coverage wheel bench docs demo clean

help:  ## show this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

$(BIN)/.setup: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,local]'
	@touch $@

setup: $(BIN)/.setup  ## make the development environment

check: setup  ## style and types: ruff, mypy, pyright
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

wheel:  ## build the wheel and install it, with what the tests need, into an environment of its own
	rm -rf dist
	$(PYTHON) -m venv $(WHEEL_VENV)
	$(WHEEL_BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(WHEEL_BIN)/python -m pip install --quiet "$$(echo dist/*.whl)[test]"
	$(WHEEL_BIN)/python -m pip install --quiet --force-reinstall --no-deps dist/*.whl

test: wheel  ## all tests against the built wheel, with the coverage that we promise
	$(WHEEL_BIN)/python -m coverage run -m pytest $(ARGS)
	@$(WHEEL_BIN)/python -m coverage report --include='*/opto/trace/*,*/opto/optimizers/*' --fail-under=95 \
		--skip-covered --format=text | tail -n 12

bench: setup  ## the benchmarks that need no model: ratios against a floor measured in the same run
	$(BIN)/python bench/tape.py
	$(BIN)/python bench/growth.py
	$(BIN)/python bench/llm_overhead.py
	$(BIN)/python bench/sandbox.py
	$(BIN)/python bench/resume_after_kill.py
	$(BIN)/python bench/k_module.py
	$(BIN)/python bench/mixed.py
	$(BIN)/python bench/numerical.py
	$(BIN)/python bench/battleship.py
	$(BIN)/python bench/format_repair.py
	$(BIN)/python bench/calls.py
	$(BIN)/python bench/exact_gradients.py
	$(BIN)/python bench/runtime_feedback.py
	$(BIN)/python bench/prompt_tokens.py
	$(BIN)/python bench/step_path.py
	$(BIN)/python bench/malformed_replies.py
	$(BIN)/python bench/blame.py

docs: setup  ## run the examples of the documentation
	$(BIN)/python docs/from_scratch.py
	$(BIN)/python -m pytest tests/test_documentation.py

$(VENV)-demo/.ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)-demo
	$(VENV)-demo/bin/python -m pip install --quiet '.[local]'
	@touch $@

demo: $(VENV)-demo/.ready  ## the main job: optimize a real agent with a model that runs on this machine
	$(VENV)-demo/bin/python -m pip install --quiet --force-reinstall --no-deps .
	$(VENV)-demo/bin/opto demo $(ARGS)

clean:  ## remove environments, builds and caches
	rm -rf $(VENV) $(VENV)-demo $(WHEEL_VENV) dist .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis
