/* xoshiro256** seeded by splitmix64 (Blackman and Vigna, "Scrambled linear pseudorandom number generators", 2018). */
#include "base/random.h"
#include "base/check.h"

#include <errno.h>
#include <sys/random.h>

static uint64_t rotate_left(uint64_t v, unsigned count)
{
    return v << count | v >> (64 - count);
}

void random_seed(struct random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        seed += 0x9e3779b97f4a7c15u;
        uint64_t z = seed;
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
        z = (z ^ z >> 27) * 0x94d049bb133111ebu;
        r->state[i] = z ^ z >> 31;
    }
}

uint64_t random_next(struct random *r)
{
    uint64_t *s = r->state;
    uint64_t result = rotate_left(s[1] * 5, 7) * 9;
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotate_left(s[3], 45);
    return result;
}

uint64_t random_below(struct random *r, uint64_t bound)
{
    CHECK(bound > 0);
    /* Values below 2^64 mod bound would make the low remainders too frequent: drawn again. */
    uint64_t skip = -bound % bound;
    uint64_t v;
    do {
        v = random_next(r);
    } while (v < skip);
    return v % bound;
}

double random_unit(struct random *r)
{
    return (double)(random_next(r) >> 11) * 0x1p-53;
}

uint64_t random_entropy(void)
{
    uint64_t v;
    ssize_t n;
    do {
        n = getrandom(&v, sizeof v, 0);
    } while (n < 0 && errno == EINTR);
    CHECK(n == (ssize_t)sizeof v, "getrandom");
    return v;
}
