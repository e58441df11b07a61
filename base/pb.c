/* A decoder of our own into protobuf-c's structs. protobuf-c's own recurses without limit, checks no UTF-8, refuses a
 * known field of a wrong wire type and replaces a repeated oneof message where Go merges it; a member that read an
 * entry of the log otherwise than the others would hold other data. So what counts here is what Go's protobuf does:
 *
 * - a known number with a wire type that doesn't fit is an unknown field, and skipped;
 * - repeated scalars are taken packed and unpacked, whatever the declaration says;
 * - a singular message (in a oneof too, if it is the member that is set) that comes again is merged, anything else
 *   that comes again replaces; another member of a oneof drops the one before;
 * - enums are open, 32-bit values are the low half of the varint, a varint has at most 10 bytes and 64 bits;
 * - a group can only be unknown: it is skipped when its ends match.
 *
 * One loop with a stack of frames does both the scan and the unpacking: with an arena it stores, without one it only
 * looks. Memory is bounded by the input: a field of two bytes costs at most one struct and twice its slot in an array.
 *
 * Two things differ from Go on purpose: unknown groups nest at most 100 deep, and a string with a NUL in it is refused,
 * because a C string would silently be another one. */
#include "base/pb.h"
#include "base/check.h"
#include "base/error.h"

#include <stdlib.h>

enum {
    DEPTH_MAX = 10000,     /* as Go's decoder: a txn nested deeper than its limit of operations is refused for that */
    DEPTH_AT_ONCE = 32,    /* frames without asking the heap */
    GROUP_DEPTH_MAX = 100, /* of unknown fields */
    ELEMENTS_MAX = 4 << 20,
    FIELD_NUMBER_MAX = (1 << 29) - 1,
};

enum wire { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_LEN = 2, WIRE_GROUP = 3, WIRE_GROUP_END = 4, WIRE_32 = 5 };

static const char reason_format[] = "proto: cannot parse invalid wire-format data";
static const char reason_utf8[] = "string field contains invalid UTF-8";
static const char reason_nul[] = "string field contains a NUL";
static const char reason_depth[] = "exceeded maximum recursion depth";
static const char reason_elements[] = "too many fields";

struct frame {
    const ProtobufCMessageDescriptor *type;
    ProtobufCMessage *message; /* NULL while only scanning */
    const uint8_t *end;
};

struct decoder {
    const uint8_t *at, *begin;
    struct arena *arena; /* NULL: only scan */
    ProtobufCMessage *message;
    size_t elements; /* how many more are allowed */
    unsigned depth, depth_max;
    const char *reason;
    struct frame *frames, first[DEPTH_AT_ONCE];
    unsigned capacity;
    uint32_t groups[GROUP_DEPTH_MAX]; /* unknown ones that are open */
    unsigned group_depth;
};

/* --- reading the wire --------------------------------------------------------------------------------------------- */

static inline bool read_varint(struct decoder *d, const uint8_t *end, uint64_t *out)
{
    if (__builtin_expect(d->at < end && *d->at < 0x80, 1)) {
        *out = *d->at++;
        return true;
    }
    size_t n = varint_get(bytes_of(d->at, (size_t)(end - d->at)), out);
    d->at += n;
    if (n == 0) {
        d->reason = reason_format;
    }
    return n > 0;
}

static inline bool read_len(struct decoder *d, const uint8_t *end, struct bytes *out)
{
    uint64_t len;
    if (!read_varint(d, end, &len)) {
        return false;
    }
    if (len > (uint64_t)(end - d->at)) {
        d->reason = reason_format;
        return false;
    }
    *out = bytes_of(d->at, (size_t)len);
    d->at += len;
    return true;
}

static inline bool read_fixed(struct decoder *d, const uint8_t *end, size_t size, uint64_t *out)
{
    if ((size_t)(end - d->at) < size) {
        d->reason = reason_format;
        return false;
    }
    uint64_t v = 0;
    for (size_t i = 0; i < size; i++) {
        v |= (uint64_t)d->at[i] << (8 * i);
    }
    d->at += size;
    *out = v;
    return true;
}

/* A tag: false for a number out of range, too. (Inside of an unknown group Go allows larger ones.) */
static inline bool read_tag(struct decoder *d, const uint8_t *end, uint32_t highest, uint32_t *number, enum wire *wire)
{
    uint64_t tag;
    if (!read_varint(d, end, &tag)) {
        return false;
    }
    if (tag >> 3 == 0 || tag >> 3 > highest || d->elements == 0) {
        d->reason = d->elements == 0 ? reason_elements : reason_format;
        return false;
    }
    d->elements--;
    *number = (uint32_t)(tag >> 3);
    *wire = (enum wire)(tag & 7);
    return true;
}

/* --- unknown fields ----------------------------------------------------------------------------------------------- */

static bool skip_value(struct decoder *d, const uint8_t *end, enum wire wire)
{
    uint64_t ignored;
    struct bytes skipped;
    switch (wire) {
    case WIRE_VARINT:
        return read_varint(d, end, &ignored);
    case WIRE_64:
        return read_fixed(d, end, 8, &ignored);
    case WIRE_32:
        return read_fixed(d, end, 4, &ignored);
    case WIRE_LEN:
        return read_len(d, end, &skipped);
    default:
        d->reason = reason_format;
        return false;
    }
}

static bool open_group(struct decoder *d, uint32_t number)
{
    if (d->group_depth == GROUP_DEPTH_MAX || d->group_depth + d->depth >= d->depth_max) {
        d->reason = reason_depth;
        return false;
    }
    d->groups[d->group_depth++] = number;
    return true;
}

/* The next field inside of an unknown group. */
static bool skip_in_group(struct decoder *d, const uint8_t *end)
{
    uint32_t number;
    enum wire wire;
    if (!read_tag(d, end, INT32_MAX, &number, &wire)) {
        return false;
    }
    if (wire == WIRE_GROUP) {
        return open_group(d, number);
    }
    if (wire != WIRE_GROUP_END) {
        return skip_value(d, end, wire);
    }
    if (d->groups[--d->group_depth] != number) {
        d->reason = reason_format;
        return false;
    }
    return true;
}

static bool skip_field(struct decoder *d, const uint8_t *end, uint32_t number, enum wire wire)
{
    return wire == WIRE_GROUP ? open_group(d, number) : skip_value(d, end, wire);
}

/* --- known fields ------------------------------------------------------------------------------------------------- */

/* Ranges of numbers that follow one another; the fields stand in the order of their numbers. */
static inline const ProtobufCFieldDescriptor *field_find(const ProtobufCMessageDescriptor *type, uint32_t number)
{
    const ProtobufCIntRange *ranges = type->field_ranges;
    for (unsigned i = 0; i < type->n_field_ranges && number >= (uint32_t)ranges[i].start_value; i++) {
        uint32_t in_range = number - (uint32_t)ranges[i].start_value;
        if (in_range < ranges[i + 1].orig_index - ranges[i].orig_index) {
            return &type->fields[ranges[i].orig_index + in_range];
        }
    }
    return NULL;
}

static inline enum wire wire_of(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_LEN;
    default:
        return WIRE_VARINT;
    }
}

/* The next slot of a repeated field. The capacity is never stored: it is the power of two that holds the count, at
 * least 4, so an array grows when the count reaches it. */
static void *array_push(struct decoder *d, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    size_t size = pb_value_size(field->type);
    size_t *count = (size_t *)((char *)message + field->quantifier_offset);
    char **array = (char **)((char *)message + field->offset);
    if (*count == 0 || (*count >= 4 && (*count & (*count - 1)) == 0)) {
        char *larger = arena_alloc(d->arena, size * (*count == 0 ? 4 : *count * 2));
        if (*count > 0) {
            memcpy(larger, *array, size * *count);
        }
        *array = larger;
    }
    return *array + size * (*count)++;
}

/* Where the field's value goes; what is set beside it (a case, a has flag) is set. */
static inline void *member_slot(struct decoder *d, ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return array_push(d, message, field);
    }
    void *slot = (char *)message + field->offset;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t *which = (uint32_t *)((char *)message + field->quantifier_offset);
        if (*which != field->id) {
            memset(slot, 0, pb_value_size(field->type));
            *which = field->id;
        }
    } else if (field->label == PROTOBUF_C_LABEL_OPTIONAL && field->quantifier_offset != 0) {
        *(protobuf_c_boolean *)((char *)message + field->quantifier_offset) = 1;
    }
    return slot;
}

static inline void store_scalar(void *slot, ProtobufCType type, uint64_t v)
{
    uint32_t half = (uint32_t)v;
    switch (type) {
    case PROTOBUF_C_TYPE_BOOL:
        *(protobuf_c_boolean *)slot = v != 0;
        break;
    case PROTOBUF_C_TYPE_SINT32:
        half = half >> 1 ^ (0 - (half & 1));
        memcpy(slot, &half, 4);
        break;
    case PROTOBUF_C_TYPE_SINT64:
        v = v >> 1 ^ (0 - (v & 1));
        memcpy(slot, &v, 8);
        break;
    default:
        if (pb_value_size(type) == 8) {
            memcpy(slot, &v, 8);
        } else {
            memcpy(slot, &half, 4);
        }
        break;
    }
}

static inline bool read_scalar(struct decoder *d, const uint8_t *end, enum wire wire, uint64_t *out)
{
    return wire == WIRE_VARINT ? read_varint(d, end, out) : read_fixed(d, end, wire == WIRE_32 ? 4 : 8, out);
}

static bool decode_packed(struct decoder *d, struct frame *f, const ProtobufCFieldDescriptor *field)
{
    struct bytes content;
    if (!read_len(d, f->end, &content)) {
        return false;
    }
    const uint8_t *end = d->at;
    d->at = content.data;
    while (d->at < end) {
        uint64_t v;
        if (d->elements == 0) {
            d->reason = reason_elements;
            return false;
        }
        d->elements--;
        if (!read_scalar(d, end, wire_of(field->type), &v)) {
            return false;
        }
        if (f->message != NULL) {
            store_scalar(array_push(d, f->message, field), field->type, v);
        }
    }
    return true;
}

static bool decode_string(struct decoder *d, struct frame *f, const ProtobufCFieldDescriptor *field,
                          struct bytes content)
{
    /* Only proto3 demands UTF-8, but no proto2 message of etcd's has a string. */
    if (!utf8_valid(content)) {
        d->reason = reason_utf8;
        return false;
    }
    if (content.len > 0 && memchr(content.data, 0, content.len) != NULL) {
        d->reason = reason_nul;
        return false;
    }
    if (f->message != NULL) {
        char *text = arena_alloc(d->arena, content.len + 1);
        if (content.len > 0) {
            memcpy(text, content.data, content.len);
        }
        text[content.len] = '\0';
        *(char **)member_slot(d, f->message, field) = text;
    }
    return true;
}

static void frames_grow(struct decoder *d)
{
    struct frame *old = d->frames == d->first ? NULL : d->frames;
    size_t size = 2 * (size_t)d->capacity * sizeof *d->frames;
    if (d->arena != NULL) { /* an unpacker may be left alone at any time */
        struct frame *larger = arena_alloc(d->arena, size);
        memcpy(larger, d->frames, size / 2);
        d->frames = larger;
    } else {
        d->frames = mem_realloc(old, size);
        if (old == NULL) {
            memcpy(d->frames, d->first, sizeof d->first);
        }
    }
    d->capacity *= 2;
}

static void frames_free(struct decoder *d)
{
    if (d->frames != d->first && d->arena == NULL) {
        free(d->frames);
    }
}

/* Goes into a nested message: its fields are the next ones that the loop reads. */
static bool decode_message(struct decoder *d, struct frame *f, const ProtobufCFieldDescriptor *field,
                           struct bytes content)
{
    if (d->depth == d->depth_max) {
        d->reason = reason_depth;
        return false;
    }
    const ProtobufCMessageDescriptor *type = field->descriptor;
    ProtobufCMessage *message = NULL;
    if (f->message != NULL) {
        ProtobufCMessage **slot = member_slot(d, f->message, field);
        if (field->label == PROTOBUF_C_LABEL_REPEATED || *slot == NULL) {
            *slot = arena_alloc(d->arena, type->sizeof_message);
            protobuf_c_message_init(type, *slot);
        }
        message = *slot;
    }
    d->at = content.data;
    if (d->depth == d->capacity) {
        frames_grow(d); /* f is gone from here on */
    }
    d->frames[d->depth++] = (struct frame){.type = type, .message = message, .end = content.data + content.len};
    return true;
}

static bool decode_field(struct decoder *d, struct frame *f, const ProtobufCFieldDescriptor *field)
{
    enum wire wire = wire_of(field->type);
    if (wire != WIRE_LEN) {
        uint64_t v;
        if (!read_scalar(d, f->end, wire, &v)) {
            return false;
        }
        if (f->message != NULL) {
            store_scalar(member_slot(d, f->message, field), field->type, v);
        }
        return true;
    }
    struct bytes content;
    if (!read_len(d, f->end, &content)) {
        return false;
    }
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return decode_message(d, f, field, content);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return decode_string(d, f, field, content);
    }
    if (f->message != NULL) {
        ProtobufCBinaryData *slot = member_slot(d, f->message, field);
        slot->len = content.len;
        slot->data = content.len == 0 ? NULL : (uint8_t *)arena_copy(d->arena, content).data;
    }
    return true;
}

static bool decode_next(struct decoder *d, struct frame *f)
{
    uint32_t number;
    enum wire wire;
    if (!read_tag(d, f->end, FIELD_NUMBER_MAX, &number, &wire)) {
        return false;
    }
    const ProtobufCFieldDescriptor *field = field_find(f->type, number);
    if (field == NULL) {
        return skip_field(d, f->end, number, wire);
    }
    if (wire == wire_of(field->type)) {
        return decode_field(d, f, field);
    }
    if (wire == WIRE_LEN && field->label == PROTOBUF_C_LABEL_REPEATED) {
        return decode_packed(d, f, field);
    }
    return skip_field(d, f->end, number, wire);
}

/* --- the loop ----------------------------------------------------------------------------------------------------- */

static void begin(struct decoder *d, const ProtobufCMessageDescriptor *type, struct bytes in, struct pb_limits limits,
                  struct arena *arena)
{
    static const uint8_t nothing[1];
    if (in.data == NULL) {
        in.data = nothing; /* no arithmetic on NULL */
    }
    d->at = d->begin = in.data;
    d->arena = arena;
    d->reason = NULL;
    d->frames = d->first;
    d->capacity = DEPTH_AT_ONCE;
    d->depth_max = limits.depth == 0 || limits.depth > DEPTH_MAX ? DEPTH_MAX : limits.depth;
    d->elements = limits.elements;
    if (d->elements == 0) {
        d->elements = in.len < ELEMENTS_MAX ? in.len : ELEMENTS_MAX;
    }
    d->message = NULL;
    if (arena != NULL) {
        d->message = arena_alloc(arena, type->sizeof_message);
        protobuf_c_message_init(type, d->message);
    }
    d->frames[0] = (struct frame){.type = type, .message = d->message, .end = in.data + in.len};
    d->depth = 1;
    d->group_depth = 0;
}

/* At most `budget` fields. 1 = there are more; 0; ERR_MALFORMED. */
static int decode(struct decoder *d, size_t budget, struct pb_fault *fault)
{
    while (d->depth > 0) {
        struct frame *f = &d->frames[d->depth - 1];
        if (d->at == f->end && d->group_depth == 0) {
            d->depth--;
            continue;
        }
        if (budget-- == 0) {
            return 1;
        }
        bool good = d->group_depth > 0 ? skip_in_group(d, f->end) : decode_next(d, f);
        if (__builtin_expect(!good, 0)) {
            if (fault != NULL) {
                *fault = (struct pb_fault){.reason = d->reason, .offset = (size_t)(d->at - d->begin)};
            }
            return ERR_MALFORMED;
        }
    }
    return 0;
}

int pb_scan(const ProtobufCMessageDescriptor *type, struct bytes in, struct pb_limits limits, struct pb_fault *fault)
{
    struct decoder d;
    begin(&d, type, in, limits, NULL);
    int error = decode(&d, SIZE_MAX, fault);
    frames_free(&d);
    return error;
}

ProtobufCMessage *pb_unpack(const ProtobufCMessageDescriptor *type, struct bytes in, struct arena *arena,
                            struct pb_fault *fault)
{
    struct decoder d;
    begin(&d, type, in, (struct pb_limits){0}, arena);
    return decode(&d, SIZE_MAX, fault) == 0 ? d.message : NULL;
}

/* --- in slices --- */

struct pb_unpacker {
    struct decoder decoder;
};

struct pb_unpacker *pb_unpacker_new(const ProtobufCMessageDescriptor *type, struct bytes in, struct arena *arena)
{
    struct pb_unpacker *u = arena_alloc(arena, sizeof *u);
    begin(&u->decoder, type, in, (struct pb_limits){0}, arena);
    return u;
}

int pb_unpacker_step(struct pb_unpacker *u, size_t budget, ProtobufCMessage **message, struct pb_fault *fault)
{
    int progress = decode(&u->decoder, budget, fault);
    *message = progress == 0 ? u->decoder.message : NULL;
    return progress;
}

/* --- UTF-8 -------------------------------------------------------------------------------------------------------- */

/* How many bytes the character at p takes, 0 if there is none: RFC 3629's table of allowed second bytes. */
static size_t utf8_character(const uint8_t *p, size_t left)
{
    uint8_t low = 0x80, high = 0xbf;
    size_t len;
    if (p[0] < 0x80) {
        return 1;
    }
    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;
    } else if ((p[0] & 0xf0) == 0xe0) {
        len = 3;
        low = p[0] == 0xe0 ? 0xa0 : low;
        high = p[0] == 0xed ? 0x9f : high;
    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = p[0] == 0xf0 ? 0x90 : low;
        high = p[0] == 0xf4 ? 0x8f : high;
    } else {
        return 0;
    }
    if (left < len || p[1] < low || p[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

bool utf8_valid(struct bytes text)
{
    size_t at = 0;
    while (at < text.len) {
        uint64_t eight;
        if (text.len - at >= 8) {
            memcpy(&eight, text.data + at, 8);
            if ((eight & 0x8080808080808080u) == 0) {
                at += 8;
                continue;
            }
        }
        size_t n = utf8_character(text.data + at, text.len - at);
        if (n == 0) {
            return false;
        }
        at += n;
    }
    return true;
}
