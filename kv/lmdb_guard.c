/* The handler runs on the thread that faulted, maybe inside malloc or with LMDB's locks held: it only reads the table
 * of maps below, writes one line and ends the process. The table is changed under a lock by open and close; the handler
 * reads it without: a slot is in use when its length is not 0, which is written last and cleared first. */
#include "kv/lmdb_guard.h"
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum { MAPS = 64, PATH_BYTES = 4096 };

struct lmdb_guard {
    atomic_size_t len;
    const char *map;
    char path[PATH_BYTES];
};

static struct lmdb_guard maps[MAPS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction before_bus, before_segv;
static _Thread_local struct lmdb_guard *volatile current;

/* --- a line without stdio --- */

struct line {
    char text[2 * PATH_BYTES + 256];
    size_t len;
};

static void line_text(struct line *l, const char *text)
{
    size_t n = strlen(text);
    if (n > sizeof l->text - l->len) {
        n = sizeof l->text - l->len;
    }
    memcpy(l->text + l->len, text, n);
    l->len += n;
}

/* Inside a JSON string. */
static void line_escaped(struct line *l, const char *text)
{
    for (; *text != 0; text++) {
        char one[3] = {*text, 0, 0};
        if (*text == '"' || *text == '\\') {
            one[0] = '\\';
            one[1] = *text;
        } else if ((unsigned char)*text < ' ') {
            one[0] = '?';
        }
        line_text(l, one);
    }
}

static void line_number(struct line *l, uint64_t n)
{
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = 0;
    do {
        digits[--at] = (char)('0' + n % 10);
        n /= 10;
    } while (n != 0);
    line_text(l, digits + at);
}

__attribute__((noreturn)) static void report(int signal_number, const struct lmdb_guard *g, const char *address)
{
    struct line l = {.len = 0};
    size_t len = atomic_load(&g->len);
    line_text(&l, "{\"level\":\"fatal\",\"msg\":\"");
    line_text(&l, signal_number == SIGBUS ? "SIGBUS" : "SIGSEGV");
    bool inside = address >= g->map && address < g->map + len;
    line_text(&l, inside ? " while reading the store: the disk cannot read it, or the file was cut"
                         : " while reading the store: a damaged page led out of the file");
    line_text(&l, "\",\"path\":\"");
    line_escaped(&l, g->path);
    line_text(&l, "\"");
    if (inside) {
        line_text(&l, ",\"offset\":");
        line_number(&l, (uint64_t)(address - g->map));
    }
    line_text(&l, "}\n");
    ssize_t ignored = write(STDERR_FILENO, l.text, l.len);
    (void)ignored;
    _exit(1);
}

static void handle(int signal_number, siginfo_t *info, void *context)
{
    const char *address = info->si_addr;
    for (int i = 0; i < MAPS; i++) {
        size_t len = atomic_load(&maps[i].len);
        if (len != 0 && address >= maps[i].map && address < maps[i].map + len) {
            report(signal_number, &maps[i], address);
        }
    }
    if (current != NULL && info->si_code > 0) {
        report(signal_number, current, address);
    }
    const struct sigaction *before = signal_number == SIGBUS ? &before_bus : &before_segv;
    if (before->sa_flags & SA_SIGINFO) {
        before->sa_sigaction(signal_number, info, context);
    } else if (before->sa_handler != SIG_DFL && before->sa_handler != SIG_IGN) {
        before->sa_handler(signal_number);
    } else {
        /* The default comes when the instruction is tried again; a signal sent by somebody is raised again. */
        signal(signal_number, SIG_DFL);
        if (info->si_code <= 0) {
            raise(signal_number);
        }
    }
}

/* Also when somebody put other handlers over ours since: they are then what ours pass on to. */
static void install(void)
{
    struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_ONSTACK}, now;
    sigemptyset(&action.sa_mask);
    if (sigaction(SIGBUS, NULL, &now) == 0 && now.sa_sigaction != handle) {
        sigaction(SIGBUS, &action, &before_bus);
    }
    if (sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_sigaction != handle) {
        sigaction(SIGSEGV, &action, &before_segv);
    }
}

struct lmdb_guard *lmdb_guard_add(const char *path, const void *map, size_t len)
{
    struct lmdb_guard *found = NULL;
    pthread_mutex_lock(&lock);
    install();
    for (int i = 0; i < MAPS && found == NULL; i++) {
        if (atomic_load(&maps[i].len) == 0) {
            found = &maps[i];
            found->map = map;
            size_t n = strnlen(path, PATH_BYTES - 1);
            memcpy(found->path, path, n);
            found->path[n] = 0;
            atomic_store(&found->len, len);
        }
    }
    pthread_mutex_unlock(&lock);
    return found;
}

void lmdb_guard_remove(struct lmdb_guard *guard)
{
    if (guard != NULL) {
        pthread_mutex_lock(&lock);
        atomic_store(&guard->len, 0);
        pthread_mutex_unlock(&lock);
    }
}

struct lmdb_guard *lmdb_guard_enter(struct lmdb_guard *guard)
{
    struct lmdb_guard *before = current;
    current = guard;
    return before;
}

void lmdb_guard_leave(struct lmdb_guard *before)
{
    current = before;
}
