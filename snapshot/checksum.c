#include "snapshot/checksum.h"

#include "base/check.h"
#include "base/error.h"
#include <openssl/evp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { PIECE = 256 << 10 };

struct snapshot_checksum {
    struct snapshot_source *source;
    pthread_t thread;
    atomic_bool give_up;
    int error, error_number;
    uint8_t said[SNAPSHOT_CHECKSUM_BYTES], is[EVP_MAX_MD_SIZE];
};

static int digest_all(struct snapshot_checksum *c, EVP_MD_CTX *digest, uint8_t *piece)
{
    uint64_t end = c->source->size - SNAPSHOT_CHECKSUM_BYTES;
    int error = 0;
    for (uint64_t at = 0; at < end && error == 0 && !atomic_load(&c->give_up);) {
        size_t len = end - at < PIECE ? (size_t)(end - at) : PIECE;
        const uint8_t *map = c->source->map;
        error = map != NULL ? 0 : c->source->read(c->source, at, piece, len, &c->error_number);
        if (error == 0) {
            CHECK(EVP_DigestUpdate(digest, map != NULL ? map + at : piece, len) == 1);
        }
        at += len;
    }
    return error != 0 ? error : c->source->read(c->source, end, c->said, sizeof c->said, &c->error_number);
}

static void *run(void *arg)
{
    struct snapshot_checksum *c = arg;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    uint8_t *piece = mem_alloc(PIECE);
    CHECK(digest != NULL && EVP_DigestInit_ex(digest, EVP_sha256(), NULL) == 1);
    c->error = digest_all(c, digest, piece);
    CHECK(EVP_DigestFinal_ex(digest, c->is, NULL) == 1);
    EVP_MD_CTX_free(digest);
    free(piece);
    return NULL;
}

struct snapshot_checksum *snapshot_checksum_begin(struct snapshot_source *source)
{
    struct snapshot_checksum *c = mem_zalloc(sizeof *c);
    CHECK(source->size >= SNAPSHOT_CHECKSUM_BYTES);
    c->source = source;
    if (pthread_create(&c->thread, NULL, run, c) != 0) {
        free(c);
        return NULL;
    }
    return c;
}

void snapshot_checksum_text(const uint8_t said[SNAPSHOT_CHECKSUM_BYTES], const uint8_t is[SNAPSHOT_CHECKSUM_BYTES],
                            char text[SNAPSHOT_CHECKSUM_TEXT])
{
    const uint8_t *sums[2] = {said, is};
    int n = 0;
    for (unsigned i = 0; i < 2; i++) {
        n += snprintf(text + n, (size_t)(SNAPSHOT_CHECKSUM_TEXT - n), i == 0 ? "expected sha256 [" : ", got [");
        for (unsigned k = 0; k < SNAPSHOT_CHECKSUM_BYTES; k++) {
            n += snprintf(text + n, (size_t)(SNAPSHOT_CHECKSUM_TEXT - n), "%s%u", k == 0 ? "" : " ", sums[i][k]);
        }
        n += snprintf(text + n, (size_t)(SNAPSHOT_CHECKSUM_TEXT - n), "]");
    }
}

int snapshot_checksum_end(struct snapshot_checksum *c, char reason[SNAPSHOT_CHECKSUM_TEXT])
{
    CHECK(pthread_join(c->thread, NULL) == 0);
    int error = c->error;
    if (error != 0) {
        snprintf(reason, SNAPSHOT_CHECKSUM_TEXT, "%s", strerror(c->error_number));
    } else if (memcmp(c->said, c->is, sizeof c->said) != 0) {
        snapshot_checksum_text(c->said, c->is, reason);
        error = ERR_CORRUPT_DATA;
    }
    free(c);
    return error;
}

void snapshot_checksum_abandon(struct snapshot_checksum *c)
{
    char ignored[SNAPSHOT_CHECKSUM_TEXT];
    if (c != NULL) {
        atomic_store(&c->give_up, true);
        snapshot_checksum_end(c, ignored);
    }
}
