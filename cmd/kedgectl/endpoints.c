#include "cmd/kedgectl/endpoints.h"

static const char *find(struct session *s, const char *const **out, size_t *count)
{
    Etcdserverpb__MemberListRequest request = ETCDSERVERPB__MEMBER_LIST_REQUEST__INIT;
    Etcdserverpb__MemberListResponse *members;
    *out = s->endpoints;
    *count = 0;
    if (cli_bool(s->call, "cluster")) {
        struct session_call what = {CLUSTER_MEMBER_LIST, true, s->timeout_ms};
        request.linearizable = true;
        const char *error = session_unary(s, &what, &request.base, &etcdserverpb__member_list_response__descriptor,
                                          (ProtobufCMessage **)&members);
        if (error != NULL) {
            return arena_printf(&s->call->arena, "failed to fetch endpoints from etcd cluster member list: %s", error);
        }
        size_t room = 1;
        for (size_t i = 0; i < members->n_members; i++) {
            room += members->members[i]->n_clienturls;
        }
        const char **urls = arena_zalloc(&s->call->arena, room * sizeof *urls);
        for (size_t i = 0, n = 0; i < members->n_members; i++) {
            for (size_t j = 0; j < members->members[i]->n_clienturls; j++) {
                urls[n++] = members->members[i]->clienturls[j];
            }
        }
        *out = urls;
    }
    while ((*out)[*count] != NULL) {
        (*count)++;
    }
    return NULL;
}

int endpoints_open(struct session *s, struct cli_call *call, const char *const **out, size_t *count)
{
    int status = cli_bool(call, "cluster") ? session_open(s, call) : session_open_each(s, call);
    if (status != 0) {
        return status;
    }
    const char *error = find(s, out, count);
    return error == NULL ? 0 : session_end(s, cli_fail(CLI_ERROR, "%s", error));
}

struct client *endpoints_client(const struct session *s, const char *endpoint)
{
    const char *const one[] = {endpoint, NULL};
    struct client_options options = session_options(s, one);
    return client_new(NULL, &options);
}
