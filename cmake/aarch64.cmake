# Cross-build for 64-bit ARM; its tests run under qemu-user:
#   apt-get install g++-aarch64-linux-gnu qemu-user-static
#   cmake -S . -B build/aarch64 -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake -DEVERFACE_PYTHON=OFF -DEVERFACE_TESTS=ON
#         -DEVERFACE_CUDA=OFF -DEVERFACE_ORT=OFF
#   cmake --build build/aarch64 && ctest --test-dir build/aarch64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
find_program(EVERFACE_QEMU NAMES qemu-aarch64-static qemu-aarch64)
if(EVERFACE_QEMU)
  set(CMAKE_CROSSCOMPILING_EMULATOR "${EVERFACE_QEMU};-L;/usr/aarch64-linux-gnu")
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
