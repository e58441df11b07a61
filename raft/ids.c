#include "raft/ids.h"
#include "base/bytes.h"
#include "base/check.h"
#include <inttypes.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t hash(const struct buffer *content)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    uint8_t none = 0;
    CHECK(SHA1(content->len == 0 ? &none : content->data, content->len, digest) != NULL);
    return get_be64(digest);
}

static int compare_texts(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static uint64_t member(const char *const *peer_urls, size_t count, const char *token, const char *time)
{
    struct buffer content = {0};
    const char **sorted = mem_alloc((count + 1) * sizeof *sorted);
    for (size_t i = 0; i < count; i++) {
        sorted[i] = peer_urls[i];
    }
    qsort(sorted, count, sizeof *sorted, compare_texts);
    for (size_t i = 0; i < count; i++) {
        buffer_append(&content, sorted[i], strlen(sorted[i]));
    }
    buffer_append(&content, token, strlen(token));
    buffer_append(&content, time, strlen(time));
    uint64_t id = hash(&content);
    buffer_free(&content);
    free(sorted);
    return id;
}

uint64_t ids_member(const char *const *peer_urls, size_t count, const char *token)
{
    return member(peer_urls, count, token, "");
}

uint64_t ids_member_added(const char *const *peer_urls, size_t count, const char *token, int64_t unix_seconds)
{
    char time[24];
    snprintf(time, sizeof time, "%" PRId64, unix_seconds);
    return member(peer_urls, count, token, time);
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

uint64_t ids_cluster(const uint64_t *member_ids, size_t count)
{
    struct buffer content = {0};
    uint64_t *sorted = mem_alloc((count + 1) * sizeof *sorted);
    if (count > 0) {
        memcpy(sorted, member_ids, count * sizeof *sorted);
    }
    qsort(sorted, count, sizeof *sorted, compare_ids);
    for (size_t i = 0; i < count; i++) {
        put_be64(buffer_reserve(&content, 8), sorted[i]);
        content.len += 8;
    }
    uint64_t id = hash(&content);
    buffer_free(&content);
    free(sorted);
    return id;
}
