/* The reader of images on images with patches, one that we wrote and one that etcd wrote (which has inline buckets and
 * a freelist): whatever they are, reading ends without a fault, gives out no more bytes than the file has, and says why
 * when it refuses; what it refuses is neither installed nor restored.
 *
 * Input: a byte that chooses the image (bit 0) and whether meta pages get right checksums again (bit 1), then patches
 * of eight bytes: a 24-bit place, a length of 1 to 4, bytes. */
#include "base/check.h"
#include "base/error.h"
#include "snapshot/install.h"
#include "snapshot/page.h"
#include "snapshot/restore.h"
#include "tests/support/image_support.h"
#include <stdlib.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SAMPLE "tests/data/etcd/snapshot.db.gz"

static struct buffer images[2];

static void put(struct backend *backend, enum backend_table table, struct bytes key, struct bytes value)
{
    struct backend_op op = {BACKEND_PUT, (uint8_t)table, key, value};
    const struct backend_batch batch = {.ops = &op, .count = 1, .index = 9, .term = 2, .bytes = 1};
    CHECK(backend_commit(backend, &batch) == 0);
}

static void prepare(void)
{
    struct backend *backend = backend_open_memory();
    uint8_t value[5000] = {0x0a, 1, 'k'};
    for (uint64_t i = 1; i <= 300; i++) {
        uint8_t key[17] = {0};
        put_be64(key, i);
        key[8] = '_';
        put(backend, BACKEND_KEY, bytes_of(key, sizeof key), bytes_of(value, i % 60 == 0 ? sizeof value : 3 + i % 50));
    }
    put(backend, BACKEND_META, bytes_str("storageVersion"), bytes_str("3.7.0"));
    image_export(backend, false, 1 << 20, &images[0]);
    backend_close(backend);
    if (access(SAMPLE, R_OK) == 0) {
        image_unpack(SAMPLE, &images[1]);
    } else {
        buffer_append(&images[1], images[0].data, images[0].len);
    }
}

/* Half of all patches go to the beginnings of pages, where structure is. */
static size_t place(const uint8_t *p, size_t len)
{
    size_t at = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
    if (at & 1 << 23) {
        at = (at >> 8 & 0x7fff) * PAGE_BYTES + (at & 0xff);
    }
    return at % (len - 4);
}

static void seal(uint8_t *image)
{
    for (uint64_t i = 0; i < 2; i++) {
        struct page_meta meta;
        uint8_t page[PAGE_META_END];
        memcpy(page, image + i * PAGE_BYTES, sizeof page);
        /* Fields as they are, behind a good magic, version and checksum. */
        meta = (struct page_meta){.page_bytes = (uint32_t)get_le64(page + 24),
                                  .root = get_le64(page + 32),
                                  .sequence = get_le64(page + 40),
                                  .freelist = get_le64(page + 48),
                                  .high_water = get_le64(page + 56),
                                  .txid = get_le64(page + 64)};
        page_meta_put(image + i * PAGE_BYTES, i, &meta);
    }
}

static int install(struct bytes image)
{
    struct snapshot_memory memory;
    struct backend *backend = backend_open_memory();
    snapshot_memory_init(&memory, image);
    const struct snapshot_install_config config = {
        .image = "image", .store = "store", .source = &memory.source, .into = backend};
    struct snapshot_install *work = snapshot_install_new(&config);
    int progress;
    while ((progress = snapshot_install_step(work, 100)) == SNAPSHOT_MORE) {
    }
    CHECK(progress == SNAPSHOT_DONE || snapshot_install_reason(work)[0] != '\0');
    snapshot_install_free(work);
    backend_close(backend);
    return progress;
}

/* A restore without a directory. */
static int restore(struct bytes image)
{
    struct snapshot_memory memory;
    snapshot_memory_init(&memory, image);
    const struct snapshot_restore_config config = {
        .file = "image", .source = &memory.source, .skip_hash_check = true, .dry_run = true};
    struct snapshot_restore *work = snapshot_restore_new(&config);
    int progress;
    while ((progress = snapshot_restore_step(work, 100)) == SNAPSHOT_MORE) {
    }
    CHECK(progress == SNAPSHOT_DONE || snapshot_restore_reason(work)[0] != '\0');
    snapshot_restore_free(work);
    return progress;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (images[0].len == 0) {
        prepare();
    }
    if (size == 0) {
        return 0;
    }
    const struct buffer *base = &images[data[0] & 1];
    struct buffer image = {0}, rows = {0};
    const char *reason;
    buffer_append(&image, base->data, base->len);
    for (size_t at = 1; at + 8 <= size; at += 8) {
        memcpy(image.data + place(data + at, image.len), data + at + 4, 1 + (data[at + 3] & 3));
    }
    if (data[0] & 2) {
        seal(image.data);
    }
    int error = image_read(buffer_bytes(&image), false, &rows, &reason);
    CHECK(error == 0 || (error == ERR_CORRUPT_DATA && strstr(reason, "offset ") != NULL));
    CHECK(rows.len <= image.len * 2);
    int installed = install(buffer_bytes(&image));
    CHECK(installed == 0 || installed == ERR_CORRUPT_DATA);
    CHECK(error == 0 || installed != 0, "what is refused is installed");
    int restored = restore(buffer_bytes(&image));
    CHECK(restored == 0 || restored == ERR_CORRUPT_DATA || restored == ERR_INVALID);
    CHECK(error == 0 || restored != 0, "what is refused is restored");
    buffer_free(&image);
    buffer_free(&rows);
    return 0;
}
