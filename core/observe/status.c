/* SPDX-License-Identifier: Apache-2.0 */
/* Names and texts of status codes, from the one table in the public header. */
#include <strata/status.h>

const char *strata_status_name(int32_t status) {
    switch (status) {
#define STATUS_NAME(name, number, text) \
    case (number): return "STRATA_" #name;
        STRATA_STATUS_TABLE(STATUS_NAME)
#undef STATUS_NAME
    default: return "STRATA_UNKNOWN";
    }
}

const char *strata_status_text(int32_t status) {
    switch (status) {
#define STATUS_TEXT(name, number, text) \
    case (number): return text;
        STRATA_STATUS_TABLE(STATUS_TEXT)
#undef STATUS_TEXT
    default: return "unknown status";
    }
}
