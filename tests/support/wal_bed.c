#include "tests/support/wal_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

const struct wal_metadata wal_bed_ids = {.node_id = 0xa1, .cluster_id = 0xc1};

int wal_bed_open(void **state)
{
    struct wal_bed *f = mem_zalloc(sizeof *f);
    f->m = memory_fs_new();
    f->config = (struct wal_config){
        .fs = memory_fs_vtable(f->m), .dir = WAL_DIR, .segment_bytes = WAL_BED_SEGMENT, .reserve_bytes = 512};
    *state = f;
    return 0;
}

int wal_bed_close(void **state)
{
    struct wal_bed *f = *state;
    wal_close(f->w);
    wal_contents_free(&f->c);
    free(f->reason);
    memory_fs_free(f->m);
    free(f);
    return 0;
}

void wal_bed_create(struct wal_bed *f)
{
    assert_int_equal(wal_create(&f->config, wal_bed_ids, NULL, 0, NULL, &f->w, &f->reason), 0);
}

int wal_bed_reopen(struct wal_bed *f)
{
    wal_close(f->w);
    f->w = NULL;
    wal_contents_free(&f->c);
    free(f->reason);
    f->reason = NULL;
    return wal_open(&f->config, &f->w, &f->c, &f->reason);
}

void wal_bed_abandon(struct wal_bed *f)
{
    wal_abandon(f->w);
    f->w = NULL;
}

void wal_bed_save_state(struct wal_bed *f, uint64_t term, uint64_t vote, uint64_t commit)
{
    struct raft_hard_state s = {term, vote, commit};
    assert_int_equal(wal_save(f->w, NULL, 0, &s), 0);
}

void wal_bed_fill(struct wal_bed *f, uint64_t from, uint64_t to)
{
    char text[1001];
    memset(text, 'x', 1000);
    text[1000] = '\0';
    for (uint64_t i = from; i <= to; i++) {
        assert_int_equal(wal_test_save(f->w, i, 1, text), 0);
        wal_bed_save_state(f, 1, 1, i);
        assert_int_equal(wal_sync(f->w), 0);
    }
}

void wal_bed_expect_entries(struct wal_bed *f, uint64_t from, const char *want)
{
    char *got = wal_test_entries(f->w, from);
    assert_string_equal(got, want);
    free(got);
}

void wal_bed_expect_names(struct wal_bed *f, const char *want)
{
    char *got = memory_fs_names(f->m, WAL_DIR);
    assert_string_equal(got, want);
    free(got);
}
