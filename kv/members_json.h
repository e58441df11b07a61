/* The JSON of a member: the row of table members and the context of a conf change, byte for byte as Go's encoder
 * writes it (backend.md "members"). */
#ifndef KV_MEMBERS_JSON_H
#define KV_MEMBERS_JSON_H

#include "base/arena.h"
#include "kv/kv.h"

/* What a text says: everything in the arena. */
struct members_json {
    struct kv_member member;
    bool peer_urls_null; /* null, or not there at all */
    bool is_promote;
};

/* Reads any JSON object with these fields as Go would: names without regard to case, unknown ones skipped, last one
 * wins. 0 or ERR_MALFORMED (also for nesting deeper than 64). */
int members_json_read(struct bytes text, struct arena *arena, struct members_json *out);

/* An array of them, as a peer answers GET /members. */
int members_json_read_list(struct bytes text, struct arena *arena, struct kv_member **out, size_t *count);

/* Appends {"id":…,"peerURLs":[…],"isLearner":true,"name":…,"clientURLs":[…]}; what is false or empty is left out, but
 * for peerURLs, which is null without any. */
void members_json_write(struct buffer *out, const struct kv_member *member);
/* Context of the change that makes a learner a voter. */
void members_json_promote(struct buffer *out, uint64_t id);
/* "[…,…]": what peers answer GET /members with, but for its newline. */
void members_json_list(struct buffer *out, const struct kv_member *members, size_t count);

#endif
