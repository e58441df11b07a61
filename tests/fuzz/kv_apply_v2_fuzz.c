/* Any bytes as an entry of etcd's v2 store: taken or not, within bounds of memory. */
#include "base/check.h"
#include "kv/apply_v2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    const Etcdserverpb__InternalRaftRequest *request;
    if (apply_v2_read(bytes_of(data, size), &arena, &request) && request != NULL) {
        CHECK((request->cluster_version_set != NULL) != (request->cluster_member_attr_set != NULL));
    }
    CHECK(arena.total <= 256 * size + 65536, "%zu bytes of memory for %zu of input", arena.total, size);
    arena_free(&arena);
    return 0;
}
