/* How far something long has come, as one line at the foot of a terminal:
 *
 *      45 % [===========>             ] 186 of 413 MB, 212 MB/s, 2 s left
 *
 * On anything but a terminal nothing is ever written. */
#ifndef CMD_KEDGECTL_PROGRESS_H
#define CMD_KEDGECTL_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The rate is that of the last few seconds: so many marks, a quarter of a second apart. */
enum { PROGRESS_MARKS = 16, PROGRESS_LINE = 256 };

struct progress_mark {
    uint64_t at_ns, done;
};

struct progress {
    int fd; /* of the terminal; -1 = none */
    struct progress_mark marks[PROGRESS_MARKS];
    unsigned count, next; /* of the marks */
    uint64_t done, all;   /* bytes; all 0 = not known */
    uint64_t drawn_ns;
    bool shown; /* a line stands there */
};

/* fd: where the line goes, if that is a terminal. */
void progress_begin(struct progress *p, int fd);
bool progress_is_shown(const struct progress *p);
/* Tells where it is, and draws if there is a terminal and the last line is a tenth of a second old. Also to be called
 * when nothing moves: the rate falls then. Nothing is shown before the first byte. */
void progress_set(struct progress *p, uint64_t done, uint64_t all);
/* Takes the line away: something else is to be written, or it is over. May be called from a signal handler. */
void progress_clear(struct progress *p);

/* --- without a terminal, for tests --- */

/* As progress_set, of this time, and draws nothing. */
void progress_mark(struct progress *p, uint64_t now_ns, uint64_t done, uint64_t all);
/* The line for a terminal of so many columns; never longer than columns - 1. */
void progress_line(const struct progress *p, uint64_t now_ns, unsigned columns, char out[PROGRESS_LINE]);

#endif
