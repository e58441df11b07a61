#include "base/sort.h"

#include "base/bytes.h"
#include <stdlib.h>
#include <string.h>

static size_t bounded(size_t at, size_t count)
{
    return at < count ? at : count;
}

static void next_pair(struct sort *s)
{
    s->left = s->out;
    s->left_end = s->right = bounded(s->left + s->width, s->count);
    s->right_end = bounded(s->right + s->width, s->count);
}

void sort_begin(struct sort *s, void *items, size_t count, size_t size, int (*compare)(const void *, const void *))
{
    *s = (struct sort){.from = items, .size = size, .count = count, .width = 1, .compare = compare};
    s->done = count < 2;
    if (!s->done) {
        s->to = mem_alloc(count * size);
        next_pair(s);
    }
}

static void move_one(struct sort *s)
{
    const uint8_t *left = s->from + s->left * s->size, *right = s->from + s->right * s->size;
    bool from_left = s->left < s->left_end && (s->right == s->right_end || s->compare(left, right) <= 0);
    memcpy(s->to + s->out++ * s->size, from_left ? left : right, s->size);
    s->left += from_left;
    s->right += !from_left;
}

/* At the end of a pass the arrays change places and runs are twice as long. */
static void end_pass(struct sort *s)
{
    uint8_t *merged = s->to;
    s->to = s->from;
    s->from = merged;
    s->width *= 2;
    s->out = 0;
    s->done = s->width >= s->count;
}

bool sort_step(struct sort *s, size_t *budget)
{
    for (; !s->done && *budget > 0; --*budget) {
        move_one(s);
        if (s->out == s->right_end) {
            if (s->out == s->count) {
                end_pass(s);
            }
            next_pair(s);
        }
    }
    return s->done;
}

void *sort_end(struct sort *s)
{
    free(s->to);
    s->to = NULL;
    return s->from;
}
