/* Images for members that are too far behind: raft says who needs one, the store gives a view of everything that is
 * applied by then, and the environment sends it (core_env.send_image). */
#include "core/internal.h"

#include "base/check.h"

struct image {
    struct core_view view; /* first: the environment's from send_image on, which frees the whole */
    struct raft_message message;
};

static void dropped(struct core_view *view)
{
    free(container_of(view, struct image, view));
}

static void opened(struct core_view *view, int error)
{
    struct image *image = container_of(view, struct image, view);
    struct core *core = view->core;
    view->cut = NULL;
    if (error != 0) {
        raft_snapshot_reported(core->raft, image->message.to, false);
        view->closed = dropped;
        core_view_close(view);
        return;
    }
    struct raft_message message = image->message;
    message.snapshot = view->at;
    message.snapshot_conf = &view->conf;
    core->env->send_image(core->env, &message, view);
}

void image_wanted(struct core *core, const struct raft_message *message)
{
    struct image *image = mem_zalloc(sizeof *image);
    image->message = *message;
    image->view.opened = opened;
    image->view.closed = dropped;
    if (core_view_open(core, &image->view, 0) != 0) {
        free(image); /* this member stops */
    }
}
