/* The way through a tree, row by row. The leaf that is read lies in the reader's window (of the bucket of buckets, in a
 * copy); the branches above it are copies. */
#include "base/check.h"
#include "base/error.h"
#include "snapshot/reader_state.h"
#include <inttypes.h>

/* --- elements --- */

/* Where an element's data are: right behind those of the one before, as every bbolt packs them, and inside of the page.
 */
static int check_data(struct snapshot_reader *r, uint64_t offset, size_t element, uint32_t pos, uint64_t len,
                      size_t page_len, size_t *data_end)
{
    uint64_t begin = (uint64_t)element + pos;
    if (begin != *data_end || begin > page_len || len > page_len - begin) {
        return reader_refuse(r, offset + element, "an element's data lie at %" PRIu64 ", %" PRIu64 " bytes, of %zu",
                             begin, len, page_len);
    }
    *data_end = (size_t)(begin + len);
    return 0;
}

static int check_key(struct snapshot_reader *r, uint64_t offset, uint32_t key_len)
{
    if (key_len == 0 || key_len > PAGE_KEY_MAX) {
        return reader_refuse(r, offset, "a key of %" PRIu32 " bytes", key_len);
    }
    return 0;
}

static int check_count(struct snapshot_reader *r, uint64_t offset, unsigned count, size_t page_len)
{
    if (PAGE_HEAD + (uint64_t)count * PAGE_ELEMENT > page_len) {
        return reader_refuse(r, offset, "%u elements in %zu bytes", count, page_len);
    }
    return 0;
}

static struct bytes branch_key(const struct reader_branch *b, unsigned i)
{
    size_t at = PAGE_HEAD + (size_t)i * PAGE_ELEMENT;
    struct page_branch_element e = page_branch_get(b->page.data + at);
    return bytes_of(b->page.data + at + e.pos, e.key_len);
}

/* --- pages --- */

/* All of a branch's elements are looked at when it is entered: the bounds of its children come from them. */
static int check_branch(struct snapshot_reader *r, struct reader_branch *b)
{
    b->data_end = PAGE_HEAD + (size_t)b->count * PAGE_ELEMENT;
    for (unsigned i = 0; i < b->count; i++) {
        size_t at = PAGE_HEAD + (size_t)i * PAGE_ELEMENT;
        struct page_branch_element e = page_branch_get(b->page.data + at);
        int error = check_key(r, b->offset + at, e.key_len);
        error = error != 0 ? error : check_data(r, b->offset, at, e.pos, e.key_len, b->page.len, &b->data_end);
        if (error != 0) {
            return error;
        }
        if (e.child < 2 || e.child >= r->meta.high_water) {
            return reader_refuse(r, b->offset + at, "a child is page %" PRIu64 " of %" PRIu64, e.child,
                                 r->meta.high_water);
        }
        if (i > 0 && bytes_compare(branch_key(b, i - 1), branch_key(b, i)) >= 0) {
            return reader_refuse(r, b->offset + at, "a branch's keys do not ascend");
        }
    }
    return 0;
}

static int enter_branch(struct snapshot_reader *r, struct reader_tree *tree, uint64_t offset, unsigned count,
                        size_t len)
{
    struct bytes page;
    if (tree->depth == READER_DEPTH) {
        return reader_refuse(r, offset, "a tree of more than %d levels", READER_DEPTH);
    }
    if (count == 0) {
        return reader_refuse(r, offset, "a branch without children");
    }
    struct reader_branch *b = &tree->branches[tree->depth++];
    struct buffer own = b->page;
    own.len = 0;
    *b = (struct reader_branch){.offset = offset, .page = own, .count = count};
    int error = reader_fetch(r, offset, len, &page);
    if (error != 0) {
        return error;
    }
    buffer_append(&b->page, page.data, page.len);
    return check_branch(r, b);
}

static int enter_leaf(struct snapshot_reader *r, struct reader_tree *tree, uint64_t offset, unsigned count, size_t len)
{
    int error = reader_fetch(r, offset, len, &tree->leaf.page);
    if (error == 0 && tree->keeps) {
        tree->leaf_page.len = 0;
        buffer_append(&tree->leaf_page, tree->leaf.page.data, len);
        tree->leaf.page = buffer_bytes(&tree->leaf_page);
    }
    tree->leaf.offset = offset;
    tree->leaf.count = count;
    tree->leaf.next = 0;
    tree->leaf.data_end = PAGE_HEAD + (size_t)count * PAGE_ELEMENT;
    return error;
}

static int enter(struct snapshot_reader *r, struct reader_tree *tree, uint64_t id)
{
    uint64_t offset = id * r->meta.page_bytes;
    struct page_head head;
    size_t len;
    int error = reader_page_head(r, id, &head, &len);
    error = error != 0 ? error : check_count(r, offset, head.count, len);
    if (error != 0) {
        return error;
    }
    switch (head.flags) {
    case PAGE_BRANCH:
        return enter_branch(r, tree, offset, head.count, len);
    case PAGE_LEAF:
        return enter_leaf(r, tree, offset, head.count, len);
    default:
        return reader_refuse(r, offset, "a page of kind %#x in a tree", head.flags);
    }
}

/* --- the way --- */

static void tree_reset(struct reader_tree *tree)
{
    tree->depth = 0;
    tree->leaf.count = tree->leaf.next = 0;
    tree->has_last = false;
}

int reader_tree_open(struct snapshot_reader *r, struct reader_tree *tree, uint64_t root)
{
    tree_reset(tree);
    return enter(r, tree, root);
}

int reader_tree_open_inline(struct snapshot_reader *r, struct reader_tree *tree, struct bytes image, uint64_t offset)
{
    tree_reset(tree);
    if (image.len < PAGE_HEAD) {
        return reader_refuse(r, offset, "an inline bucket of %zu bytes", image.len);
    }
    struct page_head head = page_head_get(image.data);
    if (head.id != 0 || head.flags != PAGE_LEAF || head.overflow != 0) {
        return reader_refuse(r, offset, "an inline bucket that is no leaf");
    }
    tree->leaf = (struct reader_leaf){.offset = offset,
                                      .page = image,
                                      .count = head.count,
                                      .data_end = PAGE_HEAD + (size_t)head.count * PAGE_ELEMENT};
    return check_count(r, offset, head.count, image.len);
}

/* To the next leaf. 1, 0 at the end, or an error. */
static int next_leaf(struct snapshot_reader *r, struct reader_tree *tree)
{
    while (tree->depth > 0) {
        struct reader_branch *b = &tree->branches[tree->depth - 1];
        if (b->next == b->count) {
            tree->depth--;
            continue;
        }
        unsigned depth = tree->depth;
        struct page_branch_element e = page_branch_get(b->page.data + PAGE_HEAD + (size_t)b->next++ * PAGE_ELEMENT);
        int error = enter(r, tree, e.child);
        if (error != 0) {
            return error;
        }
        if (tree->depth == depth) {
            return 1;
        }
    }
    return 0;
}

/* Does the key lie between what each branch above says of the child on the way and of the one behind it? */
static bool in_its_place(const struct reader_tree *tree, struct bytes key)
{
    for (unsigned i = 0; i < tree->depth; i++) {
        const struct reader_branch *b = &tree->branches[i];
        if (bytes_compare(branch_key(b, b->next - 1), key) > 0 ||
            (b->next < b->count && bytes_compare(key, branch_key(b, b->next)) >= 0)) {
            return false;
        }
    }
    return true;
}

static int check_order(struct snapshot_reader *r, struct reader_tree *tree, struct bytes key, uint64_t offset)
{
    if (tree->has_last && bytes_compare(buffer_bytes(&tree->last), key) >= 0) {
        return reader_refuse(r, offset, "keys do not ascend");
    }
    /* Only a leaf's first and last keys need to be compared with the branches: those between lie between. */
    bool edge = tree->leaf.next == 1 || tree->leaf.next == tree->leaf.count;
    if (edge && !in_its_place(tree, key)) {
        return reader_refuse(r, offset, "a key is not where the branches above say");
    }
    tree->last.len = 0;
    buffer_append(&tree->last, key.data, key.len);
    tree->has_last = true;
    return 0;
}

int reader_tree_next(struct snapshot_reader *r, struct reader_tree *tree, struct bytes *key, struct bytes *value,
                     bool *is_bucket, uint64_t *offset)
{
    struct reader_leaf *leaf = &tree->leaf;
    while (leaf->next == leaf->count) {
        int more = next_leaf(r, tree);
        if (more <= 0) {
            return more;
        }
    }
    size_t at = PAGE_HEAD + (size_t)leaf->next++ * PAGE_ELEMENT;
    struct page_leaf_element e = page_leaf_get(leaf->page.data + at);
    uint64_t len = (uint64_t)e.key_len + e.value_len;
    int error = check_key(r, leaf->offset + at, e.key_len);
    error = error != 0 ? error : check_data(r, leaf->offset, at, e.pos, len, leaf->page.len, &leaf->data_end);
    if (error == 0 && e.flags > PAGE_ELEMENT_BUCKET) {
        error = reader_refuse(r, leaf->offset + at, "an element of kind %#" PRIx32, e.flags);
    }
    if (error != 0) {
        return error;
    }
    *key = bytes_of(leaf->page.data + at + e.pos, e.key_len);
    *value = bytes_of(key->data + e.key_len, e.value_len);
    *is_bucket = e.flags == PAGE_ELEMENT_BUCKET;
    *offset = leaf->offset + at + e.pos + e.key_len;
    error = check_order(r, tree, *key, leaf->offset + at);
    return error != 0 ? error : 1;
}

void reader_tree_close(struct reader_tree *tree)
{
    for (unsigned i = 0; i < READER_DEPTH; i++) {
        buffer_free(&tree->branches[i].page);
    }
    buffer_free(&tree->leaf_page);
    buffer_free(&tree->last);
}
