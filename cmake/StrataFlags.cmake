# SPDX-License-Identifier: Apache-2.0
# Compiler flags: the warnings of the house, sanitizers, coverage, and what every target of ours gets.

set(STRATA_WARNING_FLAGS -Wall -Wextra -Wpedantic -Wconversion -Wsign-conversion -Wshadow -Wcast-qual
                         -Wundef -Wvla -Wformat=2)
set(STRATA_WARNING_FLAGS_C -Wstrict-prototypes -Wmissing-prototypes)

if(NOT STRATA_SANITIZE MATCHES "^(none|address|thread)$")
  message(FATAL_ERROR "STRATA_SANITIZE is none, address or thread, not '${STRATA_SANITIZE}'")
endif()
if(STRATA_SANITIZE STREQUAL "address")
  add_compile_options(-fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
  add_link_options(-fsanitize=address,undefined)
elseif(STRATA_SANITIZE STREQUAL "thread")
  add_compile_options(-fsanitize=thread -fno-omit-frame-pointer)
  add_link_options(-fsanitize=thread)
  if(CMAKE_C_COMPILER_ID STREQUAL "GNU")
    # The few fences live in core/memory/atomic.h, beside accesses that the sanitizer does understand.
    add_compile_options(-Wno-tsan)
  endif()
endif()
if(STRATA_BROKEN_RULES)
  add_compile_definitions(STRATA_BROKEN_RULES=1)
endif()
if(STRATA_FUZZ)
  if(NOT CMAKE_C_COMPILER_ID MATCHES "Clang")
    message(FATAL_ERROR "STRATA_FUZZ needs clang (the preset 'fuzz' selects it)")
  endif()
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(STRATA_COVERAGE)
  add_compile_options(--coverage -fprofile-update=atomic)
  add_link_options(--coverage)
endif()

# strata_flags(target): include root, feature macros and, where asked for, warnings.
function(strata_flags target)
  target_include_directories(${target} PRIVATE "${PROJECT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/include")
  target_compile_definitions(${target} PRIVATE _GNU_SOURCE SX_DEBUG=$<BOOL:$<CONFIG:Debug>>
                             SX_TLS_OPENSSL=$<BOOL:${STRATA_TLS_OPENSSL}>
                             SX_USDT=$<BOOL:${STRATA_USDT_FOUND}>
                             SX_ALLOC_JEMALLOC=$<STREQUAL:${STRATA_ALLOCATOR},jemalloc>
                             SX_HAS_ZSTD=$<BOOL:${STRATA_ZSTD}>)
  if(STRATA_WARNINGS)
    target_compile_options(${target} PRIVATE ${STRATA_WARNING_FLAGS}
                           $<$<COMPILE_LANGUAGE:C>:${STRATA_WARNING_FLAGS_C}>)
  endif()
  if(STRATA_WERROR)
    target_compile_options(${target} PRIVATE -Werror)
  endif()
endfunction()
