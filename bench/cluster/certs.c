/* SPDX-License-Identifier: Apache-2.0 */
/* Making certificates: P-256 keys, version 3, random serial numbers, PEM files. */
#include "bench/cluster/certs.h"

#if SX_TLS_OPENSSL

#include <stdint.h>
#include <stdio.h>

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

enum { DAY_S = 24 * 3600, AUTHORITY_DAYS = 30 };

bool sx_certs_available(void) { return true; }

static bool add_extension(X509 *certificate, X509 *issuer, int nid, const char *value) {
    X509V3_CTX context;
    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    bool ok = extension != NULL && X509_add_ext(certificate, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return ok;
}

static FILE *open_file(const char *directory, const char *name, const char *suffix, const char *mode) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s.%s", directory, name, suffix);
    return fopen(path, mode);
}

static bool write_both(const char *directory, const char *name, X509 *certificate, EVP_PKEY *key) {
    FILE *crt = open_file(directory, name, "crt", "w"), *out = open_file(directory, name, "key", "w");
    bool ok = crt != NULL && out != NULL && PEM_write_X509(crt, certificate) == 1 &&
              PEM_write_PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1;
    if (crt != NULL && fclose(crt) != 0) ok = false;
    if (out != NULL && fclose(out) != 0) ok = false;
    return ok;
}

/* All but what makes it an authority's or another's. */
static X509 *begin(const char *name, EVP_PKEY *key, int days) {
    X509 *certificate = X509_new();
    uint64_t serial = 0;
    if (certificate == NULL) return NULL;
    (void)RAND_bytes((unsigned char *)&serial, sizeof serial);
    X509_set_version(certificate, X509_VERSION_3);
    ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -(long)AUTHORITY_DAYS * DAY_S);
    X509_gmtime_adj(X509_getm_notAfter(certificate), (long)days * DAY_S);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
                               0);
    X509_set_pubkey(certificate, key);
    return certificate;
}

int sx_certs_authority(const char *directory, const char *name) {
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key == NULL ? NULL : begin(name, key, AUTHORITY_DAYS);
    bool ok = certificate != NULL && X509_set_issuer_name(certificate, X509_get_subject_name(certificate)) == 1 &&
              add_extension(certificate, certificate, NID_basic_constraints, "critical,CA:TRUE") &&
              add_extension(certificate, certificate, NID_subject_key_identifier, "hash") &&
              X509_sign(certificate, key, EVP_sha256()) != 0 && write_both(directory, name, certificate, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
    return ok ? 0 : -1;
}

int sx_certs_issue(const char *directory, const char *authority, const char *name, const char *alt_names, int days) {
    FILE *crt = open_file(directory, authority, "crt", "r"), *in = open_file(directory, authority, "key", "r");
    X509 *issuer = crt == NULL ? NULL : PEM_read_X509(crt, NULL, NULL, NULL);
    EVP_PKEY *issuer_key = in == NULL ? NULL : PEM_read_PrivateKey(in, NULL, NULL, NULL);
    if (crt != NULL) (void)fclose(crt);
    if (in != NULL) (void)fclose(in);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = key == NULL ? NULL : begin(name, key, days);
    bool ok = certificate != NULL && issuer != NULL && issuer_key != NULL &&
              X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1 &&
              add_extension(certificate, issuer, NID_subject_alt_name, alt_names) &&
              add_extension(certificate, issuer, NID_authority_key_identifier, "keyid") &&
              X509_sign(certificate, issuer_key, EVP_sha256()) != 0 && write_both(directory, name, certificate, key);
    X509_free(certificate);
    X509_free(issuer);
    EVP_PKEY_free(key);
    EVP_PKEY_free(issuer_key);
    return ok ? 0 : -1;
}

#else

bool sx_certs_available(void) { return false; }

int sx_certs_authority(const char *directory, const char *name) {
    (void)directory, (void)name;
    return -1;
}

int sx_certs_issue(const char *directory, const char *authority, const char *name, const char *alt_names, int days) {
    (void)directory, (void)authority, (void)name, (void)alt_names, (void)days;
    return -1;
}

#endif
