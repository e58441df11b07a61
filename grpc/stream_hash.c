#include "grpc/stream_hash.h"

#include "base/check.h"
#include <openssl/evp.h>
#include <stdlib.h>

struct stream_hash {
    struct loop_work work;
    struct loop *loop;
    size_t *open;
    void (*done)(void *owner); /* NULL: freed while a thread had it */
    void *owner;
    EVP_MD_CTX *digest;
    struct shared *pieces[STREAM_HASH_PIECES];
    size_t lens[STREAM_HASH_PIECES], count;
    bool busy;
};

static void run(struct loop_work *work)
{
    struct stream_hash *h = container_of(work, struct stream_hash, work);
    for (size_t i = 0; i < h->count; i++) {
        CHECK(EVP_DigestUpdate(h->digest, h->pieces[i]->data, h->lens[i]) == 1);
    }
}

static void drop_pieces(struct stream_hash *h)
{
    for (size_t i = 0; i < h->count; i++) {
        shared_unref(h->pieces[i]);
    }
    h->count = 0;
}

static void through(struct loop_work *work)
{
    struct stream_hash *h = container_of(work, struct stream_hash, work);
    --*h->open;
    h->busy = false;
    drop_pieces(h);
    if (h->done == NULL) {
        stream_hash_free(h);
    } else {
        h->done(h->owner);
    }
}

struct stream_hash *stream_hash_new(struct loop *loop, size_t *open, void (*done)(void *owner), void *owner)
{
    struct stream_hash *h = mem_zalloc(sizeof *h);
    *h = (struct stream_hash){.loop = loop, .open = open, .done = done, .owner = owner};
    h->work.run = run;
    h->work.done = through;
    h->digest = EVP_MD_CTX_new();
    CHECK(h->digest != NULL && EVP_DigestInit_ex(h->digest, EVP_sha256(), NULL) == 1);
    return h;
}

void stream_hash_add(struct stream_hash *h, struct shared *piece, size_t len)
{
    CHECK(!h->busy && h->count < STREAM_HASH_PIECES && len <= piece->len);
    h->lens[h->count] = len;
    h->pieces[h->count++] = shared_ref(piece);
}

void stream_hash_start(struct stream_hash *h)
{
    CHECK(!h->busy);
    h->busy = true;
    ++*h->open;
    loop_work_start(h->loop, &h->work);
}

bool stream_hash_is_busy(const struct stream_hash *h)
{
    return h->busy;
}

void stream_hash_sum(struct stream_hash *h, uint8_t out[STREAM_HASH_BYTES])
{
    CHECK(!h->busy && EVP_DigestFinal_ex(h->digest, out, NULL) == 1);
}

void stream_hash_free(struct stream_hash *h)
{
    if (h == NULL) {
        return;
    }
    h->done = NULL;
    if (!h->busy) {
        drop_pieces(h);
        EVP_MD_CTX_free(h->digest);
        free(h);
    }
}
