/* Credit of the lanes: taken when a call goes to its service, given back when its answer is out (design.md, law 5).
 * Streams that stay open (Watch, LeaseKeepAlive) take none: they have credit of their own, a message at a time. */
#include "grpc/server_state.h"

static bool fits(const struct lane *lane, size_t bytes)
{
    if (lane->operations == 0) {
        return true; /* one is always let in, however large */
    }
    return (lane->limit.operations == 0 || lane->operations < lane->limit.operations) &&
           (lane->limit.bytes == 0 || lane->bytes + bytes <= lane->limit.bytes);
}

static void take(struct lane *lane, struct stream *s)
{
    lane->operations++;
    lane->bytes += s->call.request_bytes;
    s->lane_taken = true;
}

bool lane_take(struct stream *s)
{
    struct lane *lane = &s->http2->server->lanes[s->call.lane];
    if (list_empty(&lane->waiting) && fits(lane, s->call.request_bytes)) {
        take(lane, s);
        return true;
    }
    list_push_back(&lane->waiting, &s->lane_node);
    lane->waiting_count++;
    return false;
}

void lane_give(struct stream *s)
{
    struct server *server = s->http2->server;
    struct lane *lane = &server->lanes[s->call.lane];
    if (!list_empty(&s->lane_node)) {
        list_remove(&s->lane_node);
        lane->waiting_count--;
    }
    if (s->lane_taken) {
        s->lane_taken = false;
        lane->operations--;
        lane->bytes -= s->call.request_bytes;
        if (!list_empty(&lane->waiting)) {
            loop_again(server->loop);
        }
    }
}

bool lane_run(struct server *server)
{
    for (size_t i = 0; i < CALL_LANES; i++) {
        struct lane *lane = &server->lanes[i];
        while (!list_empty(&lane->waiting)) {
            struct stream *s = list_first(&lane->waiting, struct stream, lane_node);
            if (!fits(lane, s->call.request_bytes)) {
                break;
            }
            list_remove(&s->lane_node);
            lane->waiting_count--;
            take(lane, s);
            stream_start(s);
        }
    }
    return false;
}
