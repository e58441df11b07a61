#include "snapshot/page_tree.h"

#include "base/check.h"
#include <stdlib.h>

enum { ELEMENTS = PAGE_BYTES / PAGE_ELEMENT };

struct tree_element {
    uint32_t flags, key_len, value_len;
    uint64_t child; /* of a branch */
};

/* The open page of a level. A leaf has at least one element and a branch at least two; beyond that, what would make it
 * longer than a page begins the next one. */
struct page_tree_level {
    struct tree_element elements[ELEMENTS];
    unsigned count;
    struct buffer data; /* keys and values; in a count of pages only its length means something for leaves */
    size_t data_len;
    struct buffer first_key;
    uint64_t pages; /* given out on this level */
};

void page_tree_begin(struct page_tree *tree, struct page_tree_sink *sink)
{
    tree->sink = sink;
    tree->height = 0;
}

void page_tree_free(struct page_tree *tree)
{
    for (unsigned i = 0; i < PAGE_TREE_LEVELS; i++) {
        if (tree->levels[i] != NULL) {
            buffer_free(&tree->levels[i]->data);
            buffer_free(&tree->levels[i]->first_key);
            free(tree->levels[i]);
            tree->levels[i] = NULL;
        }
    }
}

static void level_clear(struct page_tree_level *level)
{
    level->count = 0;
    level->data.len = 0;
    level->data_len = 0;
}

static struct page_tree_level *level_at(struct page_tree *tree, unsigned number)
{
    CHECK(number < PAGE_TREE_LEVELS);
    if (tree->levels[number] == NULL) {
        tree->levels[number] = mem_zalloc(sizeof *tree->levels[number]);
    }
    if (number >= tree->height) {
        tree->height = number + 1;
        level_clear(tree->levels[number]);
        tree->levels[number]->pages = 0;
    }
    return tree->levels[number];
}

/* --- giving pages out --- */

static void put(struct page_tree_sink *sink, const void *data, size_t len)
{
    if (sink->put != NULL) {
        sink->put(sink, data, len);
    }
}

static void put_padding(struct page_tree_sink *sink, size_t len)
{
    static const uint8_t zeroes[PAGE_BYTES];
    put(sink, zeroes, (PAGE_BYTES - len % PAGE_BYTES) % PAGE_BYTES);
}

/* Takes page numbers for a page of so many bytes, and puts its head. */
static uint64_t page_begin(struct page_tree_sink *sink, enum page_flags flags, unsigned count, size_t len)
{
    uint64_t id = sink->next_page, pages = (len + PAGE_BYTES - 1) / PAGE_BYTES;
    uint8_t head[PAGE_HEAD];
    sink->next_page += pages;
    page_head_put(head,
                  (struct page_head){
                      .id = id, .flags = (uint16_t)flags, .count = (uint16_t)count, .overflow = (uint32_t)(pages - 1)});
    put(sink, head, sizeof head);
    return id;
}

static void put_elements(struct page_tree_sink *sink, const struct page_tree_level *level, bool leaf)
{
    uint8_t out[ELEMENTS * PAGE_ELEMENT];
    size_t offset = 0;
    for (unsigned i = 0; i < level->count; i++) {
        const struct tree_element *e = &level->elements[i];
        uint32_t pos = (uint32_t)((level->count - i) * PAGE_ELEMENT + offset);
        if (leaf) {
            page_leaf_put(out + i * PAGE_ELEMENT, (struct page_leaf_element){e->flags, pos, e->key_len, e->value_len});
        } else {
            page_branch_put(out + i * PAGE_ELEMENT, (struct page_branch_element){pos, e->key_len, e->child});
        }
        offset += e->key_len + e->value_len;
    }
    put(sink, out, level->count * PAGE_ELEMENT);
}

static uint64_t level_put(struct page_tree *tree, struct page_tree_level *level, bool leaf)
{
    size_t len = PAGE_HEAD + level->count * PAGE_ELEMENT + level->data_len;
    uint64_t id = page_begin(tree->sink, leaf ? PAGE_LEAF : PAGE_BRANCH, level->count, len);
    if (tree->sink->put != NULL) {
        put_elements(tree->sink, level, leaf);
        put(tree->sink, level->data.data, level->data.len);
        put_padding(tree->sink, len);
    }
    level->pages++;
    level_clear(level);
    return id;
}

/* --- levels --- */

static void branch_add(struct page_tree *tree, unsigned number, struct bytes key, uint64_t child);

/* The open page of a level is full: its parent learns of it. */
static void level_close(struct page_tree *tree, unsigned number)
{
    struct page_tree_level *level = tree->levels[number];
    uint64_t id = level_put(tree, level, number == 0);
    branch_add(tree, number + 1, buffer_bytes(&level->first_key), id);
}

static bool fits(const struct page_tree_level *level, size_t data_len)
{
    return PAGE_HEAD + (level->count + 1) * PAGE_ELEMENT + level->data_len + data_len <= PAGE_BYTES;
}

static void level_add(struct page_tree_level *level, struct tree_element element, struct bytes key)
{
    if (level->count == 0) {
        level->first_key.len = 0;
        buffer_append(&level->first_key, key.data, key.len);
    }
    level->elements[level->count++] = element;
    level->data_len += element.key_len + element.value_len;
}

static void branch_add(struct page_tree *tree, unsigned number, struct bytes key, uint64_t child)
{
    struct page_tree_level *level = level_at(tree, number);
    if (level->count >= 2 && !fits(level, key.len)) {
        level_close(tree, number);
    }
    buffer_append(&level->data, key.data, key.len);
    level_add(level, (struct tree_element){.key_len = (uint32_t)key.len, .child = child}, key);
}

/* A row that is longer than a page has one of its own, and goes out without a copy. */
static void add_alone(struct page_tree *tree, struct page_tree_level *level, struct tree_element element,
                      struct bytes key, struct bytes value)
{
    size_t len = PAGE_HEAD + PAGE_ELEMENT + key.len + value.len;
    uint64_t id = page_begin(tree->sink, PAGE_LEAF, 1, len);
    uint8_t head[PAGE_ELEMENT];
    page_leaf_put(head, (struct page_leaf_element){element.flags, PAGE_ELEMENT, element.key_len, element.value_len});
    put(tree->sink, head, sizeof head);
    put(tree->sink, key.data, key.len);
    put(tree->sink, value.data, value.len);
    put_padding(tree->sink, len);
    level->pages++;
    branch_add(tree, 1, key, id);
}

void page_tree_add(struct page_tree *tree, struct bytes key, struct bytes value, bool bucket)
{
    struct page_tree_level *level = level_at(tree, 0);
    const struct tree_element element = {
        .flags = bucket ? PAGE_ELEMENT_BUCKET : 0, .key_len = (uint32_t)key.len, .value_len = (uint32_t)value.len};
    CHECK(key.len >= 1 && key.len <= PAGE_KEY_MAX && value.len <= INT32_MAX - 1);
    if (level->count > 0 && !fits(level, key.len + value.len)) {
        level_close(tree, 0);
    }
    if (!fits(level, key.len + value.len)) {
        add_alone(tree, level, element, key, value);
        return;
    }
    if (tree->sink->put != NULL) {
        buffer_append(&level->data, key.data, key.len);
        buffer_append(&level->data, value.data, value.len);
    }
    level_add(level, element, key);
}

uint64_t page_tree_end(struct page_tree *tree)
{
    level_at(tree, 0); /* a tree without a row is an empty leaf */
    for (unsigned number = 0;; number++) {
        struct page_tree_level *level = tree->levels[number];
        bool top = number + 1 == tree->height;
        if (top && number > 0 && level->pages == 0 && level->count == 1) {
            return level->elements[0].child; /* no branch over one page */
        }
        if (top && level->pages == 0) {
            return level_put(tree, level, number == 0);
        }
        if (level->count > 0) {
            level_close(tree, number);
        }
    }
}
