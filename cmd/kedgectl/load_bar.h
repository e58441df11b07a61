/* A progress bar on standard error: "20 / 60 [------>________________]  33.33% 1 p/s". On a terminal it is drawn again
 * a few times a second; elsewhere (a file, a pipe) only its end is written. */
#ifndef CMD_KEDGECTL_LOAD_BAR_H
#define CMD_KEDGECTL_LOAD_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct load_bar {
    uint64_t total, done;
    uint64_t begun_ns, drawn_ns;
    bool terminal;
};

void load_bar_begin(struct load_bar *p, uint64_t total);
void load_bar_set(struct load_bar *p, uint64_t done);
void load_bar_end(struct load_bar *p); /* writes the last state and ends the line */

#endif
