/* How a file of LMDB's is told from others: it begins with two meta pages, and behind the head that all pages have,
 * these have a magic number, in the machine's own byte order. */
#ifndef KV_LMDB_FILE_H
#define KV_LMDB_FILE_H

#include "base/bytes.h"

enum { LMDB_FILE_MAGIC_AT = 16, LMDB_FILE_META_BEGIN = LMDB_FILE_MAGIC_AT + sizeof(uint32_t) };

/* page: LMDB_FILE_META_BEGIN bytes at least. */
static inline bool lmdb_file_is_meta(const uint8_t *page)
{
    uint32_t magic;
    memcpy(&magic, page + LMDB_FILE_MAGIC_AT, sizeof magic);
    return magic == 0xBEEFC0DEu;
}

#endif
