/* Between the members: the leader's orders to others and to itself, what they answer, and wishes of members that want
 * to take a backup now. All of it are POSTs to the peer port, of messages of grpc/backup.proto. */
#include "cmd/kedge/backup.h"

#include "base/error.h"
#include "base/pb.h"
#include "grpc/backup.pb-c.h"
#include "grpc/peer_pages.h"
#include <stdio.h>
#include <stdlib.h>

#define ORDER_PATH "/kedge/backup"
#define REQUEST_PATH "/kedge/backup/request"
#define BODY_MAX 1024
#define WISH_MS 45000 /* how long a wish waits for a leader that can decide */
#define WISH_AGAIN_MS 250
#define BUSY_MS 2000 /* the leader learns a little later that a backup is over */

/* An order on its way. */
struct backup_asking {
    struct list node;
    struct backup *backup;
    struct core_peer_call call;
    struct arena arena;
    uint64_t term;
};

/* --- what this member answers --- */

static struct backup_report report_of(const struct backup *backup)
{
    const struct backup_run *run = backup->run;
    bool busy = run != NULL && !backup_run_ended(run);
    return (struct backup_report){
        .known = true,
        .able = backup->writing.target != NULL && backup->looked && run == NULL && !atomic_load(&backup->stopping),
        .running = busy ? backup_run_number(run) : 0,
        .running_slot_s = busy ? backup_run_slot_s(run) : 0,
        .finished = backup->finished,
        .finished_well = backup->finished_well,
        .last_s = backup->last_slot_s,
    };
}

/* Does the order come from the leader of this member's term, and after all others that came? */
static bool is_valid(struct backup *backup, const struct backup_order *order, uint64_t from)
{
    struct raft_status status = core_raft_status(backup->member->core);
    bool newer =
        order->term > backup->seen_term || (order->term == backup->seen_term && order->number > backup->seen_number);
    if (!newer || order->term < status.term ||
        (order->term == status.term && status.leader != RAFT_NONE && status.leader != from)) {
        return false;
    }
    backup->seen_term = order->term;
    backup->seen_number = order->number;
    return true;
}

static struct backup_report obey(struct backup *backup, const struct backup_order *order, uint64_t from)
{
    if (!is_valid(backup, order, from)) {
        return (struct backup_report){0};
    }
    backup_slot_known(backup, order->last_s);
    if (order->kind == BACKUP_BEGIN && report_of(backup).able) {
        backup_run_start(backup, order->run, order->slot_s, NULL, NULL);
    } else if (backup->run != NULL && backup_run_number(backup->run) == order->run) {
        backup_run_permit(backup->run);
    }
    return report_of(backup);
}

/* --- orders that go out --- */

static void answered(struct core_peer_call *call)
{
    struct backup_asking *asking = call->owner;
    struct backup *backup = asking->backup;
    struct backup_report report = {0};
    if (call->error == 0 && call->status == 200) {
        const ProtobufCMessage *message =
            pb_unpack(&kedgepb__backup_report__descriptor, call->response, &asking->arena, NULL);
        const Kedgepb__BackupReport *said = (const Kedgepb__BackupReport *)message;
        if (said != NULL) {
            report = (struct backup_report){.known = true,
                                            .able = said->able,
                                            .running = said->running,
                                            .running_slot_s = said->running_slot,
                                            .finished = said->finished,
                                            .finished_well = said->finished_well,
                                            .last_s = said->last};
        }
    }
    backup_lead_answer(&backup->lead, call->to, asking->term, &report, loop_now_ms(backup->loop));
    list_remove(&asking->node);
    arena_free(&asking->arena);
    free(asking);
    backup_turn(backup);
}

static struct core_env *env_of(const struct backup *backup)
{
    return &backup->member->engine.env;
}

static void send_order(struct backup *backup, const struct backup_order *order)
{
    struct backup_asking *asking = mem_zalloc(sizeof *asking);
    Kedgepb__BackupOrder message = KEDGEPB__BACKUP_ORDER__INIT;
    message.begin = order->kind == BACKUP_BEGIN;
    message.from = backup->member->id;
    message.term = order->term;
    message.number = order->number;
    message.run = order->run;
    message.slot = order->slot_s;
    message.last = order->last_s;
    asking->backup = backup;
    asking->term = order->term;
    asking->call = (struct core_peer_call){.to = order->to,
                                           .method = "POST",
                                           .path = ORDER_PATH,
                                           .content_type = "application/protobuf",
                                           .body = pb_pack(&message.base, &asking->arena),
                                           .timeout_ms = BACKUP_ANSWER_MS,
                                           .done = answered,
                                           .owner = asking};
    list_push_back(&backup->orders, &asking->node);
    env_of(backup)->peer_call(env_of(backup), &asking->call);
}

static size_t members_of(struct backup *backup, struct backup_peer *peers)
{
    struct core_env *env = env_of(backup);
    size_t count, n = 0;
    const struct kv_member *members = kv_members(core_kv(backup->member->core), &count);
    for (size_t i = 0; i < count && n < BACKUP_PEERS; i++) {
        bool self = members[i].id == backup->member->id;
        peers[n++] = (struct backup_peer){.id = members[i].id,
                                          .self = self,
                                          .voter = !members[i].learner,
                                          .reached = !self && env->active_since_ms(env, members[i].id) != 0};
    }
    return n;
}

static void schedule_turn(struct backup *backup)
{
    uint64_t wait_ms = backup_lead_wait_ms(&backup->lead, backup_wall_s());
    if (wait_ms >= 1000 && wait_ms != UINT64_MAX) {
        wait_ms -= (uint64_t)(member_wall_ms() % 1000); /* it is from the beginning of this second on */
    }
    uint64_t run_ms = backup->run != NULL ? 500 : UINT64_MAX;
    wait_ms = run_ms < wait_ms ? run_ms : wait_ms;
    if (wait_ms == UINT64_MAX) {
        loop_timer_stop(backup->loop, &backup->timer);
    } else {
        loop_timer_set(backup->loop, &backup->timer, loop_now_ms(backup->loop) + (wait_ms < 20 ? 20 : wait_ms));
    }
}

static void one_turn(struct backup *backup)
{
    struct backup_peer peers[BACKUP_PEERS];
    struct backup_order orders[BACKUP_PEERS];
    struct raft_status status = core_raft_status(backup->member->core);
    const struct backup_lead_facts facts = {.now_ms = loop_now_ms(backup->loop),
                                            .wall_s = backup_wall_s(),
                                            .leads = status.role == RAFT_LEADER && !atomic_load(&backup->stopping),
                                            .term = status.term,
                                            .peers = peers,
                                            .count = members_of(backup, peers)};
    backup_lead_learn(&backup->lead, backup->last_slot_s, facts.wall_s);
    size_t count = backup_lead_turn(&backup->lead, &facts, orders);
    for (size_t i = 0; i < count; i++) {
        if (orders[i].to == backup->member->id) {
            struct backup_report report = obey(backup, &orders[i], backup->member->id);
            backup_lead_answer(&backup->lead, orders[i].to, orders[i].term, &report, facts.now_ms);
        } else {
            send_order(backup, &orders[i]);
        }
    }
}

/* Whoever tried has said why it failed; if nobody can try, nobody else would say anything. */
static void tell_missed(struct backup *backup)
{
    if (backup->lead.missed_s == 0 || backup->lead.missed_s == backup->missed_s) {
        return;
    }
    backup->missed_s = backup->lead.missed_s;
    if (backup->last_failure_s >= backup->missed_s) {
        return; /* this member has tried itself, and told why it failed */
    }
    backup->failures++;
    backup->last_failure_s = backup_wall_s();
    snprintf(backup->last_error, sizeof backup->last_error, "no member could take the backup that was due");
    log_error(backup->last_error, log_int("slot", backup->missed_s));
}

void backup_turn(struct backup *backup)
{
    if (backup->turning || atomic_load(&backup->stopping)) {
        return;
    }
    backup->turning = true;
    one_turn(backup);
    backup->turning = false;
    tell_missed(backup);
    schedule_turn(backup);
}

static void due(struct loop_timer *timer)
{
    struct backup *backup = container_of(timer, struct backup, timer);
    if (backup->run != NULL) {
        backup_run_tick(backup->run);
    }
    backup_turn(backup);
}

/* Leadership comes and goes without anybody telling. */
static bool look_at_leader(struct loop_hook *hook)
{
    struct backup *backup = container_of(hook, struct backup, hook);
    struct raft_status status = core_raft_status(backup->member->core);
    bool leads = status.role == RAFT_LEADER;
    if (leads != backup->lead.leads || (leads && status.term != backup->lead.term)) {
        backup_turn(backup);
    }
    return false;
}

/* --- wishes --- */

static void wish_ends(struct backup_wish *wish, uint64_t run, const char *error)
{
    loop_timer_stop(wish->backup->loop, &wish->timer);
    list_remove(&wish->node);
    wish->done(wish, run, error);
}

static void wish_decided(struct backup_wish *wish, uint64_t run, uint64_t busy)
{
    struct backup *backup = wish->backup;
    uint64_t now_ms = loop_now_ms(backup->loop);
    char text[128];
    arena_reset(&wish->arena);
    wish->busy_since_ms = busy != 0 && wish->busy_since_ms != 0 ? wish->busy_since_ms : now_ms;
    if (run != 0) {
        wish_ends(wish, run, NULL);
    } else if (busy != 0 && now_ms >= wish->busy_since_ms + BUSY_MS) {
        snprintf(text, sizeof text, "member %llx is taking a backup", (unsigned long long)busy);
        wish_ends(wish, 0, text);
    } else if (now_ms >= wish->until_ms) {
        wish_ends(wish, 0, "no leader could say for 45 s whether another member is taking a backup");
    } else {
        loop_timer_set(backup->loop, &wish->timer, now_ms + WISH_AGAIN_MS);
    }
}

static void granted(struct core_peer_call *call)
{
    struct backup_wish *wish = call->owner;
    const Kedgepb__BackupGrant *grant = NULL;
    wish->calling = false;
    if (call->error == 0 && call->status == 200) {
        grant = (const Kedgepb__BackupGrant *)pb_unpack(&kedgepb__backup_grant__descriptor, call->response,
                                                        &wish->arena, NULL);
    }
    uint64_t run = grant != NULL ? grant->run : 0, busy = grant != NULL ? grant->busy : 0;
    wish_decided(wish, run, busy);
}

static void wish_again(struct loop_timer *timer)
{
    struct backup_wish *wish = container_of(timer, struct backup_wish, timer);
    struct backup *backup = wish->backup;
    struct raft_status status = core_raft_status(backup->member->core);
    if (status.leader == backup->member->id) {
        uint64_t busy, run = backup_lead_request(&backup->lead, backup->member->id, loop_now_ms(backup->loop), &busy);
        backup_turn(backup);
        wish_decided(wish, run, busy);
        return;
    }
    if (status.leader == RAFT_NONE) {
        wish_decided(wish, 0, 0);
        return;
    }
    Kedgepb__BackupOrder message = KEDGEPB__BACKUP_ORDER__INIT;
    message.from = backup->member->id;
    message.term = status.term;
    wish->call = (struct core_peer_call){.to = status.leader,
                                         .method = "POST",
                                         .path = REQUEST_PATH,
                                         .content_type = "application/protobuf",
                                         .body = pb_pack(&message.base, &wish->arena),
                                         .timeout_ms = BACKUP_ANSWER_MS,
                                         .done = granted,
                                         .owner = wish};
    wish->calling = true;
    env_of(backup)->peer_call(env_of(backup), &wish->call);
}

void backup_wish_start(struct backup *backup, struct backup_wish *wish)
{
    wish->backup = backup;
    wish->until_ms = loop_now_ms(backup->loop) + WISH_MS;
    wish->timer.fire = wish_again;
    list_push_back(&backup->wishes, &wish->node);
    loop_timer_set(backup->loop, &wish->timer, loop_now_ms(backup->loop));
}

void backup_wish_cancel(struct backup_wish *wish)
{
    if (wish->calling) {
        env_of(wish->backup)->peer_call_cancel(env_of(wish->backup), &wish->call);
    }
    loop_timer_stop(wish->backup->loop, &wish->timer);
    list_remove(&wish->node);
    arena_free(&wish->arena);
}

/* --- the pages --- */

static void respond(struct http1_request *request, const ProtobufCMessage *message)
{
    http1_respond(request, 200, "application/protobuf", pb_pack(message, &request->arena));
}

static void order_page(struct backup *backup, struct http1_request *request, const Kedgepb__BackupOrder *said)
{
    const struct backup_order order = {.kind = said->begin ? BACKUP_BEGIN : BACKUP_ASK,
                                       .term = said->term,
                                       .number = said->number,
                                       .run = said->run,
                                       .slot_s = said->slot,
                                       .last_s = said->last};
    struct backup_report report = obey(backup, &order, said->from);
    if (!report.known) {
        http1_error(request, 409, "not an order of this member's leader");
        return;
    }
    Kedgepb__BackupReport message = KEDGEPB__BACKUP_REPORT__INIT;
    message.able = report.able;
    message.running = report.running;
    message.running_slot = report.running_slot_s;
    message.finished = report.finished;
    message.finished_well = report.finished_well;
    message.last = report.last_s;
    respond(request, &message.base);
    backup_turn(backup); /* its timer, if a backup has begun */
}

static void request_page(struct backup *backup, struct http1_request *request, const Kedgepb__BackupOrder *said)
{
    Kedgepb__BackupGrant grant = KEDGEPB__BACKUP_GRANT__INIT;
    grant.run = backup_lead_request(&backup->lead, said->from, loop_now_ms(backup->loop), &grant.busy);
    respond(request, &grant.base);
    backup_turn(backup);
}

bool backup_page(struct backup *backup, struct http1_request *request)
{
    bool order = bytes_equal(request->path, bytes_str(ORDER_PATH));
    if (!order && !bytes_equal(request->path, bytes_str(REQUEST_PATH))) {
        return false;
    }
    peer_pages_cluster_id(backup->member->core, request);
    const ProtobufCMessage *message = NULL;
    if (request->body.len <= BODY_MAX) {
        message = pb_unpack(&kedgepb__backup_order__descriptor, request->body, &request->arena, NULL);
    }
    if (!http1_method_is(request, "POST") || message == NULL) {
        http1_error(request, 400, "bad request");
    } else if (!peer_pages_same_cluster(backup->member->core, request, false)) {
        http1_error(request, 412, "cluster ID mismatch");
    } else if (order) {
        order_page(backup, request, (const Kedgepb__BackupOrder *)message);
    } else {
        request_page(backup, request, (const Kedgepb__BackupOrder *)message);
    }
    return true;
}

/* --- life --- */

void backup_orders_start(struct backup *backup)
{
    list_init(&backup->orders);
    list_init(&backup->wishes);
    backup->lead.schedule = &backup->schedule;
    backup->timer.fire = due;
    backup->hook.run = look_at_leader;
    loop_hook_add(backup->loop, &backup->hook);
}

void backup_orders_stop(struct backup *backup)
{
    struct list *node;
    while ((node = list_pop_front(&backup->orders)) != NULL) {
        struct backup_asking *asking = container_of(node, struct backup_asking, node);
        env_of(backup)->peer_call_cancel(env_of(backup), &asking->call);
        arena_free(&asking->arena);
        free(asking);
    }
    list_init(&backup->orders);
    loop_timer_stop(backup->loop, &backup->timer);
}
