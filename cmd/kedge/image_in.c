#include "cmd/kedge/image_in.h"

#include "base/check.h"
#include "base/error.h"
#include "base/folder.h"
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* What may wait for the thread that writes. Beyond it the connection isn't read. */
#define WAITING_BYTES ((size_t)1 << 20)

struct image_in {
    uv_work_t work;
    struct peers *peers;
    struct peer_image *image; /* NULL: aborted */
    /* Of one that was aborted while it was saved. */
    struct raft_message message;
    struct raft_message_owner owner;
    int file;
    struct buffer waiting, writing;
    bool busy, paused, complete, saving;
    int error; /* errno of the first failure */
    char temporary[512], final[512];
};

/* --- another thread's --- */

static int write_all(int file, struct bytes data)
{
    while (data.len > 0) {
        ssize_t written = write(file, data.data, data.len);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return errno;
        }
        data.data += written;
        data.len -= (size_t)written;
    }
    return 0;
}

static int save(struct image_in *in)
{
    bool saved =
        fsync(in->file) == 0 && rename(in->temporary, in->final) == 0 && folder_sync(in->peers->member->snap_dir) == 0;
    return saved ? 0 : errno;
}

static void run(uv_work_t *work)
{
    struct image_in *in = container_of(work, struct image_in, work);
    if (in->file < 0) {
        in->file = open(in->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        in->error = in->file < 0 ? errno : 0;
    }
    if (in->error == 0) {
        in->error = write_all(in->file, buffer_bytes(&in->writing));
    }
    if (in->error == 0 && in->saving) {
        in->error = save(in);
    }
}

static void clean_up(uv_work_t *work)
{
    struct image_in *in = container_of(work, struct image_in, work);
    if (in->file >= 0) {
        close(in->file);
    }
    unlink(in->temporary);
}

static void cleaned_up(uv_work_t *work, int status)
{
    (void)status;
    struct image_in *in = container_of(work, struct image_in, work);
    buffer_free(&in->waiting);
    buffer_free(&in->writing);
    raft_message_owner_free(&in->owner);
    free(in);
}

/* --- the loop's --- */

static void queue(struct image_in *in, uv_work_cb work, uv_after_work_cb after)
{
    struct loop *loop = in->peers->member->loop;
    CHECK(uv_queue_work(&loop->uv, &in->work, work, after) == 0);
    loop_uv_changed(loop);
}

static void end(struct image_in *in)
{
    queue(in, clean_up, cleaned_up);
}

static void go_on(struct image_in *in);

/* All of it is there, under its name: raft takes it, or has it removed. */
static void tell(struct peers *peers, const struct raft_message *message)
{
    core_step(peers->member->core, message);
    loop_again(peers->member->loop);
}

static void done(struct image_in *in)
{
    struct peer_image *image = in->image;
    struct peers *peers = in->peers;
    char reason[128] = "";
    int error = 0;
    if (in->error != 0) {
        error = in->error == ENOSPC ? ERR_DISK_FULL : ERR_IO;
        snprintf(reason, sizeof reason, "%s", strerror(in->error));
    } else {
        tell(peers, image->message);
    }
    in->image = NULL;
    end(in);
    peer_image_done(image, error, error == 0 ? NULL : reason);
}

static void ran(uv_work_t *work, int status)
{
    (void)status;
    struct image_in *in = container_of(work, struct image_in, work);
    in->busy = false;
    in->writing.len = 0;
    if (in->image == NULL) {
        if (in->saving && in->error == 0 && in->peers->transport != NULL) {
            tell(in->peers, &in->message);
        }
        end(in);
    } else if (in->error != 0 || in->saving) {
        done(in);
    } else {
        go_on(in);
    }
}

static void go_on(struct image_in *in)
{
    if (in->busy) {
        return;
    }
    if (in->waiting.len > 0 || in->complete) {
        struct buffer swap = in->writing;
        in->writing = in->waiting;
        in->waiting = swap;
        in->busy = true;
        in->saving = in->complete;
        queue(in, run, ran);
    }
    if (in->paused && in->waiting.len < WAITING_BYTES) {
        in->paused = false;
        peer_image_more(in->image);
    }
}

int image_in_begin(void *owner, struct peer_image *image)
{
    static unsigned number;
    struct peers *peers = owner;
    struct image_in *in = mem_zalloc(sizeof *in);
    in->peers = peers;
    in->image = image;
    in->file = -1;
    snprintf(in->temporary, sizeof in->temporary, "%s/tmp%u.snap.db", peers->member->snap_dir, number++);
    snprintf(in->final, sizeof in->final, "%s/%016" PRIx64 ".snap.db", peers->member->snap_dir,
             image->message->snapshot.index);
    image->state = in;
    return 0;
}

bool image_in_data(void *owner, struct peer_image *image, struct bytes data)
{
    (void)owner;
    struct image_in *in = image->state;
    buffer_append(&in->waiting, data.data, data.len);
    in->paused = in->waiting.len >= WAITING_BYTES;
    bool more = !in->paused;
    go_on(in);
    return more;
}

void image_in_finish(void *owner, struct peer_image *image)
{
    (void)owner;
    struct image_in *in = image->state;
    in->complete = true;
    go_on(in);
}

void image_in_abort(void *owner, struct peer_image *image)
{
    (void)owner;
    struct image_in *in = image->state;
    in->image = NULL;
    if (!in->busy) {
        end(in);
    } else if (in->saving) {
        raft_message_copy(&in->message, &in->owner, image->message);
    }
}
