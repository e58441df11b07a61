#include "cmd/kedgectl/load_bar.h"
#include "base/net/loop.h"
#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define REDRAW_NS UINT64_C(200000000)
#define DEFAULT_WIDTH 80

static int width_of_terminal(const struct load_bar *p)
{
    struct winsize size;
    bool known = p->terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : DEFAULT_WIDTH;
}

static void draw_bar(int room, double share)
{
    int filled = (int)(share * room);
    for (int i = 0; i < room; i++) {
        fputc(i < filled ? '-' : i == filled ? '>' : '_', stderr);
    }
}

static void draw(struct load_bar *p)
{
    char left[64], right[64];
    uint64_t now = loop_clock_ns();
    double share = p->total == 0 ? 1 : (double)p->done / (double)p->total;
    double seconds = (double)(now - p->begun_ns) / 1e9;
    double rate = seconds > 0 ? (double)p->done / seconds : 0;
    int taken = snprintf(left, sizeof left, "%llu / %llu [", (unsigned long long)p->done, (unsigned long long)p->total);
    taken += snprintf(right, sizeof right, "] %.2f%% %.0f p/s", share * 100, rate);
    p->drawn_ns = now;
    fprintf(stderr, "%s%s", p->terminal ? "\r" : "", left);
    if (width_of_terminal(p) > taken + 8) {
        draw_bar(width_of_terminal(p) - taken - 1, share);
    }
    fputs(right, stderr);
    fflush(stderr);
}

void load_bar_begin(struct load_bar *p, uint64_t total)
{
    *p = (struct load_bar){.total = total, .begun_ns = loop_clock_ns(), .terminal = isatty(STDERR_FILENO)};
    if (p->terminal) {
        draw(p);
    }
}

void load_bar_set(struct load_bar *p, uint64_t done)
{
    p->done = p->total > 0 && done > p->total ? p->total : done;
    if (p->terminal && loop_clock_ns() - p->drawn_ns >= REDRAW_NS) {
        draw(p);
    }
}

void load_bar_end(struct load_bar *p)
{
    draw(p);
    fputc('\n', stderr);
}
