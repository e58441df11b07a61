/* Images for members that are too far behind: raft says who needs one, the store gives a view of everything that is
 * applied by then, and the environment sends it (core_env.send_image). */
#include "core/internal.h"

#include "base/canary.h"
#include "base/check.h"

struct image {
    struct core_view view; /* first: the environment's from send_image on, which frees the whole */
    struct raft_message message;
};

static void dropped(struct core_view *view)
{
    free(container_of(view, struct image, view));
}

static void open_view(struct core *core, struct image *image);

static void open_again(struct core_view *view)
{
    open_view(view->core, container_of(view, struct image, view));
}

static void opened(struct core_view *view, int error)
{
    struct image *image = container_of(view, struct image, view);
    struct core *core = view->core;
    if (error != 0) {
        raft_snapshot_reported(core->raft, image->message.to, false);
        core_view_close(view);
        return;
    }
    /* What older members read beside the database (the v2 JSON) is of the members as they are now. */
    if (view->at.index < core->conf_applied && !CANARY(IMAGE_OF_TWO_MOMENTS)) {
        view->closed = open_again;
        core_view_close(view);
        return;
    }
    struct raft_message message = image->message;
    message.snapshot = view->at;
    message.snapshot_conf = &view->conf;
    core->env->send_image(core->env, &message, view);
}

static void open_view(struct core *core, struct image *image)
{
    image->view = (struct core_view){.opened = opened, .closed = dropped};
    if (core_view_open(core, &image->view, 0) != 0) {
        free(image); /* this member stops */
    }
}

void image_wanted(struct core *core, const struct raft_message *message)
{
    struct image *image = mem_zalloc(sizeof *image);
    image->message = *message;
    open_view(core, image);
}
