# SPDX-License-Identifier: Apache-2.0
# Compares a committed reference page with what the program prints: PROGRAM PAGE COMMITTED PRINTED.

execute_process(COMMAND "${PROGRAM}" "${PAGE}" OUTPUT_FILE "${PRINTED}" RESULT_VARIABLE failed)
if(failed)
  message(FATAL_ERROR "strata-reference ${PAGE} ended with ${failed}")
endif()
execute_process(COMMAND "${CMAKE_COMMAND}" -E compare_files "${COMMITTED}" "${PRINTED}" RESULT_VARIABLE differs
                ERROR_QUIET)
if(NOT differs)
  return()
endif()
find_program(DIFF_PROGRAM diff)
if(DIFF_PROGRAM)
  execute_process(COMMAND "${DIFF_PROGRAM}" -u "${COMMITTED}" "${PRINTED}")
endif()
message(FATAL_ERROR "${COMMITTED} is not what the tables say; write it anew: cmake --build <build> --target docs")
