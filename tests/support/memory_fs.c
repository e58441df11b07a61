#include "tests/support/memory_fs.h"
#include "base/check.h"
#include "base/list.h"
#include "base/random.h"
#include <errno.h>
#include <stdlib.h>

enum { SECTOR = 512 };

struct inode {
    struct buffer now, durable;
    size_t dirty_from, dirty_to; /* they differ only inside of this range, and in length */
    bool locked;
    unsigned refs; /* names, pending operations, open files */
};

struct name {
    char *path;
    struct inode *inode;
};

struct names {
    struct name *list;
    size_t count;
};

/* A change of a directory that is not durable yet. */
struct change {
    char *dir, *path; /* path gets inode (NULL: is removed) */
    struct inode *inode;
    bool tied; /* happens together with the one before (the two halves of a rename) */
};

struct memory_fs {
    struct wal_fs vtable;
    struct names now, durable;
    struct change *changes;
    size_t change_count;
    uint64_t calls, fail_at;
    int fail_errno;
    bool fail_on;
    const char *failed;
    uint64_t space;
    unsigned life; /* files opened in an earlier one are dead */
};

struct memory_file {
    struct wal_file base;
    struct memory_fs *m;
    struct inode *inode;
    bool holds_lock;
    unsigned life;
};

static struct memory_fs *of(const struct wal_fs *fs)
{
    return container_of((struct wal_fs *)(uintptr_t)fs, struct memory_fs, vtable);
}

static struct memory_file *file_of(struct wal_file *file)
{
    return (struct memory_file *)file;
}

static int count_call(struct memory_fs *m, const char *what)
{
    m->calls++;
    if (m->fail_at != 0 && (m->calls == m->fail_at || (m->fail_on && m->calls > m->fail_at))) {
        m->failed = what;
        return m->fail_errno;
    }
    return 0;
}

static void dirty(struct inode *inode, size_t from, size_t to)
{
    bool clean = inode->dirty_from == inode->dirty_to;
    inode->dirty_from = clean || from < inode->dirty_from ? from : inode->dirty_from;
    inode->dirty_to = clean || to > inode->dirty_to ? to : inode->dirty_to;
}

/* All of it is durable. */
static void clean(struct inode *inode)
{
    struct buffer *now = &inode->now, *durable = &inode->durable;
    if (durable->len < now->len) {
        dirty(inode, durable->len, now->len);
        buffer_reserve(durable, now->len - durable->len);
    }
    durable->len = now->len;
    size_t to = inode->dirty_to < now->len ? inode->dirty_to : now->len;
    if (inode->dirty_from < to) {
        memcpy(durable->data + inode->dirty_from, now->data + inode->dirty_from, to - inode->dirty_from);
    }
    inode->dirty_from = inode->dirty_to = 0;
}

static void inode_unref(struct inode *inode)
{
    if (inode != NULL && --inode->refs == 0) {
        buffer_free(&inode->now);
        buffer_free(&inode->durable);
        free(inode);
    }
}

static struct inode *inode_ref(struct inode *inode)
{
    if (inode != NULL) {
        inode->refs++;
    }
    return inode;
}

/* --- names --- */

static struct name *find(struct names *names, const char *path)
{
    for (size_t i = 0; i < names->count; i++) {
        if (strcmp(names->list[i].path, path) == 0) {
            return &names->list[i];
        }
    }
    return NULL;
}

static void set_name(struct names *names, const char *path, struct inode *inode)
{
    struct name *old = find(names, path);
    inode_ref(inode);
    if (old != NULL) {
        inode_unref(old->inode);
        old->inode = inode;
        if (inode == NULL) {
            free(old->path);
            *old = names->list[--names->count];
        }
    } else if (inode != NULL) {
        names->list = mem_realloc(names->list, (names->count + 1) * sizeof *names->list);
        names->list[names->count++] = (struct name){.path = mem_strdup(path), .inode = inode};
    }
}

static char *dir_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash == NULL ? mem_strdup(".") : mem_printf("%.*s", (int)(slash - path), path);
}

static void change(struct memory_fs *m, const char *path, struct inode *inode, bool tied)
{
    set_name(&m->now, path, inode);
    m->changes = mem_realloc(m->changes, (m->change_count + 1) * sizeof *m->changes);
    m->changes[m->change_count++] =
        (struct change){.dir = dir_of(path), .path = mem_strdup(path), .inode = inode_ref(inode), .tied = tied};
}

static void drop_change(struct change *c)
{
    free(c->dir);
    free(c->path);
    inode_unref(c->inode);
}

/* --- the vtable --- */

static int m_make_dir(const struct wal_fs *fs, const char *path)
{
    (void)path;
    return count_call(of(fs), "make_dir");
}

static int m_remove_dir(const struct wal_fs *fs, const char *path)
{
    (void)path;
    return count_call(of(fs), "remove_dir");
}

static int m_list(const struct wal_fs *fs, const char *path, void (*each)(void *arg, const char *name), void *arg)
{
    struct memory_fs *m = of(fs);
    int error = count_call(m, "list");
    size_t len = strlen(path);
    for (size_t i = 0; error == 0 && i < m->now.count; i++) {
        const char *p = m->now.list[i].path;
        if (strncmp(p, path, len) == 0 && p[len] == '/' && strchr(p + len + 1, '/') == NULL) {
            each(arg, p + len + 1);
        }
    }
    return error;
}

static int m_rename(const struct wal_fs *fs, const char *from, const char *to)
{
    struct memory_fs *m = of(fs);
    int error = count_call(m, "rename");
    struct name *n = find(&m->now, from);
    if (error != 0 || n == NULL) {
        return error != 0 ? error : -ENOENT;
    }
    struct inode *inode = n->inode;
    change(m, to, inode, false);
    change(m, from, NULL, true);
    return 0;
}

static int m_unlink(const struct wal_fs *fs, const char *path)
{
    struct memory_fs *m = of(fs);
    int error = count_call(m, "unlink");
    if (error != 0 || find(&m->now, path) == NULL) {
        return error != 0 ? error : -ENOENT;
    }
    change(m, path, NULL, false);
    return 0;
}

static int m_sync_dir(const struct wal_fs *fs, const char *path)
{
    struct memory_fs *m = of(fs);
    int error = count_call(m, "sync_dir");
    size_t kept = 0;
    for (size_t i = 0; error == 0 && i < m->change_count; i++) {
        if (strcmp(m->changes[i].dir, path) == 0) {
            set_name(&m->durable, m->changes[i].path, m->changes[i].inode);
            drop_change(&m->changes[i]);
        } else {
            m->changes[kept++] = m->changes[i];
        }
    }
    m->change_count = error == 0 ? kept : m->change_count;
    return error;
}

static int m_open(const struct wal_fs *fs, const char *path, unsigned flags, struct wal_file **out)
{
    struct memory_fs *m = of(fs);
    int error = count_call(m, "open");
    if (error != 0) {
        return error;
    }
    struct name *n = find(&m->now, path);
    if (n == NULL && !(flags & WAL_FS_CREATE)) {
        return -ENOENT;
    }
    struct inode *inode = n != NULL ? n->inode : mem_zalloc(sizeof *inode);
    if (n == NULL) {
        change(m, path, inode, false);
    }
    if (flags & WAL_FS_TRUNCATE) {
        inode->now.len = 0;
    }
    struct memory_file *f = mem_zalloc(sizeof *f);
    *f = (struct memory_file){.base = {.fs = fs}, .m = m, .inode = inode_ref(inode), .life = m->life};
    *out = &f->base;
    return 0;
}

static void m_close(struct wal_file *file)
{
    struct memory_file *f = file_of(file);
    if (f->holds_lock && f->life == f->m->life) {
        f->inode->locked = false;
    }
    inode_unref(f->inode);
    free(f);
}

static int count_file_call(struct memory_file *f, const char *what)
{
    CHECK(f->life == f->m->life, "%s on a file that a dead process had opened", what);
    return count_call(f->m, what);
}

static int m_size(struct wal_file *file, uint64_t *out)
{
    *out = file_of(file)->inode->now.len;
    return count_file_call(file_of(file), "size");
}

static int m_read(struct wal_file *file, void *data, size_t len, uint64_t offset, size_t *got)
{
    const struct buffer *b = &file_of(file)->inode->now;
    size_t left = offset < b->len ? b->len - (size_t)offset : 0;
    *got = left < len ? left : len;
    if (*got > 0) {
        memcpy(data, b->data + offset, *got);
    }
    return count_file_call(file_of(file), "read");
}

uint64_t memory_fs_used(const struct memory_fs *m)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < m->now.count; i++) {
        sum += m->now.list[i].inode->now.len;
    }
    return sum;
}

/* Makes the file at least len long, if there is space. */
static int grow(struct memory_file *f, uint64_t len)
{
    struct buffer *b = &f->inode->now;
    if (len <= b->len) {
        return 0;
    }
    size_t more = (size_t)len - b->len;
    if (memory_fs_used(f->m) + more > f->m->space) {
        return -ENOSPC;
    }
    memset(buffer_reserve(b, more), 0, more);
    dirty(f->inode, b->len, b->len + more);
    b->len += more;
    return 0;
}

static int m_write(struct wal_file *file, struct iovec *iov, size_t count, uint64_t offset)
{
    struct memory_file *f = file_of(file);
    int error = count_file_call(f, "write");
    if (error != 0) {
        count = count / 2; /* some of it may have got there */
    }
    for (size_t i = 0; i < count; i++) {
        int full = grow(f, offset + iov[i].iov_len);
        if (full != 0) {
            return full;
        }
        memcpy(f->inode->now.data + offset, iov[i].iov_base, iov[i].iov_len);
        dirty(f->inode, (size_t)offset, (size_t)offset + iov[i].iov_len);
        offset += iov[i].iov_len;
    }
    return error;
}

static int m_allocate(struct wal_file *file, uint64_t offset, uint64_t len)
{
    int error = count_file_call(file_of(file), "allocate");
    return error != 0 ? error : grow(file_of(file), offset + len);
}

static int m_truncate(struct wal_file *file, uint64_t len)
{
    struct memory_file *f = file_of(file);
    int error = count_file_call(f, "truncate");
    if (error == 0 && len < f->inode->now.len) {
        f->inode->now.len = (size_t)len;
    }
    return error != 0 ? error : grow(f, len);
}

static int m_sync(struct wal_file *file)
{
    struct memory_file *f = file_of(file);
    int error = count_file_call(f, "sync");
    if (error == 0) {
        clean(f->inode);
    }
    return error;
}

static int m_lock(struct wal_file *file)
{
    struct memory_file *f = file_of(file);
    int error = count_file_call(f, "lock");
    if (error != 0 || f->holds_lock) {
        return error;
    }
    if (f->inode->locked) {
        return -EAGAIN;
    }
    f->inode->locked = f->holds_lock = true;
    return 0;
}

/* --- control --- */

struct memory_fs *memory_fs_new(void)
{
    struct memory_fs *m = mem_zalloc(sizeof *m);
    m->vtable = (struct wal_fs){.make_dir = m_make_dir,
                                .remove_dir = m_remove_dir,
                                .list = m_list,
                                .rename = m_rename,
                                .unlink = m_unlink,
                                .sync_dir = m_sync_dir,
                                .open = m_open,
                                .close = m_close,
                                .size = m_size,
                                .read = m_read,
                                .write = m_write,
                                .allocate = m_allocate,
                                .truncate = m_truncate,
                                .sync = m_sync,
                                .lock = m_lock};
    m->failed = "";
    m->space = UINT64_MAX;
    return m;
}

static void free_names(struct names *names)
{
    for (size_t i = 0; i < names->count; i++) {
        free(names->list[i].path);
        inode_unref(names->list[i].inode);
    }
    free(names->list);
    *names = (struct names){0};
}

static void free_changes(struct memory_fs *m)
{
    for (size_t i = 0; i < m->change_count; i++) {
        drop_change(&m->changes[i]);
    }
    free(m->changes);
    m->changes = NULL;
    m->change_count = 0;
}

void memory_fs_free(struct memory_fs *m)
{
    free_changes(m);
    free_names(&m->now);
    free_names(&m->durable);
    free(m);
}

const struct wal_fs *memory_fs_vtable(struct memory_fs *m)
{
    return &m->vtable;
}

void memory_fs_fail(struct memory_fs *m, uint64_t call, int negative_errno, bool from_then_on)
{
    m->calls = 0;
    m->fail_at = call;
    m->fail_errno = negative_errno;
    m->fail_on = from_then_on;
    m->failed = "";
}

uint64_t memory_fs_calls(const struct memory_fs *m)
{
    return m->calls;
}

const char *memory_fs_failed_call(const struct memory_fs *m)
{
    return m->failed;
}

void memory_fs_space(struct memory_fs *m, uint64_t bytes)
{
    m->space = bytes;
}

/* A sector or the length survives, or doesn't. */
static void crash_inode(struct inode *inode, struct random *r)
{
    size_t len = random_below(r, 2) ? inode->now.len : inode->durable.len;
    struct buffer after = {0};
    memset(buffer_reserve(&after, len), 0, len);
    after.len = len;
    for (size_t at = 0; at < len; at += SECTOR) {
        const struct buffer *from = random_below(r, 2) ? &inode->now : &inode->durable;
        size_t n = len - at < SECTOR ? len - at : SECTOR;
        if (at < from->len) {
            memcpy(after.data + at, from->data + at, from->len - at < n ? from->len - at : n);
        }
    }
    buffer_free(&inode->now);
    inode->now = after;
    inode->durable.len = 0;
    buffer_append(&inode->durable, after.data, after.len);
    inode->dirty_from = inode->dirty_to = 0;
    inode->locked = false;
}

void memory_fs_crash(struct memory_fs *m, uint64_t seed)
{
    struct random r;
    random_seed(&r, seed);
    bool happens = false;
    for (size_t i = 0; i < m->change_count; i++) {
        happens = m->changes[i].tied ? happens : random_below(&r, 2) == 1;
        if (happens) {
            set_name(&m->durable, m->changes[i].path, m->changes[i].inode);
        }
    }
    m->life++;
    free_changes(m);
    free_names(&m->now);
    for (size_t i = 0; i < m->durable.count; i++) {
        crash_inode(m->durable.list[i].inode, &r);
        set_name(&m->now, m->durable.list[i].path, m->durable.list[i].inode);
    }
}

void memory_fs_kill(struct memory_fs *m)
{
    m->life++;
    for (size_t i = 0; i < m->now.count; i++) {
        m->now.list[i].inode->locked = false;
    }
}

void memory_fs_put(struct memory_fs *m, const char *path, struct bytes content)
{
    struct inode *inode = mem_zalloc(sizeof *inode);
    buffer_append(&inode->now, content.data, content.len);
    buffer_append(&inode->durable, content.data, content.len);
    set_name(&m->now, path, inode);
    set_name(&m->durable, path, inode);
}

struct bytes memory_fs_get(struct memory_fs *m, const char *path)
{
    struct name *n = find(&m->now, path);
    return n == NULL ? (struct bytes){0}
                     : bytes_of(n->inode->now.len == 0 ? (uint8_t *)"" : n->inode->now.data, n->inode->now.len);
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

struct name_list {
    char *names[64];
    size_t count;
};

static void collect(void *arg, const char *name)
{
    struct name_list *l = arg;
    CHECK(l->count < 64);
    l->names[l->count++] = mem_strdup(name);
}

char *memory_fs_names(struct memory_fs *m, const char *dir)
{
    struct name_list l = {0};
    struct buffer out = {0};
    uint64_t calls = m->calls, fail_at = m->fail_at;
    m->fail_at = 0;
    m->vtable.list(&m->vtable, dir, collect, &l);
    m->calls = calls;
    m->fail_at = fail_at;
    qsort(l.names, l.count, sizeof *l.names, compare);
    for (size_t i = 0; i < l.count; i++) {
        buffer_printf(&out, "%s%s", i == 0 ? "" : " ", l.names[i]);
        free(l.names[i]);
    }
    buffer_append(&out, "", 1);
    return (char *)out.data;
}
