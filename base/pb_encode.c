/* Packing, driven by protobuf-c's descriptors. protobuf-c's own functions go through every field by a chain of calls,
 * twice for each message and again for each message it is nested in; a raft request has forty fields of which two are
 * set. Here one walk finds the length, and a second writes from the end to the start: a nested message's length is
 * known by the time its head is written. */
#include "base/check.h"
#include "base/pb.h"
#include <stdlib.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

static size_t message_size(const ProtobufCMessage *message);
static uint8_t *message_write(const ProtobufCMessage *message, uint8_t *end);

/* --- what is there --------------------------------------------------------------------------------------------------
 */

static bool is_zero(ProtobufCType type, const void *member)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)member;
        return text == NULL || *text == 0;
    }
    case PROTOBUF_C_TYPE_BYTES:
        return ((const ProtobufCBinaryData *)member)->len == 0;
    case PROTOBUF_C_TYPE_MESSAGE:
        return *(const void *const *)member == NULL;
    case PROTOBUF_C_TYPE_FLOAT:
        return *(const float *)member == 0;
    case PROTOBUF_C_TYPE_DOUBLE:
        return *(const double *)member == 0;
    default:
        return pb_value_size(type) == 8 ? *(const uint64_t *)member == 0 : *(const uint32_t *)member == 0;
    }
}

static inline const void *member_of(const ProtobufCMessage *message, unsigned offset)
{
    return (const uint8_t *)message + offset;
}

/* By far the most frequent case: one of the many messages that a message may have, and has not. */
static inline bool is_absent(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REQUIRED &&
           *(const void *const *)member_of(message, field->offset) == NULL;
}

/* Is this field, which is not a repeated one, written? As protobuf-c decides it. */
static inline bool is_set(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    const void *member = member_of(message, field->offset);
    bool pointer = field->type == PROTOBUF_C_TYPE_MESSAGE || field->type == PROTOBUF_C_TYPE_STRING;
    if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
        uint32_t chosen = *(const uint32_t *)member_of(message, field->quantifier_offset);
        return chosen == field->id && !(pointer && *(const void *const *)member == NULL);
    }
    switch (field->label) {
    case PROTOBUF_C_LABEL_NONE:
        return !is_zero(field->type, member);
    case PROTOBUF_C_LABEL_OPTIONAL:
        if (pointer) {
            const void *value = *(const void *const *)member;
            return value != NULL && value != field->default_value;
        }
        return *(const protobuf_c_boolean *)member_of(message, field->quantifier_offset) != 0;
    default:
        return true;
    }
}

/* --- length ---------------------------------------------------------------------------------------------------------
 */

static uint64_t as_varint(ProtobufCType type, const void *member)
{
    switch (type) {
    case PROTOBUF_C_TYPE_BOOL:
        return *(const protobuf_c_boolean *)member != 0;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_ENUM:
        return (uint64_t)(int64_t)(*(const int32_t *)member);
    case PROTOBUF_C_TYPE_UINT32:
        return *(const uint32_t *)member;
    case PROTOBUF_C_TYPE_SINT32: {
        int32_t n = *(const int32_t *)member;
        return ((uint32_t)n << 1) ^ (uint32_t)(n >> 31);
    }
    case PROTOBUF_C_TYPE_SINT64: {
        int64_t n = *(const int64_t *)member;
        return ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
    }
    default:
        return *(const uint64_t *)member;
    }
}

static unsigned wire_type(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_BYTES:
    case PROTOBUF_C_TYPE_MESSAGE:
        return WIRE_BYTES;
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_FLOAT:
        return WIRE_32;
    case PROTOBUF_C_TYPE_FIXED64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_DOUBLE:
        return WIRE_64;
    default:
        return WIRE_VARINT;
    }
}

static size_t with_length(size_t len)
{
    return varint_size(len) + len;
}

/* Without the tag. */
static size_t packed_size(ProtobufCType type, const void *member)
{
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)member;
        return with_length(text == NULL ? 0 : strlen(text));
    }
    case PROTOBUF_C_TYPE_BYTES:
        return with_length(((const ProtobufCBinaryData *)member)->len);
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *nested = *(const ProtobufCMessage *const *)member;
        return with_length(nested == NULL ? 0 : message_size(nested));
    }
    default:
        break;
    }
    unsigned wire = wire_type(type);
    return wire == WIRE_32 ? 4 : wire == WIRE_64 ? 8 : varint_size(as_varint(type, member));
}

struct repeated {
    size_t count, step;
    const uint8_t *elements;
};

static struct repeated repeated_of(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    return (struct repeated){
        .count = *(const size_t *)member_of(message, field->quantifier_offset),
        .step = pb_value_size(field->type),
        .elements = *(const uint8_t *const *)member_of(message, field->offset),
    };
}

static inline size_t tag_size(const ProtobufCFieldDescriptor *field)
{
    return field->id < 16 ? 1 : varint_size((uint64_t)field->id << 3);
}

static size_t repeated_size(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    struct repeated all = repeated_of(field, message);
    size_t size = 0, tag = tag_size(field);
    for (size_t i = 0; i < all.count; i++) {
        size += packed_size(field->type, all.elements + i * all.step);
    }
    if (all.count == 0) {
        return 0;
    }
    return field->flags & PROTOBUF_C_FIELD_FLAG_PACKED ? tag + with_length(size) : all.count * tag + size;
}

static size_t message_size(const ProtobufCMessage *message)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    size_t size = 0;
    for (unsigned i = 0; i < type->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (is_absent(field, message)) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            size += repeated_size(field, message);
        } else if (is_set(field, message)) {
            size += tag_size(field) + packed_size(field->type, member_of(message, field->offset));
        }
    }
    for (unsigned i = 0; i < message->n_unknown_fields; i++) {
        const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
        size += varint_size((uint64_t)field->tag << 3) + field->len;
    }
    return size;
}

/* --- bytes, from the end: each function writes before `end` and returns where it began ------------------------------
 */

static uint8_t *write_varint(uint64_t value, uint8_t *end)
{
    if (value < 128) {
        *--end = (uint8_t)value;
        return end;
    }
    end -= varint_size(value);
    varint_put(end, value);
    return end;
}

static uint8_t *write_bytes(const void *data, size_t len, uint8_t *end)
{
    if (len > 0) {
        end -= len;
        memcpy(end, data, len);
    }
    return end;
}

static uint8_t *write_tag(uint32_t id, unsigned wire, uint8_t *end)
{
    return write_varint((uint64_t)id << 3 | wire, end);
}

static uint8_t *value_write(ProtobufCType type, const void *member, uint8_t *end)
{
    uint8_t *begin = end;
    switch (type) {
    case PROTOBUF_C_TYPE_STRING: {
        const char *text = *(const char *const *)member;
        begin = write_bytes(text, text == NULL ? 0 : strlen(text), end);
        return write_varint((uint64_t)(end - begin), begin);
    }
    case PROTOBUF_C_TYPE_BYTES: {
        const ProtobufCBinaryData *bytes = member;
        return write_varint(bytes->len, write_bytes(bytes->data, bytes->len, end));
    }
    case PROTOBUF_C_TYPE_MESSAGE: {
        const ProtobufCMessage *nested = *(const ProtobufCMessage *const *)member;
        begin = nested == NULL ? end : message_write(nested, end);
        return write_varint((uint64_t)(end - begin), begin);
    }
    default:
        break;
    }
    unsigned wire = wire_type(type);
    if (wire == WIRE_VARINT) {
        return write_varint(as_varint(type, member), end);
    }
    return write_bytes(member, wire == WIRE_32 ? 4 : 8, end); /* little-endian, as the machine is */
}

static uint8_t *repeated_write(const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message, uint8_t *end)
{
    struct repeated all = repeated_of(field, message);
    bool packed = (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) != 0;
    uint8_t *at = end;
    for (size_t i = all.count; i-- > 0;) {
        at = value_write(field->type, all.elements + i * all.step, at);
        at = packed ? at : write_tag(field->id, wire_type(field->type), at);
    }
    if (packed && all.count > 0) {
        at = write_tag(field->id, WIRE_BYTES, write_varint((uint64_t)(end - at), at));
    }
    return at;
}

static uint8_t *message_write(const ProtobufCMessage *message, uint8_t *end)
{
    const ProtobufCMessageDescriptor *type = message->descriptor;
    for (unsigned i = message->n_unknown_fields; i-- > 0;) {
        const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
        end = write_bytes(field->data, field->len, end);
        end = write_tag(field->tag, field->wire_type, end);
    }
    for (unsigned i = type->n_fields; i-- > 0;) {
        const ProtobufCFieldDescriptor *field = &type->fields[i];
        if (is_absent(field, message)) {
            continue;
        }
        if (field->label == PROTOBUF_C_LABEL_REPEATED) {
            end = repeated_write(field, message, end);
        } else if (is_set(field, message)) {
            end = value_write(field->type, member_of(message, field->offset), end);
            end = write_tag(field->id, wire_type(field->type), end);
        }
    }
    return end;
}

/* --- to the outside -------------------------------------------------------------------------------------------------
 */

size_t pb_size(const ProtobufCMessage *message)
{
    return message_size(message);
}

void pb_write(const ProtobufCMessage *message, uint8_t *out, size_t size)
{
    uint8_t *begin = message_write(message, out + size);
    CHECK(begin == out, "%s: %zu bytes became %td", message->descriptor->name, size, out + size - begin);
}

struct bytes pb_pack(const ProtobufCMessage *message, struct arena *arena)
{
    size_t size = message_size(message);
    uint8_t *p = arena_alloc(arena, size);
    pb_write(message, p, size);
    return bytes_of(p, size);
}

void pb_append(struct buffer *out, const ProtobufCMessage *message)
{
    size_t size = message_size(message);
    pb_write(message, buffer_reserve(out, size), size);
    out->len += size;
}

/* --- in slices ------------------------------------------------------------------------------------------------------
 */

/* A message that is being written, from its end on: fields below `field` are still to come, and of that one, if it is
 * repeated, the elements below `element`. */
struct pack_frame {
    const ProtobufCMessage *message;
    unsigned field;
    size_t element;
    bool in_field;
    size_t end; /* how many bytes stood behind it */
};

/* The walk is done twice: once only to count, then into a room of that size. */
struct pb_packer {
    struct arena *arena;
    const ProtobufCMessage *message;
    uint8_t *out; /* NULL while counting */
    size_t size;
    size_t written; /* bytes from the end */
    struct pack_frame *frames;
    size_t depth, capacity;
    bool done;
};

static void pack_enter(struct pb_packer *p, const ProtobufCMessage *message)
{
    if (p->depth == p->capacity) {
        p->capacity = p->capacity == 0 ? 16 : p->capacity * 2;
        p->frames = mem_realloc(p->frames, p->capacity * sizeof p->frames[0]);
    }
    p->frames[p->depth++] =
        (struct pack_frame){.message = message, .field = message->descriptor->n_fields, .end = p->written};
    for (unsigned i = message->n_unknown_fields; i-- > 0;) {
        const ProtobufCMessageUnknownField *field = &message->unknown_fields[i];
        p->written += varint_size((uint64_t)field->tag << 3) + field->len;
        if (p->out != NULL) {
            write_tag(field->tag, field->wire_type,
                      write_bytes(field->data, field->len,
                                  p->out + p->size - p->written + varint_size((uint64_t)field->tag << 3) + field->len));
        }
    }
}

static void pack_varint(struct pb_packer *p, uint64_t value)
{
    p->written += varint_size(value);
    if (p->out != NULL) {
        varint_put(p->out + p->size - p->written, value);
    }
}

static void pack_tag(struct pb_packer *p, const ProtobufCFieldDescriptor *field)
{
    pack_varint(p, (uint64_t)field->id << 3 | wire_type(field->type));
}

/* A value that is no message, with its tag. */
static void pack_value(struct pb_packer *p, const ProtobufCFieldDescriptor *field, const void *member)
{
    size_t size = packed_size(field->type, member);
    if (p->out != NULL) {
        value_write(field->type, member, p->out + p->size - p->written);
    }
    p->written += size;
    pack_tag(p, field);
}

static void pack_packed(struct pb_packer *p, const ProtobufCFieldDescriptor *field, const ProtobufCMessage *message)
{
    size_t size = repeated_size(field, message);
    if (p->out != NULL) {
        repeated_write(field, message, p->out + p->size - p->written);
    }
    p->written += size;
}

/* The last element that is left of a repeated field. False: it is through. */
static bool pack_element(struct pb_packer *p, struct pack_frame *f, const ProtobufCFieldDescriptor *field)
{
    struct repeated all = repeated_of(field, f->message);
    if (!f->in_field) {
        f->in_field = true;
        f->element = all.count;
        if (field->flags & PROTOBUF_C_FIELD_FLAG_PACKED) {
            pack_packed(p, field, f->message);
            f->element = 0;
        }
    }
    if (f->element == 0) {
        f->in_field = false;
        return false;
    }
    const uint8_t *member = all.elements + --f->element * all.step;
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        pack_enter(p, *(const ProtobufCMessage *const *)(const void *)member);
    } else {
        pack_value(p, field, member);
    }
    return true;
}

/* The head of a nested message, once its content is there. */
static void pack_leave(struct pb_packer *p)
{
    size_t length = p->written - p->frames[--p->depth].end;
    if (p->depth > 0) {
        struct pack_frame *f = &p->frames[p->depth - 1];
        pack_varint(p, length);
        pack_tag(p, &f->message->descriptor->fields[f->in_field ? f->field - 1 : f->field]);
    }
}

static void pack_next(struct pb_packer *p)
{
    struct pack_frame *f = &p->frames[p->depth - 1];
    if (f->field == 0) {
        pack_leave(p);
        return;
    }
    const ProtobufCFieldDescriptor *field = &f->message->descriptor->fields[f->field - 1];
    if (!is_absent(field, f->message) && field->label == PROTOBUF_C_LABEL_REPEATED) {
        if (!pack_element(p, f, field)) {
            f->field--;
        }
        return;
    }
    f->field--;
    if (is_absent(field, f->message) || !is_set(field, f->message)) {
        return;
    }
    const void *member = member_of(f->message, field->offset);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        pack_enter(p, *(const ProtobufCMessage *const *)member);
    } else {
        pack_value(p, field, member);
    }
}

struct pb_packer *pb_packer_new(const ProtobufCMessage *message, struct arena *arena)
{
    struct pb_packer *p = mem_zalloc(sizeof *p);
    p->arena = arena;
    p->message = message;
    pack_enter(p, message);
    return p;
}

/* So many bytes that are copied cost as much as a field. */
#define BYTES_A_FIELD 256

bool pb_packer_step(struct pb_packer *p, size_t budget)
{
    while (!p->done && budget > 0) {
        size_t before = p->written;
        bool writing = p->out != NULL;
        pack_next(p);
        size_t cost = 1 + (writing ? (p->written - before) / BYTES_A_FIELD : 0);
        budget -= budget < cost ? budget : cost;
        if (p->depth > 0) {
            continue;
        }
        if (p->out == NULL) {
            p->size = p->written;
            p->written = 0;
            p->out = arena_alloc(p->arena, p->size);
            pack_enter(p, p->message);
        } else {
            CHECK(p->written == p->size, "%zu bytes became %zu", p->size, p->written);
            p->done = true;
        }
    }
    return p->done;
}

struct bytes pb_packer_bytes(const struct pb_packer *p)
{
    CHECK(p->done);
    return bytes_of(p->out, p->size);
}

void pb_packer_free(struct pb_packer *p)
{
    if (p != NULL) {
        free(p->frames);
        free(p);
    }
}
