/* Texts that a user or a variable gives to the programs: numbers, durations, URLs, quoted words. The first byte
 * chooses. What was accepted must print and read back to the same. */
#include "base/check.h"
#include "base/gotext.h"
#include "base/url.h"
#include "cmd/kedgectl/ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_duration(struct arena *arena, const char *text)
{
    int64_t ns, again;
    struct buffer printed = {0};
    if (gotext_duration(arena, text, &ns) != NULL) {
        return;
    }
    gotext_print_duration(&printed, ns);
    buffer_append(&printed, "", 1);
    CHECK(gotext_duration(arena, (const char *)printed.data, &again) == NULL && again == ns);
    buffer_free(&printed);
}

static void try_urls(struct arena *arena, const char *text)
{
    struct url_list urls, again;
    if (url_list_parse(arena, text, &urls) != NULL) {
        return;
    }
    const char *printed = url_list_text(arena, &urls);
    CHECK(url_list_parse(arena, printed, &again) == NULL && url_list_equal(&urls, &again));
}

static void try_quotes(struct arena *arena, struct bytes raw)
{
    struct buffer quoted = {0};
    struct bytes back;
    gotext_quote(&quoted, raw);
    buffer_append(&quoted, "", 1);
    const char *cursor = (const char *)quoted.data;
    CHECK(ops_unquote(arena, &cursor, &back) && *cursor == '\0' && bytes_equal(back, raw));
    buffer_free(&quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena arena = {0};
    struct ops_words words;
    bool truth;
    int64_t number;
    uint64_t natural;
    if (size == 0) {
        return 0;
    }
    const char *text = arena_printf(&arena, "%.*s", (int)(size - 1), (const char *)data + 1);
    switch (data[0] % 5) {
    case 0:
        try_duration(&arena, text);
        break;
    case 1:
        try_urls(&arena, text);
        break;
    case 2:
        try_quotes(&arena, bytes_of(data + 1, size - 1));
        break;
    case 3:
        if (ops_split(&arena, text, &words)) {
            CHECK(words.texts[words.count] == NULL);
        }
        break;
    default:
        gotext_int(&arena, text, data[0] & 8 ? 0 : 16, 64, &number);
        gotext_uint(&arena, text, 0, 32, &natural);
        gotext_bool(&arena, text, &truth);
        break;
    }
    arena_free(&arena);
    return 0;
}
