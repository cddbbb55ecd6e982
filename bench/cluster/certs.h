/* SPDX-License-Identifier: Apache-2.0 */
/* Certificates for private servers and their clients, of authorities that exist for one run. */
#ifndef SX_BENCH_CLUSTER_CERTS_H
#define SX_BENCH_CLUSTER_CERTS_H

#include <stdbool.h>

/* Whether this build can make them: it has OpenSSL. */
bool sx_certs_available(void);
/* Writes <directory>/<name>.crt and .key of a new authority. 0 or -1. */
int sx_certs_authority(const char *directory, const char *name);
/* The same of a certificate which that authority issues, for server and client use. alt_names: "DNS:localhost,IP:::1".
   Valid for so many days; negative: it expired so many days ago. 0 or -1. */
int sx_certs_issue(const char *directory, const char *authority, const char *name, const char *alt_names, int days);

#endif
