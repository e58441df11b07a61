#include "cmd/kedgectl/progress.h"

#include "base/net/loop.h"
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define MARK_NS (UINT64_C(1000000000) / 4)
#define DRAW_NS (UINT64_C(1000000000) / 10)

/* Numbers get room for the longest that are usual, so that the bar does not change its length all the time. */
enum { BAR_MOST = 40, BAR_LEAST = 10, NUMBERS = 45 };

/* --- rate --------------------------------------------------------------------------------------------------------- */

static const struct progress_mark *oldest(const struct progress *p)
{
    return &p->marks[p->count < PROGRESS_MARKS ? 0 : p->next];
}

void progress_mark(struct progress *p, uint64_t now_ns, uint64_t done, uint64_t all)
{
    const struct progress_mark *last = &p->marks[(p->next + PROGRESS_MARKS - 1) % PROGRESS_MARKS];
    p->done = done;
    p->all = all;
    if (p->count == 0 || now_ns - last->at_ns >= MARK_NS) {
        p->marks[p->next] = (struct progress_mark){now_ns, done};
        p->next = (p->next + 1) % PROGRESS_MARKS;
        p->count += p->count < PROGRESS_MARKS;
    }
}

/* Bytes a second. */
static double rate(const struct progress *p, uint64_t now_ns)
{
    const struct progress_mark *from = oldest(p);
    double seconds = p->count == 0 ? 0 : (double)(now_ns - from->at_ns) / 1e9;
    return seconds <= 0 ? 0 : (double)(p->done - from->done) / seconds;
}

/* --- the line ----------------------------------------------------------------------------------------------------- */

/* "1 h 02 min", "3 min 05 s", "12 s". */
static void put_time(char *out, size_t cap, double seconds)
{
    unsigned long s = (unsigned long)(seconds + 0.999);
    if (s >= 3600) {
        snprintf(out, cap, "%lu h %02lu min left", s / 3600, s / 60 % 60);
    } else if (s >= 60) {
        snprintf(out, cap, "%lu min %02lu s left", s / 60, s % 60);
    } else {
        snprintf(out, cap, "%lu s left", s);
    }
}

static const char *unit_of(uint64_t bytes, double *scale)
{
    *scale = bytes >= UINT64_C(10000000000) ? 1e9 : bytes >= 1000000 ? 1e6 : 1e3;
    return *scale == 1e9 ? "GB" : *scale == 1e6 ? "MB" : "kB";
}

static void put_numbers(const struct progress *p, uint64_t now_ns, char *out, size_t cap)
{
    double scale, speed_scale, speed = rate(p, now_ns);
    const char *unit = unit_of(p->all > p->done ? p->all : p->done, &scale);
    const char *speed_unit = unit_of((uint64_t)speed, &speed_scale);
    char left[48] = "stalled", of[32] = "";
    if (p->all > 0) {
        snprintf(of, sizeof of, " of %.0f", (double)p->all / scale);
    }
    if (p->all >= p->done && speed > 0) {
        put_time(left, sizeof left, (double)(p->all - p->done) / speed);
    } else if (p->count < 2) {
        snprintf(left, sizeof left, "-");
    }
    snprintf(out, cap, "%.0f%s %s, %.0f %s/s, %s", (double)p->done / scale, of, unit, speed / speed_scale, speed_unit,
             p->all > 0 ? left : "-");
}

static void put_bar(char *out, unsigned width, double part)
{
    unsigned full = (unsigned)(part * width);
    *out++ = '[';
    for (unsigned i = 0; i < width; i++) {
        *out++ = i < full ? '=' : i == full ? '>' : ' ';
    }
    memcpy(out, "] ", 3);
}

void progress_line(const struct progress *p, uint64_t now_ns, unsigned columns, char out[PROGRESS_LINE])
{
    char numbers[128], bar[BAR_MOST + 4] = "", percent[16] = "";
    double part = p->all == 0 ? 0 : p->done >= p->all ? 1 : (double)p->done / (double)p->all;
    columns = columns < 2 ? 2 : columns > PROGRESS_LINE ? PROGRESS_LINE : columns;
    put_numbers(p, now_ns, numbers, sizeof numbers);
    if (p->all > 0) {
        snprintf(percent, sizeof percent, "%3.0f %% ", part * 100);
    }
    size_t used = strlen(percent) + strlen("[] ") + 1;
    used += strlen(numbers) > NUMBERS ? strlen(numbers) : NUMBERS;
    if (p->all > 0 && used + BAR_LEAST <= columns) {
        unsigned room = columns - (unsigned)used;
        put_bar(bar, room < BAR_MOST ? room : BAR_MOST, part);
    }
    snprintf(out, columns, "%s%s%s", percent, bar, numbers);
}

/* --- the terminal ------------------------------------------------------------------------------------------------- */

void progress_begin(struct progress *p, int fd)
{
    *p = (struct progress){.fd = isatty(fd) ? fd : -1};
}

bool progress_is_shown(const struct progress *p)
{
    return p->fd >= 0;
}

/* What a terminal does not take is not worth an error. */
static void say(const struct progress *p, const char *text, size_t len)
{
    ssize_t n = write(p->fd, text, len);
    (void)n;
}

void progress_clear(struct progress *p)
{
    static const char line_off[] = "\r\033[K";
    if (p->shown) {
        p->shown = false;
        say(p, line_off, sizeof line_off - 1);
    }
}

static void draw(struct progress *p, uint64_t now_ns)
{
    struct winsize size;
    char line[PROGRESS_LINE], out[PROGRESS_LINE + 8];
    unsigned columns = ioctl(p->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
    progress_line(p, now_ns, columns, line);
    int len = snprintf(out, sizeof out, "\r%s\033[K", line);
    p->shown = true;
    p->drawn_ns = now_ns;
    say(p, out, (size_t)len);
}

void progress_set(struct progress *p, uint64_t done, uint64_t all)
{
    if (p->fd < 0 || done == 0) {
        return;
    }
    uint64_t now_ns = loop_clock_ns();
    if (now_ns - p->drawn_ns >= DRAW_NS) {
        progress_mark(p, now_ns, done, all);
        draw(p, now_ns);
    }
}
