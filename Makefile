# Every command of the project, once. CONTRIBUTING.md says when to use which; .ci/run runs the same ones.

.DEFAULT_GOAL := help
.PHONY: help setup format lint types imports test soak kills bench docs run pins

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "%-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make the environment, and check before each commit where pre-commit is installed
	uv sync --all-extras
	@if command -v pre-commit >/dev/null; then pre-commit install; fi

format: ## Rewrite the files as ruff would have them
	uv run ruff check --fix-only --quiet .
	uv run ruff format .

lint: ## Look for mistakes and for odd formatting
	uv run ruff check .
	uv run ruff format --check .

types: ## Check the types
	uv run --all-extras mypy

imports: ## Check that each layer knows only those below it
	uv run lint-imports

test: ## Run the tests
	uv run --all-extras pytest -n 2

soak: ## Ten minutes of simulated galaxies in which everything goes wrong
	uv run nebulabench simulate --seeds 0:500 --minutes 10

kills: ## Kill a real node and its agents at random for ten minutes, and count what must happen once
	uv run nebulabench soak --minutes 10

bench: ## Measure how fast stars go through
	uv run nebulabench dispatch --graph layered --durability process
	uv run nebulabench dispatch --graph chain --durability process

docs: ## Write the generated documents and recorded transcripts anew; read the difference before keeping it
	REWRITE=1 uv run --all-extras pytest

run: ## Start Galaxy on this machine
	uv run galaxy serve

pins: ## Write constraints.txt anew, after a dependency has changed
	uv pip compile pyproject.toml --all-extras --group dev --universal --upgrade --quiet --no-header --output-file constraints.txt
