/* A key in 128 bits, for tables that keep the hash instead of the key: two of a billion keys meet once in some 10^20
 * stores. Not against somebody who looks for such keys. */
#ifndef BASE_HASH128_H
#define BASE_HASH128_H

#include "base/bytes.h"

void hash128(struct bytes key, uint64_t out[2]);

#endif
