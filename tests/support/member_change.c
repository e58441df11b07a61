#include "tests/support/member_change.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

int member_change(struct kv_bed *bed, int type, uint64_t id, const char *json)
{
    int error;
    struct buffer data = {0};
    uint8_t head[32], *p = head;
    *p++ = 0x10;
    *p++ = (uint8_t)type;
    *p++ = 0x18;
    p += varint_put(p, id);
    buffer_append(&data, head, (size_t)(p - head));
    if (json != NULL) {
        p = head;
        *p++ = 0x22;
        p += varint_put(p, strlen(json));
        buffer_append(&data, head, (size_t)(p - head));
        buffer_append(&data, json, strlen(json));
    }
    kv_bed_entry(bed, KV_ENTRY_CONF_CHANGE, buffer_bytes(&data), &error);
    buffer_free(&data);
    assert_true(bed->apply.effects & KV_EFFECT_CONF_CHANGE);
    assert_int_equal(bed->apply.conf_change.node_id, error == 0 ? id : 0);
    return error;
}

void member_change_expect(struct kv_bed *bed, const char *expected)
{
    struct buffer text = {0};
    size_t count;
    const struct kv_member *members = kv_members(bed->kv, &count);
    for (size_t i = 0; i < count; i++) {
        buffer_printf(&text, "%llu%s=%s ", (unsigned long long)members[i].id, members[i].learner ? "L" : "",
                      members[i].peer_url_count == 0 ? "" : members[i].peer_urls[0]);
    }
    buffer_append(&text, "", 1);
    assert_string_equal((char *)text.data, expected);
    buffer_free(&text);
}
