#include "base/hash128.h"

#include <string.h>

void hash128(struct bytes key, uint64_t out[2])
{
    uint64_t a = 0x243f6a8885a308d3ULL ^ key.len, b = 0x13198a2e03707344ULL; /* digits of pi */
    for (size_t i = 0; i < key.len; i += 8) {
        uint8_t word[8] = {0};
        memcpy(word, key.data + i, key.len - i < 8 ? key.len - i : 8);
        uint64_t w = get_le64(word);
        a = (a ^ w) * 0x9fb21c651e98df25ULL;
        a ^= a >> 35;
        b = (b + w) * 0xd6e8feb86659fd93ULL;
        b ^= (b >> 32) ^ a;
    }
    out[0] = (a ^ b >> 29) * 0xbf58476d1ce4e5b9ULL;
    out[1] = (b ^ a >> 31) * 0x94d049bb133111ebULL;
}
