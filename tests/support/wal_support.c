#include "tests/support/wal_support.h"
#include "base/check.h"
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct raft_entry wal_test_entry(uint64_t index, uint64_t term, const char *text)
{
    return (struct raft_entry){
        .index = index, .term = term, .data = text == NULL ? NULL : shared_copy(bytes_str(text))};
}

int wal_test_save(struct wal *w, uint64_t index, uint64_t term, const char *text)
{
    struct raft_entry e = wal_test_entry(index, term, text);
    int error = wal_save(w, &e, 1, NULL);
    /* small data are copied by wal_save; large ones must stay */
    if (text == NULL || strlen(text) <= 4096) {
        shared_unref(e.data);
    } else if (error == 0) {
        error = wal_flush(w);
        shared_unref(e.data);
    }
    return error;
}

static int add_text(void *arg, const struct raft_entry *e)
{
    struct buffer *out = arg;
    buffer_printf(out, "%s%" PRIu64 "/%" PRIu64, out->len == 0 ? "" : " ", e->index, e->term);
    if (raft_entry_bytes(e) > 40) {
        buffer_printf(out, "=%zu", e->data->len);
    } else if (e->data != NULL) {
        buffer_printf(out, "=%.*s", (int)e->data->len, (const char *)e->data->data);
    }
    return 0;
}

char *wal_test_entries(struct wal *w, uint64_t from)
{
    struct buffer out = {0};
    char *reason = NULL;
    if (wal_replay(w, from, add_text, &out, &reason) != 0) {
        out.len = 0;
        buffer_printf(&out, "FAILED: %s", reason == NULL ? "" : reason);
    }
    free(reason);
    buffer_append(&out, "", 1);
    return (char *)out.data;
}
