#include "tests/e2e/powerloss/cuts.h"
#include "base/bytes.h"
#include "base/check.h"
#include "base/crc32c.h"
#include "base/random.h"
#include "tests/e2e/powerloss/record.h"
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SECTOR = 512, NAMES = 1024 };

/* A change of a file that is not durable yet. */
struct change {
    const uint8_t *bytes; /* in the trace; NULL = the size became offset */
    uint64_t offset, len;
};

/* What a file holds; zeros from the buffer's end to the size (a preallocated log is mostly that). */
struct content {
    struct buffer bytes;
    uint64_t size;
};

struct file {
    struct content durable;
    struct change *changes;
    size_t count, capacity;
};

enum name_kind { NAME_FILE, NAME_FOLDER, NAME_RENAME, NAME_REMOVE };

struct name_change {
    enum name_kind kind;
    uint32_t file;
    char *path, *to;
};

struct name {
    char *path;
    uint32_t file; /* 0 = folder */
};

struct names {
    struct name list[NAMES];
    size_t count;
};

struct cuts {
    const uint8_t *trace;
    size_t len;
    const char *folder;
    struct cuts_options options;
    struct random random;
    struct file *files; /* [number - 1] */
    size_t file_count;
    struct names durable;
    struct name_change *changes;
    size_t change_count, change_capacity;
    struct cut cut;
    uint64_t *seen; /* hashes of states checked; open addressing, 0 = free */
    size_t seen_count, seen_capacity;
    int (*check)(void *arg, const char *folder, const struct cut *cut);
    void *arg;
};

/* --- names --- */

static void names_set(struct names *n, const char *path, uint32_t file)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->list[i].path, path) == 0) {
            n->list[i].file = file;
            return;
        }
    }
    CHECK(n->count < NAMES);
    n->list[n->count++] = (struct name){.path = mem_strdup(path), .file = file};
}

static bool names_remove(struct names *n, const char *path, uint32_t *file)
{
    for (size_t i = 0; i < n->count; i++) {
        if (strcmp(n->list[i].path, path) == 0) {
            *file = n->list[i].file;
            free(n->list[i].path);
            memmove(&n->list[i], &n->list[i + 1], (n->count - i - 1) * sizeof n->list[0]);
            n->count--;
            return true;
        }
    }
    return false;
}

/* A renamed folder takes what is in it along. */
static void names_move_below(struct names *n, const char *from, const char *to)
{
    size_t len = strlen(from);
    for (size_t i = 0; i < n->count; i++) {
        char *path = n->list[i].path;
        if (strncmp(path, from, len) == 0 && path[len] == '/') {
            n->list[i].path = mem_printf("%s%s", to, path + len);
            free(path);
        }
    }
}

static void names_apply(struct names *n, const struct name_change *c)
{
    uint32_t file;
    switch (c->kind) {
    case NAME_FILE:
    case NAME_FOLDER:
        names_set(n, c->path, c->file);
        break;
    case NAME_RENAME:
        if (names_remove(n, c->path, &file)) {
            names_set(n, c->to, file);
            names_move_below(n, c->path, c->to);
        }
        break;
    case NAME_REMOVE:
        names_remove(n, c->path, &file);
        break;
    }
}

static void names_copy(struct names *to, const struct names *from)
{
    to->count = 0;
    for (size_t i = 0; i < from->count; i++) {
        names_set(to, from->list[i].path, from->list[i].file);
    }
}

static void names_free(struct names *n)
{
    for (size_t i = 0; i < n->count; i++) {
        free(n->list[i].path);
    }
    n->count = 0;
}

static bool is_in(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    const char *slash = strrchr(path, '/');
    return slash == NULL ? n == 0 : (size_t)(slash - path) == n && strncmp(path, folder, n) == 0;
}

/* All up to the last change in this folder are durable: they go to the disk's journal in order. */
static void names_sync(struct cuts *c, const char *folder)
{
    size_t upto = 0;
    for (size_t i = 0; i < c->change_count; i++) {
        const struct name_change *n = &c->changes[i];
        if (is_in(n->path, folder) || (n->to != NULL && is_in(n->to, folder))) {
            upto = i + 1;
        }
    }
    for (size_t i = 0; i < upto; i++) {
        names_apply(&c->durable, &c->changes[i]);
        free(c->changes[i].path);
        free(c->changes[i].to);
    }
    c->change_count -= upto;
    memmove(c->changes, c->changes + upto, c->change_count * sizeof *c->changes);
}

static void name_changed(struct cuts *c, struct name_change change)
{
    if (c->change_count == c->change_capacity) {
        c->change_capacity = c->change_capacity * 2 + 16;
        c->changes = mem_realloc(c->changes, c->change_capacity * sizeof *c->changes);
    }
    c->changes[c->change_count++] = change;
}

/* --- content --- */

static void content_size(struct content *c, uint64_t size)
{
    c->size = size;
    c->bytes.len = c->bytes.len < size ? c->bytes.len : size;
}

static void content_write(struct content *c, uint64_t offset, const uint8_t *bytes, uint64_t len)
{
    struct buffer *b = &c->bytes;
    if (offset + len > b->len) {
        size_t more = offset + len - b->len;
        memset(buffer_reserve(b, more), 0, more);
        b->len += more;
    }
    memcpy(b->data + offset, bytes, len);
    c->size = c->size > b->len ? c->size : b->len;
}

static void content_apply(struct content *b, const struct change *c)
{
    if (c->bytes == NULL) {
        content_size(b, c->offset);
    } else {
        content_write(b, c->offset, c->bytes, c->len);
    }
}

/* Each sector of the write, or not. */
static void content_tear(struct cuts *cuts, struct content *b, const struct change *c)
{
    uint64_t at = c->offset, end = c->offset + c->len;
    while (at < end) {
        uint64_t next = (at / SECTOR + 1) * SECTOR;
        next = next < end ? next : end;
        if (random_below(&cuts->random, 2) == 0) {
            content_write(b, at, c->bytes + (at - c->offset), next - at);
        }
        at = next;
    }
}

static struct file *file_at(struct cuts *c, uint32_t number)
{
    CHECK(number > 0);
    while (c->file_count < number) {
        c->files = mem_realloc(c->files, (c->file_count + 1) * sizeof *c->files);
        c->files[c->file_count++] = (struct file){0};
    }
    return &c->files[number - 1];
}

static void file_changed(struct cuts *c, uint32_t number, struct change change)
{
    struct file *f = file_at(c, number);
    if (f->count == f->capacity) {
        f->capacity = f->capacity * 2 + 16;
        f->changes = mem_realloc(f->changes, f->capacity * sizeof *f->changes);
    }
    f->changes[f->count++] = change;
}

static void file_sync(struct cuts *c, uint32_t number)
{
    struct file *f = file_at(c, number);
    for (size_t i = 0; i < f->count; i++) {
        content_apply(&f->durable, &f->changes[i]);
    }
    f->count = 0;
}

/* --- a state --- */

enum choice { NOTHING, EVERYTHING, RANDOM };

static struct content content_of(struct cuts *c, uint32_t number, enum choice choice)
{
    struct file *f = file_at(c, number);
    struct content b = {.size = f->durable.size};
    uint64_t odds = 1 + random_below(&c->random, 9); /* of ten changes */
    buffer_append(&b.bytes, f->durable.bytes.data, f->durable.bytes.len);
    for (size_t i = 0; i < f->count && choice != NOTHING; i++) {
        const struct change *change = &f->changes[i];
        bool tear = choice == RANDOM && change->bytes != NULL && random_below(&c->random, 8) == 0;
        if (tear) {
            content_tear(c, &b, change);
        } else if (choice == EVERYTHING || random_below(&c->random, 10) < odds) {
            content_apply(&b, change);
        }
    }
    return b;
}

static void put_file(const char *folder, const char *path, const struct content *content)
{
    char *full = mem_printf("%s/%s", folder, path);
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(fd >= 0, "%s", full);
    for (size_t at = 0; at < content->bytes.len;) {
        ssize_t n = write(fd, content->bytes.data + at, content->bytes.len - at);
        CHECK(n > 0, "%s", full);
        at += (size_t)n;
    }
    CHECK(ftruncate(fd, (off_t)content->size) == 0, "%s", full);
    close(fd);
    free(full);
}

/* A file's further names are links to the first. */
static void put_name(const char *folder, const struct names *names, size_t at, const struct content *contents)
{
    for (size_t i = 0; i < at; i++) {
        if (names->list[i].file == names->list[at].file) {
            char *first = mem_printf("%s/%s", folder, names->list[i].path);
            char *second = mem_printf("%s/%s", folder, names->list[at].path);
            CHECK(link(first, second) == 0, "%s", second);
            free(first);
            free(second);
            return;
        }
    }
    put_file(folder, names->list[at].path, &contents[at]);
}

static bool seen_before(struct cuts *c, uint64_t hash)
{
    if (c->seen_count * 2 >= c->seen_capacity) {
        size_t old_capacity = c->seen_capacity;
        uint64_t *old = c->seen;
        c->seen_capacity = old_capacity * 2 + 1024;
        c->seen = mem_zalloc(c->seen_capacity * sizeof *c->seen);
        c->seen_count = 0;
        for (size_t i = 0; i < old_capacity; i++) {
            if (old[i] != 0) {
                seen_before(c, old[i]);
            }
        }
        free(old);
    }
    size_t at = (hash |= 1) % c->seen_capacity;
    while (c->seen[at] != 0 && c->seen[at] != hash) {
        at = (at + 1) % c->seen_capacity;
    }
    bool seen = c->seen[at] == hash;
    c->seen_count += !seen;
    c->seen[at] = hash;
    return seen;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *where)
{
    (void)st;
    (void)type;
    return where->level == 0 ? 0 : remove(path);
}

static void folder_empty(const char *folder)
{
    mkdir(folder, 0700);
    CHECK(nftw(folder, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0, "%s", folder);
}

static uint64_t mix(uint64_t hash, const void *data, size_t len)
{
    return (hash ^ crc32c((uint32_t)hash, data, len) ^ len) * 0x9e3779b97f4a7c15u;
}

static int state(struct cuts *c, const char *kind, enum choice data, size_t name_changes)
{
    static struct names names;
    struct content contents[NAMES];
    uint64_t hash = c->cut.acked + 1;
    names_copy(&names, &c->durable);
    for (size_t i = 0; i < name_changes; i++) {
        names_apply(&names, &c->changes[i]);
    }
    for (size_t i = 0; i < names.count; i++) {
        const struct name *n = &names.list[i];
        contents[i] = n->file == 0 ? (struct content){0} : content_of(c, n->file, data);
        hash =
            mix(mix(hash ^ contents[i].size, n->path, strlen(n->path)), contents[i].bytes.data, contents[i].bytes.len);
    }
    int rc = 0;
    if (!seen_before(c, hash)) {
        folder_empty(c->folder);
        for (size_t i = 0; i < names.count; i++) {
            if (names.list[i].file == 0) {
                char *full = mem_printf("%s/%s", c->folder, names.list[i].path);
                mkdir(full, 0700);
                free(full);
            }
        }
        for (size_t i = 0; i < names.count; i++) {
            if (names.list[i].file != 0) {
                put_name(c->folder, &names, i, contents);
            }
        }
        c->cut.kind = kind;
        c->cut.number++;
        rc = c->check(c->arg, c->folder, &c->cut);
    }
    for (size_t i = 0; i < names.count; i++) {
        buffer_free(&contents[i].bytes);
    }
    names_free(&names);
    return rc;
}

static int states(struct cuts *c)
{
    int rc;
    if ((rc = state(c, "nothing", NOTHING, 0)) != 0 ||
        (rc = state(c, "everything", EVERYTHING, c->change_count)) != 0 ||
        (rc = state(c, "data, no names", EVERYTHING, 0)) != 0 ||
        (rc = state(c, "names, no data", NOTHING, c->change_count)) != 0) {
        return rc;
    }
    for (unsigned i = 0; i < c->options.random_choices && rc == 0; i++) {
        rc = state(c, "a random choice", RANDOM, random_below(&c->random, c->change_count + 1));
    }
    return rc;
}

/* --- the trace --- */

static char *text(const uint8_t *bytes, uint64_t len)
{
    char *copy = mem_alloc(len + 1);
    memcpy(copy, bytes, len);
    copy[len] = 0;
    return copy;
}

static void event(struct cuts *c, const struct record *r, const uint8_t *bytes)
{
    char *path = text(bytes, r->kind == RECORD_WRITE ? 0 : r->len);
    switch ((enum record_kind)r->kind) {
    case RECORD_CREATE:
        name_changed(c, (struct name_change){.kind = NAME_FILE, .file = r->file, .path = mem_strdup(path)});
        break;
    case RECORD_EXISTS:
        names_set(&c->durable, path, r->file);
        break;
    case RECORD_FOLDER:
        name_changed(c, (struct name_change){.kind = NAME_FOLDER, .path = mem_strdup(path)});
        break;
    case RECORD_WRITE:
        file_changed(c, r->file, (struct change){.bytes = bytes, .offset = r->offset, .len = r->len});
        break;
    case RECORD_SIZE:
        file_changed(c, r->file, (struct change){.offset = r->offset});
        break;
    case RECORD_SYNC:
        file_sync(c, r->file);
        break;
    case RECORD_SYNC_NAMES:
        names_sync(c, path);
        break;
    case RECORD_RENAME: {
        size_t from = strlen(path) + 1;
        name_changed(
            c, (struct name_change){.kind = NAME_RENAME, .path = mem_strdup(path), .to = mem_strdup(path + from)});
        break;
    }
    case RECORD_REMOVE:
        name_changed(c, (struct name_change){.kind = NAME_REMOVE, .path = mem_strdup(path)});
        break;
    case RECORD_ACKED:
        c->cut.acked = r->offset;
        break;
    }
    free(path);
}

static int events(struct cuts *c)
{
    int rc = 0;
    for (size_t at = 0; at < c->len && rc == 0;) {
        struct record r;
        CHECK(c->len - at >= sizeof r, "trace cut at %zu", at);
        memcpy(&r, c->trace + at, sizeof r);
        at += sizeof r;
        CHECK(c->len - at >= r.len && r.kind >= RECORD_CREATE && r.kind <= RECORD_ACKED, "trace damaged at %zu", at);
        event(c, &r, c->trace + at);
        at += r.len;
        c->cut.event++;
        if (c->cut.event % c->options.every == 0) {
            rc = states(c);
        }
    }
    return rc;
}

static void forget(struct cuts *c)
{
    for (size_t i = 0; i < c->file_count; i++) {
        buffer_free(&c->files[i].durable.bytes);
        free(c->files[i].changes);
    }
    for (size_t i = 0; i < c->change_count; i++) {
        free(c->changes[i].path);
        free(c->changes[i].to);
    }
    names_free(&c->durable);
    free(c->files);
    free(c->changes);
    free(c->seen);
}

int cuts_each(const char *trace, const char *folder, struct cuts_options options,
              int (*check)(void *arg, const char *folder, const struct cut *cut), void *arg, uint64_t *count)
{
    static struct cuts c;
    struct stat st;
    int fd = open(trace, O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && fstat(fd, &st) == 0 && st.st_size > 0, "%s", trace);
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    CHECK(map != MAP_FAILED, "%s", trace);
    c = (struct cuts){.trace = map, .len = (size_t)st.st_size, .folder = folder, .check = check, .arg = arg};
    c.options = options;
    c.options.every = options.every == 0 ? 1 : options.every;
    random_seed(&c.random, options.seed);
    int rc = events(&c);
    *count = c.cut.number;
    forget(&c);
    munmap(map, (size_t)st.st_size);
    close(fd);
    return rc;
}
