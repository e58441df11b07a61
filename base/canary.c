/* Only a build for canaries has anything here. */
#include "base/canary.h"

#ifdef KEDGE_CANARIES
#include <ctype.h>
#include <stddef.h>

enum canary canary_planted;

const char *canary_name(enum canary canary)
{
    static char name[64];
    static const char *const names[] = {
#define CANARY_STRING(name, text) #name,
        "NONE", CANARIES(CANARY_STRING)
#undef CANARY_STRING
    };
    const char *from = names[canary];
    size_t i = 0;
    for (; from[i] != '\0'; i++) {
        name[i] = (char)(from[i] == '_' ? '-' : tolower((unsigned char)from[i]));
    }
    name[i] = '\0';
    return name;
}

const char *canary_text(enum canary canary)
{
    static const char *const texts[] = {
#define CANARY_STRING(name, text) text,
        "nothing is wrong", CANARIES(CANARY_STRING)
#undef CANARY_STRING
    };
    return texts[canary];
}
#endif
