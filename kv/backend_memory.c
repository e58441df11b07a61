/* The store in memory: what chaos/sim runs on, and the dumb twin that the LMDB one is tested against.
 *
 * Each table is a treap whose nodes never change once a commit has published them: a commit copies the path to each
 * change and publishes a new set of roots. So a read is a reference to a set of roots, sees exactly one commit, and
 * costs nothing while commits go on; and a crash that keeps the first n commits is the n-th set of roots. A node's
 * priority is a hash of its key, which makes the shape a function of the content: the same seed gives the same run. */
#include "base/check.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "kv/backend_driver.h"
#include <pthread.h>
#include <stdlib.h>

struct row {
    atomic_uint refs;
    uint32_t priority;
    struct bytes key, value; /* in the same allocation, behind this */
};

struct node {
    atomic_uint refs;
    uint64_t commit; /* that made it: only that one may still change it */
    uint64_t count;  /* rows of this subtree */
    struct row *row;
    struct node *left, *right;
};

struct version {
    atomic_uint refs;
    uint64_t bytes; /* of all rows, as stats count them */
    struct node *roots[BACKEND_TABLES];
};

struct memory {
    struct backend base;
    pthread_mutex_t lock;     /* of history's last element against read_begin */
    struct version **history; /* [0] = as opened, [n] = after n commits */
    size_t commits, capacity;
    uint64_t serial; /* number of the newest commit, going on over crashes: nodes of lives before are never changed */
    atomic_uint_fast64_t size, size_in_use;
    int fail;
};

struct memory_read {
    struct backend_read base;
    struct version *version;
};

/* --- rows and nodes --- */

static struct row *row_new(struct bytes key, struct bytes value)
{
    struct row *r = mem_alloc(sizeof *r + key.len + value.len);
    uint8_t *data = (uint8_t *)(r + 1);
    memcpy(data, key.data, key.len);
    if (value.len > 0) {
        memcpy(data + key.len, value.data, value.len);
    }
    atomic_init(&r->refs, 1);
    r->key = bytes_of(data, key.len);
    r->value = bytes_of(data + key.len, value.len);
    r->priority = crc32c(0, key.data, key.len) * 2654435769u;
    return r;
}

static void row_unref(struct row *r)
{
    if (atomic_fetch_sub(&r->refs, 1) == 1) {
        free(r);
    }
}

static struct node *node_ref(struct node *n)
{
    if (n != NULL) {
        atomic_fetch_add(&n->refs, 1);
    }
    return n;
}

static void node_unref(struct node *n)
{
    while (n != NULL && atomic_fetch_sub(&n->refs, 1) == 1) {
        struct node *right = n->right;
        node_unref(n->left);
        row_unref(n->row);
        free(n);
        n = right;
    }
}

static uint64_t count_of(const struct node *n)
{
    return n == NULL ? 0 : n->count;
}

static struct node *node_new(struct row *row, uint64_t commit, struct node *left, struct node *right)
{
    struct node *n = mem_alloc(sizeof *n);
    atomic_init(&n->refs, 1);
    n->commit = commit;
    n->row = row;
    n->left = left;
    n->right = right;
    n->count = 1 + count_of(left) + count_of(right);
    return n;
}

/* Takes the caller's reference and gives back one to a node that this commit may change. */
static struct node *node_own(struct node *n, uint64_t commit)
{
    if (n->commit == commit) {
        return n;
    }
    atomic_fetch_add(&n->row->refs, 1);
    struct node *copy = node_new(n->row, commit, node_ref(n->left), node_ref(n->right));
    node_unref(n);
    return copy;
}

static bool above(const struct row *a, const struct row *b)
{
    return a->priority != b->priority ? a->priority > b->priority : bytes_compare(a->key, b->key) < 0;
}

static void recount(struct node *n)
{
    n->count = 1 + count_of(n->left) + count_of(n->right);
}

/* --- the treap: each function takes the caller's reference to the tree and gives back one to the changed tree --- */

/* Rows below key to *left, rows above to *right; there is none with the key itself. */
static void split(struct node *n, struct bytes key, uint64_t commit, struct node **left, struct node **right)
{
    if (n == NULL) {
        *left = *right = NULL;
        return;
    }
    n = node_own(n, commit);
    if (bytes_compare(n->row->key, key) < 0) {
        *left = n;
        split(n->right, key, commit, &n->right, right);
    } else {
        *right = n;
        split(n->left, key, commit, left, &n->left);
    }
    recount(n);
}

static struct node *join(struct node *left, struct node *right, uint64_t commit)
{
    if (left == NULL || right == NULL) {
        return left == NULL ? right : left;
    }
    struct node *top;
    if (above(left->row, right->row)) {
        top = node_own(left, commit);
        top->right = join(top->right, right, commit);
    } else {
        top = node_own(right, commit);
        top->left = join(left, top->left, commit);
    }
    recount(top);
    return top;
}

/* The row with this key becomes `row` (whose reference is taken). */
static struct node *put(struct node *n, struct row *row, uint64_t commit)
{
    int order = n == NULL ? 0 : bytes_compare(row->key, n->row->key);
    if (n != NULL && order == 0) {
        n = node_own(n, commit);
        row_unref(n->row);
        n->row = row;
        return n;
    }
    if (n == NULL || above(row, n->row)) {
        struct node *left, *right;
        split(n, row->key, commit, &left, &right);
        return node_new(row, commit, left, right);
    }
    n = node_own(n, commit);
    if (order < 0) {
        n->left = put(n->left, row, commit);
    } else {
        n->right = put(n->right, row, commit);
    }
    recount(n);
    return n;
}

/* The row must be there. */
static struct node *cut(struct node *n, struct bytes key, uint64_t commit)
{
    n = node_own(n, commit);
    int order = bytes_compare(key, n->row->key);
    if (order == 0) {
        struct node *rest = join(n->left, n->right, commit);
        n->left = n->right = NULL;
        node_unref(n);
        return rest;
    }
    if (order < 0) {
        n->left = cut(n->left, key, commit);
    } else {
        n->right = cut(n->right, key, commit);
    }
    recount(n);
    return n;
}

static const struct row *find(const struct node *n, struct bytes key)
{
    while (n != NULL) {
        int order = bytes_compare(key, n->row->key);
        if (order == 0) {
            return n->row;
        }
        n = order < 0 ? n->left : n->right;
    }
    return NULL;
}

/* --- versions --- */

static struct version *version_copy(const struct version *from)
{
    struct version *v = mem_zalloc(sizeof *v);
    atomic_init(&v->refs, 1);
    if (from != NULL) {
        v->bytes = from->bytes;
        for (int i = 0; i < BACKEND_TABLES; i++) {
            v->roots[i] = node_ref(from->roots[i]);
        }
    }
    return v;
}

static void version_unref(struct version *v)
{
    if (atomic_fetch_sub(&v->refs, 1) == 1) {
        for (int i = 0; i < BACKEND_TABLES; i++) {
            node_unref(v->roots[i]);
        }
        free(v);
    }
}

/* What a row counts in stats: its bytes and about what a page spends on it. */
static uint64_t weight(struct bytes key, struct bytes value)
{
    return key.len + value.len + 16;
}

static void version_delete(struct version *v, int table, struct bytes key, uint64_t commit)
{
    const struct row *old = find(v->roots[table], key);
    if (old != NULL) {
        v->bytes -= weight(old->key, old->value);
        v->roots[table] = cut(v->roots[table], key, commit);
    }
}

static void version_put(struct version *v, int table, struct bytes key, struct bytes value, uint64_t commit)
{
    const struct row *old = find(v->roots[table], key);
    if (old != NULL) {
        v->bytes -= weight(old->key, old->value);
    }
    v->bytes += weight(key, value);
    v->roots[table] = put(v->roots[table], row_new(key, value), commit);
}

static void version_position(struct version *v, const struct backend_batch *batch, uint64_t commit)
{
    uint8_t number[8];
    if (batch->index != 0) {
        put_be64(number, batch->index);
        version_put(v, BACKEND_META, bytes_str(BACKEND_CONSISTENT_INDEX), bytes_of(number, 8), commit);
        if (batch->term != 0) {
            put_be64(number, batch->term);
            version_put(v, BACKEND_META, bytes_str(BACKEND_TERM), bytes_of(number, 8), commit);
        }
    }
}

static void publish(struct memory *m, struct version *v)
{
    enum { PAGE = 4096 };
    uint64_t in_use = (v->bytes + PAGE - 1) / PAGE * PAGE;
    pthread_mutex_lock(&m->lock);
    m->commits++;
    if (m->commits >= m->capacity) {
        m->capacity = m->capacity * 2 + 16;
        m->history = mem_realloc(m->history, m->capacity * sizeof *m->history);
    }
    m->history[m->commits] = v;
    pthread_mutex_unlock(&m->lock);
    atomic_store(&m->size_in_use, in_use);
    if (in_use > atomic_load(&m->size)) {
        atomic_store(&m->size, in_use);
    }
}

/* --- the driver --- */

static int memory_commit(struct backend *b, const struct backend_batch *batch)
{
    struct memory *m = (struct memory *)b;
    if (m->fail != 0) {
        int error = m->fail;
        m->fail = 0;
        return error;
    }
    uint64_t commit = ++m->serial;
    struct version *v = version_copy(m->history[m->commits]);
    for (size_t i = 0; i < batch->count; i++) {
        const struct backend_op *op = &batch->ops[i];
        if (op->kind == BACKEND_PUT) {
            version_put(v, op->table, op->key, op->value, commit);
        } else {
            version_delete(v, op->table, op->key, commit);
        }
    }
    version_position(v, batch, commit);
    publish(m, v);
    return 0;
}

static int memory_read_begin(struct backend *b, struct backend_read **out)
{
    struct memory *m = (struct memory *)b;
    struct memory_read *r = mem_zalloc(sizeof *r);
    pthread_mutex_lock(&m->lock);
    r->version = m->history[m->commits];
    atomic_fetch_add(&r->version->refs, 1);
    pthread_mutex_unlock(&m->lock);
    *out = &r->base;
    return 0;
}

static void memory_read_end(struct backend_read *read)
{
    struct memory_read *r = (struct memory_read *)read;
    version_unref(r->version);
    free(r);
}

static int memory_get(struct backend_read *read, enum backend_table table, struct bytes key, struct bytes *value)
{
    const struct memory_read *r = (const struct memory_read *)read;
    const struct row *row = find(r->version->roots[table], key);
    if (row == NULL) {
        return ERR_ABSENT;
    }
    *value = row->value;
    return 0;
}

static int memory_missing(struct backend *b, enum backend_table table)
{
    (void)b;
    (void)table;
    return ERR_CORRUPT_DATA;
}

/* In order, from `from` on. Returns false once visit did. Depth is that of a treap: 2 ln n or so. */
static bool walk(const struct node *n, struct bytes from, bool (*visit)(void *, struct bytes, struct bytes), void *arg)
{
    while (n != NULL) {
        if (bytes_compare(n->row->key, from) >= 0) {
            if (!walk(n->left, from, visit, arg) || !visit(arg, n->row->key, n->row->value)) {
                return false;
            }
        }
        n = n->right;
    }
    return true;
}

static int memory_scan(struct backend_read *read, enum backend_table table, struct bytes from,
                       bool (*visit)(void *arg, struct bytes key, struct bytes value), void *arg)
{
    const struct memory_read *r = (const struct memory_read *)read;
    walk(r->version->roots[table], from, visit, arg);
    return 0;
}

static uint64_t memory_count(struct backend_read *read, enum backend_table table)
{
    const struct memory_read *r = (const struct memory_read *)read;
    return count_of(r->version->roots[table]);
}

static struct backend_stats memory_stats(const struct backend *b)
{
    const struct memory *m = (const struct memory *)b;
    return (struct backend_stats){.size_bytes = atomic_load(&m->size),
                                  .size_in_use_bytes = atomic_load(&m->size_in_use)};
}

static int memory_repack(struct backend *b, size_t budget_bytes, struct buffer *cursor)
{
    (void)b;
    (void)budget_bytes;
    cursor->len = 0;
    return 0;
}

static char *memory_fault(const struct backend *b)
{
    (void)b;
    return NULL;
}

static void memory_close(struct backend *b)
{
    struct memory *m = (struct memory *)b;
    for (size_t i = 0; i <= m->commits; i++) {
        version_unref(m->history[i]);
    }
    free(m->history);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

static const struct backend_driver driver = {
    .commit = memory_commit,
    .read_begin = memory_read_begin,
    .read_end = memory_read_end,
    .get = memory_get,
    .missing = memory_missing,
    .scan = memory_scan,
    .scan_lengths = memory_scan,
    .count = memory_count,
    .stats = memory_stats,
    .repack = memory_repack,
    .fault = memory_fault,
    .close = memory_close,
};

/* Takes the reference to the first version. */
static struct backend *open_with(struct version *first, uint64_t serial)
{
    struct memory *m = mem_zalloc(sizeof *m);
    m->base.driver = &driver;
    pthread_mutex_init(&m->lock, NULL);
    m->capacity = 16;
    m->history = mem_alloc(m->capacity * sizeof *m->history);
    m->history[0] = first;
    m->serial = serial;
    atomic_init(&m->size_in_use, first->bytes);
    atomic_init(&m->size, first->bytes);
    return &m->base;
}

struct backend *backend_open_memory(void)
{
    return open_with(version_copy(NULL), 0);
}

size_t backend_memory_commits(const struct backend *b)
{
    CHECK(b->driver == &driver);
    return ((const struct memory *)b)->commits;
}

struct backend *backend_memory_crash(struct backend *b, size_t batches)
{
    CHECK(b->driver == &driver);
    struct memory *m = (struct memory *)b;
    CHECK(batches <= m->commits, "%zu of %zu", batches, m->commits);
    struct version *kept = version_copy(m->history[batches]);
    uint64_t serial = m->serial;
    backend_close(b);
    return open_with(kept, serial);
}

void backend_memory_fail(struct backend *b, int error)
{
    CHECK(b->driver == &driver);
    ((struct memory *)b)->fail = error;
}
