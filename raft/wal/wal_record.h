/* The WAL's frames: bytes to struct and back, no I/O (wal.md "Record framing", "CRC chain"). */
#ifndef RAFT_WAL_WAL_RECORD_H
#define RAFT_WAL_WAL_RECORD_H

#include "base/bytes.h"

enum wal_record_type {
    WAL_RECORD_METADATA = 1,
    WAL_RECORD_ENTRY = 2,
    WAL_RECORD_STATE = 3,
    WAL_RECORD_CRC = 4,
    WAL_RECORD_SNAPSHOT = 5,
};

struct wal_record {
    uint64_t type;
    uint32_t crc;
    struct bytes data; /* a view; data pointer NULL if the field is absent */
};

/* A frame is a length word, the record's own head, the data and zeroes up to a multiple of 8. The head: */
#define WAL_RECORD_HEAD_MAX 40

/* Writes length word and record up to where the data begins (crc covers the data alone: the caller has computed it).
 * with_data false leaves the field out. Returns the number of bytes, and in *pad how many zeroes follow the data. */
size_t wal_record_encode_head(uint8_t out[WAL_RECORD_HEAD_MAX], uint64_t type, uint32_t crc, bool with_data,
                              size_t data_len, size_t *pad);

/* Bytes of record and padding behind a length word; false if the word is none that a writer makes: the top byte must be
 * 0 or 0x80 | 1..7. */
bool wal_record_length(uint64_t word, uint64_t *record_bytes, uint64_t *pad_bytes);

/* Decodes the record's bytes (without length word and padding). 0, ERR_MALFORMED. */
int wal_record_decode(struct bytes in, struct wal_record *out);

/* Is this damage a torn write: is any piece of the record all zero, when it is cut at file offsets that are multiples
 * of 512 (wal.md "Torn write")? `record` is without its padding: etcd counts that in, but a sector with nothing but
 * padding in it damages no record, so all that it would add are flipped bits that pass for tears. */
bool wal_record_torn(struct bytes record, uint64_t offset);

#endif
