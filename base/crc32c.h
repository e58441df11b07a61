/* CRC-32C (Castagnoli, reflected, init and xorout 0xffffffff), resumable: crc32c(crc32c(0, a), b) == crc32c(0, ab).
 * This is what etcd's WAL, .snap files and hashes use (wal.md, "CRC chain"; bbolt.md). */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t len);

/* The same without the processor's instruction: what other machines run, here for the test that compares the two. */
uint32_t crc32c_portable(uint32_t crc, const void *data, size_t len);

#endif
