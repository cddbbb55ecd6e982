/* SPDX-License-Identifier: Apache-2.0 */
/* Commands: arguments encoded as RESP bulk strings into one buffer, ready to be copied behind a connection's others. */
#include "l2/redis/resp.h"

enum { HEAD_BYTES_MAX = 1 + 20 + 2, KEEP_BYTES = 16 * 1024 };

void sx_command_deinit(sx_command *command) {
    sx_buf_deinit(&command->args);
    command->argc = 0;
}

void sx_command_clear(sx_command *command) {
    sx_buf_clear(&command->args, KEEP_BYTES);
    command->argc = 0;
}

/* "$<size>\r\n" at out; returns its length. */
static size_t write_head(uint8_t *out, size_t size) {
    uint8_t digits[20];
    size_t count = 0;
    do {
        digits[count++] = (uint8_t)('0' + size % 10);
        size /= 10;
    } while (size > 0);
    size_t at = 0;
    out[at++] = '$';
    while (count > 0) out[at++] = digits[--count];
    out[at++] = '\r';
    out[at++] = '\n';
    return at;
}

uint8_t *sx_command_arg_space(sx_command *command, size_t size) {
    sx_buf *args = &command->args;
    if (args->failed) return NULL;
    if (size > SIZE_MAX / 2) {
        args->failed = true;
        return NULL;
    }
    size_t need = size + HEAD_BYTES_MAX + 2;
    if (args->capacity - args->size < need && !sx_buf_reserve(args, need)) return NULL;
    args->size += write_head(args->data + args->size, size);
    uint8_t *space = args->data + args->size;
    space[size] = '\r';
    space[size + 1] = '\n';
    args->size += size + 2;
    command->argc++;
    return space;
}

void sx_command_arg(sx_command *command, const void *bytes, size_t size) {
    uint8_t *space = sx_command_arg_space(command, size);
    if (space != NULL && size > 0) memcpy(space, bytes, size);
}

size_t sx_command_arg_open(sx_command *command) {
    sx_buf *args = &command->args;
    size_t mark = args->size;
    if (sx_buf_reserve(args, HEAD_BYTES_MAX)) args->size += HEAD_BYTES_MAX; /* for the head, whose length is not known yet */
    return mark;
}

void sx_command_arg_close(sx_command *command, size_t mark) {
    sx_buf *args = &command->args;
    if (args->failed || !sx_buf_reserve(args, 2)) return;
    size_t size = args->size - mark - HEAD_BYTES_MAX;
    uint8_t *at = args->data + mark;
    size_t head = write_head(at, size); /* no longer than what was left for it */
    memmove(at + head, at + HEAD_BYTES_MAX, size);
    at[head + size] = '\r';
    at[head + size + 1] = '\n';
    args->size = mark + head + size + 2;
    command->argc++;
}

void sx_command_text(sx_command *command, const char *text) { sx_command_arg(command, text, strlen(text)); }

void sx_command_int(sx_command *command, int64_t value) {
    char text[24];
    size_t at = sizeof text;
    uint64_t rest = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    do {
        text[--at] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest > 0);
    if (value < 0) text[--at] = '-';
    sx_command_arg(command, text + at, sizeof text - at);
}
