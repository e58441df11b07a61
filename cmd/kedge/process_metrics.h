/* What this process has of the machine, on /metrics: its memory, under the names that Prometheus' own client uses
 * (metrics.tsv, group process). check datascale reads it. The group's other rows come with the rest of the metrics.
 *
 * Thread: the loop's. */
#ifndef CMD_KEDGE_PROCESS_METRICS_H
#define CMD_KEDGE_PROCESS_METRICS_H

#include "grpc/metrics_page.h"

/* For metrics_source.print; the source holds nothing else. */
void process_metrics_print(struct metrics_source *source, struct buffer *out);

#endif
