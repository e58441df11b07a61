/* Images between the beds' cores: what the server does with files, done in memory. */
#include "base/check.h"
#include "base/error.h"
#include "snapshot/export.h"
#include "snapshot/install.h"
#include "tests/support/core_bed.h"

static int install_into(struct core_bed *bed, struct raft_position at, struct backend *backend)
{
    struct snapshot_memory memory;
    snapshot_memory_init(&memory, buffer_bytes(&bed->image));
    const struct snapshot_install_config config = {.image = "image",
                                                   .store = "store",
                                                   .source = &memory.source,
                                                   .into = backend,
                                                   .index = at.index,
                                                   .term = at.term};
    struct snapshot_install *install = snapshot_install_new(&config);
    int progress;
    while ((progress = snapshot_install_step(install, 100)) == SNAPSHOT_MORE) {
    }
    snapshot_install_free(install);
    return progress;
}

int core_bed_install(struct core_bed *bed, struct core_install *install)
{
    const struct kv_config settings = {
        .member_id = bed->id, .quota_bytes = bed->quota_bytes, .lease = {.min_ttl_s = 2, .retry_ms = 7000}};
    struct backend *backend = backend_open_memory();
    int error = install_into(bed, install->at, backend);
    error = error != 0 ? error : kv_open(&settings, backend, &install->kv, NULL);
    if (error != 0) {
        backend_close(backend);
        bed->refused++;
    } else {
        bed->installed++;
    }
    return error;
}

void core_bed_retire(struct core_env *env, struct kv *kv)
{
    struct core_bed *bed = container_of(env, struct core_bed, env);
    struct backend *backend = kv_backend(kv);
    kv_close(kv);
    backend_close(backend);
    bed->retired++;
}

void core_bed_export(struct backend_read *view, struct buffer *out)
{
    struct snapshot_export *e = snapshot_export_new(view, false);
    while (snapshot_export_plan(e, 1000) == SNAPSHOT_MORE) {
    }
    size_t bytes = snapshot_export_bytes(e), len;
    out->len = 0;
    uint8_t *to = buffer_reserve(out, bytes);
    CHECK(snapshot_export_read(e, to, bytes, &len) == SNAPSHOT_DONE && len == bytes);
    out->len = len;
    snapshot_export_free(e);
}
