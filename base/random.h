/* A small seeded generator (xoshiro256**): the same seed gives the same sequence everywhere. Not for secrets. */
#ifndef BASE_RANDOM_H
#define BASE_RANDOM_H

#include <stdint.h>

struct random {
    uint64_t state[4];
};

void random_seed(struct random *r, uint64_t seed);
uint64_t random_next(struct random *r);
uint64_t random_below(struct random *r, uint64_t bound); /* uniform in [0, bound); bound > 0 */
double random_unit(struct random *r);                    /* uniform in [0, 1) */
uint64_t random_entropy(void);                           /* from the operating system: a seed for production */

#endif
