/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration file: `[section]`, `key = value`, `#` comments, and a refusal of everything else.

   A `#` begins a comment at the start of a line or after a blank. A value in double quotes may hold anything that a line
   can, with \" and \\ for those two characters; a bare value ends before blanks and a comment. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/config/values.h"
#include "core/memory/buf.h"

#define FILE_BYTES_MAX (1u << 20)
#define LINE_BYTES_MAX 4096
#define PLACE_BYTES    256
#define NAME_BYTES_MAX 128
#define SHOWN_BYTES    80

typedef struct reading {
    sx_config_stage stage;
    const char *name;
    uint32_t line;
    char place[PLACE_BYTES];      /* "file:line: " */
    char section[NAME_BYTES_MAX]; /* empty before the first */
} reading;

typedef struct span {
    const char *at;
    size_t size;
} span;

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || c == '\r';
}

static span trim(span s) {
    while (s.size > 0 && is_blank(s.at[0])) s = (span){s.at + 1, s.size - 1};
    while (s.size > 0 && is_blank(s.at[s.size - 1])) s.size--;
    return s;
}

/* 1 .. NAME_BYTES_MAX - 1 of [a-z0-9_]. */
static bool is_name(span s) {
    for (size_t i = 0; i < s.size; i++) {
        char c = s.at[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_')) return false;
    }
    return s.size > 0 && s.size < NAME_BYTES_MAX;
}

static bool is_comment(span s) {
    return s.size == 0 || s.at[0] == '#';
}

static bool section_exists(span name) {
    for (size_t i = 0; i < sx_option_count(); i++) {
        const char *option = sx_option_at(i)->name;
        if (strcspn(option, ".") == name.size && memcmp(option, name.at, name.size) == 0) return true;
    }
    return false;
}

static int32_t refuse(reading *r, const char *what) {
    return sx_config_refuse(r->stage.error, STRATA_E_CONFIG, "%s%s", r->place, what);
}

/* "namespace.NAME", whatever the name. */
static bool is_namespace(span name) {
    size_t prefix = sizeof SX_CONFIG_NAMESPACE - 1;
    return name.size > prefix && memcmp(name.at, SX_CONFIG_NAMESPACE, prefix) == 0 &&
           sx_key_namespace_is_good(name.at + prefix, name.size - prefix);
}

static int32_t read_section(reading *r, span line) {
    const char *close = memchr(line.at, ']', line.size);
    if (close == NULL) return refuse(r, "a section without its ']'");
    span rest = trim((span){close + 1, line.size - (size_t)(close + 1 - line.at)});
    if (!is_comment(rest)) return refuse(r, "something follows the ']' of a section");
    span name = trim((span){line.at + 1, (size_t)(close - line.at) - 1});
    if (!is_namespace(name) && (!is_name(name) || !section_exists(name))) {
        int shown = name.size > SHOWN_BYTES ? SHOWN_BYTES : (int)name.size;
        return sx_config_refuse(r->stage.error, STRATA_E_CONFIG, "%sunknown section '%.*s'", r->place, shown,
                                name.at);
    }
    memcpy(r->section, name.at, name.size);
    r->section[name.size] = '\0';
    return STRATA_OK;
}

/* Undoes the quotes into out, which has room for all of value. */
static int32_t unquote(reading *r, span value, char *out, size_t *out_size) {
    size_t at = 1, size = 0;
    for (; at < value.size && value.at[at] != '"'; at++) {
        if (value.at[at] == '\\') {
            at++;
            if (at == value.size || (value.at[at] != '"' && value.at[at] != '\\')) {
                return refuse(r, "a backslash that is followed by neither '\"' nor '\\'");
            }
        }
        out[size++] = value.at[at];
    }
    if (at == value.size) return refuse(r, "a value without its closing quote");
    at++;
    if (!is_comment(trim((span){value.at + at, value.size - at}))) {
        return refuse(r, "something follows the closing quote of a value");
    }
    *out_size = size;
    return STRATA_OK;
}

static span without_comment(span value) {
    for (size_t i = 0; i < value.size; i++) {
        if (value.at[i] == '#' && (i == 0 || is_blank(value.at[i - 1]))) return trim((span){value.at, i});
    }
    return value;
}

static int32_t read_value(reading *r, span name, span value) {
    if (value.size == 0 || value.at[0] != '"') {
        value = without_comment(value);
        return sx_config_stage_put_named(&r->stage, r->place, r->line, name.at, name.size, value.at, value.size);
    }
    char text[LINE_BYTES_MAX];
    size_t size = 0;
    int32_t status = unquote(r, value, text, &size);
    if (status != STRATA_OK) return status;
    return sx_config_stage_put_named(&r->stage, r->place, r->line, name.at, name.size, text, size);
}

static int32_t read_option(reading *r, span line) {
    const char *equal = memchr(line.at, '=', line.size);
    if (equal == NULL) return refuse(r, "expected '[section]', 'key = value' or a '#' comment");
    span key = trim((span){line.at, (size_t)(equal - line.at)});
    span value = trim((span){equal + 1, line.size - (size_t)(equal + 1 - line.at)});
    if (!is_name(key)) return refuse(r, "a key is made of a-z, 0-9 and '_'");
    if (r->section[0] == '\0') return refuse(r, "a key before the first [section]");
    char name[2 * NAME_BYTES_MAX];
    int length = snprintf(name, sizeof name, "%s.%.*s", r->section, (int)key.size, key.at);
    return read_value(r, (span){name, (size_t)length}, value);
}

static int32_t read_line(reading *r, span line) {
    (void)snprintf(r->place, sizeof r->place, "%s:%" PRIu32 ": ", r->name, r->line);
    if (line.size > LINE_BYTES_MAX) return refuse(r, "the line is longer than 4096 bytes");
    if (memchr(line.at, '\0', line.size) != NULL) return refuse(r, "the line holds a NUL byte");
    line = trim(line);
    if (is_comment(line)) return STRATA_OK;
    return line.at[0] == '[' ? read_section(r, line) : read_option(r, line);
}

int32_t sx_config_load_text(sx_config *config, const char *name, const char *text, size_t size,
                            strata_error *error) {
    reading r = {.line = 0};
    char shown[200]; /* the end of a long name says more than its beginning */
    size_t length = strlen(name);
    (void)snprintf(shown, sizeof shown, "%s%s", length < sizeof shown ? "" : "...",
                   length < sizeof shown ? name : name + length - (sizeof shown - 4));
    r.name = shown;
    int32_t status = sx_config_stage_init(&r.stage, config, STRATA_CONFIG_FILE, error);
    while (status == STRATA_OK && size > 0) {
        const char *newline = memchr(text, '\n', size);
        size_t line_size = newline != NULL ? (size_t)(newline - text) : size;
        r.line++;
        status = read_line(&r, (span){text, line_size});
        size_t taken = line_size + (newline != NULL);
        text += taken;
        size -= taken;
    }
    if (status == STRATA_OK) sx_config_stage_commit(&r.stage);
    sx_config_stage_deinit(&r.stage);
    return status;
}

/* ---- the file system ------------------------------------------------------------------------------------------ */

static int32_t refuse_system(strata_error *error, const char *path, int number) {
    char reason[128];
    const char *text = strerror_r(number, reason, sizeof reason); /* GNU's: may answer another string */
    return sx_config_refuse(error, STRATA_E_SYSTEM, "%.200s: can't be read: %s", path, text);
}

/* Reads all of fd, up to a little more than is allowed. */
static int32_t read_all(int fd, const char *path, sx_buf *buf, strata_error *error) {
    while (buf->size <= FILE_BYTES_MAX) {
        if (!sx_buf_reserve(buf, 4096)) {
            return sx_config_refuse(error, STRATA_E_NOMEM, "%.200s: out of memory", path);
        }
        ssize_t got = read(fd, buf->data + buf->size, buf->capacity - buf->size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return refuse_system(error, path, errno);
        if (got == 0) return STRATA_OK;
        buf->size += (size_t)got;
    }
    return sx_config_refuse(error, STRATA_E_CONFIG, "%.200s: the file is longer than 1MiB", path);
}

int32_t sx_config_read_file(const char *path, sx_buf *buf, strata_error *error) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return refuse_system(error, path, errno);
    int32_t status = read_all(fd, path, buf, error);
    (void)close(fd);
    return status;
}

int32_t strata_config_load_file(strata_config *config, const char *path, strata_error *error) {
    sx_buf buf;
    sx_buf_init(&buf, config->alloc);
    int32_t status = sx_config_read_file(path, &buf, error);
    if (status == STRATA_OK) {
        status = sx_config_load_text(config, path, (const char *)buf.data, buf.size, error);
    }
    if (buf.data != NULL) explicit_bzero(buf.data, buf.size); /* may hold a password */
    sx_buf_deinit(&buf);
    return status;
}
