/* The version that a client wants to go down to: whatever it is, it is read or refused. */
#include "base/check.h"
#include "kv/version.h"
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int64_t major, minor;
    char *text = mem_printf("%.*s", (int)size, (const char *)data);
    if (version_parse_target(text, &major, &minor)) {
        CHECK(major >= 0 && minor >= 0);
    }
    free(text);
    return 0;
}
