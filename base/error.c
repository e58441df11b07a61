#include "base/error.h"
#include "base/check.h"

#include <stddef.h>

static const struct {
    const char *name;
    const char *text;
    enum grpc_code code;
} errors[] = {{"OK", "", GRPC_OK},
#define X(name, code, text) {#name, text, code},
              ERROR_LIST(X)
#undef X
};

static size_t ordinal(int error)
{
    CHECK(error <= 0 && (size_t)-error < sizeof errors / sizeof errors[0], "error %d is not in the list", error);
    return (size_t)-error;
}

enum grpc_code error_code(int error)
{
    return errors[ordinal(error)].code;
}

const char *error_text(int error)
{
    return errors[ordinal(error)].text;
}

const char *error_name(int error)
{
    return errors[ordinal(error)].name;
}
