/* GET /raft/probing every 4 s: how long a round trip takes, and how far the clocks are apart. */
#include "raft/peer/peer_impl.h"
#include <stdio.h>
#include <time.h>

#define DRIFT_NS INT64_C(1000000000) /* that much is worth a warning */

static int64_t wall_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* "Now":"2026-11-23T02:06:30.123456789Z" (or with an offset of the zone); false if it isn't there. */
static bool parse_now(const char *answer, int64_t *out_ns)
{
    const char *text = strstr(answer, "\"Now\":\"");
    struct tm tm = {0};
    char *rest = text == NULL ? NULL : strptime(text + 7, "%Y-%m-%dT%H:%M:%S", &tm);
    if (rest == NULL) {
        return false;
    }
    int64_t fraction = 0, unit = 100000000;
    if (*rest == '.') {
        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10) {
            fraction += (*rest - '0') * unit;
        }
    }
    int hours = 0, minutes = 0;
    char sign = *rest;
    if (sign != 'Z' && ((sign != '+' && sign != '-') || sscanf(rest + 1, "%2d:%2d", &hours, &minutes) != 2)) {
        return false;
    }
    int64_t offset_s = (hours * 3600 + minutes * 60) * (sign == '-' ? -1 : 1);
    *out_ns = ((int64_t)timegm(&tm) - offset_s) * 1000000000 + fraction;
    return true;
}

static void on_data(struct http1_client *client, struct bytes data)
{
    struct probe *probe = client->owner;
    size_t room = sizeof probe->answer - 1 - probe->answer_len;
    size_t n = data.len < room ? data.len : room;
    memcpy(probe->answer + probe->answer_len, data.data, n);
    probe->answer_len += n;
}

static void unhealthy(struct probe *probe, const char *why)
{
    if (!probe->unhealthy) {
        log_warn("prober detected unhealthy status", log_str("round-tripper-name", "ROUND_TRIPPER_RAFT_MESSAGE"),
                 log_hex("remote-peer-id", probe->peer->id), log_duration("rtt", probe->peer->round_trip_ns),
                 log_str("error", why));
    }
    probe->unhealthy = true;
}

static void on_done(struct http1_client *client, const char *failure)
{
    struct probe *probe = client->owner;
    uint64_t round_trip = loop_clock_ns() - probe->asked_ns;
    int64_t there;
    probe->answer[probe->answer_len] = '\0';
    if (failure != NULL || client->status != 200 || !parse_now(probe->answer, &there)) {
        unhealthy(probe, failure != NULL ? failure : "unexpected answer");
        return;
    }
    probe->unhealthy = false;
    probe->peer->round_trip_ns = round_trip;
    int64_t drift = probe->asked_wall_ns + (int64_t)(round_trip / 2) - there;
    if (drift > DRIFT_NS || drift < -DRIFT_NS) {
        log_warn("prober found high clock drift", log_str("round-tripper-name", "ROUND_TRIPPER_RAFT_MESSAGE"),
                 log_hex("remote-peer-id", probe->peer->id), log_duration("clock-drift", drift < 0 ? -drift : drift),
                 log_duration("rtt", round_trip));
    }
}

void probe_init(struct probe *probe, struct peer *peer)
{
    *probe = (struct probe){.peer = peer};
    probe->client = (struct http1_client){
        .loop = peer->transport->config.loop, .owner = probe, .on_data = on_data, .on_done = on_done};
}

void probe_send(struct probe *probe)
{
    if (http1_client_busy(&probe->client)) {
        return;
    }
    struct http1_ask ask = {.method = "GET", .target = "/raft/probing", .dial_ms = 2000, .total_ms = PEER_PROBE_MS};
    probe->answer_len = 0;
    probe->asked_ns = loop_clock_ns();
    probe->asked_wall_ns = wall_ns();
    peer_address(peer_url(probe->peer), &ask);
    http1_client_start(&probe->client, &ask);
}

void probe_close(struct probe *probe)
{
    http1_client_close(&probe->client);
}
