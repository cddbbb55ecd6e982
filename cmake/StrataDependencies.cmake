# SPDX-License-Identifier: Apache-2.0
# What the library links: libuv, msgpack, ck, xxhash, LZ4, zstd and OpenSSL by pkg-config, and jemalloc under names of its own.

find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
pkg_check_modules(UV REQUIRED IMPORTED_TARGET libuv)
pkg_check_modules(CK REQUIRED IMPORTED_TARGET ck)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)
pkg_check_modules(LZ4 REQUIRED IMPORTED_TARGET liblz4)
pkg_check_modules(MSGPACK IMPORTED_TARGET msgpack)
set(STRATA_MSGPACK_PC msgpack)
if(NOT MSGPACK_FOUND) # newer distributions renamed the module
  pkg_check_modules(MSGPACK REQUIRED IMPORTED_TARGET msgpack-c)
  set(STRATA_MSGPACK_PC msgpack-c)
endif()
set(STRATA_LINK_LIBS PkgConfig::UV PkgConfig::CK PkgConfig::MSGPACK PkgConfig::XXHASH PkgConfig::LZ4 Threads::Threads
                     ${CMAKE_DL_LIBS} m)
set(STRATA_REQUIRES_PRIVATE "libuv ck ${STRATA_MSGPACK_PC} libxxhash liblz4")
if(STRATA_ZSTD)
  pkg_check_modules(ZSTD REQUIRED IMPORTED_TARGET libzstd)
  list(APPEND STRATA_LINK_LIBS PkgConfig::ZSTD)
  string(APPEND STRATA_REQUIRES_PRIVATE " libzstd")
endif()

# TLS for connections to servers: by OpenSSL 3, where it is there.
set(STRATA_TLS_OPENSSL OFF)
if(NOT STRATA_TLS MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "STRATA_TLS is AUTO, ON or OFF, not '${STRATA_TLS}'")
endif()
if(NOT STRATA_TLS STREQUAL "OFF")
  pkg_check_modules(OPENSSL IMPORTED_TARGET "openssl>=3.0")
  if(OPENSSL_FOUND)
    set(STRATA_TLS_OPENSSL ON)
    list(APPEND STRATA_LINK_LIBS PkgConfig::OPENSSL)
    string(APPEND STRATA_REQUIRES_PRIVATE " openssl")
  elseif(STRATA_TLS STREQUAL "ON")
    message(FATAL_ERROR "STRATA_TLS is ON, but there is no OpenSSL 3 (libssl-dev)")
  else()
    message(STATUS "strata: no TLS, there is no OpenSSL 3 (libssl-dev)")
  endif()
endif()

# Probes: notes in the library, by a header alone.
set(STRATA_USDT_FOUND OFF)
if(NOT STRATA_USDT MATCHES "^(AUTO|ON|OFF)$")
  message(FATAL_ERROR "STRATA_USDT is AUTO, ON or OFF, not '${STRATA_USDT}'")
endif()
if(NOT STRATA_USDT STREQUAL "OFF")
  include(CheckIncludeFile)
  check_include_file(sys/sdt.h STRATA_HAS_SDT_H)
  if(STRATA_HAS_SDT_H)
    set(STRATA_USDT_FOUND ON)
  elseif(STRATA_USDT STREQUAL "ON")
    message(FATAL_ERROR "STRATA_USDT is ON, but there is no sys/sdt.h (systemtap-sdt-dev)")
  else()
    message(STATUS "strata: no probes, there is no sys/sdt.h (systemtap-sdt-dev)")
  endif()
endif()

# jemalloc is packaged unprefixed: to link it means to replace malloc in the whole process, also in a program
# that only wanted a cache. Where the PIC archive is at hand we therefore take the members we need into one
# object and rename the standard names; our code calls mallocx() and friends, everyone else's malloc is left
# alone. StrataLibrary.cmake then hides the remaining names. Where it is not, the plain library is linked and
# pkg-config names it in Requires.private.
set(STRATA_JEMALLOC_EMBEDDED OFF)
if(STRATA_ALLOCATOR STREQUAL "jemalloc")
  pkg_check_modules(JEMALLOC REQUIRED IMPORTED_TARGET jemalloc)
  find_library(STRATA_JEMALLOC_PIC NAMES libjemalloc_pic.a HINTS "${JEMALLOC_LIBDIR}")
  mark_as_advanced(STRATA_JEMALLOC_PIC)
  if(STRATA_PRIVATE_JEMALLOC AND STRATA_JEMALLOC_PIC AND CMAKE_OBJCOPY)
    set(STRATA_JEMALLOC_EMBEDDED ON)
    set(STRATA_JEMALLOC_OBJECT "${PROJECT_BINARY_DIR}/jemalloc/sx_jemalloc.o")
    file(MAKE_DIRECTORY "${PROJECT_BINARY_DIR}/jemalloc")
    add_custom_command(
      OUTPUT "${STRATA_JEMALLOC_OBJECT}"
      COMMAND "${CMAKE_C_COMPILER}" -r -nostdlib -Wl,-u,mallocx -o "${STRATA_JEMALLOC_OBJECT}.all" "${STRATA_JEMALLOC_PIC}"
      COMMAND "${CMAKE_OBJCOPY}" --redefine-syms "${PROJECT_SOURCE_DIR}/cmake/jemalloc-renames.txt"
              "${STRATA_JEMALLOC_OBJECT}.all" "${STRATA_JEMALLOC_OBJECT}"
      DEPENDS "${STRATA_JEMALLOC_PIC}" "${PROJECT_SOURCE_DIR}/cmake/jemalloc-renames.txt"
      COMMENT "Embedding jemalloc under private names" VERBATIM)
    add_library(sx_jemalloc STATIC "${STRATA_JEMALLOC_OBJECT}")
    set_target_properties(sx_jemalloc PROPERTIES LINKER_LANGUAGE C)
  else()
    message(STATUS "strata: no private jemalloc; programs that link the static archive get its malloc")
    add_library(sx_jemalloc INTERFACE)
    target_link_libraries(sx_jemalloc INTERFACE PkgConfig::JEMALLOC)
    list(PREPEND STRATA_LINK_LIBS PkgConfig::JEMALLOC)
    string(APPEND STRATA_REQUIRES_PRIVATE " jemalloc")
  endif()
elseif(STRATA_ALLOCATOR STREQUAL "libc")
  add_library(sx_jemalloc INTERFACE) # nothing behind it: this build has no jemalloc at all
else()
  message(FATAL_ERROR "STRATA_ALLOCATOR is jemalloc or libc, not '${STRATA_ALLOCATOR}'")
endif()
