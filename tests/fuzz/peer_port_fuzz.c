/* Any bytes at the peer port, whole and in pieces (the first byte says how large): streams, posts, images. Whatever
 * comes, an image that was begun is finished or aborted, messages that are handed on make sense, and memory is given
 * back. */
#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "raft/peer/peer.h"
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct loop loop;
static struct peer_transport *transport;
static unsigned begun, ended;
static bool pause_next;
static struct peer_image *paused;

static void on_message(void *owner, const struct raft_message *m)
{
    (void)owner;
    CHECK(m->to == 1 && m->from != 0 && m->type != RAFT_MSG_SNAPSHOT);
    for (size_t i = 0; i < m->entry_count && m->type == RAFT_MSG_APPEND; i++) {
        CHECK(m->entries[i].index == m->index + 1 + i && m->entries[i].term <= m->term);
    }
}

static void on_unreachable(void *owner, uint64_t id)
{
    (void)owner, (void)id;
}

static void on_reported(void *owner, uint64_t id, bool ok)
{
    (void)owner, (void)id, (void)ok;
}

static void on_removed(void *owner)
{
    (void)owner;
}

static bool was_removed(void *owner, uint64_t id)
{
    (void)owner;
    return id == 8;
}

static int on_image(void *owner, struct peer_image *image)
{
    (void)owner;
    CHECK(image->message->snapshot_conf != NULL && image->message->snapshot.index != 0);
    if (image->message->snapshot.term == 9) {
        return ERR_DISK_FULL;
    }
    begun++;
    return 0;
}

static bool on_image_data(void *owner, struct peer_image *image, struct bytes data)
{
    (void)owner;
    CHECK(data.len > 0);
    pause_next = !pause_next;
    paused = pause_next ? image : paused;
    return !pause_next;
}

static void on_image_finish(void *owner, struct peer_image *image)
{
    (void)owner;
    ended++;
    paused = paused == image ? NULL : paused;
    peer_image_done(image, image->received_bytes % 2 == 0 ? 0 : ERR_IO, NULL);
}

static void on_image_abort(void *owner, struct peer_image *image)
{
    (void)owner;
    ended++;
    paused = paused == image ? NULL : paused;
}

static const struct peer_events events = {
    .message = on_message,
    .unreachable = on_unreachable,
    .snapshot_reported = on_reported,
    .removed = on_removed,
    .was_removed = was_removed,
    .image_begin = on_image,
    .image_data = on_image_data,
    .image_finish = on_image_finish,
    .image_abort = on_image_abort,
};

static void handle(void *owner, struct http1_request *request)
{
    if (!peer_handle(owner, request)) {
        http1_not_found(request);
    }
}

static void set_up(void)
{
    static const struct peer_config config = {.loop = &loop,
                                              .member_id = 1,
                                              .cluster_id = 0xc,
                                              .version = "3.7.1",
                                              .min_version = "3.0.0",
                                              .urls = "http://127.0.0.1:1",
                                              .election_ms = 1000,
                                              .events = &events};
    log_configure(LOG_FATAL, LOG_CONSOLE);
    CHECK(loop_init(&loop) == 0);
    transport = peer_transport_new(&config);
    peer_add(transport, 9, "http://127.0.0.1:1");
}

static void converse(struct bytes in, size_t step)
{
    static struct http1_options options = {.handle = handle, .take = peer_take};
    int ends[2];
    options.owner = options.take_owner = transport;
    CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0);
    http1_serve(connection_new(&loop, ends[0], NULL, NULL), &options, (struct bytes){0});
    uint8_t answer[4096];
    for (size_t at = 0; at < in.len; at += step) {
        if (send(ends[1], in.data + at, in.len - at < step ? in.len - at : step, MSG_NOSIGNAL) < 0) {
            break;
        }
        loop_step(&loop, 0);
        if (paused != NULL) {
            struct peer_image *image = paused;
            paused = NULL;
            peer_image_more(image);
        }
        while (read(ends[1], answer, sizeof answer) > 0) {
        }
    }
    loop_step(&loop, 0);
    close(ends[1]);
    for (int i = 0; i < 8; i++) {
        if (paused != NULL) {
            struct peer_image *image = paused;
            paused = NULL;
            peer_image_more(image);
        }
        loop_step(&loop, 0);
    }
    CHECK(begun == ended);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (transport == NULL) {
        set_up();
    }
    if (size > 1 && size < 4000) {
        converse(bytes_of(data + 1, size - 1), size);
        converse(bytes_of(data + 1, size - 1), (size_t)data[0] % 64 + 1);
    }
    return 0;
}
