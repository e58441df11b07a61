/* Any bytes as the JSON of a member: what is read and written again reads the same. */
#include "base/check.h"
#include "kv/members_json.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct members_json json, again;
    struct buffer text = {0}, text_again = {0};
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
