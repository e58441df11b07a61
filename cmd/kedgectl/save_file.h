/* A file that gets its name only when it is whole.
 *
 * It is written as FILE.part in the same folder, mode 0600, and locked (flock) for as long as it is, so that two saves
 * to one name never write one file: the second is refused. save_file_commit syncs it, gives it its name in place of
 * what had that name, and syncs the folder. Whatever ends a save before that removes FILE.part: an error, SIGINT,
 * SIGTERM, SIGHUP. After SIGKILL or a crash it stays, and the next save to that name writes over it.
 *
 * "-" is standard output: the bytes go there as they come, and there is nothing to take back.
 *
 * One at a time in a process, since signals know only one. */
#ifndef CMD_KEDGECTL_SAVE_FILE_H
#define CMD_KEDGECTL_SAVE_FILE_H

#include "base/arena.h"
#include "base/bytes.h"
#include <pthread.h>

struct save_file {
    struct arena *arena;
    const char *path, *part; /* part NULL: standard output */
    int fd;
    pthread_t syncer;
    bool syncing;
    int sync_error; /* an errno; read after the syncer has ended */
};

/* All of them: NULL, or the error's text in the arena. */

/* path lives as long as the file. FILE must be a plain file or not there; standard output must not be a terminal. */
const char *save_file_open(struct save_file *f, struct arena *arena, const char *path);
const char *save_file_write(struct save_file *f, struct bytes data);
/* Nothing more is written: the disk may take its time while the file is looked at. */
void save_file_sync_begin(struct save_file *f);
/* The disk has it and it has its name. Closes. After an error as save_file_discard. */
const char *save_file_commit(struct save_file *f);
/* Removes what was written, and closes. */
void save_file_discard(struct save_file *f);

/* Called (in a signal handler) before a signal ends the program; NULL = nothing. */
void save_file_on_signal(void (*last_words)(void));

#endif
