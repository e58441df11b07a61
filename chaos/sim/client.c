/* Clients that change and read, one request at a time each, at any member. */
#include "chaos/sim/client.h"

#define PAUSE_MS 80
#define BUSY_PAUSE_MS 8     /* one seed in four */
#define CLUSTER_PAUSE_MS 72 /* about 50 requests a second together, with all that goes wrong */
#define CROWD_PAUSE_MS 1000 /* the same of a crowd */

static struct random *rnd(struct sim_client *c)
{
    return &c->sim->random;
}

ProtobufCBinaryData sim_client_text(char *t)
{
    return (ProtobufCBinaryData){.len = strlen(t), .data = (uint8_t *)t};
}

void sim_client_rest(struct sim_client *c)
{
    c->state = SIM_IDLE;
    uint64_t pause = c->sim->client_count > SIM_CLIENTS ? CROWD_PAUSE_MS
                     : c->sim->config.members > 1       ? CLUSTER_PAUSE_MS
                     : c->sim->config.seed % 4 == 0     ? BUSY_PAUSE_MS
                                                        : PAUSE_MS;
    c->due_ms = c->sim->now_ms + random_below(rnd(c), pause);
}

/* For the answer, as long as its patience lasts. */
void sim_client_wait(struct sim_client *c)
{
    c->state = SIM_BUSY;
    c->started_ms = c->sim->now_ms;
    c->due_ms = c->sim->config.members == 1 ? SIM_NEVER : c->sim->now_ms + sim_between(c->sim, 300, 9000);
}

/* --- keys and rows --- */

void sim_client_key(struct sim_client *c)
{
    c->lo = (int)random_below(rnd(c), MODEL_KEYS);
    c->hi = c->lo + 1;
    model_key_name(c->lo, c->key);
}

/* A range: [key, end), or all from the key on. */
ProtobufCBinaryData sim_client_end(struct sim_client *c, uint64_t widest)
{
    c->hi = c->lo + 1 + (int)random_below(rnd(c), widest);
    if (c->hi >= MODEL_KEYS) {
        c->hi = MODEL_KEYS;
        c->end[0] = '\0';
        return (ProtobufCBinaryData){.len = 1, .data = (uint8_t *)c->end};
    }
    if (c->hi == c->lo + 1) {
        return (ProtobufCBinaryData){0};
    }
    model_key_name(c->hi, c->end);
    return sim_client_text(c->end);
}

uint64_t sim_client_digest(Mvccpb__KeyValue **kvs, size_t count)
{
    uint64_t digest = 1;
    for (size_t i = 0; i < count; i++) {
        struct row_fields row = {
            .key = bytes_of(kvs[i]->key.data, kvs[i]->key.len),
            .value = bytes_of(kvs[i]->value.data, kvs[i]->value.len),
            .create_revision = kvs[i]->create_revision,
            .mod_revision = kvs[i]->mod_revision,
            .version = kvs[i]->version,
            .lease = kvs[i]->lease,
        };
        digest = model_digest_row(digest, &row);
    }
    return digest;
}

/* --- */

static void begin(struct sim_client *c)
{
    uint64_t what = random_below(rnd(c), 100);
    if (what < 28) {
        sim_client_read(c);
    } else {
        sim_client_change(c, random_below(rnd(c), 100));
    }
}

static bool stands_still(const struct sim_client *c)
{
    return c->at != NULL && c->at->state == SIM_UP && c->sim->now_ms < c->at->paused_ms;
}

/* Whom to ask: most often the same as before. Of a member that stands still some wait for the moment at which it wakes
 * up: what it believes then is old. False: nobody, for now. */
static bool choose(struct sim_client *c)
{
    struct sim *s = c->sim;
    if (stands_still(c) && sim_chance(s, 2)) {
        c->due_ms = c->at->paused_ms;
        return false;
    }
    c->due_ms = s->now_ms + sim_between(s, 5, 100);
    if (c->at == NULL || !sim_member_serves(c->at) || sim_chance(s, 30)) {
        c->at = &s->members[random_below(rnd(c), s->member_count)];
    }
    return sim_member_serves(c->at);
}

/* Leaves what it has asked for; nobody knows what becomes of it. */
static void give_up(struct sim_client *c)
{
    if (c->proposed) {
        core_cancel(c->at->core, &c->request);
    }
    if (c->ranging) {
        core_range_cancel(&c->range);
    }
    if (c->open) {
        kv_range_end(&c->range.range);
    }
    if (c->asking) {
        core_txn_read_cancel(&c->txn_read);
    }
    core_lease_cancel(&c->keepalive);
    c->proposed = c->ranging = c->open = c->asking = false;
    sim_client_rest(c);
}

void sim_client_run(struct sim_client *c)
{
    struct sim *s = c->sim;
    if (s->now_ms < c->due_ms) {
        return;
    }
    if (c->state == SIM_HOLDING) {
        sim_client_finish_read(c);
    } else if (c->state == SIM_BUSY) {
        give_up(c);
        c->at = NULL;
    } else if (s->quiet || s->idle) {
        c->due_ms = SIM_NEVER;
    } else if (choose(c)) {
        begin(c);
        c->at->dirty = true;
    }
}

void sim_client_cut(struct sim_client *c)
{
    give_up(c);
    c->at = NULL;
}
