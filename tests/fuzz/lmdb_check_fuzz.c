/* The page walk on a store image with patches: whatever they are, the walk ends without a fault, and either refuses or
 * has seen exactly the rows that were there before.
 *
 * Input: patches of six bytes: a 24-bit place, a length of 1 to 4 and a mode (set, xor, take from another place),
 * bytes. */
#include "base/check.h"
#include "kv/lmdb_check.h"
#include "tests/support/store_image.h"
#include "tests/support/test_file.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct buffer image;
static uint64_t sum;

static void prepare(void)
{
    char folder[] = "/tmp/kedge-fuzz-XXXXXX";
    struct lmdb_check check;
    CHECK(mkdtemp(folder) != NULL);
    char *path = mem_printf("%s/db", folder), *lock = mem_printf("%s/db-lock", folder);
    store_image_create(path);
    image = test_file_read(path);
    CHECK(store_image_walk(buffer_bytes(&image), &sum, &check) == 0);
    unlink(path);
    unlink(lock);
    rmdir(folder);
    free(path);
    free(lock);
}

/* Places in the first kilobytes and around page heads are where structure is: half of all patches go there. */
static size_t place(const uint8_t *p)
{
    size_t at = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (at & 1 << 23) {
        at = (at >> 8 & 0x7fff) * 4096 + (at & 0x7f);
    }
    return at % (image.len - 4);
}

static void patch(uint8_t *copy, const uint8_t *p)
{
    size_t at = place(p), len = 1 + (p[3] & 3), from = (size_t)p[4] * 4096 + p[5];
    for (size_t i = 0; i < len; i++) {
        uint8_t byte = p[4 + (i & 1)];
        switch (p[3] >> 2 & 3) {
        case 0:
            copy[at + i] = byte;
            break;
        case 1:
            copy[at + i] ^= byte;
            break;
        default:
            copy[at + i] = image.data[(from + i) % image.len];
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct lmdb_check check;
    uint64_t seen;
    if (image.len == 0) {
        prepare();
    }
    size_t len = image.len;
    if (size > 0 && data[0] % 8 == 0) { /* a cut file */
        len = (size_t)(data[0] / 8) * image.len / 32;
    }
    uint8_t *copy = mem_alloc(len + 1);
    uint8_t *whole = mem_alloc(image.len);
    memcpy(whole, image.data, image.len);
    for (size_t i = 1; i + 6 <= size; i += 6) {
        patch(whole, data + i);
    }
    memcpy(copy, whole, len);
    if (store_image_walk(bytes_of(copy, len), &seen, &check) == 0) {
        CHECK(seen == sum);
    } else {
        CHECK(check.class != LMDB_CHECK_FINE && check.reason[0] != 0);
    }
    free(whole);
    free(copy);
    return 0;
}
