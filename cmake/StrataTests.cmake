# SPDX-License-Identifier: Apache-2.0
# How a file becomes a test. The first ten lines of a source may hold a comment with wishes:
#   // ctest: timeout=300      seconds, instead of 300
#   // ctest: serial           never beside another test
#   // ctest: scheduled        L1 and epochs with schedule points (tests/support/schedule.h)
#   // ctest: run              (examples) run it, don't only build it

set(STRATA_TEST_ENVIRONMENT
    "ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1:abort_on_error=0"
    "UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1"
    "TSAN_OPTIONS=suppressions=${PROJECT_SOURCE_DIR}/tests/tsan.supp:second_deadlock_stack=1:halt_on_error=0"
    "STRATA_TEST_SOURCE_DIR=${PROJECT_SOURCE_DIR}" "STRATA_TEST_BINARY_DIR=${PROJECT_BINARY_DIR}")

# strata_test_wishes(out source): the wishes of a source file, as one string; empty when it has none.
function(strata_test_wishes out source)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS "${source}")
  file(STRINGS "${source}" head LIMIT_COUNT 10)
  string(REGEX MATCHALL "ctest:[^\n;]*" wishes "${head}")
  set(${out} "${wishes}" PARENT_SCOPE)
endfunction()

# strata_test_properties(test source): environment, time limit and whatever the source wishes for.
function(strata_test_properties test source)
  strata_test_wishes(wishes "${source}")
  set(timeout 300)
  if(wishes MATCHES "timeout=([0-9]+)")
    set(timeout ${CMAKE_MATCH_1})
  endif()
  set_tests_properties(${test} PROPERTIES TIMEOUT ${timeout} ENVIRONMENT "${STRATA_TEST_ENVIRONMENT}"
                       SKIP_RETURN_CODE 77 WORKING_DIRECTORY "${PROJECT_BINARY_DIR}")
  if(wishes MATCHES "serial")
    set_tests_properties(${test} PROPERTIES RUN_SERIAL ON)
  endif()
endfunction()
