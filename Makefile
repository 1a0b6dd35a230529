# make app      set up, start the app, print its address      (PORT=7860)
# make test     set up, run every test
# make quality  ruff over everything
# make pictures record the app anew for the README
# make models   train the models that ship under assets/models again

PYTHON ?= python3
PORT ?= 7860
BIN := .venv/bin
# One more than there are cores: some tests wait for a page, a Hub or another process.
WORKERS = $(shell $(BIN)/python -c 'import os; print(min(os.cpu_count() + 1, 5))')
.DEFAULT_GOAL := app
.PHONY: app test quality pictures models

app: .venv/app
	$(BIN)/python app.py --port $(PORT)

test: .venv/test quality
	@{ command -v chromium-headless-shell || command -v chromium || \
	  command -v chromium-browser; } >/dev/null || \
	  { echo "The browser tests need Chromium: apt-get install chromium-headless-shell"; exit 2; }
	# Threads that wait by spinning would keep the other processes' work from the cores.
	# The order of the files is that of tests/conftest.py, not by their numbers of tests.
	OMP_WAIT_POLICY=passive $(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile \
	  --no-loadscope-reorder

quality: .venv/test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

pictures: .venv/test
	$(BIN)/python -m pytest tests/page/test_recording.py
	cp tests/output/screenshot.png tests/output/recording.webp assets/

models: .venv/app
	PYTHON=$(BIN)/python bash assets/train.sh

.venv/app: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name it with: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --requirement requirements.txt
	@touch $@

.venv/test: .venv/app tests/requirements.txt
	$(BIN)/python -m pip install --quiet --requirement tests/requirements.txt
	@touch $@
