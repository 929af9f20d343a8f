# Everything runs in an environment of its own, made on first use.
VENV   := .venv
PYTHON ?= python3
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Tests run in two processes; each with threads of its own would only get in the other's way.
test quick: export OMP_NUM_THREADS := 1

.PHONY: demo test quick nightly soak check generate docs editors parser fix clean

## compile and train the two demo specs; tables on the terminal, pictures below out/
demo: $(READY)
	$(BIN)/python -m specs.demo out

## every test
test: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal

## the tests for daily work
quick: $(READY)
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

## what takes long: 100,000 specs that nobody wrote
nightly: $(READY)
	$(BIN)/python -m tests.dsl.fuzz --count 100000

## what goes wrong, in large numbers
soak: $(READY)
	$(BIN)/python -m tests.compiler.fuzz_sources --count 20000
	$(BIN)/python -m tests.soak.damage --count 1000
	$(BIN)/python -m tests.soak.hostile --count 10000
	$(BIN)/python -m tests.soak.kills --times 200
	$(BIN)/python -m tests.soak.pools --count 20
	$(BIN)/python -m tests.soak.faults --sizes 200
	$(BIN)/python -m tests.soak.refusals
	$(BIN)/python -m tests.soak.identity

## what CI checks besides the tests
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p mcd
	$(BIN)/mcd fmt --check specs dsl/explained/given
	$(BIN)/mcd check -W specs
	$(BIN)/python -m specs.recall.generate --check
	$(BIN)/python -m specs.wordnet.train_tokenizer --check
	$(BIN)/python -m specs.wordnet.concepts --check
	$(BIN)/python -m docs.generate --check
	$(BIN)/python -m editors.generate --check
	$(BIN)/pytest tests/test_docs.py

## regenerate what is generated into docs/ and editors/
generate: $(READY)
	$(BIN)/python -m docs.generate
	$(BIN)/python -m editors.generate

## the documentation as a site, in build/site
docs: $(READY)
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site -d build/doctrees . build/site

## the tests of the extension for VS Code, and its package in editors/vscode/build; needs node and npm
editors:
	cd editors/vscode && npm ci --ignore-scripts --no-audit --no-fund && npm test

## the tree-sitter parser from its grammar; needs the tree-sitter command
parser:
	cd editors/tree-sitter-mcd && tree-sitter generate --abi 14 && sha256sum grammar.js > src/grammar.js.sha256

## apply the formatter and the certain fixes
fix: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mcd fmt specs dsl/explained/given

clean:
	rm -rf $(VENV) .mcd-cache build out *.egg-info editors/vscode/node_modules editors/vscode/dist editors/vscode/build

# mypy follows no import hook, so it gets a folder in which the package bears its name.
$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[train,dev,docs]'
	mkdir -p $(VENV)/typing
	ln -sfn ../.. $(VENV)/typing/mcd
	touch $@
