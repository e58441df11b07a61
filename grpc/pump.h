/* nghttp2's output into a connection's write buffer. Payload of DATA is written where it goes out, behind the room for
 * its frame head: nghttp2 makes only the nine bytes of the head (NGHTTP2_DATA_FLAG_NO_COPY). For both sides. */
#ifndef GRPC_PUMP_H
#define GRPC_PUMP_H

#include "base/bytes.h"
#include <nghttp2/nghttp2.h>
#include <sys/types.h>

#define PUMP_FRAME_HEAD ((size_t)9)

struct pump {
    uint8_t *out;
    size_t len, cap;
    struct buffer spill; /* of a frame that was longer than the room left */
};

/* For connection_protocol.produce: fills out, returns how many bytes, or a negative nghttp2 error. */
ssize_t pump_run(struct pump *pump, nghttp2_session *session, uint8_t *out, size_t cap);

/* For the data source's read callback: where up to len bytes of payload go, or NULL when there is no room in this
 * round (return NGHTTP2_ERR_PAUSE then). */
uint8_t *pump_payload(struct pump *pump, size_t len);

/* For nghttp2's send_data callback: the head of the frame whose payload was written before. */
void pump_head(struct pump *pump, const uint8_t *head, size_t payload_len);

void pump_free(struct pump *pump);

#endif
