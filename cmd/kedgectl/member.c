/* member list, add, remove, update and promote; move-leader. */
#include "base/gotext.h"
#include "base/url.h"
#include "cmd/kedgectl/ops.h"
#include "cmd/kedgectl/session.h"
#include "cmd/kedgectl/verbs.h"
#include <strings.h>

int verb_member_list(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    Etcdserverpb__MemberListResponse *response;
    bool serializable;
    int status = ops_consistency(call, &serializable);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    request.linearizable = !serializable;
    struct session_call what = {CLUSTER_MEMBER_LIST, true, s.timeout_ms};
    const char *error = session_unary(&s, &what, &request.base, &etcdserverpb__member_list_response__descriptor,
                                      (ProtobufCMessage **)&response);
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_members(&s.printer, response));
}

/* --- arguments --- */

/* The one argument of a command about a member. 0, or the exit status after a message. */
static int member_id(const struct cli_call *call, uint64_t *id)
{
    struct arena *arena = &((struct cli_call *)call)->arena;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "member ID is not provided");
    }
    const char *error = gotext_uint(arena, call->args[0], 16, 64, id);
    if (error != NULL) {
        return cli_fail(CLI_BAD_ARGS, "bad member ID arg (%s), expecting ID in Hex", error);
    }
    return 0;
}

/* --peer-urls, as they are sent: not normalised. */
static int peer_urls(struct cli_call *call, char ***urls, size_t *count)
{
    const char *text = cli_string(call, "peer-urls");
    if (*text == '\0') {
        return cli_fail(CLI_BAD_ARGS, "member peer urls not provided");
    }
    size_t room = 1;
    for (const char *p = text; *p != '\0'; p++) {
        room += *p == ',';
    }
    *urls = arena_alloc(&call->arena, room * sizeof **urls);
    *count = 0;
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, ",");
        (*urls)[(*count)++] = arena_printf(&call->arena, "%.*s", (int)len, p);
        p += len;
        if (*p == '\0') {
            return 0;
        }
    }
}

/* etcd's client refuses bad URLs before it asks a server. */
static const char *check_urls(struct cli_call *call, char *const *urls, size_t count)
{
    struct url_list list;
    return url_list_of(&call->arena, urls, count, &list);
}

/* --- add --- */

static int too_many(struct cli_call *call)
{
    const char *text = "too many arguments";
    for (int i = 0; i < call->arg_count; i++) {
        if (strncasecmp(call->args[i], "http", 4) == 0) {
            text = arena_printf(&call->arena, "%s, did you mean --peer-urls=%s", text, call->args[i]);
        }
    }
    return cli_fail(CLI_BAD_ARGS, "%s", text);
}

/* What the new member is to be started with, as variables that a shell can take. */
static void print_settings(struct session *s, const char *name, const Etcdserverpb__MemberAddResponse *r)
{
    struct arena *arena = &s->call->arena;
    const char *cluster = "";
    for (size_t i = 0; i < r->n_members; i++) {
        const Etcdserverpb__Member *m = r->members[i];
        for (size_t j = 0; j < m->n_peerurls; j++) {
            cluster = arena_printf(arena, "%s%s%s=%s", cluster, *cluster == '\0' ? "" : ",",
                                   m->id == r->member->id ? name : m->name, m->peerurls[j]);
        }
    }
    buffer_printf(&s->printer.out,
                  "\nETCD_NAME=%s\nETCD_INITIAL_CLUSTER=%s\nETCD_INITIAL_ADVERTISE_PEER_URLS=%s\n"
                  "ETCD_INITIAL_CLUSTER_STATE=\"existing\"\n",
                  gotext_quoted(arena, name), gotext_quoted(arena, cluster),
                  gotext_quoted(arena, cli_string(s->call, "peer-urls")));
}

static int print_added(struct session *s, const Etcdserverpb__MemberAddResponse *r)
{
    static const Etcdserverpb__Member nobody = ETCDSERVERPB__MEMBER__INIT;
    const Etcdserverpb__Member *member = r->member == NULL ? &nobody : r->member;
    const struct member_answer answer = {&r->base, r->header, r->member, r->members, r->n_members};
    int status =
        printer_member_change(&s->printer, member->islearner ? "added as learner to" : "added to", member->id, &answer);
    if (status == 0 && s->printer.format == PRINT_SIMPLE && r->member != NULL) {
        print_settings(s, s->call->args[0], r);
    }
    return status;
}

int verb_member_add(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__MemberAddRequest request = ETCDSERVERPB__MEMBER_ADD_REQUEST__INIT;
    Etcdserverpb__MemberAddResponse *response;
    if (call->arg_count < 1) {
        return cli_fail(CLI_BAD_ARGS, "member name not provided");
    }
    if (call->arg_count > 1) {
        return too_many(call);
    }
    int status = peer_urls(call, &request.peerurls, &request.n_peerurls);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    request.islearner = cli_bool(call, "learner");
    struct session_call what = {CLUSTER_MEMBER_ADD, false, s.timeout_ms};
    const char *error = check_urls(call, request.peerurls, request.n_peerurls);
    if (error == NULL) {
        error = session_unary(&s, &what, &request.base, &etcdserverpb__member_add_response__descriptor,
                              (ProtobufCMessage **)&response);
    }
    return session_end(&s, error != NULL ? cli_fail(CLI_ERROR, "%s", error) : print_added(&s, response));
}

/* --- remove, update, promote --- */

/* One call about one member. The three answers are alike: header and members. */
static int change(struct session *s, const struct session_call *what, const ProtobufCMessage *request,
                  const ProtobufCMessageDescriptor *type, const char *done, uint64_t id)
{
    Etcdserverpb__MemberRemoveResponse *response;
    const char *error = session_unary(s, what, request, type, (ProtobufCMessage **)&response);
    if (error != NULL) {
        return session_end(s, cli_fail(CLI_ERROR, "%s", error));
    }
    const struct member_answer answer = {&response->base, response->header, NULL, response->members,
                                         response->n_members};
    return session_end(s, printer_member_change(&s->printer, done, id, &answer));
}

int verb_member_remove(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__MemberRemoveRequest request = ETCDSERVERPB__MEMBER_REMOVE_REQUEST__INIT;
    int status = member_id(call, &request.id);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    struct session_call what = {CLUSTER_MEMBER_REMOVE, false, s.timeout_ms};
    return change(&s, &what, &request.base, &etcdserverpb__member_remove_response__descriptor, "removed from",
                  request.id);
}

int verb_member_update(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__MemberUpdateRequest request = ETCDSERVERPB__MEMBER_UPDATE_REQUEST__INIT;
    int status = member_id(call, &request.id);
    status = status != 0 ? status : peer_urls(call, &request.peerurls, &request.n_peerurls);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    const char *error = check_urls(call, request.peerurls, request.n_peerurls);
    if (error != NULL) {
        return session_end(&s, cli_fail(CLI_ERROR, "%s", error));
    }
    struct session_call what = {CLUSTER_MEMBER_UPDATE, false, s.timeout_ms};
    return change(&s, &what, &request.base, &etcdserverpb__member_update_response__descriptor, "updated in",
                  request.id);
}

int verb_member_promote(struct cli_call *call)
{
    struct session s;
    Etcdserverpb__MemberPromoteRequest request = ETCDSERVERPB__MEMBER_PROMOTE_REQUEST__INIT;
    int status = member_id(call, &request.id);
    if (status != 0 || (status = session_open(&s, call)) != 0) {
        return status;
    }
    struct session_call what = {CLUSTER_MEMBER_PROMOTE, false, s.timeout_ms};
    return change(&s, &what, &request.base, &etcdserverpb__member_promote_response__descriptor, "promoted in",
                  request.id);
}

/* --- leadership --- */

/* The endpoint among those given that leads; NULL in *out if none of them does. */
static const char *find_leader(struct session *s, struct client **out, uint64_t *leader)
{
    Etcdserverpb__StatusRequest request = ETCDSERVERPB__STATUS_REQUEST__INIT;
    struct session_call what = {MAINTENANCE_STATUS, true, s->timeout_ms};
    *out = NULL;
    for (size_t i = 0; s->endpoints[i] != NULL; i++) {
        const char *const one[] = {s->endpoints[i], NULL};
        struct client_options options = session_options(s, one);
        struct client *client = client_new(NULL, &options);
        Etcdserverpb__StatusResponse *status;
        const char *error = session_unary_on(s, client, &s->call->arena, &what, &request.base,
                                             &etcdserverpb__status_response__descriptor, (ProtobufCMessage **)&status);
        if (error == NULL && status->header != NULL && status->header->member_id == status->leader) {
            *out = client;
            *leader = status->leader;
            return NULL;
        }
        client_free(client);
        if (error != NULL) {
            return error;
        }
    }
    return NULL;
}

static int no_leader(struct session *s)
{
    const char *list = "";
    for (size_t i = 0; s->endpoints[i] != NULL; i++) {
        list = arena_printf(&s->call->arena, "%s%s%s", list, i == 0 ? "" : " ", s->endpoints[i]);
    }
    return cli_fail(CLI_BAD_ARGS, "no leader endpoint given at [%s]", list);
}

static int move_leader(struct session *s, uint64_t to)
{
    Etcdserverpb__MoveLeaderRequest request = ETCDSERVERPB__MOVE_LEADER_REQUEST__INIT;
    Etcdserverpb__MoveLeaderResponse *response;
    struct client *client;
    uint64_t from = 0;
    const char *error = find_leader(s, &client, &from);
    if (error != NULL) {
        return cli_fail(CLI_ERROR, "%s", error);
    }
    if (client == NULL) {
        return no_leader(s);
    }
    request.targetid = to;
    struct session_call what = {MAINTENANCE_MOVE_LEADER, false, s->timeout_ms};
    error = session_unary_on(s, client, &s->call->arena, &what, &request.base,
                             &etcdserverpb__move_leader_response__descriptor, (ProtobufCMessage **)&response);
    client_free(client);
    return error != NULL ? cli_fail(CLI_ERROR, "%s", error) : printer_move_leader(&s->printer, from, to, response);
}

int verb_move_leader(struct cli_call *call)
{
    struct session s;
    uint64_t to;
    if (call->arg_count != 1) {
        return cli_fail(CLI_BAD_ARGS, "move-leader command needs 1 argument");
    }
    const char *error = gotext_uint(&call->arena, call->args[0], 16, 64, &to);
    if (error != NULL) {
        return cli_fail(CLI_BAD_ARGS, "%s", error);
    }
    int status = session_open(&s, call);
    return status != 0 ? status : session_end(&s, move_leader(&s, to));
}
