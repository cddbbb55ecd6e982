/* SPDX-License-Identifier: Apache-2.0 */
/* The smallest program of a stranger: it creates a configuration and prints the name of a status. */
#include <stdio.h>
#include <stdlib.h>
#include <strata/strata.h>

int main(void) {
    strata_config *config = NULL;
    int32_t status = strata_config_create(&config);
    printf("%s\n", strata_status_name(status));
    strata_config_destroy(config);
    return status == STRATA_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
