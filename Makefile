.PHONY: install check types test zoo tree

install:
	pip install -c constraints.txt -e '.[test]'

check:
	ruff check .
	ruff format --check .

# Tools that only read files need the installed shape of the three folders: link it, check it.
tree:
	rm -rf build/tree && mkdir -p build/tree/robustssm
	ln -s $(CURDIR)/robustssm/* $(CURDIR)/attacks $(CURDIR)/evaluations $(CURDIR)/figures build/tree/robustssm/

types: tree
	cd build/tree && mypy --config-file ../../pyproject.toml -p robustssm
	MYPYPATH=build/tree:benchmarks mypy --explicit-package-bases tests benchmarks docs/*.py

test:
	pytest

zoo:
	robustssm models build
