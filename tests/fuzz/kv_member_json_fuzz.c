/* Any bytes as the JSON of a member, and of a list of them: what is read and written again reads the same. */
#include "base/check.h"
#include "kv/members_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void list(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct kv_member *members;
    size_t count, again;
    struct buffer text = {0}, text_again = {0};
    if (members_json_read_list(bytes_of(data, size), &arena, &members, &count) == 0) {
        members_json_list(&text, members, count);
        CHECK(members_json_read_list(buffer_bytes(&text), &arena, &members, &again) == 0 && again == count);
        members_json_list(&text_again, members, count);
        CHECK(bytes_equal(buffer_bytes(&text), buffer_bytes(&text_again)));
    }
    CHECK(arena.total <= 256 * size + 65536, "%zu bytes of memory for %zu of input", arena.total, size);
    buffer_free(&text);
    buffer_free(&text_again);
    arena_free(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct members_json json, again;
    struct buffer text = {0}, text_again = {0};
    list(data, size);
    if (members_json_read(bytes_of(data, size), &arena, &json) == 0) {
        members_json_write(&text, &json.member);
        CHECK(members_json_read(buffer_bytes(&text), &arena, &again) == 0);
        members_json_write(&text_again, &again.member);
        CHECK(bytes_equal(buffer_bytes(&text), buffer_bytes(&text_again)));
    }
    CHECK(arena.total <= 64 * size + 65536, "%zu bytes of memory for %zu of input", arena.total, size);
    buffer_free(&text);
    buffer_free(&text_again);
    arena_free(&arena);
    return 0;
}
