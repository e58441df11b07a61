/* Maintenance.Downgrade (mvcc.md "Cluster version and downgrade"): may the cluster go one minor version down, do it, or
 * don't any more. To allow it is an entry of the log; the leader then lowers the cluster's version
 * (core/cluster_version.c), and members of the lower version may join. */
#include "grpc/services.h"

#include "kv/raft_internal.pb-c.h"
#include "kv/version.h"
#include <inttypes.h>

struct downgrade {
    struct call *call;
    struct services *services;
    const Etcdserverpb__DowngradeRequest *request;
    int64_t major, minor; /* of the target */
    struct core_request barrier, write;
};

/* --- the answer --- */

static void reply(struct downgrade *d)
{
    unsigned major = 0, minor = 0;
    const char *version = kv_cluster_version(core_kv(d->services->core));
    Etcdserverpb__ResponseHeader header = ETCDSERVERPB__RESPONSE_HEADER__INIT;
    Etcdserverpb__DowngradeResponse response = ETCDSERVERPB__DOWNGRADE_RESPONSE__INIT;
    core_header(d->services->core, &header, true);
    version_parse(bytes_str(version == NULL ? "" : version), &major, &minor);
    response.header = &header;
    response.version = arena_printf(&d->call->arena, "%u.%u", major, minor);
    call_reply(d->call, &response.base);
}

static void written(struct core_request *request, int error, ProtobufCMessage *none)
{
    (void)none;
    struct downgrade *d = request->owner;
    if (error != 0) {
        call_fail(d->call, error);
    } else {
        reply(d);
    }
}

static void write_info(struct downgrade *d, bool enabled)
{
    Membershippb__DowngradeInfoSetRequest set = MEMBERSHIPPB__DOWNGRADE_INFO_SET_REQUEST__INIT;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    set.enabled = enabled;
    if (enabled) {
        set.ver = arena_printf(&d->call->arena, "%" PRId64 ".%" PRId64 ".0", d->major, d->minor);
    }
    internal.downgrade_info_set = &set;
    d->write = (struct core_request){.done = written, .owner = d};
    int error = core_propose(d->services->core, &d->write, &internal);
    if (error != 0) {
        call_fail(d->call, error);
    }
}

/* --- judging --- */

static int judge(const struct downgrade *d)
{
    const struct kv *kv = core_kv(d->services->core);
    unsigned major, minor;
    const char *version = kv_cluster_version(kv), *target;
    if (version == NULL || !version_parse(bytes_str(version), &major, &minor)) {
        return ERR_CLUSTER_VERSION_UNAVAILABLE;
    }
    if (d->major != (int64_t)major || d->minor != (int64_t)minor - 1) {
        return ERR_INVALID_DOWNGRADE_TARGET_VERSION;
    }
    return kv_downgrade(kv, &target) ? ERR_DOWNGRADE_IN_PROCESS : 0;
}

/* Without anything to cancel etcd answers as if there had been. */
static void cancel(struct downgrade *d)
{
    const char *target;
    if (kv_downgrade(core_kv(d->services->core), &target)) {
        write_info(d, false);
    } else {
        reply(d);
    }
}

static void allowed(struct core_request *barrier, int error, ProtobufCMessage *none)
{
    (void)none;
    struct downgrade *d = barrier->owner;
    bool cancels = d->request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL;
    if (error == 0 && !cancels) {
        error = judge(d);
    }
    if (error != 0) {
        call_fail(d->call, error);
    } else if (cancels) {
        cancel(d);
    } else if (d->request->action == ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE) {
        write_info(d, true);
    } else {
        reply(d);
    }
}

static void cancelled(struct call *call, int reason)
{
    (void)reason;
    struct downgrade *d = call->state;
    core_cancel(d->services->core, &d->barrier);
    core_cancel(d->services->core, &d->write);
}

static int check(struct downgrade *d)
{
    switch (d->request->action) {
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__CANCEL:
        return 0;
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__VALIDATE:
    case ETCDSERVERPB__DOWNGRADE_REQUEST__DOWNGRADE_ACTION__ENABLE:
        return version_parse_target(d->request->version, &d->major, &d->minor) ? 0 : ERR_WRONG_DOWNGRADE_VERSION_FORMAT;
    default:
        return ERR_UNKNOWN_METHOD;
    }
}

void service_downgrade(void *service, struct call *call, const ProtobufCMessage *message)
{
    static const struct call_handler handler = {.on_cancel = cancelled};
    struct services *services = service;
    struct downgrade *d = arena_zalloc(&call->arena, sizeof *d);
    d->call = call;
    d->services = services;
    d->request = (const Etcdserverpb__DowngradeRequest *)message;
    int error = check(d);
    if (error == 0) {
        d->barrier = (struct core_request){.done = allowed, .owner = d};
        call->state = d;
        call->handler = &handler;
        error = core_barrier(services->core, &d->barrier);
    }
    if (error != 0) {
        call_fail(call, error);
    }
}
