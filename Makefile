# Two commands for a stranger: `make demo` and `make test`. Each makes what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# What a user has, and what developing needs besides: PyTorch, test and lint tools.
USER := $(VENV)/.installed
DEV := $(VENV)/.developing
# The kernels are rebuilt when one of these changes; Python files are read in place.
NATIVE := CMakeLists.txt pyproject.toml $(shell find cpp_ext cmake -name '*.[ch]pp' -o -name '*.cu' -o -name '*.cuh' -o -name '*.txt' -o -name '*.cmake')

.PHONY: all demo test test-all test-coverage test-avx2 test-cpp test-operators test-valgrind test-threads test-aarch64 test-wasm lint format docs wheel test-wheel clean

all: $(DEV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.requirements: pyproject.toml | $(BIN)/python
	$(BIN)/pip install -q --disable-pip-version-check "scikit-build-core>=0.11" "pybind11>=2.13" "cmake>=3.25" "ninja>=1.11"
	touch $@

$(USER): $(VENV)/.requirements $(NATIVE)
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e .
	touch $@

# torch first, by exact version: a bare "torch" would bring gigabytes of CUDA to a machine that needs none.
$(DEV): pyproject.toml | $(USER)
	$(BIN)/pip install -q --disable-pip-version-check "torch==2.13.0"
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip install -q --disable-pip-version-check --no-build-isolation -e ".[torch,dev,docs]"
	touch $@

demo: $(USER)
	$(BIN)/everface demo --out demo-out

test: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow"

test-all: $(DEV)
	$(BIN)/python -m pytest

# The fast tests, and for each module the share of its lines that they run.
test-coverage: $(DEV)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadfile -m "not slow" --cov --cov-report=json:build/coverage.json
	$(BIN)/python tools/coverage_floor.py build/coverage.json

# What chooses its kernels by the processor, on those of AVX2.
test-avx2: $(DEV) test-cpp
	EVERFACE_ISA=avx2 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow" tests/engine/ops
	EVERFACE_ISA=avx2 $(BIN)/ctest --test-dir build/sanitized -E 'capi|example' --output-on-failure --no-tests=error

# The C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer, without Python and without CUDA.
test-cpp: $(VENV)/.requirements
	$(BIN)/cmake -S . -B build/sanitized -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=Release \
	  -DEVERFACE_TESTS=ON -DEVERFACE_PYTHON=OFF -DEVERFACE_CUDA=OFF -DEVERFACE_SANITIZE=address,undefined >/dev/null
	$(BIN)/cmake --build build/sanitized
	$(BIN)/ctest --test-dir build/sanitized --output-on-failure --no-tests=error

# C++ tests under valgrind, which knows no AVX-512, so that the AVX2 and the portable kernels run (Debian: valgrind).
VALGRIND_TESTS := hull_projection_test hull_scores_test core_pool_test
test-valgrind: $(VENV)/.requirements
	$(BIN)/cmake -S . -B build/valgrind -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo \
	  -DEVERFACE_TESTS=ON -DEVERFACE_PYTHON=OFF -DEVERFACE_CUDA=OFF >/dev/null
	$(BIN)/cmake --build build/valgrind --target $(VALGRIND_TESTS)
	for test in $(VALGRIND_TESTS); do valgrind --quiet --error-exitcode=1 --leak-check=full \
	  build/valgrind/cpp_ext/tests/$$test || exit 1; done

# The thread pool, and the interface for C by several threads, under ThreadSanitizer.
THREADS_TESTS := core_pool_test hull_projection_test hull_scores_test capi_hostile_test
test-threads: $(VENV)/.requirements
	$(BIN)/cmake -S . -B build/threads -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=Release \
	  -DEVERFACE_TESTS=ON -DEVERFACE_PYTHON=OFF -DEVERFACE_CUDA=OFF -DEVERFACE_ORT=OFF -DEVERFACE_SANITIZE=thread >/dev/null
	$(BIN)/cmake --build build/threads --target $(THREADS_TESTS)
	for test in $(THREADS_TESTS); do build/threads/cpp_ext/tests/$$test || exit 1; done

# The tests of the operators for ONNX Runtime with a library under the same sanitizers.
test-operators: $(DEV) test-cpp
	LD_PRELOAD="$$($(CXX) -print-file-name=libasan.so) $$($(CXX) -print-file-name=libubsan.so)" ASAN_OPTIONS=detect_leaks=0 \
	  EVERFACE_TEST_OPERATORS=$(CURDIR)/build/sanitized/cpp_ext/ort/_ort_ops.so OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest -q tests/export/test_custom.py

# The C++ tests as 64-bit Arm code under qemu-user (Debian: g++-aarch64-linux-gnu, qemu-user-static), without the
# operator library for ONNX Runtime, which has no C++ test: about two minutes of processor time.
test-aarch64: $(VENV)/.requirements
	$(BIN)/cmake -S . -B build/aarch64 -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DCMAKE_BUILD_TYPE=Release \
	  -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DEVERFACE_TESTS=ON -DEVERFACE_PYTHON=OFF -DEVERFACE_CUDA=OFF \
	  -DEVERFACE_ORT=OFF >/dev/null
	$(BIN)/cmake --build build/aarch64
	$(BIN)/ctest --test-dir build/aarch64 --parallel 2 --output-on-failure --no-tests=error

# The vectors and matrix products of cpp_ext/core as WebAssembly SIMD128 under node (Debian: emscripten, node-acorn).
WASM_TESTS := core_simd_test core_products_test core_isa_test
test-wasm: $(VENV)/.requirements
	NODE_PATH=/usr/share/nodejs emcmake $(BIN)/cmake -S . -B build/wasm -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja \
	  -DCMAKE_BUILD_TYPE=Release -DEVERFACE_TESTS=ON -DEVERFACE_PYTHON=OFF -DEVERFACE_CUDA=OFF -DEVERFACE_ORT=OFF >/dev/null
	NODE_PATH=/usr/share/nodejs $(BIN)/cmake --build build/wasm --target $(WASM_TESTS)
	for test in $(WASM_TESTS); do node build/wasm/cpp_ext/tests/$$test.js || exit 1; done

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	mkdir -p build && { $(BIN)/lint-imports --no-cache >build/imports.txt || { cat build/imports.txt; false; }; }
	$(BIN)/deptry --no-ansi src engine export bench
	$(BIN)/python tools/unused.py
	git ls-files 'cpp_ext/*.cpp' 'cpp_ext/*.hpp' 'cpp_ext/*.cu' 'cpp_ext/*.cuh' | xargs $(BIN)/clang-format --dry-run --Werror

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files 'cpp_ext/*.cpp' 'cpp_ext/*.hpp' 'cpp_ext/*.cu' 'cpp_ext/*.cuh' | xargs $(BIN)/clang-format -i

# The site, in build/site; a link or a name that leads nowhere is an error. tests/test_docs.py runs the examples.
docs: $(DEV)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

# For any Linux with this glibc or a newer one: auditwheel says which in the file's name, and refuses what is not portable.
wheel: $(DEV)
	rm -rf build/wheel dist
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/pip wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w build/wheel .
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/auditwheel repair --wheel-dir dist build/wheel/*.whl

# Installs the wheel where there is no compiler, nor this checkout, nor an extra: in at most 420 MB it learns the demo and
# does all daily work.
test-wheel: wheel
	rm -rf build/stranger
	$(PYTHON) -m venv build/stranger
	cd build/stranger && export PATH="$$PWD/bin" && ! command -v cc c++ gcc g++ clang nvcc && \
	  pip install -q --disable-pip-version-check ../../dist/*.whl && ! python -c "import torch" 2>torch.txt && \
	  everface demo --out demo --json && python ../../tools/daily_verbs.py base64 0 whole >verbs.txt && \
	  python ../../tools/daily_verbs.py base64 2 factors >>verbs.txt
	rm -rf build/stranger/demo build/stranger/whole build/stranger/factors
	test $$(du -sm build/stranger | cut -f1) -le 420

clean:
	rm -rf build dist $(VENV)
