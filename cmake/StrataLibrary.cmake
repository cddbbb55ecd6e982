# SPDX-License-Identifier: Apache-2.0
# The library itself, static and shared, from the objects of all rooms; and how both are installed.

get_property(rooms GLOBAL PROPERTY STRATA_ROOMS)
set(STRATA_OBJECTS "")
foreach(room IN LISTS rooms)
  list(APPEND STRATA_OBJECTS $<TARGET_OBJECTS:${room}>)
endforeach()

if(NOT rooms)
  message(STATUS "strata: library skipped, no room has sources yet")
  set(STRATA_HAS_LIBRARY OFF)
  add_library(strata INTERFACE)
  add_library(strata::strata ALIAS strata)
  target_include_directories(strata INTERFACE "${PROJECT_SOURCE_DIR}/include")
  return()
endif()
set(STRATA_HAS_LIBRARY ON)

# With jemalloc embedded, the archive holds one object in which only strata_* is visible, so that a host that
# links another jemalloc never meets ours. Link-time optimisation has no objects to merge: it keeps them apart.
set(static_objects ${STRATA_OBJECTS})
set(shared_objects ${STRATA_OBJECTS})
if(STRATA_JEMALLOC_EMBEDDED)
  list(APPEND shared_objects "${STRATA_JEMALLOC_OBJECT}")
  if(CMAKE_INTERPROCEDURAL_OPTIMIZATION)
    list(APPEND static_objects "${STRATA_JEMALLOC_OBJECT}")
  else()
    set(merged "${PROJECT_BINARY_DIR}/strata-merged.o")
    add_custom_command(
      OUTPUT "${merged}"
      COMMAND "${CMAKE_C_COMPILER}" -r -nostdlib -o "${merged}.all" ${STRATA_OBJECTS} "${STRATA_JEMALLOC_OBJECT}"
      COMMAND "${CMAKE_OBJCOPY}" --wildcard "--keep-global-symbol=strata_*" "${merged}.all" "${merged}"
      DEPENDS ${rooms} ${STRATA_OBJECTS} sx_jemalloc "${STRATA_JEMALLOC_OBJECT}"
      COMMENT "Merging the rooms into one object" COMMAND_EXPAND_LISTS VERBATIM)
    set(static_objects "${merged}")
  endif()
endif()

add_library(strata STATIC ${static_objects})
add_library(strata_shared SHARED ${shared_objects})
add_library(strata::strata ALIAS strata)
add_library(strata::shared ALIAS strata_shared)
set_target_properties(strata strata_shared PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME strata)
set_target_properties(strata_shared PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION 0 EXPORT_NAME shared)
foreach(target strata strata_shared)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}/include>
                                              $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
  target_link_libraries(${target} PRIVATE ${STRATA_LINK_LIBS})
endforeach()
target_compile_definitions(strata_shared INTERFACE STRATA_USE_SHARED=1)
target_link_options(strata_shared PRIVATE -Wl,--exclude-libs,ALL)
if(STRATA_JEMALLOC_EMBEDDED)
  # An object file brings its names along without asking visibility: the map keeps them inside.
  set(map "${PROJECT_SOURCE_DIR}/cmake/exports.map")
  target_link_options(strata_shared PRIVATE "-Wl,--version-script=${map}")
  set_property(TARGET strata_shared APPEND PROPERTY LINK_DEPENDS "${map}")
endif()

if(STRATA_INSTALL)
  include(CMakePackageConfigHelpers)
  set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/strata")
  install(TARGETS strata strata_shared EXPORT strata-targets)
  install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/strata" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
  install(EXPORT strata-targets NAMESPACE strata:: DESTINATION "${package_dir}")
  configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/strata-config.cmake.in"
                                "${PROJECT_BINARY_DIR}/strata-config.cmake" INSTALL_DESTINATION "${package_dir}")
  write_basic_package_version_file("${PROJECT_BINARY_DIR}/strata-config-version.cmake"
                                   COMPATIBILITY SameMinorVersion)
  install(FILES "${PROJECT_BINARY_DIR}/strata-config.cmake" "${PROJECT_BINARY_DIR}/strata-config-version.cmake"
          DESTINATION "${package_dir}")
  configure_file("${PROJECT_SOURCE_DIR}/cmake/strata.pc.in" "${PROJECT_BINARY_DIR}/strata.pc" @ONLY)
  install(FILES "${PROJECT_BINARY_DIR}/strata.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
endif()
