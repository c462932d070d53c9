# Everything is installed into build/venv; nothing else on the machine is touched, but for libpython where it is missing,
# and for the tests Chromium.
PYTHON ?= python3.11
VENV := build/venv
RUN := $(VENV)/bin/python
EXPORTED := model_repository/diffusion/1/checkpoint.json
CHECKPOINT ?= shapes/checkpoint
PROMPT ?= a large red circle on the left of a blue background
PACKAGES := export shapes benchmarks docker client/triton_diffusion model_repository/diffusion/1
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help
.PHONY: help demo export serve page test test-slow fuzz soak latency loop bench resilience dashboard rules ladder gpu-kit lint lock format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(EXPORTED) ## Start the server, ask it for one image, write build/demo.png (PROMPT="...")
	$(RUN) docker/demo.py "$(PROMPT)" --output build/demo.png

export: $(VENV)/installed ## Export CHECKPOINT into model_repository/ (default: the one that ships with the project)
	$(RUN) -m export $(CHECKPOINT)

serve: $(EXPORTED) ## Start the server on ports 8000 (HTTP), 8001 (gRPC) and 8002 (metrics)
	$(RUN) docker/launcher.py

page: $(VENV)/installed ## Serve a page for that server, on port 7860 of this machine
	$(VENV)/bin/triton-diffusion serve-web

test: lint ## Lint, check types and run the tests
	$(PYTHON) docker/prerequisites.py --browser
	$(RUN) -m pytest -n 2 --dist loadgroup

test-slow: $(VENV)/installed ## Run the tests that take minutes or gigabytes
	$(PYTHON) docker/prerequisites.py --containers
	$(RUN) -m pytest -m slow -s

MINUTES ?= 10
fuzz: $(VENV)/installed ## Send hostile input to every door, MINUTES (10) for each fuzzer; count deaths of Triton
	FUZZ_MINUTES=$(MINUTES) $(RUN) -m pytest tests/fuzz -m "slow or not slow" -s

RATE ?= 3
soak: $(EXPORTED) ## Watch what a server uses for MINUTES (10) of mixed traffic, into docs/records/soak.json and docs/soak.png
	$(RUN) -m benchmarks.soak --minutes $(MINUTES) --rate $(RATE)

latency: $(EXPORTED) ## Measure where the milliseconds of one served image go
	$(RUN) -m benchmarks.latency

loop: $(EXPORTED) ## Measure the milliseconds that the loop adds to a step, alone and through the server
	$(RUN) -m benchmarks.loop
	$(RUN) -m benchmarks.loop_served

bench: $(EXPORTED) ## Load-test the server with perf_analyzer, write build/bench/report.html (minutes)
	$(RUN) -m benchmarks.load --output build/bench

dashboard: $(EXPORTED) ## Fill the Grafana dashboard with a real load and draw it into docs/dashboard.png
	$(RUN) -m benchmarks.dashboard docs/dashboard.png

# Kustomize cannot make a PrometheusRule of a file, so Kubernetes has a copy; a test holds the two equal.
RULE := docker/kubernetes/components/monitoring/prometheus-rule.yaml
rules: ## Copy docker/monitoring/prometheus/rules.yml for Kubernetes
	sed -i '/^spec:/q' $(RULE)
	sed 's/^./  &/' docker/monitoring/prometheus/rules.yml >> $(RULE)

resilience: $(EXPORTED) ## Kill, restart and overload servers and count what is lost, into docs/records/resilience.json (minutes)
	$(RUN) -m benchmarks.resilience --output docs/records/resilience.json

ladder: $(VENV)/installed ## Measure CHECKPOINT from DDPM-1000 to TensorRT, quality too (hours), into docs/records/ladder.*
	$(RUN) -m benchmarks.ladder $(CHECKPOINT) --output docs/records/ladder.json

gpu-kit: $(VENV)/installed ## Pack what a GPU machine with PyTorch and no network lacks, into build/gpu-kit
	$(RUN) -m benchmarks.gpu.kit build/gpu-kit

lint: $(VENV)/installed ## Check style and types
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy $(PACKAGES)

# What images install: exact versions, with the hash of every file that may be one. TORCH adds where uv finds PyTorch for
# the CPU; images are for Linux on x86-64, Python 3.11 or 3.12.
TORCH ?= --torch-backend cpu
LOCK := $(VENV)/bin/uv pip compile --quiet --upgrade --generate-hashes --custom-compile-command "make lock" \
	--annotation-style line --only-binary :all: --python-platform x86_64-manylinux_2_35
UNUSED := --excludes requirements/locked/unused.txt
lock: $(VENV)/installed ## Write requirements/locked/ anew: what the images install
	$(LOCK) $(UNUSED) --python-version 3.11 requirements/server.txt requirements/triton.txt -o requirements/locked/server-cpu.txt
	$(LOCK) $(UNUSED) --python-version 3.12 requirements/server-ngc.txt -o requirements/locked/server-gpu.txt
	$(LOCK) --python-version 3.11 $(TORCH) requirements/export.txt -o requirements/locked/exporter.txt
	sed 's/\[.*\]//' requirements/dev.txt requirements/export.txt > build/constraints.txt
	echo setuptools | $(LOCK) --python-version 3.11 --constraints build/constraints.txt \
		--extra web client/pyproject.toml - -o requirements/locked/gateway.txt

format: $(VENV)/installed ## Format the code
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# What the export has written says so in its first line; the two hand-written models keep their code.
GENERATED = $(shell grep -ls "^. Generated by .python -m export" model_repository/*/config.pbtxt)
clean: ## Remove everything that was built
	rm -rf build $(filter-out %/diffusion %/text_to_image,$(patsubst %/config.pbtxt,%,$(GENERATED)))
	rm -f model_repository/*/config.pbtxt model_repository/diffusion/1/*.json

# The exported models; `make export` writes them anew.
$(EXPORTED): $(VENV)/installed
	$(RUN) -m export $(CHECKPOINT)

$(VENV)/installed: requirements/export.txt requirements/server.txt requirements/server-ngc.txt requirements/triton.txt requirements/tensorrt-rtx.txt requirements/dev.txt requirements/oracles.txt client/pyproject.toml
	$(PYTHON) docker/prerequisites.py
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet -r requirements/export.txt -r requirements/server.txt -r requirements/tensorrt-rtx.txt -r requirements/dev.txt
	$(RUN) -m pip install --quiet --no-deps -r requirements/triton.txt -r requirements/oracles.txt
	$(RUN) -m pip install --quiet --editable ./client
	touch $@
