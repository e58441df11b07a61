/* What a member says of itself through the log at each start: its name and client addresses. Clients are served after
 * that was applied and the cluster's version is known (grpc.md, "Ports"). */
#include "core/internal.h"

#include "base/check.h"

#define VERSION_CHECK_MS 4000

static void published(struct core_request *request, int error, ProtobufCMessage *response)
{
    (void)response;
    struct core_own *own = request->owner;
    own->in_flight = false;
    own->core->published = error == 0;
    if (error == 0) {
        space_started(own->core);
    }
}

static void publish(struct core *core)
{
    Membershippb__Attributes attributes = MEMBERSHIPPB__ATTRIBUTES__INIT;
    attributes.name = (char *)core->config.name;
    attributes.client_urls = (char **)core->config.client_urls;
    attributes.n_client_urls = core->config.client_url_count;
    Membershippb__ClusterMemberAttrSetRequest request = MEMBERSHIPPB__CLUSTER_MEMBER_ATTR_SET_REQUEST__INIT;
    request.member_id = core->config.member_id;
    request.member_attributes = &attributes;
    Etcdserverpb__InternalRaftRequest internal = ETCDSERVERPB__INTERNAL_RAFT_REQUEST__INIT;
    internal.cluster_member_attr_set = &request;
    own_propose(core, &core->publish, &internal, PROPOSE_OWN, published);
}

void publish_slice(struct core *core)
{
    if (core->stopping || core->leader == RAFT_NONE) {
        return;
    }
    if (!core->published && !core->publish.in_flight && core->now_ms >= core->publish.retry_ms) {
        publish(core);
    }
    version_slice(core);
    if (core->now_ms >= core->version_check_ms) {
        core->version_check_ms = core->now_ms + VERSION_CHECK_MS;
        kv_update_storage_version(core->kv);
    }
    if (!core->ready && core->published && kv_cluster_version(core->kv) != NULL) {
        core->ready = true;
        if (core->on_ready != NULL) {
            core->on_ready(core->on_ready_arg);
        }
    }
}

uint64_t publish_deadline(const struct core *core)
{
    bool checking = core->ready && core->leader != RAFT_NONE;
    uint64_t at = checking ? core->version_check_ms : core->now_ms + core->config.heartbeat_ms;
    uint64_t version = version_deadline(core);
    return version < at ? version : at;
}
