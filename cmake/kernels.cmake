# Kernels are compiled once per instruction set, each time for it alone and in a namespace of its name; the processor
# decides at run time which are called (everface/core/isa.hpp).
include(CheckCXXCompilerFlag)
set(EVERFACE_ISAS base)
if(EMSCRIPTEN)
  add_compile_options(-msimd128 -fexceptions)
  add_link_options(-fexceptions)
endif()
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  list(APPEND EVERFACE_ISAS avx2 avx512 avx512bf16)
  add_compile_definitions($<$<COMPILE_LANGUAGE:CXX>:EVERFACE_X86_KERNELS=1>)
  check_cxx_compiler_flag("-mamx-tile -mamx-bf16" EVERFACE_HAVE_AMX)
  if(EVERFACE_HAVE_AMX)
    list(APPEND EVERFACE_ISAS amx)
    add_compile_definitions($<$<COMPILE_LANGUAGE:CXX>:EVERFACE_AMX_KERNELS=1>)
  endif()
endif()

# a * b + c as one operation: the kernels count on it, and ISO mode would forbid it. Nothing traps and errno is not
# read, so that comparisons become selections.
set(EVERFACE_LEVEL -O3)
if(EVERFACE_SANITIZE)
  set(EVERFACE_LEVEL -O1)  # unrolled kernels under a sanitizer take minutes each to compile at -O3
endif()
set(EVERFACE_KERNEL_FLAGS ${EVERFACE_LEVEL} -ffp-contract=fast -fno-math-errno -fno-trapping-math -Wno-psabi)
set(EVERFACE_BYTES_base 16)
set(EVERFACE_FLAGS_avx2 -mavx2 -mfma)
set(EVERFACE_BYTES_avx2 32)
set(EVERFACE_FLAGS_avx512
    -mavx2 -mfma -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
set(EVERFACE_BYTES_avx512 64)
set(EVERFACE_FLAGS_avx512bf16 ${EVERFACE_FLAGS_avx512} -mavx512bf16)
set(EVERFACE_BYTES_avx512bf16 64)
set(EVERFACE_FLAGS_amx ${EVERFACE_FLAGS_avx512bf16} -mamx-tile -mamx-bf16)
set(EVERFACE_BYTES_amx 64)

# everface_kernels(NAME SOURCE ISA...): SOURCE for each of the sets that this architecture has, with EVERFACE_ISA (the
# namespace), EVERFACE_ISA_VALUE (of the enumeration Isa) and EVERFACE_VECTOR_BYTES defined.
function(everface_kernels name source)
  foreach(isa ${ARGN})
    if(isa IN_LIST EVERFACE_ISAS)
      set(objects everface_${name}_${isa})
      string(REPLACE "avx" "kAvx" value ${isa})
      string(REPLACE "bf16" "Bf16" value ${value})
      string(REGEX REPLACE "^base$" "kBase" value ${value})
      string(REGEX REPLACE "^amx$" "kAmx" value ${value})
      add_library(${objects} OBJECT ${source})
      target_include_directories(${objects} PRIVATE $<TARGET_PROPERTY:everface_core,INCLUDE_DIRECTORIES>)
      target_compile_definitions(${objects} PRIVATE EVERFACE_ISA=${isa} EVERFACE_ISA_VALUE=${value}
                                                    EVERFACE_VECTOR_BYTES=${EVERFACE_BYTES_${isa}})
      target_compile_options(${objects} PRIVATE -Wall -Wextra -Wpedantic ${EVERFACE_KERNEL_FLAGS} ${EVERFACE_FLAGS_${isa}})
      target_sources(everface_core PRIVATE $<TARGET_OBJECTS:${objects}>)
    endif()
  endforeach()
endfunction()
