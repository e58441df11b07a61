/* Reads one segment frame by frame and says what stands where the frames end.
 *
 * Nothing in the file is believed before it was checked: a record's length is compared with what is left of the file
 * before a byte of memory is taken for it. Damage is sorted the way etcd does it (wal.md "Torn write"): a frame that
 * runs over the end of the file, and a bad record with a 512-byte piece of zeroes in it, are what a crash leaves of a
 * write; all else is corruption. One case is told apart that etcd doesn't: when whole records that continue each
 * other's checksum stand inside of what a bad frame claims for itself, its length word was damaged in the middle of the
 * log, and cutting there would throw away what had been acknowledged. */
#include "base/crc32c.h"
#include "raft/wal/wal_impl.h"
#include <errno.h>

enum { WINDOW = 1 << 20 };

int wal_scan_open(struct wal_scan *s, struct wal_file *file, uint64_t offset, uint32_t crc)
{
    *s = (struct wal_scan){.file = file, .offset = offset, .crc = crc, .window_offset = offset};
    return file->fs->size(file, &s->size);
}

void wal_scan_close(struct wal_scan *s)
{
    buffer_free(&s->window);
}

/* The len bytes at offset, which lie inside of the file. NULL: could not be read. */
static const uint8_t *bytes_at(struct wal_scan *s, uint64_t offset, size_t len)
{
    if (offset >= s->window_offset && offset + len <= s->window_offset + s->window.len) {
        return s->window.data + (offset - s->window_offset);
    }
    uint64_t want = len < WINDOW ? WINDOW : len;
    if (want > s->size - offset) {
        want = s->size - offset;
    }
    s->window.len = 0;
    s->window_offset = offset;
    uint8_t *to = buffer_reserve(&s->window, (size_t)want + 8);
    size_t got;
    s->error = s->file->fs->read(s->file, to, (size_t)want, offset, &got);
    if (s->error == 0 && got < len) {
        s->error = -EIO; /* it became shorter under our hands */
    }
    if (s->error != 0) {
        return NULL;
    }
    s->window.len = got;
    return to;
}

/* Takes the frame at an offset apart, if a whole one fits. *end: behind its padding. */
static bool frame_at(struct wal_scan *s, uint64_t offset, struct wal_record *record, uint64_t *end)
{
    uint64_t n, pad;
    if (s->size - offset < 8) {
        return false;
    }
    const uint8_t *p = bytes_at(s, offset, 8);
    if (p == NULL || get_le64(p) == 0 || !wal_record_length(get_le64(p), &n, &pad) || n > s->size - offset - 8 ||
        pad > s->size - offset - 8 - n) {
        return false;
    }
    *end = offset + 8 + n + pad;
    /* Look at the record's first fields before reading all of it: most of what is tried here is no record. */
    p = n < 4 ? NULL : bytes_at(s, offset + 8, 4);
    if (p == NULL || p[0] != 0x08 || p[2] != 0x10) {
        return false;
    }
    p = bytes_at(s, offset + 8, (size_t)n);
    return p != NULL && wal_record_decode(bytes_of(p, (size_t)n), record) == 0 && record->type >= WAL_RECORD_METADATA &&
           record->type <= WAL_RECORD_SNAPSHOT;
}

/* Do two records, of which the second continues the first's checksum, begin behind offset and before end? */
static bool goes_on(struct wal_scan *s, uint64_t offset, uint64_t region_end)
{
    for (offset += 8; offset < region_end && s->error == 0; offset += 8) {
        struct wal_record a, b;
        uint64_t second, end;
        if (frame_at(s, offset, &a, &second)) {
            uint32_t crc = a.crc;
            if (frame_at(s, second, &b, &end) && b.data.data != NULL && crc32c(crc, b.data.data, b.data.len) == b.crc) {
                return true;
            }
        }
    }
    return false;
}

static enum wal_scan_result over_the_end(struct wal_scan *s)
{
    bool more = goes_on(s, s->offset, s->size);
    if (s->error != 0) {
        return WAL_SCAN_FAILED;
    }
    s->fault = more ? "a record's length leads over the end of the file, but other records follow"
                    : "a record is not complete";
    return more ? WAL_SCAN_CORRUPT : WAL_SCAN_TORN;
}

/* The record is whole, but bad: a crash or damage? `in` is not valid any more afterwards. */
static enum wal_scan_result damaged(struct wal_scan *s, struct bytes in, const char *fault)
{
    s->fault = fault;
    if (!wal_record_torn(in, s->offset + 8)) {
        return WAL_SCAN_CORRUPT;
    }
    bool more = goes_on(s, s->offset, s->offset + 8 + in.len);
    if (s->error != 0) {
        return WAL_SCAN_FAILED;
    }
    s->fault = more ? "a record's length reaches over others that follow" : fault;
    return more ? WAL_SCAN_CORRUPT : WAL_SCAN_TORN;
}

/* Has this type of record data exactly when it should? */
static bool has_its_data(const struct wal_record *r)
{
    return (r->data.data != NULL) == (r->type != WAL_RECORD_CRC);
}

enum wal_scan_result wal_scan_next(struct wal_scan *s, struct wal_record *record)
{
    uint64_t left = s->size - s->offset, n, pad;
    if (left == 0) {
        return WAL_SCAN_END;
    }
    if (left < 8) {
        s->fault = "a record's length is not complete";
        return WAL_SCAN_TORN;
    }
    const uint8_t *p = bytes_at(s, s->offset, 8);
    if (p == NULL) {
        return WAL_SCAN_FAILED;
    }
    uint64_t word = get_le64(p);
    if (word == 0) {
        return WAL_SCAN_END;
    }
    if (!wal_record_length(word, &n, &pad)) {
        s->fault = "a record's length word is none";
        return WAL_SCAN_CORRUPT;
    }
    if (n > left - 8 || pad > left - 8 - n) {
        return over_the_end(s);
    }
    p = bytes_at(s, s->offset + 8, (size_t)n);
    if (p == NULL) {
        return WAL_SCAN_FAILED;
    }
    struct bytes in = bytes_of(p, (size_t)n);
    if (wal_record_decode(in, record) != 0) {
        return damaged(s, in, "a record can't be parsed");
    }
    if (record->type < WAL_RECORD_METADATA || record->type > WAL_RECORD_SNAPSHOT || !has_its_data(record)) {
        return damaged(s, in, "a record's type is none or not what its data are");
    }
    uint32_t crc = s->crc;
    if (record->type != WAL_RECORD_CRC) {
        crc = crc32c(crc, record->data.data, record->data.len);
    } else if (crc == 0) {
        crc = record->crc;
    }
    if (crc != record->crc) {
        return damaged(s, in, "a record's checksum doesn't match");
    }
    s->crc = crc;
    s->offset += 8 + n + pad;
    return WAL_SCAN_RECORD;
}
