/* Any bytes as a message between members: nothing is read beyond the input, memory is bounded by it, and what was
 * understood is written and understood again alike. */
#include "base/check.h"
#include "raft/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct raft_message m, again;
    struct raft_message_owner owner = {0}, owner_again = {0};
    struct buffer first = {0}, second = {0};
    if (raft_message_decode(bytes_of(data, size), &m, &owner) == 0) {
        raft_message_encode(&first, &m);
        CHECK(raft_message_size(&m) == first.len);
        CHECK(raft_message_decode(buffer_bytes(&first), &again, &owner_again) == 0);
        raft_message_encode(&second, &again);
        CHECK(bytes_equal(buffer_bytes(&first), buffer_bytes(&second)));
    }
    raft_message_owner_free(&owner);
    raft_message_owner_free(&owner_again);
    buffer_free(&first);
    buffer_free(&second);
    return 0;
}
