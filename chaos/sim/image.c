/* Images between members: the sender's view as a bbolt file (snapshot/export.h), on its way for a while, whole at the
 * other end or not at all; then on the other's disk, and from there a generation of the store (snapshot/install.h),
 * which takes the place of the one in use (core/install.c). Only the files are simulated: an image that was received is
 * durable, the built store is not until it is placed. */
#include "chaos/sim/image.h"

#include "base/check.h"
#include "base/error.h"
#include "chaos/sim/internal.h"
#include "raft/message.h"
#include "snapshot/export.h"
#include "snapshot/install.h"
#include <stdlib.h>

struct sim_image {
    struct list node;
    struct sim *sim;
    uint64_t from, to; /* ids */
    unsigned life;     /* of the sender */
    struct core_view *view;
    struct raft_message message;
    struct raft_message_owner owner;
    struct buffer bytes;
    uint64_t due_ms;
    bool cut; /* it will break off midway */
};

/* --- sending -------------------------------------------------------------------------------------------------------
 */

static void view_closed(struct core_view *view)
{
    free(view); /* heap, the core's (core_env.send_image) */
}

static void export(struct sim_image *i)
{
    struct snapshot_export *e = snapshot_export_new(i->view->read, false);
    while (snapshot_export_plan(e, 1000) == SNAPSHOT_MORE) {
    }
    size_t bytes = snapshot_export_bytes(e), len = 0;
    uint8_t *to = buffer_reserve(&i->bytes, bytes);
    CHECK(snapshot_export_read(e, to, bytes, &len) == SNAPSHOT_DONE && len == bytes);
    i->bytes.len = len;
    snapshot_export_free(e);
}

static void close_view(struct sim_image *i)
{
    struct core_view *view = i->view;
    i->view = NULL;
    core_view_close(view);
}

static void drop(struct sim_image *i)
{
    list_remove(&i->node);
    raft_message_owner_free(&i->owner);
    buffer_free(&i->bytes);
    free(i);
}

static void send_image(struct core_env *env, const struct raft_message *message, struct core_view *view)
{
    struct sim_member *m = container_of(env, struct sim_member, env);
    struct sim *s = m->sim;
    struct sim_image *i = mem_zalloc(sizeof *i);
    i->sim = s;
    i->from = m->id;
    i->to = message->to;
    i->life = m->life;
    i->view = view;
    view->closed = view_closed;
    raft_message_copy(&i->message, &i->owner, message);
    i->due_ms = s->now_ms + random_below(&s->random, 20);
    i->cut = s->nemesis.storm && sim_chance(s, 4);
    list_push_back(&s->images, &i->node);
    sim_trace(s, "image", message->to, message->snapshot.index);
    sim_check_image_sent(m, message->snapshot_conf);
}

static void report(struct sim_image *i, struct sim_member *from, bool taken)
{
    if (!taken) {
        sim_fault(i->sim, SIM_CUT_IMAGE, from == NULL ? 0 : from->slot, i->message.snapshot.index);
    }
    if (from != NULL && from->state == SIM_UP && from->life == i->life) {
        core_snapshot_reported(from->core, i->to, taken);
        from->dirty = true;
    }
    drop(i);
}

/* --- receiving -----------------------------------------------------------------------------------------------------
 */

static struct sim_image_file *file_of(struct sim_member *m, uint64_t index)
{
    for (size_t i = 0; i < m->image_count; i++) {
        if (m->images[i].at.index == index) {
            return &m->images[i];
        }
    }
    return NULL;
}

static void remove_file(struct sim_member *m, struct sim_image_file *file)
{
    buffer_free(&file->bytes);
    *file = m->images[--m->image_count];
}

void sim_image_remove_files(struct sim_member *m)
{
    while (m->image_count > 0) {
        remove_file(m, &m->images[0]);
    }
    free(m->images);
    m->images = NULL;
}

static void write_file(struct sim_member *m, struct raft_position at, struct bytes bytes)
{
    struct sim_image_file *file = file_of(m, at.index);
    if (file == NULL) {
        m->images = mem_realloc(m->images, (m->image_count + 1) * sizeof *m->images);
        file = &m->images[m->image_count++];
        *file = (struct sim_image_file){0};
    }
    file->at = at;
    file->bytes.len = 0;
    buffer_append(&file->bytes, bytes.data, bytes.len);
}

/* On the disk and in raft's hands. */
static void arrive(struct sim_image *i, struct sim_member *to)
{
    struct buffer bytes = {0};
    struct raft_message message;
    struct raft_message_owner owner = {0};
    sim_fault(i->sim, SIM_IMAGE, to->slot, i->message.snapshot.index);
    write_file(to, i->message.snapshot, buffer_bytes(&i->bytes));
    raft_message_encode(&bytes, &i->message);
    CHECK(raft_message_decode(buffer_bytes(&bytes), &message, &owner) == 0);
    core_step(to->core, &message);
    to->dirty = true;
    sim_nemesis_imaged(to);
    raft_message_owner_free(&owner);
    buffer_free(&bytes);
}

static bool passes(struct sim *s, const struct sim_member *from, const struct sim_member *to)
{
    return to != NULL && from->state == SIM_UP && to->state == SIM_UP && !to->crashed && !to->leaving &&
           !s->net.cut[from->slot][to->slot] && !s->net.cut[to->slot][from->slot] &&
           !kv_member_removed(to->kv, from->id);
}

static void step(struct sim_image *i)
{
    struct sim *s = i->sim;
    struct sim_member *from = sim_member_of(s, i->from), *to = sim_member_of(s, i->to);
    if (s->now_ms < i->due_ms) {
        return;
    }
    if (from == NULL || from->state != SIM_UP || from->life != i->life) {
        report(i, NULL, false);
    } else if (s->now_ms < from->paused_ms || (to != NULL && s->now_ms < to->paused_ms)) {
        i->due_ms = from->paused_ms > s->now_ms ? from->paused_ms : to->paused_ms;
    } else if (i->view != NULL) {
        export(i);
        close_view(i);
        i->due_ms = s->now_ms + sim_between(s, 2, sim_chance(s, 4) ? 3000 : 200);
        from->dirty = true;
    } else if (i->cut || !passes(s, from, to)) {
        report(i, from, false);
    } else {
        arrive(i, to);
        report(i, from, true);
    }
}

void sim_images_run(struct sim *s)
{
    for (struct list *node = s->images.next, *next; node != &s->images; node = next) {
        next = node->next;
        step(container_of(node, struct sim_image, node));
    }
}

uint64_t sim_images_due(struct sim *s)
{
    uint64_t due = SIM_NEVER;
    list_each(node, &s->images)
    {
        const struct sim_image *i = container_of(node, struct sim_image, node);
        due = i->due_ms < due ? i->due_ms : due;
    }
    return due;
}

/* Its core is about to be freed. */
void sim_images_cut(struct sim_member *m)
{
    list_each(node, &m->sim->images)
    {
        struct sim_image *i = container_of(node, struct sim_image, node);
        if (i->from == m->id && i->view != NULL) {
            close_view(i);
        }
    }
}

void sim_images_free(struct sim *s)
{
    while (!list_empty(&s->images)) {
        drop(list_first(&s->images, struct sim_image, node));
    }
}

/* --- generations ---------------------------------------------------------------------------------------------------
 */

static int read_image(struct sim_member *m, const struct sim_image_file *file, struct backend *into)
{
    const struct raft_position at = file->at;
    struct snapshot_memory memory;
    snapshot_memory_init(&memory, buffer_bytes(&file->bytes));
    const struct snapshot_install_config settings = {.image = "image",
                                                     .store = "store",
                                                     .source = &memory.source,
                                                     .into = into,
                                                     .verify = true,
                                                     .index = at.index,
                                                     .term = at.term};
    struct snapshot_install *install = snapshot_install_new(&settings);
    int progress;
    while ((progress = snapshot_install_step(install, 100)) == SNAPSHOT_MORE) {
    }
    if (progress != SNAPSHOT_DONE) {
        sim_fail(m->sim, "member %u cannot install an image: %s", m->slot, snapshot_install_reason(install));
    }
    snapshot_install_free(install);
    return progress;
}

int sim_image_build(struct sim_member *m, struct raft_position at, struct kv **kv)
{
    const struct sim_image_file *file = file_of(m, at.index);
    if (file == NULL || file->at.term != at.term) {
        sim_fail(m->sim, "member %u has no image at entry %llu", m->slot, (unsigned long long)at.index);
        return ERR_ABSENT;
    }
    const struct kv_config settings = sim_kv_config(m);
    struct backend *backend = backend_open_memory();
    char *reason = NULL;
    int error = read_image(m, file, backend);
    if (error == 0) {
        error = kv_open(&settings, backend, kv, &reason);
    }
    if (error != 0) {
        sim_fail(m->sim, "member %u cannot use an image: %s", m->slot, reason == NULL ? error_name(error) : reason);
        backend_close(backend);
    } else {
        m->built = backend;
    }
    free(reason);
    return error;
}

void sim_image_place(struct sim_member *m, struct raft_position at)
{
    CHECK(m->built != NULL);
    m->backend = m->built; /* who reads from the other one goes on with it */
    m->built = NULL;
    m->commits_told = backend_memory_commits(m->backend);
    remove_file(m, file_of(m, at.index));
    sim_trace(m->sim, "placed", m->slot, at.index);
}

/* One that nobody uses: never the store that a start would find. */
static void retire(struct core_env *env, struct kv *kv)
{
    struct sim_member *m = container_of(env, struct sim_member, env);
    struct backend *backend = kv_backend(kv);
    kv_close(kv);
    if (backend != m->backend) {
        m->built = m->built == backend ? NULL : m->built;
        backend_close(backend);
    }
}

void sim_image_env(struct core_env *env)
{
    env->send_image = send_image;
    env->retire = retire;
}
