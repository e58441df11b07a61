#include "cmd/kedgectl/load.h"
#include "base/net/loop.h"
#include "base/random.h"
#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

/* A producer that was held up for longer doesn't make up for it. */
#define LATE_NS UINT64_C(100000000)
#define SECOND_NS UINT64_C(1000000000)

struct load;

struct worker {
    struct load *load;
    struct client *client;
    uint64_t begun_ns;
    bool busy;
};

struct load {
    struct session *session;
    const struct load_options *options;
    struct loop *loop;
    struct load_bar *bar;
    struct loop_timer timer; /* the next put that is due, and the bar */
    struct worker *workers;
    struct random random;
    uint8_t *key, *value;
    size_t prefix_bytes;
    uint64_t begun_ns, due_ns, end_ns;
    uint64_t made, waiting, done; /* puts: so many were due; of these no connection has taken; answered */
    bool closed;                  /* no more are made */
    double *seconds;              /* of the good ones */
    size_t good, room;
    struct load_error *errors;
};

/* --- what came out ------------------------------------------------------------------------------------------------ */

static void note_good(struct load *l, uint64_t took_ns)
{
    if (l->good == l->room) {
        l->room = l->room == 0 ? 4096 : l->room * 2;
        l->seconds = mem_realloc(l->seconds, l->room * sizeof *l->seconds);
    }
    l->seconds[l->good++] = (double)took_ns / 1e9;
}

static void note_error(struct load *l, enum grpc_code code, const char *text)
{
    struct arena *arena = &l->session->call->arena;
    const char *words = session_error(arena, code, text, false);
    for (struct load_error *e = l->errors; e != NULL; e = e->next) {
        if (strcmp(e->text, words) == 0) {
            e->count++;
            return;
        }
    }
    struct load_error *fresh = arena_alloc(arena, sizeof *fresh);
    *fresh = (struct load_error){words, 1, l->errors};
    l->errors = fresh;
}

static struct load_result summary(const struct load *l)
{
    struct load_result r = {.good = l->good, .errors = l->errors};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < l->good; i++) {
        sum += l->seconds[i];
        r.slowest_s = l->seconds[i] > r.slowest_s ? l->seconds[i] : r.slowest_s;
    }
    for (size_t i = 0; i < l->good; i++) {
        double off = l->seconds[i] - sum / (double)l->good;
        squares += off * off;
    }
    r.deviation_s = l->good == 0 ? 0 : sqrt(squares / (double)l->good);
    r.per_second = (double)l->good / ((double)(loop_clock_ns() - l->begun_ns) / 1e9);
    return r;
}

/* --- puts --------------------------------------------------------------------------------------------------------- */

static void on_end(struct client_call *call, enum grpc_code code, const char *text)
{
    struct worker *w = client_call_state(call);
    struct load *l = w->load;
    w->busy = false;
    l->done++;
    if (code == GRPC_OK) {
        note_good(l, loop_clock_ns() - w->begun_ns);
    } else {
        note_error(l, code, text);
    }
}

static void send_put(struct worker *w)
{
    static const struct client_handler handler = {.on_end = on_end};
    struct load *l = w->load;
    struct client_call_options options = {.state = w};
    Etcdserverpb__PutRequest request = ETCDSERVERPB__PUT_REQUEST__INIT;
    uint64_t number = random_next(&l->random);
    memcpy(l->key + l->prefix_bytes, &number, sizeof number);
    request.key = (ProtobufCBinaryData){.data = l->key, .len = l->prefix_bytes + l->options->key_bytes};
    request.value = (ProtobufCBinaryData){.data = l->value, .len = l->options->value_bytes};
    w->busy = true;
    w->begun_ns = loop_clock_ns();
    struct client_call *call = client_open(w->client, KV_PUT, &handler, &options);
    client_send_message(call, &request.base);
    client_half_close(call);
    l->waiting--;
}

/* Makes the puts that are due. As many may wait as there are connections; then the producer is held up. */
static void produce(struct load *l)
{
    const struct load_options *o = l->options;
    uint64_t now = loop_clock_ns();
    if (o->rate > 0 && now > l->due_ns + LATE_NS) {
        l->due_ns = now;
    }
    while (!l->closed && l->waiting < o->clients && (o->rate == 0 || l->due_ns <= now)) {
        l->made++;
        l->waiting++;
        l->due_ns += o->rate > 0 ? SECOND_NS / o->rate : 0;
        l->closed = o->count > 0 && l->made == o->count;
    }
    bool over = l->end_ns > 0 && now >= l->end_ns;
    l->closed = l->closed || over || (o->stopped != NULL && o->stopped());
}

static void hand_out(struct load *l)
{
    for (unsigned i = 0; i < l->options->clients && l->waiting > 0; i++) {
        if (!l->workers[i].busy) {
            send_put(&l->workers[i]);
        }
    }
}

static void on_timer(struct loop_timer *timer)
{
    (void)timer; /* the turn that it began does the work */
}

static void step(struct load *l)
{
    produce(l);
    hand_out(l);
    if (!l->closed || l->waiting > 0) {
        loop_timer_set(l->loop, &l->timer, loop_clock_ns() / 1000000 + 1);
    }
    bool timed = l->options->seconds > 0;
    load_bar_set(l->bar, timed ? (loop_clock_ns() - l->begun_ns) / SECOND_NS : l->done);
    loop_step(l->loop, -1);
}

/* --- from start to end -------------------------------------------------------------------------------------------- */

/* A thousand connections are more than the usual soft limit of open files. */
static void allow_files(unsigned clients)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < clients + 64U) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void begin(struct load *l)
{
    const struct load_options *o = l->options;
    struct client_options options = session_options(l->session, l->session->endpoints);
    allow_files(o->clients);
    l->prefix_bytes = strlen(o->prefix);
    l->key = mem_zalloc(l->prefix_bytes + o->key_bytes);
    memcpy(l->key, o->prefix, l->prefix_bytes);
    l->value = mem_zalloc(o->value_bytes);
    random_seed(&l->random, random_entropy());
    l->workers = mem_zalloc(o->clients * sizeof *l->workers);
    for (unsigned i = 0; i < o->clients; i++) {
        l->workers[i] = (struct worker){.load = l, .client = client_new(l->loop, &options)};
    }
    l->timer.fire = on_timer;
    l->begun_ns = l->due_ns = loop_clock_ns();
    l->end_ns = o->seconds > 0 ? l->begun_ns + o->seconds * SECOND_NS : 0;
    load_bar_begin(l->bar, o->seconds > 0 ? o->seconds : o->count);
}

struct load_result load_run(struct session *s, const struct load_options *options, struct load_bar *bar)
{
    struct load l = {.session = s, .options = options, .loop = client_loop(s->client), .bar = bar};
    begin(&l);
    while (!l.closed || l.done < l.made) {
        step(&l);
    }
    struct load_result result = summary(&l);
    load_bar_set(bar, options->seconds > 0 ? (loop_clock_ns() - l.begun_ns) / SECOND_NS : l.done);
    load_bar_end(bar);
    loop_timer_stop(l.loop, &l.timer);
    for (unsigned i = 0; i < options->clients; i++) {
        client_free(l.workers[i].client);
    }
    free(l.workers);
    free(l.key);
    free(l.value);
    free(l.seconds);
    return result;
}
