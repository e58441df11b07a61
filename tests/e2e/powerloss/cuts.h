/* Every state that a power loss could have left behind, from a trace of record.c.
 *
 * A disk keeps what was synced, and of the rest whatever it likes: so at each point of the trace the files are rebuilt
 * with everything that was durable there and, of what was not: nothing; everything; all data and no names; all names
 * and no data; and random choices, a write that spans sectors of 512 bytes being torn at them. Names (created, renamed,
 * removed) survive as a prefix, in order, as on any journalling file system, until their folder is synced. */
#ifndef POWERLOSS_CUTS_H
#define POWERLOSS_CUTS_H

#include <stddef.h>
#include <stdint.h>

struct cut {
    size_t event;     /* this many records of the trace had happened */
    uint64_t acked;   /* the newest work that had been called done by then */
    const char *kind; /* "nothing", "everything", … for the message */
    uint64_t number;  /* of cuts so far */
};

struct cuts_options {
    uint64_t seed;
    unsigned random_choices; /* at each point of the trace */
    size_t every;            /* of the points: 1 = each */
};

/* Calls check for each different state, with the files in `folder` (made, and emptied for each cut). Stops at the first
 * check that returns other than 0 and returns that; the files then stay for a look. *count = cuts checked.
 * A trace that cannot be read ends the process with a message. */
int cuts_each(const char *trace, const char *folder, struct cuts_options options,
              int (*check)(void *arg, const char *folder, const struct cut *cut), void *arg, uint64_t *count);

#endif
