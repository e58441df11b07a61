#include "cmd/kedge/process_metrics.h"
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* /proc/self/statm begins with the pages that are mapped, and those of them that are in memory. */
void process_metrics_print(struct metrics_source *source, struct buffer *out)
{
    char line[256] = "", *rest;
    double page = (double)sysconf(_SC_PAGESIZE);
    FILE *file = fopen("/proc/self/statm", "re");
    (void)source;
    if (file == NULL) {
        return;
    }
    bool known = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    if (known) {
        double mapped = strtod(line, &rest), resident = strtod(rest, NULL);
        metrics_gauge(out, "process_resident_memory_bytes", "Resident memory size in bytes.", resident * page);
        metrics_gauge(out, "process_virtual_memory_bytes", "Virtual memory size in bytes.", mapped * page);
    }
}
