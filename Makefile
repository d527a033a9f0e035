.PHONY: install check types test zoo tree site

install:
	pip install -c constraints.txt -e '.[test,docs]'

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

# Train every bundled checkpoint again, by the command on its card, into zoo/.
zoo:
	cd robustssm/checkpoints/zoo && find . -type d -exec mkdir -p $(CURDIR)/zoo/{} \;
	cd robustssm/checkpoints/zoo && for folder in . */; do grep -ho 'robustssm train [^"]*' $$folder/*.json \
		| (cd $(CURDIR)/zoo/$$folder && xargs -P $$(nproc) -I{} sh -c '{}'); done

# The documentation, with a reference of the Python interface and of every option: build/site.
site: tree
	mkdocs build --quiet --strict
