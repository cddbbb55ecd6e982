# SPDX-License-Identifier: Apache-2.0
# strata_room(name GLOBS pattern... DEPENDS room...): one source folder as a library that can be tested alone.

set_property(GLOBAL PROPERTY STRATA_ROOMS "")

function(strata_room name)
  cmake_parse_arguments(PARSE_ARGV 1 room "" "" "GLOBS;DEPENDS")
  file(GLOB sources CONFIGURE_DEPENDS ${room_GLOBS})
  if(NOT sources)
    message(STATUS "strata: ${name} skipped, no sources in it yet")
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE ${room_DEPENDS})
    return()
  endif()
  add_library(${name} STATIC ${sources})
  strata_flags(${name})
  target_compile_definitions(${name} PRIVATE STRATA_BUILD_SHARED=1)
  target_link_libraries(${name} PUBLIC ${room_DEPENDS} ${STRATA_LINK_LIBS} sx_jemalloc)
  set_property(GLOBAL APPEND PROPERTY STRATA_ROOMS ${name})
endfunction()
