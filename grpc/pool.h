/* Memory for nghttp2. It allocates about seven small blocks for each call and gives them back a little later, hundreds
 * of calls at a time, which is more than malloc keeps at hand for a thread. Free blocks of each small size stand in a
 * list here; what is larger, or more than what is kept, is malloc's.
 *
 * One thread. A pool outlives its sessions. */
#ifndef GRPC_POOL_H
#define GRPC_POOL_H

#include <nghttp2/nghttp2.h>
#include <stddef.h>

#define POOL_STEP 64 /* sizes are multiples of it, with the block's head */
#define POOL_SIZES 8
#define POOL_KEPT_BYTES ((size_t)4 << 20)

struct pool_block;

struct pool {
    struct pool_block *free[POOL_SIZES];
    size_t kept_bytes;
    nghttp2_mem mem;
};

/* What nghttp2_session_…_new3 takes; NULL under the address sanitizer, which then sees each block by itself. */
nghttp2_mem *pool_mem(struct pool *pool);
void pool_free(struct pool *pool);

#endif
