#include "cmd/kedge/image_out.h"

#include "base/check.h"
#include "base/error.h"
#include "snapshot/export.h"
#include <stdio.h>
#include <stdlib.h>

#define CHUNK_BYTES ((size_t)256 << 10) /* made by one job of a worker */
#define PLAN_ROWS 5000

/* Bytes that a worker made. */
struct chunk {
    uint8_t *data;
    size_t len, taken;
};

struct image_out {
    struct list node; /* of peers.images */
    struct peers *peers;
    struct core_view *view;
    struct raft_message message; /* without pointers; they are filled in when it is sent */
    struct buffer v2;
    struct peer_source source;
    struct snapshot_export *export;
    struct chunk taking, making; /* the transport takes from one while a worker fills the other */
    bool working, last, starved; /* last: nothing comes after `making` */
    bool sending;                /* the transport has the source */
    int error;
};

static struct image_out *of_view(struct core_view *view)
{
    return view->owner;
}

/* --- the end --- */

static void closed(struct core_view *view)
{
    struct image_out *image = of_view(view);
    snapshot_export_free(image->export);
    buffer_free(&image->v2);
    free(image->taking.data);
    free(image->making.data);
    list_remove(&image->node);
    free(image);
    free(view);
}

/* Before the transport has it: nobody else will report. */
static void give_up(struct image_out *image)
{
    struct peers *peers = image->peers;
    uint64_t to = image->message.to;
    core_view_close(image->view);
    core_snapshot_reported(peers->member->core, to, false);
    loop_again(peers->member->loop);
}

static void cut(struct core_view *view, int reason)
{
    struct image_out *image = of_view(view);
    image->error = reason;
    if (image->sending && reason == ERR_STOPPED) {
        peer_source_give_up(&image->source); /* the member waits for the view, and the receiver may take nothing */
    } else if (image->sending) {
        peer_source_ready(&image->source); /* read says it */
    } else {
        give_up(image);
    }
}

static void source_closed(struct peer_source *source)
{
    struct image_out *image = container_of(source, struct image_out, source);
    core_view_close(image->view);
}

/* --- the second pass: chunk by chunk --- */

static int make(void *arg)
{
    struct image_out *image = arg;
    return snapshot_export_read(image->export, image->making.data, CHUNK_BYTES, &image->making.len);
}

static void made(struct core_view *view, int result);

static void make_next(struct image_out *image)
{
    if (!image->working && !image->last && image->making.len == 0 && image->error == 0) {
        image->working = true;
        core_view_work(image->view, make, image, made);
    }
}

static void made(struct core_view *view, int result)
{
    struct image_out *image = of_view(view);
    image->working = false;
    image->last = result == SNAPSHOT_DONE;
    image->error = result < 0 ? result : image->error;
    if (image->starved) {
        image->starved = false;
        peer_source_ready(&image->source);
    }
}

static ssize_t take(struct peer_source *source, uint8_t *out, size_t cap)
{
    struct image_out *image = container_of(source, struct image_out, source);
    if (image->error != 0) {
        return image->error;
    }
    if (image->taking.taken == image->taking.len) {
        if (image->working || image->making.len == 0) {
            image->starved = !image->last;
            make_next(image);
            return image->last ? 0 : ERR_AGAIN;
        }
        uint8_t *spare = image->taking.data;
        image->taking = image->making;
        image->making = (struct chunk){.data = spare};
        make_next(image);
    }
    size_t len = image->taking.len - image->taking.taken;
    len = len < cap ? len : cap;
    memcpy(out, image->taking.data + image->taking.taken, len);
    image->taking.taken += len;
    core_view_progress(image->view);
    return (ssize_t)len;
}

/* --- the first pass, then it goes --- */

static void send_off(struct image_out *image)
{
    struct raft_message message = image->message;
    message.snapshot = image->view->at;
    message.snapshot_conf = &image->view->conf;
    message.snapshot_data = buffer_bytes(&image->v2);
    image->source.read = take;
    image->source.close = source_closed;
    image->source.size_known = true;
    image->source.size_bytes = snapshot_export_bytes(image->export);
    image->taking.data = mem_alloc(CHUNK_BYTES);
    image->making.data = mem_alloc(CHUNK_BYTES);
    image->sending = true;
    make_next(image);
    peer_send_image(image->peers->transport, &message, &image->source);
}

static int plan(void *arg)
{
    struct image_out *image = arg;
    return snapshot_export_plan(image->export, PLAN_ROWS);
}

static void planned(struct core_view *view, int result)
{
    struct image_out *image = of_view(view);
    if (result == SNAPSHOT_MORE) {
        core_view_work(view, plan, image, planned);
    } else if (result == SNAPSHOT_DONE) {
        send_off(image);
    } else {
        give_up(image);
    }
}

void image_out_start(struct peers *peers, const struct raft_message *message, struct core_view *view)
{
    struct image_out *image = mem_zalloc(sizeof *image);
    image->peers = peers;
    image->view = view;
    image->message = *message;
    image->export = snapshot_export_new(view->read, false);
    list_push_back(&peers->images, &image->node);
    engine_v2_json(core_kv(peers->member->core), &image->v2);
    view->owner = image;
    view->cut = cut;
    view->closed = closed;
    core_view_work(view, plan, image, planned);
}
