#include "base/error.h"
#include "raft/wal/wal_impl.h"
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void wal_name_format(char out[WAL_NAME_BYTES], struct wal_name name)
{
    snprintf(out, WAL_NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 ".wal", name.sequence, name.index);
}

static bool parse_hex16(const char *text, uint64_t *out)
{
    *out = 0;
    for (int i = 0; i < 16; i++) {
        unsigned c = (unsigned char)text[i];
        if (c >= '0' && c <= '9') {
            *out = *out << 4 | (c - '0');
        } else if (c >= 'a' && c <= 'f') {
            *out = *out << 4 | (c - 'a' + 10);
        } else {
            return false;
        }
    }
    return true;
}

bool wal_name_parse(const char *text, struct wal_name *out)
{
    return strlen(text) == WAL_NAME_BYTES - 1 && parse_hex16(text, &out->sequence) && text[16] == '-' &&
           parse_hex16(text + 17, &out->index) && strcmp(text + 33, ".wal") == 0;
}

struct name_list {
    struct wal_name *names;
    size_t count, capacity;
};

static void collect(void *arg, const char *text)
{
    struct name_list *list = arg;
    struct wal_name name;
    if (!wal_name_parse(text, &name)) {
        return;
    }
    if (list->count == list->capacity) {
        list->capacity = list->capacity * 2 + 8;
        list->names = mem_realloc(list->names, list->capacity * sizeof *list->names);
    }
    list->names[list->count++] = name;
}

static int compare_names(const void *a, const void *b)
{
    const struct wal_name *x = a, *y = b;
    if (x->sequence != y->sequence) {
        return x->sequence < y->sequence ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

int wal_names_list(const struct wal_fs *fs, const char *dir, struct wal_name **out, size_t *count)
{
    struct name_list list = {0};
    int error = fs->list(fs, dir, collect, &list);
    if (error != 0) {
        free(list.names);
        return error;
    }
    if (list.count > 1) {
        qsort(list.names, list.count, sizeof *list.names, compare_names);
    }
    *out = list.names;
    *count = list.count;
    return 0;
}

int wal_error(int negative_errno)
{
    switch (-negative_errno) {
    case 0:
        return 0;
    case ENOSPC:
    case EDQUOT:
        return ERR_DISK_FULL;
    case ENOENT:
        return ERR_ABSENT;
    case EAGAIN:
        return ERR_LOCKED;
    default:
        return ERR_IO;
    }
}

int wal_fail(char **reason, int error, const char *format, ...)
{
    if (reason != NULL) {
        char text[1024];
        va_list args;
        va_start(args, format);
        vsnprintf(text, sizeof text, format, args);
        va_end(args);
        free(*reason);
        *reason = mem_strdup(text);
    }
    return error;
}

int wal_exists(const struct wal_fs *fs, const char *dir, bool *exists, char **reason)
{
    struct wal_name *names = NULL;
    size_t count = 0;
    int error = wal_names_list(fs, dir, &names, &count);
    free(names);
    *exists = count > 0;
    if (error != 0 && error != -ENOENT) {
        return wal_fail(reason, ERR_IO, "list %s: %s", dir, strerror(-error));
    }
    return 0;
}
