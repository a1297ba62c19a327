# What a developer types.  Everything runs in the environment that is active.
.PHONY: help dev check format test docs bench

help:    ## this list
	@sed -n 's/^\([a-z]*\): *## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

dev:     ## install ckptctl and the tools for work on it
	pip install -e '.[dev]'

check:   ## ruff, mypy, direction of imports, freshness of generated files
	.ci/check

format:  ## format and repair what ruff can
	ruff check --fix .
	ruff format .

test:    ## the tests, on all cores
	pytest

docs:    ## make the generated files anew
	python -m docs.generate

bench:   ## measure against find and bare Python, as ratios
	python -m benchmarks.scan
	python -m benchmarks.prune
	python -m benchmarks.verify
